//! Orders over Google Pub/Sub, from one language to another.

use std::collections::BTreeSet;

use remora_tests::remora::Remora;
use remora_tests::servers::{Client, PubSub};
use remora_tests::span::Span;

/// Messages of each test, published one after the other.
const COUNT: usize = 3;

fn named<'a>(spans: &'a [Span], kind: &str, name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.kind == kind && span.name == name).collect()
}

/// Checks that each message was handed over, and received by spans of this kind which are linked to who sent it.
fn check(from: Client, to: Client, role: &str, kind: &str) {
    let server = PubSub::start().unwrap();
    let mut remora = Remora::start().unwrap();
    server.pass_on(COUNT as u32, from, to, role).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(server.address()).unwrap();
    let sent = named(&spans, "producer", "send orders");
    let received = named(&spans, kind, "receive packing");
    assert_eq!(sent.len(), COUNT, "{spans:#?}");
    for sent in &sent {
        assert_eq!(sent.text("messaging.system"), Some("gcp_pubsub"));
        assert_eq!(sent.text("messaging.destination.name"), Some("orders"));
        assert!(sent.text("messaging.message.id").is_some(), "{sent:#?}");
    }
    let links: Vec<&str> = received.iter().flat_map(|span| &span.links).map(String::as_str).collect();
    let producers: BTreeSet<&str> = sent.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(links.len(), COUNT, "{received:#?}");
    assert_eq!(links.iter().copied().collect::<BTreeSet<_>>(), producers);
    for received in &received {
        assert_eq!(received.text("messaging.system"), Some("gcp_pubsub"));
        assert_eq!(received.text("messaging.destination.subscription.name"), Some("packing"));
        let waited = &received.attributes["remora.message.queue_time"];
        assert!(waited.as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{received:#?}");
        if let Some(id) = received.text("messaging.message.id") {
            let producer = sent.iter().find(|sent| sent.span_id == received.links[0]).unwrap();
            assert_eq!(producer.text("messaging.message.id"), Some(id));
        }
    }
    for served in named(&spans, "server", "send orders") {
        let caller = served.parent_id.as_deref();
        assert!(caller.is_some_and(|caller| producers.contains(caller)), "{served:#?}");
    }
    assert!(!named(&spans, "client", "ack packing").is_empty(), "{spans:#?}");
}

#[test]
#[ignore = "needs root"]
fn orders_of_go_stream_to_python() {
    check(Client::Go, Client::Python, "receive", "consumer");
}

#[test]
#[ignore = "needs root"]
fn orders_of_python_stream_to_go() {
    check(Client::Python, Client::Go, "receive", "consumer");
}

#[test]
#[ignore = "needs root"]
fn orders_of_go_are_pulled_by_python() {
    check(Client::Go, Client::Python, "pull", "client");
}
