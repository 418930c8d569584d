//! Jobs that requests queue: what brings one to a worker is linked to what queued it, below the request.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use remora_tests::remora::Remora;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Rabbitmq, RecordedServer, Redis};
use remora_tests::span::Span;
use remora_tests::{clients, locate, tools, wait};

const WITHIN: Duration = Duration::from_secs(60);
/// How many requests are made, one after the other.
const REQUESTS: usize = 3;

/// What was told of the requests for a site, of what it queued, and of what the worker counted.
struct Told {
    requests: Vec<Span>,
    broker: Vec<Span>,
    counted: Vec<Span>,
}

/// Has a site queue jobs in a broker, which a worker takes from there. The next one is queued when the worker has counted the
/// last, and its number `is_done`.
fn queue(
    broker: (&str, SocketAddr),
    site: Command,
    worker: Command,
    is_done: impl Fn(usize) -> anyhow::Result<bool>,
) -> Told {
    let counts = Redis::start().unwrap();
    let scratch = Scratch::new("worker").unwrap();
    let within = |mut command: Command| {
        command.env("BROKER_URL", broker.0).env("REDIS_URL", counts.url());
        command
    };
    let site = RecordedServer::start("site", within(site)).unwrap();
    let mut remora = Remora::start().unwrap();
    let mut worker = Running::start("worker", &scratch, &mut within(worker)).unwrap();
    let log = scratch.path().join("worker.log");
    worker.wait_ready(WITHIN, || Ok(std::fs::read_to_string(&log)?.contains("ready"))).unwrap();
    for number in 1..=REQUESTS {
        tools::curl(&[&format!("http://{}/customer-{number}", site.address())]).unwrap();
        wait::until("the worker", WITHIN, || {
            let mailed = tools::redis_cli(counts.address(), &["GET", "mailed"])?;
            Ok((mailed.trim() == number.to_string() && is_done(number)?).then_some(()))
        })
        .unwrap();
    }
    worker.stop().unwrap();
    let bridge = remora.finish().unwrap();
    Told {
        requests: bridge.spans_of_server(site.address()).unwrap(),
        broker: bridge.spans_of_server(broker.1).unwrap(),
        counted: bridge.spans_of_server(counts.address()).unwrap(),
    }
}

