//! Sums of all spans by minute: rate, errors and durations of each operation, groups of errors, and who calls whom.
//!
//! Takes each accepted [`Span`] once and makes [`Rollups`], which the store keeps beside the spans. Knows nothing of
//! files, time of day or the API. The hard problem: the two sides of a call come in any order, in different segments,
//! or not at all; and every sum must be the same whichever order it was made in.

mod capped;
mod codec;
mod map;
mod pairing;
mod peer;
mod service;
mod sketch;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{AnyValue, Event, Span, SpanKind, TimeRange, TraceId, find};

pub use codec::RollupError;
pub use map::{Edge, Node, NodeType, ServiceMap};
pub use pairing::{HALF_WAIT_NS, MAX_PENDING_CALLS};
pub use peer::{ConnectionType, MAX_PEER_NAME_BYTES};
pub use service::{
    CallStats, Failure, FailureStats, MAX_CALLEES, MAX_EXAMPLES, MAX_FAILURES, MAX_OPERATIONS, Red,
};
pub use sketch::{LatencySketch, MAX_BUCKETS, MAX_SCALE};

use capped::Capped;
use pairing::{ClientHalf, Pairing, ServerHalf, Settled};
use peer::{connection_of, is_known, peer_of, shortened};
use service::{Call, ServiceMinute, Side};

/// Width of a sum in nanoseconds.
pub const MINUTE_NS: u64 = 60_000_000_000;
/// Minutes in one set of rollups; the oldest go first.
pub const MAX_MINUTES: usize = 31 * 24 * 60;
/// Services in a minute; the rest is summed as [`OVERFLOW_NAME`].
pub const MAX_SERVICES: usize = 1_000;
/// Nanoseconds that a span may start ahead of its arrival and be counted when it says; clocks differ. What starts
/// later counts as if it started when it arrived: a wrong clock must not push real minutes out.
pub const MAX_AHEAD_NS: u64 = 3_600_000_000_000;
/// Stands for everything that had no place below a limit.
pub const OVERFLOW_NAME: &str = "_other";
/// Bytes of a service's or operation's name; the rest is cut.
pub const MAX_NAME_BYTES: usize = 256;

/// Sums over spans, mergeable in any order.
///
/// The order matters in two cases only: where more than one server span answers the same client span (one of them is
/// paired, it does not matter for the counts which), and where [`MAX_PENDING_CALLS`] is reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rollups {
    minutes: BTreeMap<u64, Capped<Arc<str>, ServiceMinute, MAX_SERVICES>>,
    pairing: Pairing,
    counters: Counters,
}

/// What the rollups could not take in full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Minutes that fell out because [`MAX_MINUTES`] was reached.
    pub minutes_dropped: u64,
    /// Sides of calls given up early because [`MAX_PENDING_CALLS`] was reached.
    pub pending_shed: u64,
    /// Server spans whose parent was not seen as a client span in time.
    pub servers_unpaired: u64,
    /// Sides of calls with the ids of one that already waited.
    pub halves_repeated: u64,
}

impl Rollups {
    /// Adds one span. Cost: a few map look-ups.
    pub fn record_span(&mut self, span: &Span) {
        self.record(span, span.start_unix_ns, span.end_unix_ns);
    }

    /// Adds one span that arrived at a time; one that starts more than [`MAX_AHEAD_NS`] later than that is counted in
    /// the minute of its arrival.
    pub fn record_arrived(&mut self, span: &Span, arrived_unix_ns: u64) {
        let latest = arrived_unix_ns.saturating_add(MAX_AHEAD_NS);
        let started = if span.start_unix_ns > latest { arrived_unix_ns } else { span.start_unix_ns };
        self.record(span, started, span.end_unix_ns.min(latest));
    }

    fn record(&mut self, span: &Span, started_unix_ns: u64, ended_unix_ns: u64) {
        let minute = started_unix_ns / MINUTE_NS;
        let side = Side { duration_ns: span.duration_ns(), is_error: span.is_error() };
        let name = cut(span.service_name());
        let sums = service_of(&mut self.minutes, minute, name);
        let operation = sums.operations.entry(cut(&span.name), || shortened_name(&span.name));
        operation.kind(span.kind).record(side.duration_ns, side.is_error);
        if side.is_error {
            let stats = FailureStats::one(started_unix_ns, span.trace_id);
            sums.failures.add(&failure_of(span), &stats);
        }
        match span.kind {
            SpanKind::Client | SpanKind::Producer => self.record_client(span, (minute, ended_unix_ns), side),
            SpanKind::Server | SpanKind::Consumer => self.record_server(span, (minute, ended_unix_ns), side),
            _ => {}
        }
        self.trim();
    }

