//! What comes out of the engine.

use std::fmt;

use crate::event::ConnectionId;
use crate::semconv::Attributes;

/// Identifier of a trace (W3C `trace-id`); never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Identifier of a span (W3C `parent-id`); never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl std::fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// One side of one exchange, or work that a message asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace_id: TraceId,
    /// This span.
    pub span_id: SpanId,
    /// The span that caused it, and why we believe so.
    pub parent: Option<Parent>,
    /// `tracestate` as it was received; empty where none was.
    pub trace_state: String,
    /// W3C trace flags.
    pub flags: u8,
    /// Which side.
    pub kind: SpanKind,
    /// Low-cardinality name.
    pub name: String,
    /// First byte of the request, `CLOCK_MONOTONIC` nanoseconds.
    pub started_at_ns: u64,
    /// Last byte of the response, likewise; never before the start.
    pub ended_at_ns: u64,
    /// Attributes by semantic conventions.
    pub attributes: Attributes,
    /// How it went.
    pub status: Status,
    /// Other spans that may be related.
    pub links: Vec<Link>,
    /// Name of the protocol in the registry.
    pub protocol: &'static str,
    /// The observed process.
    pub tgid: u32,
    /// The thread that made the request (client) or wrote the response (server).
    pub tid: u32,
    /// The connection it was seen on.
    pub connection: ConnectionId,
}

/// Which side of an exchange a span shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpanKind {
    /// The side that sent the request.
    Client,
    /// The side that answered it.
    Server,
    /// The side that handed messages to a broker.
    Producer,
    /// Neither: the work that a message asked for, or its receipt.
    Consumer,
}

/// How an exchange went, in OTLP's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Nothing to say.
    #[default]
    Unset,
    /// It failed; the text may be empty.
    Error(String),
}

/// The parent of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Its id.
    pub span_id: SpanId,
    /// It was observed by another agent, or not at all.
    pub is_remote: bool,
    /// Why it is believed to be the parent.
    pub evidence: Evidence,
}

/// Why a parent is believed to be one, strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A trace context in the request.
    Wire,
    /// The two ends of the same exchange, by the positions of its bytes.
    Position,
    /// The same goroutine, or one that it started.
    Goroutine,
    /// The same task of a runtime, or one that it started.
    Task,
    /// The same thread, which serves one request at a time.
    Thread,
    /// The same turn of an event loop.
    Turn,
    /// A proxy passed it on: no other request that it had asked for the same.
    Content,
}

impl Evidence {
    /// Returns the value of `remora.parent.evidence`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Evidence::Wire => "wire",
            Evidence::Position => "position",
            Evidence::Goroutine => "goroutine",
            Evidence::Task => "task",
            Evidence::Thread => "thread",
            Evidence::Turn => "turn",
            Evidence::Content => "content",
        }
    }
}

/// A span that may be related, but not surely enough to be the parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// Its trace.
    pub trace_id: TraceId,
    /// Its id.
    pub span_id: SpanId,
    /// `remora.link.*`.
    pub attributes: Attributes,
}
