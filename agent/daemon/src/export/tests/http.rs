//! What arrives over HTTP.

use super::receiver::{Receiver, Reply};
use super::*;

#[test]
fn spans_arrive_plain_and_packed() {
    for compression in [Compression::None, Compression::Gzip] {
        let receiver = Receiver::http(Vec::new());
        let ledger = Ledger::default();
        let headers = vec![("x-tenant".to_owned(), "t1".to_owned())];
        let settings = Settings { compression, headers, ..settings(&receiver.http_url()) };
        let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
        (0..10).for_each(|number| sink.try_send(&span(number)).unwrap());
        exporter.shutdown(PATIENCE);
        let script = receiver.script.lock().unwrap();
        assert_eq!(script.names(), (0..10).collect::<Vec<_>>());
        assert_eq!(script.headers["content-type"], "application/x-protobuf");
        assert_eq!(script.headers["x-tenant"], "t1");
        assert_eq!(exported(&ledger), 10);
    }
}

#[test]
fn temporary_statuses_are_tried_again_and_nothing_is_lost() {
    let replies = [429, 502, 503, 504].map(|status| Reply::Http(status, None)).to_vec();
    let receiver = Receiver::http(replies);
    let ledger = Ledger::default();
    let (exporter, sink) = Exporter::start(settings(&receiver.http_url()), &ledger).unwrap();
    sink.try_send(&span(1)).unwrap();
    wait_until("the fifth attempt is taken", || receiver.names() == [1]);
    exporter.shutdown(PATIENCE);
    assert_eq!(receiver.attempts(), 5);
    assert_eq!(exported(&ledger), 1);
}

#[test]
fn permanent_statuses_are_counted_and_not_tried_again() {
    for status in [400, 401, 403, 404, 413, 500, 501] {
        let receiver = Receiver::http(vec![Reply::Http(status, None)]);
        let ledger = Ledger::default();
        let (exporter, sink) = Exporter::start(settings(&receiver.http_url()), &ledger).unwrap();
        sink.try_send(&span(1)).unwrap();
        wait_until("the refusal is counted", || loss(&ledger, "rejected") == 1);
        sink.try_send(&span(2)).unwrap();
        exporter.shutdown(PATIENCE);
        assert_eq!(receiver.names(), [2], "{status}");
        assert_eq!(receiver.attempts(), 2, "{status}");
    }
}

#[test]
fn retry_after_is_honoured() {
    let receiver = Receiver::http(vec![Reply::Http(503, Some(1))]);
    let (exporter, sink) = Exporter::start(settings(&receiver.http_url()), &Ledger::default()).unwrap();
    sink.try_send(&span(1)).unwrap();
    wait_until("the second attempt is taken", || receiver.names() == [1]);
    exporter.shutdown(PATIENCE);
    let attempts = receiver.script.lock().unwrap().attempts.clone();
    assert!(attempts[1] - attempts[0] >= Duration::from_secs(1));
}

#[test]
fn partial_success_is_counted() {
    let receiver = Receiver::http(vec![Reply::Partial(1)]);
    let ledger = Ledger::default();
    let (exporter, sink) = Exporter::start(settings(&receiver.http_url()), &ledger).unwrap();
    (0..3).for_each(|number| sink.try_send(&span(number)).unwrap());
    exporter.shutdown(PATIENCE);
    assert_eq!((exported(&ledger), loss(&ledger, "partial_success")), (2, 1));
}