    /// Adds all that another one has counted, and joins the calls of which each has one side.
    pub fn merge(&mut self, other: &Self) {
        self.merge_known_as(other, &|trace_id| trace_id);
    }

    /// [`merge`](Self::merge), where `canonical` says under which ids the other one's traces are known to this one.
    pub fn merge_known_as(&mut self, other: &Self, canonical: &dyn Fn(TraceId) -> TraceId) {
        for (minute, services) in &other.minutes {
            self.minutes.entry(*minute).or_default().merge(services);
        }
        self.counters.merge(&other.counters);
        let settled = self.pairing.merge(&other.pairing, canonical, &mut self.counters);
        self.settle(settled);
        self.trim();
    }

    /// Gives the traces that are named as examples the ids under which they are known.
    pub fn rename_traces(&mut self, canonical: &dyn Fn(TraceId) -> TraceId) {
        for services in self.minutes.values_mut() {
            for sums in services.all_mut() {
                sums.failures.all_mut().for_each(|failure| failure.rename_traces(canonical));
            }
        }
    }

    /// Keeps the minutes that lie in the range at least in part.
    pub fn restrict(&mut self, range: TimeRange) {
        let overlaps = |minute: u64| {
            let start = minute.saturating_mul(MINUTE_NS);
            range.overlaps(start, start.saturating_add(MINUTE_NS - 1))
        };
        self.minutes.retain(|minute, _| overlaps(*minute));
        self.pairing.retain(overlaps);
    }

    /// Returns the bytes to keep beside the spans. Sides of calls that wait longer than [`HALF_WAIT_NS`] are settled
    /// in them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut sealed = self.clone();
        let settled = sealed.pairing.expire(&mut sealed.counters);
        sealed.settle(settled);
        codec::encode(&sealed)
    }

    /// Returns what [`encode`](Self::encode) has written.
    ///
    /// # Errors
    /// When the bytes are not such rollups.
    pub fn decode(bytes: &[u8]) -> Result<Self, RollupError> {
        codec::decode(bytes)
    }

    /// Returns what could not be taken in full.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Returns the sums of all operations, by minute, service, name and kind; what had no place comes as
    /// [`OVERFLOW_NAME`], after the others.
    pub fn operations(&self) -> impl Iterator<Item = OperationMinute<'_>> {
        self.services().flat_map(|(minute_unix_ns, service, sums)| {
            let kept = sums.operations.kept().map(|(name, operation)| (&**name, operation));
            let all = kept.chain(sums.operations.overflow().map(|rest| (OVERFLOW_NAME, rest)));
            all.flat_map(move |(name, operation)| {
                operation.by_kind.iter().map(move |(kind, red)| OperationMinute {
                    minute_unix_ns,
                    service,
                    name,
                    kind: *kind,
                    red,
                })
            })
        })
    }

    /// Returns the groups of errors by minute and service. What had no place comes without a group.
    pub fn failures(&self) -> impl Iterator<Item = FailureMinute<'_>> {
        self.services().flat_map(|(minute_unix_ns, service, sums)| {
            let kept = sums.failures.kept().map(|(failure, stats)| (Some(failure), stats));
            let all = kept.chain(sums.failures.overflow().map(|rest| (None, rest)));
            all.map(move |(failure, stats)| FailureMinute { minute_unix_ns, service, failure, stats })
        })
    }

    /// Returns who calls whom. Calls of which only the caller's side is known point to what the caller calls it; but
    /// where that caller's calls to the same peer have been answered by exactly one service, they belong to it.
    #[must_use]
    pub fn service_map(&self) -> ServiceMap {
        map::build(self)
    }

    fn services(&self) -> impl Iterator<Item = (u64, &str, &ServiceMinute)> {
        self.minutes.iter().flat_map(|(minute, services)| {
            let kept = services.kept().map(|(name, sums)| (&**name, sums));
            let all = kept.chain(services.overflow().map(|rest| (OVERFLOW_NAME, rest)));
            all.map(move |(name, sums)| (minute.saturating_mul(MINUTE_NS), name, sums))
        })
    }

    fn record_client(&mut self, span: &Span, (minute, ended_unix_ns): (u64, u64), side: Side) {
        let half = ClientHalf {
            ended_unix_ns,
            minute,
            service: cut(span.service_name()).into(),
            side,
            peer: peer_of(span),
        };
        let settled = self.pairing.add_client((Some(span.trace_id), span.span_id), half, &mut self.counters);
        self.settle(settled);
    }

    fn record_server(&mut self, span: &Span, (minute, ended_unix_ns): (u64, u64), side: Side) {
        let sender = (span.kind == SpanKind::Consumer).then(|| peer_of(span));
        let half = ServerHalf {
            ended_unix_ns,
            minute,
            service: cut(span.service_name()).into(),
            side,
            connection: connection_of(span),
            received_from: sender.filter(is_known),
        };
        let of_trace = |parent| (Some(span.trace_id), parent);
        let expected = span.expected_client().map(|client| (None, client));
        let settled = match expected.or_else(|| span.parent_span_id.map(of_trace)) {
            Some(id) => self.pairing.add_server(id, half, &mut self.counters),
            None => half.give_up(&mut self.counters).into_iter().collect(),
        };
        self.settle(settled);
    }

    fn settle(&mut self, settled: Vec<Settled>) {
        for call in settled {
            match call {
                Settled::Paired(client, server) => {
                    let key = Call {
                        callee: Some(server.service),
                        connection: client.peer.connection.max(server.connection),
                        peer: client.peer,
                    };
                    let sums = service_of(&mut self.minutes, client.minute, &client.service);
                    sums.calls.entry(&key, || key.clone()).record(Some(client.side), Some(server.side));
                }
                Settled::ClientOnly(client) => {
                    let key = Call { callee: None, connection: client.peer.connection, peer: client.peer };
                    let sums = service_of(&mut self.minutes, client.minute, &client.service);
                    sums.calls.entry(&key, || key.clone()).record(Some(client.side), None);
                }
                Settled::Received(server, peer) => {
                    let sums = service_of(&mut self.minutes, server.minute, &server.service);
                    sums.received.entry(&peer, || peer.clone()).record(None, Some(server.side));
                }
            }
        }
    }

    fn trim(&mut self) {
        while self.minutes.len() > MAX_MINUTES {
            self.minutes.pop_first();
            self.counters.minutes_dropped = self.counters.minutes_dropped.saturating_add(1);
        }
    }
}

