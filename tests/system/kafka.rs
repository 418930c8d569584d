//! Kafka's clients and Kafka: who receives is linked to who sent, and what happens all the time is not told.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use remora_tests::remora::Remora;
use remora_tests::servers::Kafka;
use remora_tests::span::Span;
use remora_tests::{clients, locate, tools};

/// Returns all spans of clients of a broker that was used by a program, and of the broker.
fn spans_of(program: impl FnOnce(SocketAddr) -> Command) -> Vec<Span> {
    let kafka = Kafka::start().unwrap();
    let mut remora = Remora::start().unwrap();
    tools::printed(&mut program(kafka.address())).unwrap();
    let mut spans = remora.finish().unwrap().spans_of_server(kafka.address()).unwrap();
    spans.sort_by_key(|span| span.start_ns);
    spans
}

fn python(script: &'static str) -> impl FnOnce(SocketAddr) -> Command {
    move |server| {
        let mut python = Kafka::python();
        python.arg(locate::apps().join("kafka").join(script)).arg(server.to_string());
        python
    }
}

/// Checks that as many sendings are linked to from as many receipts, and that the broker's side hangs below each.
fn check(spans: &[Span], topic: &str, sendings: usize) {
    let of = |kind: &str, name: &str| -> Vec<&Span> {
        let name = format!("{name} {topic}");
        spans
            .iter()
            .filter(|span| span.kind == kind && span.name == name && span.text("error.type").is_none())
            .collect()
    };
    let (sent, polled) = (of("producer", "send"), of("client", "poll"));
    assert_eq!(sent.len(), sendings, "{spans:#?}");
    let links: Vec<_> = polled.iter().flat_map(|poll| poll.links.clone()).collect();
    let expected: Vec<_> = sent.iter().map(|sent| sent.span_id.clone()).collect();
    assert_eq!(links, expected, "{spans:#?}");
    for client in sent.iter().chain(&polled) {
        let broker: Vec<_> =
            spans.iter().filter(|span| span.parent_id.as_ref() == Some(&client.span_id)).collect();
        assert_eq!(broker.len(), 1, "{client:#?}");
        assert_eq!((broker[0].kind.as_str(), &broker[0].name), ("server", &client.name));
        assert_eq!(client.text("messaging.system"), Some("kafka"));
        assert_eq!(client.text("messaging.destination.name"), Some(topic));
        assert_eq!(client.text("messaging.destination.partition.id"), Some("0"));
    }
    assert!(sent.iter().all(|sent| sent.text("messaging.client.id") == Some("shop")));
    let routine = ["Heartbeat", "ConsumerGroupHeartbeat", "Metadata", "ApiVersions"];
    let told: Vec<_> = spans
        .iter()
        .filter(|span| routine.contains(&span.name.as_str()) && span.text("error.type").is_none())
        .collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[test]
#[ignore = "needs root"]
fn records_sent_by_librdkafka_are_linked_to_the_poll_that_brought_them() {
    let spans = spans_of(python("confluent.py"));
    check(&spans, "orders", 2);
    let committed = |span: &&Span| span.name == "commit orders" && span.kind == "client";
    let commit = spans.iter().find(committed).expect("a commit");
    assert_eq!(commit.text("messaging.consumer.group.name"), Some("mailers"));
}

#[test]
#[ignore = "needs root"]
fn a_record_sent_by_kafka_python_is_linked_to_the_poll_that_brought_it() {
    check(&spans_of(python("plain.py")), "plain", 1);
}

#[test]
#[ignore = "needs root"]
fn a_record_sent_by_kafkas_own_client_is_linked_to_the_poll_that_brought_it() {
    let spans = spans_of(|server| {
        let mut java = Kafka::java().unwrap();
        java.arg(locate::apps().join("kafka/Shop.java")).arg(server.to_string());
        java
    });
    check(&spans, "java", 1);
}

/// An SDK above the client writes its context into the headers of records, which are packed with them.
#[test]
#[ignore = "needs root"]
fn contexts_in_packed_records_are_continued_and_linked_to() {
    let spans = spans_of(python("packed.py"));
    let sent: Vec<_> =
        spans.iter().filter(|span| span.kind == "producer" && span.name == "send packed").collect();
    let traces: Vec<_> = sent.iter().map(|sent| sent.trace_id.clone()).collect();
    assert_eq!(traces, ["1", "2", "3", "4"].map(|digit| digit.repeat(32)), "{spans:#?}");
    let parents: Vec<_> = sent.iter().filter_map(|sent| sent.parent_id.clone()).collect();
    let contexts = ["1", "2", "3", "4"].map(|digit| digit.repeat(16));
    assert_eq!(parents, contexts, "{spans:#?}");
    let polls = spans.iter().filter(|span| span.kind == "client" && span.name == "poll packed");
    let links: Vec<_> = polls.flat_map(|poll| poll.links.clone()).collect();
    assert!(contexts.iter().all(|context| links.contains(context)), "{links:?} {spans:#?}");
}

/// Returns the spans of a kind that name a topic and did not fail, by start.
fn told<'a>(spans: &'a [Span], kind: &str, name: &str, topic: &str) -> Vec<&'a Span> {
    let name = format!("{name} {topic}");
    let is_it = |span: &&Span| span.kind == kind && span.name == name && span.text("error.type").is_none();
    spans.iter().filter(is_it).collect()
}

