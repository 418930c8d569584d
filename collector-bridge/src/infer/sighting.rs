//! What timing wants to know of a span.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::model::{AnyValue, Resource, Span, SpanId, SpanKind, TraceId, find};

/// Which span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanAt {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span.
    pub span_id: SpanId,
}

/// A request that a process answered, or a call that it made, as the agent saw it.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The span.
    pub at: SpanAt,
    /// Start, nanoseconds since 1970 (UTC).
    pub start_unix_ns: u64,
    /// End, likewise; never before the start.
    pub end_unix_ns: u64,
    /// Its name.
    pub name: Arc<str>,
    /// The process.
    pub resource: Arc<Resource>,
    pub(super) role: Role,
    /// What is alike has the same habits: the name, and for calls whom they ask.
    pub(super) label: String,
}

/// Which side of an exchange the process was on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Role {
    /// It was asked.
    Request,
    /// It asked, for this span if that is known.
    Call { parent: Option<SpanId> },
}

impl Sighting {
    /// Returns what timing wants to know of a span; none where it is not the agent's, or of another kind.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        if !span.is_from_agent() {
            return None;
        }
        let (role, label) = match span.kind {
            SpanKind::Server | SpanKind::Consumer => (Role::Request, span.name.to_string()),
            SpanKind::Client | SpanKind::Producer => {
                (Role::Call { parent: span.parent_span_id }, call_label(span))
            }
            _ => return None,
        };
        Some(Self {
            at: SpanAt { trace_id: span.trace_id, span_id: span.span_id },
            start_unix_ns: span.start_unix_ns,
            end_unix_ns: span.end_unix_ns.max(span.start_unix_ns),
            name: Arc::clone(&span.name),
            resource: Arc::clone(&span.resource),
            role,
            label,
        })
    }

    /// Returns whether it is a call of which nobody knows for whom it was made.
    #[must_use]
    pub fn is_orphan(&self) -> bool {
        self.role == Role::Call { parent: None }
    }

    /// Returns whether it is a request, which may have made calls.
    #[must_use]
    pub fn is_request(&self) -> bool {
        self.role == Role::Request
    }

    pub(super) fn order(&self) -> (u64, u64, SpanAt, Role) {
        (self.start_unix_ns, self.end_unix_ns, self.at, self.role)
    }
}

/// Name and address: the same operation on two servers is two habits.
fn call_label(span: &Span) -> String {
    let mut label = span.name.to_string();
    for key in ["server.address", "server.port"] {
        // Writing to a String cannot fail.
        let _ = write!(label, "\n{}", find(&span.attributes, key).unwrap_or(&AnyValue::Empty));
    }
    label
}
