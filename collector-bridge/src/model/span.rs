//! One span and what belongs to it.

use std::sync::Arc;

use super::value::find;
use super::{KeyValue, SpanId, TraceId};

/// One operation, as OTLP's `Span` describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Its own id.
    pub span_id: SpanId,
    /// The span that caused it; none for a root.
    pub parent_span_id: Option<SpanId>,
    /// W3C `tracestate`, empty if none was sent.
    pub trace_state: String,
    /// OTLP flags: W3C trace flags in the low eight bits, `is_remote` in bits 8 and 9.
    pub flags: u32,
    /// Low-cardinality name; shared, because few names fill many spans.
    pub name: Arc<str>,
    /// Its role.
    pub kind: SpanKind,
    /// Start, nanoseconds since 1970 (UTC).
    pub start_unix_ns: u64,
    /// End, likewise; the sender may have put it before the start.
    pub end_unix_ns: u64,
    /// Attributes, in the order in which they were sent.
    pub attributes: Vec<KeyValue>,
    /// How it went.
    pub status: Status,
    /// What happened in it.
    pub events: Vec<Event>,
    /// Related spans.
    pub links: Vec<Link>,
    /// What made it.
    pub resource: Arc<Resource>,
    /// The library that made it.
    pub scope: Arc<Scope>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Events that the sender left out.
    pub dropped_events_count: u32,
    /// Links that the sender left out.
    pub dropped_links_count: u32,
}

impl Span {
    /// Returns the duration in nanoseconds; 0 if the end is before the start.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.end_unix_ns.saturating_sub(self.start_unix_ns)
    }

    /// Returns the name of the service that made it.
    #[must_use]
    pub fn service_name(&self) -> &str {
        self.resource.service_name()
    }

    /// Returns whether its status is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.status.code == StatusCode::Error
    }

    /// Returns the bytes of memory that the span takes, without what it shares; an estimate for budgets.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let attributes = attributes_bytes(&self.attributes);
        let events: usize = self.events.iter().map(Event::memory_bytes).sum();
        let links: usize = self.links.iter().map(Link::memory_bytes).sum();
        let texts = self.trace_state.capacity() + self.status.message.capacity();
        size_of::<Self>() + attributes + events + links + texts
    }
}

fn attributes_bytes(attributes: &[KeyValue]) -> usize {
    attributes.iter().map(|attribute| size_of::<KeyValue>() + attribute.value.heap_bytes()).sum()
}

/// Role of a span; a number that OTLP does not define is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanKind {
    /// Not said.
    #[default]
    Unspecified,
    /// Inside one service.
    Internal,
    /// Answers a request.
    Server,
    /// Sends a request.
    Client,
    /// Sends a message.
    Producer,
    /// Handles a message.
    Consumer,
    /// A value outside the specification.
    Other(i32),
}

impl SpanKind {
    /// Returns the kind for OTLP's number.
    #[must_use]
    pub fn from_otlp(number: i32) -> Self {
        match number {
            0 => SpanKind::Unspecified,
            1 => SpanKind::Internal,
            2 => SpanKind::Server,
            3 => SpanKind::Client,
            4 => SpanKind::Producer,
            5 => SpanKind::Consumer,
            other => SpanKind::Other(other),
        }
    }

    /// Returns whether the span is the side of an exchange that sent the request.
    #[must_use]
    pub fn is_caller(self) -> bool {
        matches!(self, SpanKind::Client | SpanKind::Producer)
    }

    /// Returns OTLP's number.
    #[must_use]
    pub fn to_otlp(self) -> i32 {
        match self {
            SpanKind::Unspecified => 0,
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
            SpanKind::Other(other) => other,
        }
    }
}

/// How a span ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// The verdict.
    pub code: StatusCode,
    /// Words of the sender, mostly empty.
    pub message: String,
}

/// The verdict of a span; a number that OTLP does not define is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusCode {
    /// Not said.
    #[default]
    Unset,
    /// Declared good.
    Ok,
    /// Failed.
    Error,
    /// A value outside the specification.
    Other(i32),
}

impl StatusCode {
    /// Returns the code for OTLP's number.
    #[must_use]
    pub fn from_otlp(number: i32) -> Self {
        match number {
            0 => StatusCode::Unset,
            1 => StatusCode::Ok,
            2 => StatusCode::Error,
            other => StatusCode::Other(other),
        }
    }

    /// Returns OTLP's number.
    #[must_use]
    pub fn to_otlp(self) -> i32 {
        match self {
            StatusCode::Unset => 0,
            StatusCode::Ok => 1,
            StatusCode::Error => 2,
            StatusCode::Other(other) => other,
        }
    }
}

/// Something that happened in a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, nanoseconds since 1970 (UTC).
    pub time_unix_ns: u64,
    /// What.
    pub name: String,
    /// Facts about it.
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
}

impl Event {
    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.name.capacity() + attributes_bytes(&self.attributes)
    }
}

/// A related span. Its ids are kept as they were sent, so they may be invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The other span's trace; 16 bytes if valid.
    pub trace_id: Vec<u8>,
    /// The other span; 8 bytes if valid.
    pub span_id: Vec<u8>,
    /// W3C `tracestate` of the other span.
    pub trace_state: String,
    /// Facts about the relation.
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// OTLP flags, as in [`Span::flags`].
    pub flags: u32,
}

impl Link {
    fn memory_bytes(&self) -> usize {
        let texts = self.trace_id.capacity() + self.span_id.capacity() + self.trace_state.capacity();
        size_of::<Self>() + texts + attributes_bytes(&self.attributes)
    }
}

/// What makes spans: a process, a container, a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// Attributes, in the order in which they were sent.
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Schema of the attributes, empty if not said.
    pub schema_url: String,
}

impl Resource {
    /// Returns `service.name`, or `unknown_service` where it is missing, empty or no text.
    #[must_use]
    pub fn service_name(&self) -> &str {
        let name = find(&self.attributes, "service.name").and_then(super::AnyValue::as_str);
        name.filter(|name| !name.is_empty()).unwrap_or("unknown_service")
    }
}

/// The library that makes spans.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Facts about it.
    pub attributes: Vec<KeyValue>,
    /// Attributes that the sender left out.
    pub dropped_attributes_count: u32,
    /// Schema of the spans, empty if not said.
    pub schema_url: String,
}
