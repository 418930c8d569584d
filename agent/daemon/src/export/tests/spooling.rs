//! Receivers that go away and come back.

use std::net::SocketAddr;
use std::path::Path;

use tonic::Code;

use super::receiver::{Receiver, Reply};
use super::*;

fn spooled(url: &str, folder: &Path, max_bytes: u64) -> Settings {
    let spool = SpoolSettings { folder: folder.to_owned(), max_bytes, is_required: true };
    Settings { spool: Some(spool), ..settings(url) }
}

fn spool_has_files(folder: &Path) -> bool {
    std::fs::read_dir(folder)
        .unwrap()
        .any(|entry| entry.unwrap().path().extension().is_some_and(|end| end == "spool"))
}

fn failures(ledger: &Ledger) -> u64 {
    ledger.counter("remora_agent_export_failures_total").get()
}

/// Returns an address of a receiver that is not there.
fn absent() -> SocketAddr {
    Receiver::grpc(Vec::new()).address
}

#[test]
fn what_waited_on_disk_is_replayed_in_order_when_the_receiver_returns() {
    let (folder, address, ledger) = (tempfile::tempdir().unwrap(), absent(), Ledger::default());
    let settings = spooled(&format!("http://{address}"), folder.path(), 64 << 20);
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    for number in 0..2000 {
        sink.try_send(&span(number)).unwrap();
    }
    wait_until("attempts have failed and the spool is used", || {
        failures(&ledger) > 1 && spool_has_files(folder.path())
    });
    let receiver = Receiver::start(address, Vec::new(), true);
    for number in 2000..3000 {
        sink.try_send(&span(number)).unwrap();
    }
    wait_until("everything has arrived", || receiver.names().len() == 3000);
    exporter.shutdown(PATIENCE);
    assert_eq!(receiver.names(), (0..3000).collect::<Vec<_>>());
    assert!(!spool_has_files(folder.path()));
    assert_eq!(exported(&ledger), 3000);
    assert_eq!(crate::health::summary(&ledger), "no losses");
}

#[test]
fn a_receiver_that_keeps_vanishing_loses_nothing() {
    let (folder, ledger) = (tempfile::tempdir().unwrap(), Ledger::default());
    let mut receiver = Receiver::grpc(vec![Reply::Grpc(Code::Unavailable, None), Reply::Accept]);
    let address = receiver.address;
    let settings = Settings { batch_spans: 10, ..spooled(&receiver.url(), folder.path(), 64 << 20) };
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    let mut names = Vec::new();
    for round in 0..4 {
        for number in 0..100 {
            sink.try_send(&span(round * 100 + number)).unwrap();
        }
        wait_until("something arrives", || !receiver.names().is_empty());
        let script = receiver.script.clone();
        drop(receiver);
        names.extend(script.lock().unwrap().names());
        receiver = Receiver::start(address, vec![Reply::Grpc(Code::Unavailable, None)], true);
    }
    wait_until("the rest arrives", || {
        names.len() + receiver.names().len() >= 400 && exported(&ledger) == 400
    });
    exporter.shutdown(PATIENCE);
    names.extend(receiver.names());
    // A receiver that dies with an answer unsent gets the batch twice; that is the receiver's to notice.
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique, (0..400).collect::<Vec<_>>());
    assert_eq!(crate::health::summary(&ledger), "no losses");
}

#[test]
fn the_next_run_delivers_what_the_last_one_kept() {
    let (folder, address, ledger) = (tempfile::tempdir().unwrap(), absent(), Ledger::default());
    let settings = spooled(&format!("http://{address}"), folder.path(), 64 << 20);
    let (exporter, sink) = Exporter::start(settings.clone(), &ledger).unwrap();
    for number in 0..700 {
        sink.try_send(&span(number)).unwrap();
    }
    assert_eq!(exporter.shutdown(Duration::from_millis(100)), 700);
    assert_eq!(crate::health::summary(&ledger), "no losses");
    let receiver = Receiver::start(address, Vec::new(), true);
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    sink.try_send(&span(700)).unwrap();
    wait_until("everything has arrived", || receiver.names().len() == 701);
    exporter.shutdown(PATIENCE);
    assert_eq!(receiver.names(), (0..=700).collect::<Vec<_>>());
}

#[test]
fn a_small_spool_drops_the_oldest_and_counts_every_span() {
    let (folder, address, ledger) = (tempfile::tempdir().unwrap(), absent(), Ledger::default());
    let settings =
        Settings { batch_spans: 16, ..spooled(&format!("http://{address}"), folder.path(), 40_000) };
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    for number in 0..2000 {
        sink.try_send(&span(number)).unwrap();
    }
    wait_until("the spool is full", || loss(&ledger, "spool_full") > 0 && failures(&ledger) > 2);
    let receiver = Receiver::start(address, Vec::new(), true);
    let accounted = || receiver.names().len() as u64 + loss(&ledger, "spool_full");
    wait_until("the rest has arrived", || accounted() == 2000);
    exporter.shutdown(PATIENCE);
    let names = receiver.names();
    assert!(names.is_sorted());
    assert_eq!(names.last(), Some(&1999));
}

#[test]
fn a_spool_that_is_asked_for_and_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error =
        Exporter::start(spooled("http://127.0.0.1:1", &file, 1 << 20), &Ledger::default()).unwrap_err();
    assert!(error.to_string().starts_with(&format!("open the spool {}: ", file.display())), "{error}");
}
