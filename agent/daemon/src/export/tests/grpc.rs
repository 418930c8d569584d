//! What arrives over gRPC.

use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::receiver::{Receiver, Reply};
use super::*;

#[test]
fn spans_arrive_grouped_by_resource_and_scope_with_every_field() {
    let receiver = Receiver::grpc(Vec::new());
    let ledger = Ledger::default();
    let (exporter, sink) = Exporter::start(settings(&receiver.url()), &ledger).unwrap();
    let (one, other) =
        (Arc::new(Resource::unknown(1, &Host::this())), Arc::new(Resource::unknown(2, &Host::this())));
    for (number, resource, protocol) in
        [(0, &one, "http"), (1, &other, "http"), (2, &one, "redis"), (3, &one, "http")]
    {
        sink.try_send(&span_of(number, resource, protocol)).unwrap();
    }
    exporter.shutdown(PATIENCE);
    let script = receiver.script.lock().unwrap();
    let [request] = &script.requests[..] else { panic!("one request, not {}", script.requests.len()) };
    let shape: Vec<_> = request
        .resource_spans
        .iter()
        .map(|group| {
            group
                .scope_spans
                .iter()
                .map(|scope| (scope.scope.clone().unwrap().name, scope.spans.len()))
                .collect::<Vec<_>>()
        })
        .collect();
    let expected = [
        vec![("remora/http".to_owned(), 2), ("remora/redis".to_owned(), 1)],
        vec![("remora/http".to_owned(), 1)],
    ];
    assert_eq!(shape, expected);
    let resource = request.resource_spans[0].resource.clone().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
    assert!(keys.contains(&"service.name") && keys.contains(&"telemetry.sdk.name"));
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(
        (span.trace_id.as_slice(), span.span_id.as_slice()),
        (&[7; 16][..], &[0, 0, 0, 0, 0, 0, 0, 1][..])
    );
    assert_eq!(span.parent_span_id, [9; 8]);
    assert_eq!((span.flags, span.kind, span.trace_state.as_str()), (0x301, 2, "a=b"));
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 20);
    let status = span.status.clone().unwrap();
    assert_eq!((status.code, status.message.as_str()), (2, "oops"));
    let value = |key: &str| {
        let found = span.attributes.iter().find(|attribute| attribute.key == key).unwrap();
        found.value.clone().unwrap().value.unwrap()
    };
    assert_eq!(value("http.response.status_code"), Value::IntValue(500));
    assert_eq!(value("remora.parent.evidence"), Value::StringValue("wire".to_owned()));
}

#[test]
fn gzip_and_headers_are_sent() {
    let receiver = Receiver::grpc(Vec::new());
    let settings = Settings {
        compression: Compression::Gzip,
        headers: vec![("Authorization".to_owned(), "Bearer x".to_owned())],
        ..settings(&receiver.url())
    };
    let (exporter, sink) = Exporter::start(settings, &Ledger::default()).unwrap();
    sink.try_send(&span(1)).unwrap();
    exporter.shutdown(PATIENCE);
    let script = receiver.script.lock().unwrap();
    assert_eq!(script.names(), [1]);
    assert_eq!(script.headers["authorization"], "Bearer x");
    assert_eq!(script.headers["grpc-encoding"], "gzip");
    assert!(script.headers["user-agent"].to_str().unwrap().starts_with("remora/"));
}

#[test]
fn many_spans_make_full_batches_in_order() {
    let receiver = Receiver::grpc(Vec::new());
    let ledger = Ledger::default();
    let settings =
        Settings { batch_delay: Duration::from_secs(60), batch_spans: 512, ..settings(&receiver.url()) };
    let (exporter, sink) = Exporter::start(settings, &ledger).unwrap();
    for number in 0..5000 {
        sink.try_send(&span(number)).unwrap();
    }
    wait_until("full batches arrive before the delay is over", || receiver.names().len() >= 4608);
    exporter.shutdown(PATIENCE);
    assert_eq!(receiver.names(), (0..5000).collect::<Vec<_>>());
    let largest = |script: &super::receiver::Script| {
        let sizes = script.requests.iter().map(|request| {
            request
                .resource_spans
                .iter()
                .flat_map(|group| &group.scope_spans)
                .map(|scope| scope.spans.len())
                .sum()
        });
        sizes.max()
    };
    assert_eq!(largest(&receiver.script.lock().unwrap()), Some(512));
    assert_eq!(exported(&ledger), 5000);
}

#[test]
fn a_lone_span_is_sent_when_the_delay_is_over() {
    let receiver = Receiver::grpc(Vec::new());
    let (exporter, sink) = Exporter::start(settings(&receiver.url()), &Ledger::default()).unwrap();
    sink.try_send(&span(1)).unwrap();
    wait_until("the span arrives", || receiver.names() == [1]);
    exporter.shutdown(PATIENCE);
}

#[test]
fn partial_success_is_counted_and_not_sent_again() {
    let receiver = Receiver::grpc(vec![Reply::Partial(2)]);
    let ledger = Ledger::default();
    let (exporter, sink) = Exporter::start(settings(&receiver.url()), &ledger).unwrap();
    (0..5).for_each(|number| sink.try_send(&span(number)).unwrap());
    exporter.shutdown(PATIENCE);
    assert_eq!(receiver.attempts(), 1);
    assert_eq!((exported(&ledger), loss(&ledger, "partial_success")), (3, 2));
}
