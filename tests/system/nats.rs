//! Requests and orders over NATS.

use std::process::Command;
use std::time::Duration;

use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::Nats;
use remora_tests::span::Span;
use remora_tests::{locate, tools};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs root"]
fn requests_and_orders_are_linked_to_what_they_lead_to() {
    let nats = Nats::start().unwrap();
    let scratch = Scratch::new("nats-service").unwrap();
    let python = |script: &str| {
        let mut command = Command::new(locate::messages("python").unwrap());
        command.arg(locate::apps().join("messages").join(script)).env("NATS_URL", nats.url());
        command
    };
    let mut remora = Remora::start().unwrap();
    let mut service = Running::start("nats-service", &scratch, &mut python("nats_service.py")).unwrap();
    let log = scratch.path().join("nats-service.log");
    service.wait_ready(WITHIN, || Ok(std::fs::read_to_string(&log)?.contains("ready"))).unwrap();
    tools::printed(&mut python("nats_client.py")).unwrap();
    service.wait(WITHIN).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nats.address()).unwrap();

    let of = |kind: &str, name: &str| -> Vec<&Span> {
        let mut found: Vec<_> = spans.iter().filter(|span| span.kind == kind && span.name == name).collect();
        found.sort_by_key(|span| span.start_ns);
        found
    };
    let (asked, answered) = (of("producer", "send upper"), of("consumer", "process upper"));
    assert_eq!((asked.len(), answered.len()), (1, 1), "{spans:#?}");
    assert_eq!(answered[0].links, [asked[0].span_id.clone()]);
    assert!(asked[0].start_ns <= answered[0].start_ns && answered[0].end_ns <= asked[0].end_ns);
    assert_eq!(answered[0].text("messaging.consumer.group.name"), Some("services"));
    let (sent, packed) = (of("producer", "send orders.paid"), of("consumer", "process orders.paid"));
    assert_eq!((sent.len(), packed.len()), (2, 2), "{spans:#?}");
    for (sent, packed) in sent.iter().zip(&packed) {
        assert_eq!(packed.links, std::slice::from_ref(&sent.span_id));
        assert_eq!(packed.text("messaging.destination.subscription.name"), Some("packer"));
    }
    assert_eq!(of("client", "$JS.API.STREAM.CREATE ORDERS").len(), 1);
    assert_eq!(
        of("server", "send upper")[0].parent_id.as_ref(),
        Some(&asked[0].span_id),
        "the broker's side"
    );
}
