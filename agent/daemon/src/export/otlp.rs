//! Resource spans as an OTLP request, version 1.x (`opentelemetry/proto/collector/trace/v1/trace_service.proto`).

mod wire;

use std::sync::Arc;

use foldhash::HashMap;
use remora_engine::semconv::{self, Attributes, Value};
use remora_engine::span::{Link, Parent, SpanKind, Status};

use self::wire::Message;
use super::batch::Batch;
use crate::enrich::{Resource, ResourceSpan};

/// Room for the resource and the scopes of a group: twice what a typical one takes.
const GROUP_BYTES: usize = 2048;
/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`
const STATUS_ERROR: u64 = 2;
/// `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`, `SPAN_KIND_PRODUCER` and `SPAN_KIND_CONSUMER`
const KIND_SERVER: u64 = 2;
const KIND_CLIENT: u64 = 3;
const KIND_PRODUCER: u64 = 4;
const KIND_CONSUMER: u64 = 5;

/// A request that is being written: a span becomes bytes as it comes, so that nothing else of it is kept.
#[derive(Debug, Default)]
pub(super) struct Draft {
    groups: Vec<Group>,
    /// Place in `groups` by the resource's address, which the group keeps from being another's.
    by_resource: HashMap<usize, usize>,
    spans: u32,
    bytes: usize,
}

/// Spans of one resource, by protocol.
#[derive(Debug)]
struct Group {
    resource: Arc<Resource>,
    scopes: Vec<(&'static str, Message)>,
}

impl Draft {
    /// Adds a span. Returns the bytes that the draft has grown by.
    pub(super) fn add(&mut self, from: &ResourceSpan) -> usize {
        let groups = &mut self.groups;
        let at = *self.by_resource.entry(Arc::as_ptr(&from.resource).addr()).or_insert_with(|| {
            groups.push(Group { resource: from.resource.clone(), scopes: Vec::new() });
            groups.len() - 1
        });
        let Some(group) = self.groups.get_mut(at) else { return 0 };
        let protocol = from.span.protocol;
        // A process speaks few protocols: looking through them is quicker than hashing.
        let at = group.scopes.iter().position(|(known, _)| *known == protocol).unwrap_or_else(|| {
            group.scopes.push((protocol, Message::default()));
            group.scopes.len() - 1
        });
        let Some((_, spans)) = group.scopes.get_mut(at) else { return 0 };
        let before = spans.len();
        spans.nested(2, |message| span(message, from));
        let grown = spans.len() - before;
        self.spans += 1;
        self.bytes += grown;
        grown
    }

    /// Returns the number of spans.
    pub(super) fn spans(&self) -> u32 {
        self.spans
    }

    /// Returns the bytes of all spans.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the request: its spans grouped by resource and, below it, by protocol.
    pub(super) fn finish(self) -> Batch {
        let mut request = Message::with_capacity(self.bytes + self.groups.len() * GROUP_BYTES);
        let mut schema = Message::default();
        schema.text(3, semconv::SCHEMA_URL);
        for group in &self.groups {
            let mut resource = Message::default();
            resource.nested(1, |resource| attributes(resource, 1, &group.resource.attributes));
            let mut scopes = Message::default();
            for (protocol, spans) in &group.scopes {
                scopes.nested_parts(2, [&scope(protocol), spans, &schema]);
            }
            request.nested_parts(1, [&resource, &scopes, &schema]);
        }
        Batch { payload: request.into_bytes().into(), spans: self.spans }
    }
}

/// The field `scope` of `ScopeSpans`.
fn scope(protocol: &str) -> Message {
    let mut message = Message::default();
    message.nested(1, |scope| {
        scope.text(1, &format!("remora/{protocol}"));
        scope.text(2, env!("CARGO_PKG_VERSION"));
    });
    message
}

fn span(message: &mut Message, from: &ResourceSpan) {
    let span = &from.span;
    message.bytes(1, &span.trace_id.0);
    message.bytes(2, &span.span_id.0);
    message.text(3, &span.trace_state);
    if let Some(parent) = span.parent {
        message.bytes(4, &parent.span_id.0);
    }
    message.text(5, &span.name);
    message.set_number(
        6,
        match span.kind {
            SpanKind::Server => KIND_SERVER,
            SpanKind::Client => KIND_CLIENT,
            SpanKind::Producer => KIND_PRODUCER,
            SpanKind::Consumer => KIND_CONSUMER,
        },
    );
    message.fixed64(7, from.started_at_unix_ns);
    message.fixed64(8, from.ended_at_unix_ns);
    attributes(message, 9, &span.attributes);
    if let Some(parent) = span.parent {
        evidence(message, parent, &span.attributes);
    }
    for from in &span.links {
        message.nested(13, |message| link(message, from));
    }
    if let Status::Error(reason) = &span.status {
        message.nested(15, |status| {
            status.text(2, reason);
            status.set_number(3, STATUS_ERROR);
        });
    }
    message.fixed32(16, flags(span.flags, span.parent));
}

fn evidence(message: &mut Message, parent: Parent, known: &Attributes) {
    let key = semconv::REMORA_PARENT_EVIDENCE;
    if !known.iter().any(|(name, _)| *name == key) {
        attribute(message, 9, &key, &Value::Text(parent.evidence.label().into()));
    }
}

fn flags(w3c: u8, parent: Option<Parent>) -> u32 {
    let about_parent = match parent {
        None => 0,
        Some(parent) if parent.is_remote => HAS_IS_REMOTE | IS_REMOTE,
        Some(_) => HAS_IS_REMOTE,
    };
    u32::from(w3c) | about_parent
}

fn link(message: &mut Message, link: &Link) {
    message.bytes(1, &link.trace_id.0);
    message.bytes(2, &link.span_id.0);
    attributes(message, 4, &link.attributes);
}

fn attributes(message: &mut Message, field: u32, attributes: &Attributes) {
    for (key, value) in attributes {
        attribute(message, field, key, value);
    }
}

/// `KeyValue`
fn attribute(message: &mut Message, field: u32, key: &str, value: &Value) {
    message.nested(field, |pair| {
        pair.text(1, key);
        pair.nested(2, |any| any_value(any, value));
    });
}

/// `AnyValue`
fn any_value(message: &mut Message, value: &Value) {
    match value {
        Value::Text(text) => message.set_bytes(1, text.as_bytes()),
        Value::Bool(truth) => message.set_number(2, (*truth).into()),
        // Two's complement, as protobuf's int64.
        Value::Int(number) => message.set_number(3, number.cast_unsigned()),
        Value::Double(number) => message.fixed64(4, number.to_bits()),
        Value::Texts(texts) => message.nested(5, |array| {
            for text in texts {
                array.nested(1, |any| any.set_bytes(1, text.as_bytes()));
            }
        }),
    }
}

#[cfg(test)]
mod tests;
