//! What the agent says about its spans beyond OpenTelemetry's conventions.

use super::value::find;
use super::{AnyValue, KeyValue, Span, SpanId, SpanKind, TraceId};

/// Attribute of a server span: the client's span of the same request, should anybody trace that side.
pub const PARENT_EXPECTED: &str = "remora.parent.expected";
/// Attribute of a client span: the trace that the agent named in the request it wrote a context into, before it knew
/// what the request belongs to.
const TRACE_ALIAS: &str = "remora.trace.alias";
/// Attribute of a span that handed messages over: hashes which name them.
pub const MESSAGE_SENT: &str = "remora.message.sent";
/// Seconds that the message which waited longest was on its way.
pub const MESSAGE_QUEUE_TIME: &str = "remora.message.queue_time";
/// Attribute of a span that received messages, likewise.
pub const MESSAGE_RECEIVED: &str = "remora.message.received";
/// Attribute of a link: what it rests on.
const LINK_REASON: &str = "remora.link.reason";
/// [`LINK_REASON`] of a link to the span that sent a message.
const REASON_MESSAGE: &str = "message";
/// Attribute: why the parent is believed to be one.
pub const PARENT_EVIDENCE: &str = "remora.parent.evidence";
/// [`PARENT_EVIDENCE`] of a parent that was found by positions on the wire.
pub const EVIDENCE_POSITION: &str = "position";
/// [`PARENT_EVIDENCE`] of a parent that the request itself named.
pub const EVIDENCE_WIRE: &str = "wire";

/// Name of the agent's scopes, whole or up to the slash before the protocol.
const SCOPE: &str = "remora";

/// OTLP's `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK` and `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`.
pub const REMOTE_PARENT: u32 = 0x300;

/// The two sides of one request, seen apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Join {
    /// Trace of the server span, as it was sent.
    pub server_trace: TraceId,
    /// Trace of the client span, as it was sent.
    pub client_trace: TraceId,
    /// The server span has no parent: it began its trace.
    pub begins_trace: bool,
}

impl Span {
    /// Returns whether the agent made it; everything else is from an SDK.
    #[must_use]
    pub fn is_from_agent(&self) -> bool {
        let rest = self.scope.name.strip_prefix(SCOPE);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns the client span that a server span expects as its parent; none where it says nothing, nothing that is
    /// an id, or itself.
    #[must_use]
    pub fn expected_client(&self) -> Option<SpanId> {
        if self.kind != SpanKind::Server {
            return None;
        }
        let expected = find(&self.attributes, PARENT_EXPECTED)?.as_str()?.parse().ok()?;
        (expected != self.span_id).then_some(expected)
    }

    /// Returns the trace of which whoever got the request may have told, and which is this span's; none where it is not
    /// the agent that says so, or nothing new.
    #[must_use]
    pub fn trace_alias(&self) -> Option<TraceId> {
        if !self.kind.is_caller() || !self.is_from_agent() {
            return None;
        }
        let alias = find(&self.attributes, TRACE_ALIAS)?.as_str()?.parse().ok()?;
        (alias != self.trace_id).then_some(alias)
    }

    /// Returns the names of the messages that the span tells of under this attribute.
    #[must_use]
    pub fn message_keys(&self, name: &str) -> &[AnyValue] {
        match find(&self.attributes, name) {
            Some(AnyValue::Array(keys)) => keys,
            _ => &[],
        }
    }

    /// Returns whether the agent has linked it to who sent its messages.
    #[must_use]
    pub fn is_linked_to_message(&self) -> bool {
        let reason = |link: &super::Link| {
            find(&link.attributes, LINK_REASON).and_then(AnyValue::as_str) == Some(REASON_MESSAGE)
        };
        self.links.iter().any(reason)
    }

    /// Makes the expected client span the parent.
    pub fn join_expected(&mut self, client: SpanId) {
        self.parent_span_id = Some(client);
        self.flags |= REMOTE_PARENT;
        let replaced = [PARENT_EXPECTED, PARENT_EVIDENCE];
        self.attributes.retain(|attribute| !replaced.contains(&&*attribute.key));
        self.attributes.push(KeyValue::new(PARENT_EVIDENCE, EVIDENCE_POSITION));
    }

    /// Returns whether its parent was named by the request itself.
    #[must_use]
    pub fn has_wire_parent(&self) -> bool {
        find(&self.attributes, PARENT_EVIDENCE).and_then(AnyValue::as_str) == Some(EVIDENCE_WIRE)
    }
}
