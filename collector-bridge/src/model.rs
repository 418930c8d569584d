//! The bridge's vocabulary: what OTLP says about spans, in owned and checked form.
//!
//! `receive` makes a [`Span`], `assemble` makes a [`Trace`] of spans, `store` keeps spans and answers with them.
//! Nothing here knows about wire formats, files or time of day.

mod agent;
mod id;
mod predicate;
mod received;
mod span;
mod summary;
mod trace;
mod value;

pub use agent::{
    EVIDENCE_POSITION, EVIDENCE_WIRE, Join, MESSAGE_QUEUE_TIME, MESSAGE_RECEIVED, MESSAGE_SENT,
    PARENT_EVIDENCE, PARENT_EXPECTED, REMOTE_PARENT,
};
pub use id::{IdError, SpanId, TraceId};
pub use predicate::{AttributeMatch, AttributeOperator, SpanPredicate};
pub use received::{Answered, CLOCK_SLACK_NS, Received, Teller};
pub use span::{Event, Link, Resource, Scope, Span, SpanKind, Status, StatusCode};
pub use summary::{ServiceCount, TimeRange, TraceSummary};
pub use trace::{ClockSkew, Completeness, Trace, TraceSpan};
pub use value::{AnyValue, KeyValue, find};
