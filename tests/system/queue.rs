//! Jobs on a Redis list: a worker's calls hang below the job, which is linked to who sent it.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::Redis;
use remora_tests::span::Span;
use remora_tests::{locate, tools, wait};

const WITHIN: Duration = Duration::from_secs(30);

fn wait_for(redis: &Redis, key: &str, value: &str) -> Result<()> {
    let has_value = || Ok((tools::redis_cli(redis.address(), &["GET", key])?.trim() == value).then_some(()));
    wait::until("the worker", WITHIN, has_value)
}

#[test]
#[ignore = "needs root"]
fn a_workers_calls_hang_below_the_job_that_is_linked_to_its_sender() {
    let redis = Redis::start().unwrap();
    let scratch = Scratch::new("worker").unwrap();
    let mut command = Command::new(locate::program("python").unwrap());
    command.arg(locate::apps().join("python/worker.py")).env("REDIS_URL", redis.url());
    let mut remora = Remora::start().unwrap();
    let mut worker = Running::start("worker", &scratch, &mut command).unwrap();
    worker
        .wait_ready(WITHIN, || Ok(tools::redis_cli(redis.address(), &["EXISTS", "ready"])?.trim() == "1"))
        .unwrap();
    for (done, name) in [("1", "apples"), ("2", "pears")] {
        let job = format!(r#"{{"counter": "{name}"}}"#);
        tools::redis_cli(redis.address(), &["LPUSH", "jobs", &job]).unwrap();
        wait_for(&redis, "done", done).unwrap();
    }
    tools::redis_cli(redis.address(), &["LPUSH", "jobs", "{}"]).unwrap();
    worker.wait(WITHIN).unwrap();
    let mut spans = remora.finish().unwrap().spans_of_server(redis.address()).unwrap();
    spans.sort_by_key(|span| span.start_ns);

    let of = |kind: &str, name: &str| -> Vec<&Span> {
        spans.iter().filter(|span| span.kind == kind && span.name == name).collect()
    };
    let (sent, works) = (of("client", "LPUSH"), of("consumer", "process jobs"));
    assert_eq!((sent.len(), works.len()), (3, 2), "the last job asked for no calls: {spans:#?}");
    for (sent, work) in sent.iter().zip(&works) {
        assert_eq!((&work.links, &work.parent_id), (&vec![sent.span_id.clone()], &None));
        assert_ne!(work.trace_id, sent.trace_id);
        assert_eq!(work.text("messaging.destination.name"), Some("jobs"));
        let calls: Vec<_> = of("client", "INCRBY")
            .into_iter()
            .filter(|call| call.parent_id.as_ref() == Some(&work.span_id))
            .collect();
        assert_eq!(calls.len(), 2);
        assert!(calls.iter().all(|call| call.trace_id == work.trace_id && call.start_ns >= work.start_ns));
        assert!(calls.iter().all(|call| call.end_ns <= work.end_ns));
    }
    let received = of("client", "BRPOP");
    assert!(
        received.iter().zip(&sent).take(2).all(|(received, sent)| received.links == [sent.span_id.clone()])
    );
}
