//! The exporter against real receivers in this process: they fail, delay, refuse, take parts, and go away.

mod failures;
mod grpc;
mod http;
mod receiver;
mod spooling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use remora_engine::event::ConnectionId;
use remora_engine::span::{Evidence, Parent, Span, SpanId, SpanKind, Status, TraceId};

use super::*;
use crate::enrich::{Host, Resource, ResourceSpan};
use crate::health::Ledger;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns a span that carries its number in its name.
fn span(number: u32) -> ResourceSpan {
    span_of(
        number,
        &Arc::new(Resource::unknown(1, &Host::default())),
        "http",
    )
}

fn span_of(number: u32, resource: &Arc<Resource>, protocol: &'static str) -> ResourceSpan {
    let mut span_id = [0; 8];
    span_id[4..].copy_from_slice(&(number + 1).to_be_bytes());
    let span = Span {
        trace_id: TraceId([7; 16]),
        span_id: SpanId(span_id),
        parent: Some(Parent {
            span_id: SpanId([9; 8]),
            is_remote: true,
            evidence: Evidence::Wire,
        }),
        trace_state: "a=b".to_owned(),
        flags: 1,
        kind: SpanKind::Server,
        name: number.to_string(),
        started_at_ns: 10,
        ended_at_ns: 30,
        attributes: vec![("http.response.status_code".into(), 500_i64.into())],
        status: Status::Error("oops".to_owned()),
        links: Vec::new(),
        protocol,
        tgid: 1,
        tid: 1,
        connection: ConnectionId { sock: 1, inode: 1 },
    };
    let started_at_unix_ns = 1_700_000_000_000_000_000;
    ResourceSpan {
        span,
        resource: resource.clone(),
        started_at_unix_ns,
        ended_at_unix_ns: started_at_unix_ns + 20,
    }
}

/// Returns settings with short times for a receiver.
fn settings(url: &str) -> Settings {
    Settings {
        batch_delay: Duration::from_millis(20),
        backoff: Backoff {
            first: Duration::from_millis(10),
            longest: Duration::from_millis(50),
        },
        timeout: Duration::from_secs(5),
        ..Settings::new(Endpoint::parse(url, None).unwrap())
    }
}

/// Waits until `is_true`, and fails the test with `what` if that takes too long.
fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn loss(ledger: &Ledger, reason: &'static str) -> u64 {
    ledger.loss("export", reason).get()
}

fn exported(ledger: &Ledger) -> u64 {
    ledger.counter("remora_agent_exported_spans_total").get()
}
