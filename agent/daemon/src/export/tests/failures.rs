//! Receivers that fail, and doors that are closed.

use tonic::Code;

use super::receiver::{Receiver, Reply};
use super::*;

const TEMPORARY: [Code; 6] = [
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unavailable,
    Code::DataLoss,
];

#[test]
fn exactly_the_codes_of_the_specification_are_tried_again() {
    for code in (0..=16).map(Code::from_i32).filter(|code| *code != Code::Ok) {
        let receiver = Receiver::grpc(vec![Reply::Grpc(code, None)]);
        let ledger = Ledger::default();
        let (exporter, sink) = Exporter::start(settings(&receiver.url()), &ledger).unwrap();
        sink.try_send(&span(1)).unwrap();
        if TEMPORARY.contains(&code) {
            wait_until("the second attempt is taken", || receiver.names() == [1]);
        } else {
            wait_until("the refusal is counted", || loss(&ledger, "rejected") == 1);
        }
        exporter.shutdown(PATIENCE);
        let expected_attempts = if TEMPORARY.contains(&code) { 2 } else { 1 };
        assert_eq!(receiver.attempts(), expected_attempts, "{code:?}");
    }
}

#[test]
fn an_exhausted_receiver_is_tried_again_when_it_says_when() {
    let asked = Duration::from_millis(700);
    let receiver = Receiver::grpc(vec![Reply::Grpc(Code::ResourceExhausted, Some(asked))]);
    let (exporter, sink) = Exporter::start(settings(&receiver.url()), &Ledger::default()).unwrap();
    sink.try_send(&span(1)).unwrap();
    wait_until("the second attempt is taken", || receiver.names() == [1]);
    exporter.shutdown(PATIENCE);
    let attempts = receiver.script.lock().unwrap().attempts.clone();
    assert!(attempts[1] - attempts[0] >= asked);
}

#[test]
fn a_receiver_that_does_not_answer_in_time_is_tried_again() {
    let receiver = Receiver::grpc(vec![Reply::Slow(Duration::from_secs(600))]);
    let settings = Settings { timeout: Duration::from_millis(100), ..settings(&receiver.url()) };
    let (exporter, sink) = Exporter::start(settings, &Ledger::default()).unwrap();
    sink.try_send(&span(1)).unwrap();
    wait_until("the second attempt is taken", || receiver.names() == [1]);
    exporter.shutdown(PATIENCE);
}

#[test]
fn a_full_queue_refuses_the_new_and_counts_it() {
    let ledger = Ledger::default();
    // Nobody listens on port 1 of the loopback.
    let settings = Settings { queue_bytes: 20_000, ..settings("http://127.0.0.1:1") };
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    let refused = (0..1000).filter(|&number| sink.try_send(&span(number)) == Err(Refused::QueueFull)).count();
    assert!(refused > 0);
    assert_eq!(loss(&ledger, "queue_full"), refused as u64);
    exporter.shutdown(Duration::ZERO);
    assert_eq!(loss(&ledger, "queue_full") + loss(&ledger, "shutdown"), 1000);
    assert_eq!(sink.try_send(&span(0)), Err(Refused::Ended));
    assert_eq!(loss(&ledger, "exporter_ended"), 1);
}

#[test]
fn shutting_down_does_not_wait_longer_than_it_may() {
    let receiver = Receiver::grpc(vec![Reply::Slow(Duration::from_secs(600))]);
    let ledger = Ledger::default();
    let settings = Settings { timeout: Duration::from_secs(600), ..settings(&receiver.url()) };
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    sink.try_send(&span(1)).unwrap();
    let start = Instant::now();
    exporter.shutdown(Duration::from_millis(200));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(loss(&ledger, "shutdown"), 1);
}

#[test]
fn broken_settings_are_said_before_anything_starts() {
    let header = |name: &str, value: &str| Settings {
        headers: vec![(name.to_owned(), value.to_owned())],
        ..settings("http://127.0.0.1:4317")
    };
    let error = |settings| Exporter::start(settings, &Ledger::default()).unwrap_err().to_string();
    assert!(error(header("a b", "x")).starts_with("OTLP header \"a b\" is not a valid header: "));
    assert!(!error(header("a", "secret\n")).contains("secret"));
    let settings =
        Settings { certificate: Some("/nowhere/ca.pem".into()), ..settings("https://127.0.0.1:4317") };
    assert!(error(settings).starts_with("load certificates from /nowhere/ca.pem: "));
}
