//! Jobs in RabbitMQ: what a worker does for one is linked to who sent it.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Rabbitmq, Redis};
use remora_tests::span::Span;
use remora_tests::{locate, tools, wait};

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