fn below<'a>(spans: &'a [Span], caller: &Span) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.parent_id.as_ref() == Some(&caller.span_id)).collect()
}

/// Checks that each sending of a topic has the broker's side below it, and that receipts are linked to each but as many as
/// went without asking for an acknowledgment (`acks=0`): their offsets nobody knows.
fn check_linked(spans: &[Span], topic: &str, careless: usize) {
    let sent = told(spans, "producer", "send", topic);
    let polls = told(spans, "client", "poll", topic);
    assert!(!sent.is_empty() && !polls.is_empty(), "{topic}: {spans:#?}");
    for client in sent.iter().chain(&polls) {
        let broker = below(spans, client);
        assert_eq!(broker.len(), 1, "{client:#?}");
        assert_eq!((broker[0].kind.as_str(), &broker[0].name), ("server", &client.name));
    }
    let linked: BTreeSet<_> = polls.iter().flat_map(|poll| poll.links.iter()).collect();
    let unlinked: Vec<_> = sent.iter().filter(|sent| !linked.contains(&sent.span_id)).collect();
    assert_eq!(
        unlinked.len(),
        careless,
        "{topic}: {} of {}, {unlinked:#?} {polls:#?}",
        unlinked.len(),
        sent.len()
    );
    for poll in polls.iter().filter(|poll| !poll.links.is_empty()) {
        assert!(poll.attributes.contains_key("remora.message.queue_time"), "{poll:#?}");
        // One message is no batch, but has its place.
        let says_which = ["messaging.batch.message_count", "messaging.kafka.offset"];
        assert!(says_which.iter().any(|key| poll.number(key).is_some()), "{poll:#?}");
    }
}

#[test]
#[ignore = "needs root"]
fn many_requests_under_way_unanswered_ones_and_a_refused_one() {
    let spans = spans_of(python("flight.py"));
    let sent = told(&spans, "producer", "send", "flight");
    let offsets: BTreeSet<_> = sent.iter().filter_map(|sent| sent.number("messaging.kafka.offset")).collect();
    assert_eq!(offsets, (0..100).collect(), "{sent:#?}");
    assert_eq!(sent.len(), 100);
    let is_in_flight = |pair: &[&Span]| pair[1].start_ns < pair[0].end_ns;
    let at_once = sent.windows(2).filter(|pair| is_in_flight(pair)).count();
    println!("{at_once} of {} went before the answer to the one before", sent.len());
    assert!(at_once > 0);
    check_linked(&spans, "flight", 0);
    assert_eq!(told(&spans, "producer", "send", "careless").len(), 10);
    check_linked(&spans, "careless", 10);
    let refused: Vec<_> =
        spans.iter().filter(|span| span.name == "send short" && span.status == "error").collect();
    let kinds: Vec<_> = refused.iter().map(|span| span.kind.as_str()).collect();
    assert_eq!(kinds, ["producer", "server"], "{refused:#?}");
    for span in refused {
        assert_eq!(span.text("error.type"), Some("MESSAGE_TOO_LARGE"), "{span:#?}");
    }
}

#[test]
#[ignore = "needs root"]
fn records_sent_by_clients_in_go_are_linked_to_the_polls_that_brought_them() {
    let kafka = Kafka::start().unwrap();
    let mut remora = Remora::start().unwrap();
    for client in ["franz", "sarama", "segmentio"] {
        let mut command = clients::recorded_go_kafka(client).unwrap();
        tools::printed(command.arg(kafka.address().port().to_string())).unwrap();
    }
    let mut spans = remora.finish().unwrap().spans_of_server(kafka.address()).unwrap();
    spans.sort_by_key(|span| span.start_ns);
    for topic in ["franz", "sarama-sarama", "segmentio"] {
        check_linked(&spans, topic, 0);
    }
}

#[test]
#[ignore = "needs root"]
fn records_sent_by_aiokafka_and_kafkajs_are_linked_to_the_polls_that_brought_them() {
    let kafka = Kafka::start().unwrap();
    let mut remora = Remora::start().unwrap();
    for mut command in
        [clients::recorded_python("kafka_aio.py").unwrap(), clients::recorded_node("kafka.js").unwrap()]
    {
        tools::printed(command.arg(kafka.address().port().to_string())).unwrap();
    }
    let mut spans = remora.finish().unwrap().spans_of_server(kafka.address()).unwrap();
    spans.sort_by_key(|span| span.start_ns);
    check_linked(&spans, "aio", 0);
    check_linked(&spans, "node", 1);
}
