//! A request as whoever answers it tells of it: what the agent's server span and an SDK's have in common if they are of
//! the same request.
//!
//! An SDK's span that has no parent begins a trace of its own, whatever the agent knows of its caller. That both are of
//! one request follows from the connection: the same service says it got the same from the same address and port, and on
//! a connection of HTTP/1 requests follow one another, so that the time tells which of them it is.

use std::net::IpAddr;
use std::sync::Arc;

use super::value::find;
use super::{AnyValue, KeyValue, Resource, Span, SpanId, SpanKind, TraceId};

/// How far two clocks of one host may be apart: SDKs reckon on from a reading of the clock at their start.
pub const CLOCK_SLACK_NS: u64 = 1_000_000;

/// Pairs of attributes that name the other end of a connection, in current and in former conventions.
const PEERS: [(&str, &str); 4] = [
    ("network.peer.address", "network.peer.port"),
    ("net.sock.peer.addr", "net.sock.peer.port"),
    ("net.peer.ip", "net.peer.port"),
    ("client.address", "client.port"),
];
const METHODS: [&str; 2] = ["http.request.method", "http.method"];
/// With a query behind it, or without.
const PATHS: [&str; 2] = ["url.path", "http.target"];
const STATUSES: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// What only one process, container or host has: equal where both senders say it.
const ORIGINS: [&str; 3] = ["k8s.pod.uid", "container.id", "host.id"];

/// What was asked of whom, over which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Received<'a> {
    service: &'a str,
    peer: (IpAddr, u16),
    method: &'a str,
    path: &'a str,
}

/// Who tells of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// The agent.
    Agent,
    /// An SDK that was told no parent.
    Sdk,
}

/// When it was answered and how.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Trace of the span.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
    /// Start of the span, nanoseconds since 1970 (UTC).
    pub start_unix_ns: u64,
    /// End, likewise.
    pub end_unix_ns: u64,
    status: Option<i64>,
    resource: Arc<Resource>,
}

impl Span {
    /// Returns the request that a server span is of and who tells of it; none where it cannot be, or need not be, told
    /// from others: a request that names a trace itself, one that shares its connection with others, one without the
    /// other end's port.
    #[must_use]
    pub fn received(&self) -> Option<(Teller, Received<'_>)> {
        if self.kind != SpanKind::Server {
            return None;
        }
        let teller = if self.is_from_agent() { Teller::Agent } else { Teller::Sdk };
        let is_wanted = match teller {
            Teller::Agent => !self.has_wire_parent() && is_alone_on_connection(&self.attributes),
            // Links of a span without a parent name the one that it was not to have.
            Teller::Sdk => self.parent_span_id.is_none() && self.links.is_empty(),
        };
        if !is_wanted {
            return None;
        }
        let path = first(&self.attributes, &PATHS)?.as_str()?;
        let received = Received {
            service: self.service_name(),
            peer: PEERS.iter().find_map(|pair| peer(&self.attributes, *pair))?,
            method: first(&self.attributes, &METHODS)?.as_str()?,
            path: path.split_once('?').map_or(path, |(path, _)| path),
        };
        Some((teller, received))
    }

    /// Returns when the request of a server span was answered and how.
    #[must_use]
    pub fn answered(&self) -> Answered {
        Answered {
            trace_id: self.trace_id,
            span_id: self.span_id,
            start_unix_ns: self.start_unix_ns,
            end_unix_ns: self.end_unix_ns,
            status: first(&self.attributes, &STATUSES).and_then(AnyValue::as_int),
            resource: Arc::clone(&self.resource),
        }
    }
}

impl Answered {
    /// Returns whether an SDK's span can be of the same request as this one of the agent. The agent's lasts from the
    /// first byte that was read to the last one that was written; an SDK's ends when its thread gets to say so. What
    /// begins at the very end is of the next request, by clocks that differ, unless most of it lies within.
    #[must_use]
    pub fn holds(&self, sdk: &Self) -> bool {
        let is_after_start = sdk.start_unix_ns.saturating_add(CLOCK_SLACK_NS) >= self.start_unix_ns;
        let is_before_end = sdk.start_unix_ns.saturating_add(CLOCK_SLACK_NS) <= self.end_unix_ns;
        let middle = sdk.start_unix_ns.midpoint(sdk.end_unix_ns.max(sdk.start_unix_ns));
        let is_within = is_after_start && (is_before_end || middle <= self.end_unix_ns);
        is_within && !differ(self.status, sdk.status) && !self.is_elsewhere(sdk)
    }

    /// Returns whether both are the same span, which was sent twice.
    #[must_use]
    pub fn is_same_span(&self, other: &Self) -> bool {
        (self.trace_id, self.span_id) == (other.trace_id, other.span_id)
    }

    fn is_elsewhere(&self, other: &Self) -> bool {
        let origin = |of: &Self, key| find(&of.resource.attributes, key).map(AnyValue::to_string);
        ORIGINS.iter().any(|key| differ(origin(self, key), origin(other, key)))
    }
}

fn differ<T: PartialEq>(one: Option<T>, other: Option<T>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// In HTTP/2 and HTTP/3 several requests share a connection at a time.
fn is_alone_on_connection(attributes: &[KeyValue]) -> bool {
    let version = find(attributes, "network.protocol.version").and_then(AnyValue::as_str);
    version.is_some_and(|version| version.starts_with("1."))
}

fn peer(attributes: &[KeyValue], (address, port): (&str, &str)) -> Option<(IpAddr, u16)> {
    let address: IpAddr = find(attributes, address)?.as_str()?.parse().ok()?;
    let port = u16::try_from(find(attributes, port)?.as_int()?).ok()?;
    Some((address.to_canonical(), port))
}

fn first<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<&'a AnyValue> {
    keys.iter().find_map(|key| find(attributes, key))
}
