//! Requests and orders over NATS.

use std::process::Command;
use std::time::Duration;

use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::Nats;
use remora_tests::span::{Names, Show, Span, outline};
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
    // Both may come with one read, and so begin at once.
    for packed in &packed {
        let size = packed.number("messaging.message.body.size");
        let sent = sent.iter().find(|sent| sent.number("messaging.message.body.size") == size).unwrap();
        assert_eq!(packed.links, std::slice::from_ref(&sent.span_id), "{spans:#?}");
        assert_eq!(packed.text("messaging.destination.subscription.name"), Some("packer"));
    }
    assert_eq!(of("client", "$JS.API.STREAM.CREATE ORDERS").len(), 1);
    assert_eq!(
        of("server", "send upper")[0].parent_id.as_ref(),
        Some(&asked[0].span_id),
        "the broker's side"
    );
}

#[test]
#[ignore = "needs root"]
fn each_message_of_a_batch_is_told_or_counted() {
    const MESSAGES: usize = 30;
    const COUNTED: &str = "engine/exchange_cut_by_gap ";
    for size in [100, 5000, 20_000, 60_000, 100_000] {
        let nats = Nats::start().unwrap();
        let rules = [format!("port={}", nats.address().port()), "cmd=*nats_batches*".to_owned()];
        let mut remora = Remora::with_flags(&["--select", &rules[0], "--select", &rules[1]]).unwrap();
        let mut script = Command::new(locate::messages("python").unwrap());
        script.arg(locate::apps().join("messages/nats_batches.py")).arg(size.to_string());
        tools::printed(script.env("NATS_URL", nats.url())).unwrap();
        let spans = remora.finish().unwrap().spans_of_server(nats.address()).unwrap();
        let of = |kind: &str, name: &str| {
            spans.iter().filter(|span| span.kind == kind && span.name.starts_with(name)).count()
        };
        let (sent, brought) = (of("producer", "send parcels"), of("consumer", "process parcels"));
        // What the agent says at its end.
        let log = remora.agent_log();
        let counted = log.split(COUNTED).nth(1).and_then(|rest| rest.split([',', ' ']).next()?.parse().ok());
        let counted: usize = counted.unwrap_or(0);
        println!("{MESSAGES} messages of {size} bytes: {sent} sent, {brought} brought, {counted} counted");
        assert_eq!(sent, MESSAGES, "{size}");
        assert!(brought > 0 && brought + counted == MESSAGES, "{size}: {brought} and {counted}");
    }
}

#[test]
#[ignore = "needs root"]
fn refused_sign_ins() {
    let nats = Nats::start_for("postman", "stamped").unwrap();
    let mut remora = Remora::start().unwrap();
    let mut script = Command::new(locate::messages("python").unwrap());
    script.arg(locate::apps().join("messages/nats_refused.py")).env("NATS_URL", nats.url());
    tools::printed(&mut script).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(nats.address()).unwrap();
    let shown = ["error.type", "remora.parent.evidence"];
    expect![[r#"
        client `connect` of nats_refused, error
            error.type = authorization_violation
          server `connect` of nats-server, error
              error.type = authorization_violation
              remora.parent.evidence = position
    "#]]
    .assert_eq(&outline(&spans, &Names::of(&[("NATS", nats.address())]), Show::Only(&shown)));
}
