//! Jobs in RabbitMQ: what a worker does for one is linked to who sent it.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use expect_test::expect;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Rabbitmq, Redis};
use remora_tests::span::Span;
use remora_tests::{clients, locate, tools, wait};

const WITHIN: Duration = Duration::from_secs(60);

fn python(script: &str, rabbitmq: &Rabbitmq) -> Command {
    let mut command = Command::new(locate::messages("python").unwrap());
    command.arg(locate::apps().join("messages").join(script)).env("AMQP_URL", rabbitmq.url());
    command
}

fn has_value(redis: &Redis, key: &str, value: &str) -> Result<Option<()>> {
    Ok((tools::redis_cli(redis.address(), &["GET", key])?.trim() == value).then_some(()))
}

fn of<'a>(spans: &'a [Span], kind: &str, name: &str) -> Vec<&'a Span> {
    let mut found: Vec<_> = spans.iter().filter(|span| span.kind == kind && span.name == name).collect();
    found.sort_by_key(|span| span.start_ns);
    found
}

#[test]
#[ignore = "needs root"]
fn a_consumers_calls_hang_below_the_message_that_is_linked_to_its_sender() {
    /// The first message of a connection proves nothing, and two more are the proof.
    const UNPROVEN: usize = 3;
    const JOBS: usize = 5;
    let (rabbitmq, redis) = (Rabbitmq::start().unwrap(), Redis::start().unwrap());
    let scratch = Scratch::new("pika-worker").unwrap();
    let mut remora = Remora::start().unwrap();
    let mut command = python("pika_worker.py", &rabbitmq);
    let mut worker = Running::start("pika-worker", &scratch, command.env("REDIS_URL", redis.url())).unwrap();
    worker.wait_ready(WITHIN, || Ok(has_value(&redis, "ready", "1")?.is_some())).unwrap();
    let send = |body: &str| tools::printed(python("pika_sender.py", &rabbitmq).arg(body)).unwrap();
    for number in 1..=JOBS {
        send(&format!(r#"{{"counter": "job number {number}"}}"#));
        wait::until("the worker", WITHIN, || has_value(&redis, "done", &number.to_string())).unwrap();
    }
    send("{}");
    worker.wait(WITHIN).unwrap();
    let bridge = remora.finish().unwrap();
    let messages = bridge.spans_of_server(rabbitmq.address()).unwrap();
    let counts = bridge.spans_of_server(redis.address()).unwrap();

    let (sent, works) = (of(&messages, "producer", "send jobs"), of(&messages, "consumer", "process jobs"));
    assert_eq!((sent.len(), works.len()), (JOBS + 1, JOBS + 1), "{messages:#?}");
    for (sent, work) in sent.iter().zip(&works).take(JOBS) {
        assert_eq!((&work.links, &work.parent_id), (&vec![sent.span_id.clone()], &None));
        assert_eq!(work.text("messaging.destination.name"), Some("jobs"));
        assert_eq!(work.text("messaging.system"), Some("rabbitmq"));
        assert!(work.attributes.contains_key("remora.message.queue_time"), "{work:#?}");
    }
    let calls = of(&counts, "client", "INCRBY");
    assert_eq!(calls.len(), JOBS * 2);
    for (number, work) in works.iter().take(JOBS).enumerate() {
        for call in &calls[number * 2..number * 2 + 2] {
            let is_child = call.parent_id.as_ref() == Some(&work.span_id) && call.trace_id == work.trace_id;
            assert_eq!(is_child, number >= UNPROVEN, "{call:#?} of {work:#?}");
            assert!(!is_child || (call.start_ns >= work.start_ns && call.end_ns <= work.end_ns));
        }
    }
    let servers = of(&messages, "server", "send jobs");
    assert_eq!(servers.len(), JOBS + 1, "RabbitMQ's side");
    assert!(servers.iter().zip(&sent).all(|(server, sent)| server.parent_id.as_ref() == Some(&sent.span_id)));
}

/// Returns the spans of a client by name and what went wrong, with how often they came.
fn counted(spans: &[Span], kind: &str) -> String {
    let mut counts = BTreeMap::<_, usize>::new();
    // The client asks how many messages a queue has, until it has them; and may be gone before it hears of an end.
    let is_any_number = |span: &&Span| ["queue.declare orders", "basic.cancel"].contains(&span.name.as_str());
    for span in spans.iter().filter(|span| span.kind == kind && !is_any_number(span)) {
        let error = span.text("error.type").map_or_else(String::new, |error| format!(": {error}"));
        *counts.entry(format!("{}{error}", span.name)).or_default() += 1;
    }
    counts.iter().fold(String::new(), |text, (name, count)| text + &format!("{count} {name}\n"))
}

/// Messages that are fetched, rejected, given back, unroutable, refused by a full queue; transactions; several channels.
#[test]
#[ignore = "needs root"]
fn everything_that_pika_says() {
    let rabbitmq = Rabbitmq::start().unwrap();
    let mut remora = Remora::start().unwrap();
    let mut client = clients::recorded_python("amqp_pika.py").unwrap();
    tools::printed(client.arg(rabbitmq.address().port().to_string())).unwrap();
    let spans = remora.finish().unwrap().spans_of_server(rabbitmq.address()).unwrap();
    expect![[r#"
        2 send
        2 send confirmed
        1 send full: basic.nack
        1 send missing:key: not-found
        1 send nobody: no-route
        2 send orders
        1 send shop:order.*.paid
        1 send shop:order.created
    "#]]
    .assert_eq(&counted(&spans, "producer"));
    expect![[r#"
        1 basic.consume
        1 basic.consume orders
        1 basic.qos
        1 basic.recover
        3 channel.close
        5 channel.open
        1 confirm.select
        3 connection.close
        3 connection.open
        1 connection.open: access-refused
        1 exchange.declare shop
        1 exchange.delete shop
        1 queue.bind orders
        1 queue.declare
        1 queue.declare confirmed
        1 queue.declare full
        1 queue.declare missing: not-found
        1 queue.delete
        1 queue.delete orders
        1 queue.purge orders
        1 queue.unbind orders
        2 receive confirmed
        2 receive orders
        1 tx.commit
        1 tx.rollback
        1 tx.select
    "#]]
    .assert_eq(&counted(&spans, "client"));
    expect![[r#"
        1 process
        2 process orders
        1 process orders: basic.reject
        1 process shop:order.*.paid:orders
    "#]]
    .assert_eq(&counted(&spans, "consumer"));
    let by_id: BTreeMap<_, _> = spans.iter().map(|span| (&span.span_id, span)).collect();
    for server in spans.iter().filter(|span| span.kind == "server") {
        let caller = server.parent_id.as_ref().and_then(|id| by_id.get(id));
        assert_eq!(caller.map(|caller| &caller.name), Some(&server.name), "{server:#?}");
    }
}
