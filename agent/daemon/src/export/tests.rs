//! The exporter against real receivers in this process: they fail, delay, refuse, take parts, and go away.

mod failures;
mod grpc;
mod http;
mod receiver;
mod spooling;
mod tls;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::sample::{span, span_of};
use super::*;
use crate::enrich::{Host, Resource};
use crate::health::Ledger;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns settings with short times for a receiver.
fn settings(url: &str) -> Settings {
    Settings {
        batch_delay: Duration::from_millis(20),
        backoff: Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(50) },
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