impl Counters {
    fn merge(&mut self, other: &Self) {
        self.minutes_dropped = self.minutes_dropped.saturating_add(other.minutes_dropped);
        self.pending_shed = self.pending_shed.saturating_add(other.pending_shed);
        self.servers_unpaired = self.servers_unpaired.saturating_add(other.servers_unpaired);
        self.halves_repeated = self.halves_repeated.saturating_add(other.halves_repeated);
    }
}

/// One operation in one minute.
#[derive(Clone, Copy, Debug)]
pub struct OperationMinute<'a> {
    /// Start of the minute.
    pub minute_unix_ns: u64,
    /// The service.
    pub service: &'a str,
    /// Name of the spans.
    pub name: &'a str,
    /// Kind of the spans.
    pub kind: SpanKind,
    /// Their sums.
    pub red: &'a Red,
}

/// One group of errors in one minute.
#[derive(Clone, Copy, Debug)]
pub struct FailureMinute<'a> {
    /// Start of the minute.
    pub minute_unix_ns: u64,
    /// The service.
    pub service: &'a str,
    /// What the errors have in common; none for those that had no place.
    pub failure: Option<&'a Failure>,
    /// How often and when.
    pub stats: &'a FailureStats,
}

type Minutes = BTreeMap<u64, Capped<Arc<str>, ServiceMinute, MAX_SERVICES>>;

fn service_of<'a>(minutes: &'a mut Minutes, minute: u64, name: &str) -> &'a mut ServiceMinute {
    minutes.entry(minute).or_default().entry(name, || name.into())
}

fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or(name)
}

/// Shares the span's own name unless it must be cut.
fn shortened_name(name: &Arc<str>) -> Arc<str> {
    if name.len() <= MAX_NAME_BYTES { Arc::clone(name) } else { cut(name).into() }
}

/// `error.type`, else the exception's type, else the code that the protocol answered with.
fn failure_of(span: &Span) -> Failure {
    let exception = span.events.iter().rev().find(|event| event.name == "exception");
    let of_span = |key: &str| find(&span.attributes, key);
    let of_exception = |key: &str| exception.and_then(|event: &Event| find(&event.attributes, key));
    let error_type = of_span("error.type")
        .or_else(|| of_exception("exception.type"))
        .or_else(|| of_span("http.response.status_code"))
        .or_else(|| of_span("http.status_code"))
        .or_else(|| of_span("db.response.status_code"))
        .or_else(|| of_span("rpc.grpc.status_code"));
    let message = match &*span.status.message {
        "" => of_exception("exception.message").map(AnyValue::to_string),
        message => Some(message.to_owned()),
    };
    Failure {
        operation: shortened_name(&span.name),
        kind: span.kind,
        error_type: error_type.map(|value| shortened(&value.to_string())),
        message: message.map(|message| shortened(&message)),
    }
}

#[cfg(test)]
mod tests;