fn celery() -> Command {
    // Installed programs name the folder where they were.
    let mut command = Command::new(locate::messages("python").unwrap());
    command.args(["-m", "celery", "-A", "mail_tasks", "worker", "--pool", "prefork"]);
    command.args(["--concurrency", "1", "--loglevel", "INFO"]);
    command.current_dir(locate::apps().join("messages")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn celery_site() -> Command {
    let mut command = Command::new(locate::messages("python").unwrap());
    command.arg(locate::apps().join("messages/mail_site.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Fails unless every request has queued a job by a span of its own, to which the receipt of the job is linked.
/// `sent` and `received` are the kinds and names of these spans.
fn check(told: &Told, sent: (&str, &str), received: (&str, &str)) {
    for number in 1..=REQUESTS {
        let name = format!("GET /customer-{number}");
        let request = only(&told.requests, |span| is(span, ("server", &name)));
        let sent = only(&told.requests, |span| is(span, sent) && is_below(span, &request));
        let broker = only(&told.requests, |span| is_below(span, &sent));
        assert!(is(&broker, ("server", &sent.name)), "{broker:#?}");
        let receipt = only(&told.broker, |span| is(span, received) && span.links == [sent.span_id.clone()]);
        assert_ne!(receipt.trace_id, sent.trace_id, "a trace of its own");
        assert!(receipt.end_ns >= sent.start_ns);
    }
}

fn only(spans: &[Span], is_meant: impl Fn(&Span) -> bool) -> Span {
    let meant: Vec<_> = spans.iter().filter(|span| is_meant(span)).collect();
    let [span] = meant[..] else { panic!("one of {spans:#?}: {meant:#?}") };
    span.clone()
}

fn is(span: &Span, (kind, name): (&str, &str)) -> bool {
    span.kind == kind && span.name == name
}

fn is_below(span: &Span, parent: &Span) -> bool {
    span.parent_id.as_ref() == Some(&parent.span_id) && span.trace_id == parent.trace_id
}

/// A worker process of Celery has its jobs from the main process, through a pipe: what it does for one is below that job.
/// The first job may come before the worker is known. `sent` is the kind and name of the call that queues a job.
fn check_works(told: &Told, sent: (&str, &str)) {
    let mut belong = 0;
    for number in 1..=REQUESTS {
        let name = format!("GET /customer-{number}");
        let request = only(&told.requests, |span| is(span, ("server", &name)));
        let sent = only(&told.requests, |span| is(span, sent) && is_below(span, &request));
        let is_its_job =
            |span: &&Span| is(span, ("consumer", "process celery")) && span.links == [sent.span_id.clone()];
        let jobs: Vec<_> = told.broker.iter().filter(is_its_job).collect();
        assert!(jobs.len() == 1 || number == 1 && jobs.is_empty(), "{jobs:#?}");
        for job in jobs {
            let is_its_call = |span: &&Span| is(span, ("client", "INCRBY")) && is_below(span, job);
            let calls = told.counted.iter().filter(is_its_call).count();
            assert!(calls == 1 || number == 1 && calls == 0, "{job:#?} has {calls} calls");
            belong += calls;
        }
    }
    assert!(belong >= REQUESTS - 1, "{:#?}", told.counted);
}

#[test]
#[ignore = "needs root"]
fn celery_over_redis() {
    let broker = Redis::start().unwrap();
    let told = queue((&broker.url(), broker.address()), celery_site(), celery(), |_| Ok(true));
    check(&told, ("client", "LPUSH"), ("client", "BRPOP"));
    check_works(&told, ("client", "LPUSH"));
}

#[test]
#[ignore = "needs root"]
fn celery_over_rabbitmq() {
    let broker = Rabbitmq::start().unwrap();
    let told = queue((&broker.url(), broker.address()), celery_site(), celery(), |_| Ok(true));
    check(&told, ("producer", "send celery"), ("consumer", "process celery"));
    check_works(&told, ("producer", "send celery"));
}

/// In Node a call may have no parent, but never a wrong one. The first job is sent together with the script that takes it,
/// which is too long to be looked into. A job is known by its number, which the site learns from the answer.
#[test]
#[ignore = "needs root"]
fn bullmq() {
    let broker = Redis::start().unwrap();
    let (site, worker) = ("bullmq_site.js", "bullmq_worker.js");
    let (site, worker) = (clients::node(site).unwrap(), clients::node(worker).unwrap());
    // Else it may bring the next one with the script that it sends in full the first time.
    let is_done = |number: usize| {
        let job = format!("bull:mails:{number}");
        Ok(tools::redis_cli(broker.address(), &["EXISTS", &job])?.trim() == "0")
    };
    let told = queue((&broker.url(), broker.address()), site, worker, is_done);
    let mut receipts: Vec<_> = told.broker.iter().filter(|span| !span.links.is_empty()).collect();
    receipts.sort_by_key(|span| span.start_ns);
    assert_eq!(receipts.len(), REQUESTS - 1, "{receipts:#?}");
    for (number, receipt) in (2..).zip(receipts) {
        let name = format!("GET /customer-{number}");
        let request = only(&told.requests, |span| is(span, ("server", &name)));
        let sent = only(&told.broker, |span| receipt.links == [span.span_id.clone()]);
        assert!(is(receipt, ("client", "evalsha")) && is(&sent, ("client", "evalsha")), "{receipt:#?}");
        let process = |span: &Span| span.resource.get("process.pid").cloned();
        assert!(process(receipt) != process(&sent) && process(&sent) == process(&request));
        assert!(sent.parent_id.is_none() || is_below(&sent, &request), "{sent:#?}");
        assert!(request.start_ns <= sent.start_ns && sent.start_ns <= request.end_ns);
    }
    let counted: Vec<_> = told.counted.iter().filter(|span| is(span, ("client", "incr"))).collect();
    assert_eq!(counted.len(), REQUESTS, "{:#?}", told.counted);
    assert!(counted.iter().all(|span| span.parent_id.is_none()), "whose turn it is does not tell whose job");
}

/// How many jobs wait when the workers begin. The first of a server are sent, and brought, together with the scripts.
const QUEUED: usize = 6;
const TOLD: usize = 3;

/// Both servers count the jobs of a queue of the same name, and all jobs are there before any is taken.
#[test]
#[ignore = "needs root"]
fn bullmq_on_two_servers() {
    let counts = Redis::start().unwrap();
    let scratch = Scratch::new("workers").unwrap();
    let brokers = [Redis::start().unwrap(), Redis::start().unwrap()];
    let within = |script: &str, broker: &Redis| {
        let mut command = clients::node(script).unwrap();
        command.env("BROKER_URL", broker.url()).env("REDIS_URL", counts.url());
        command
    };
    let sites = brokers
        .each_ref()
        .map(|broker| RecordedServer::start("site", within("bullmq_site.js", broker)).unwrap());
    let mut remora = Remora::start().unwrap();
    for number in 1..=QUEUED {
        for site in &sites {
            tools::curl(&[&format!("http://{}/customer-{number}", site.address())]).unwrap();
        }
    }
    let workers = ["one", "other"].iter().zip(&brokers).map(|(name, broker)| {
        Running::start(name, &scratch, &mut within("bullmq_worker.js", broker)).unwrap()
    });
    let workers: Vec<_> = workers.collect();
    wait::until("the workers", WITHIN, || {
        let mailed = tools::redis_cli(counts.address(), &["GET", "mailed"])?;
        Ok((mailed.trim() == (2 * QUEUED).to_string()).then_some(()))
    })
    .unwrap();
    for mut worker in workers {
        let _ended = worker.stop().unwrap();
    }
    let bridge = remora.finish().unwrap();
    for broker in &brokers {
        let spans = bridge.spans_of_server(broker.address()).unwrap();
        let links: Vec<_> = spans.iter().flat_map(|span| &span.links).collect();
        assert!(links.len() >= TOLD, "{links:?}");
        for link in links {
            only(&spans, |span| span.span_id == *link && span.kind == "client");
        }
    }
}
