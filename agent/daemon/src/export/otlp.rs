//! Resource spans as an OTLP request, version 1.x (`opentelemetry/proto/collector/trace/v1/trace_service.proto`).

mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use remora_engine::semconv::{self, Attributes, Value};
use remora_engine::span::{Link, Parent, SpanKind, Status};

use self::wire::Message;
use super::batch::Batch;
use crate::enrich::{Resource, ResourceSpan};

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`
const STATUS_ERROR: u64 = 2;
/// `SPAN_KIND_SERVER` and `SPAN_KIND_CLIENT`
const KIND_SERVER: u64 = 2;
const KIND_CLIENT: u64 = 3;

/// Spans of one resource, by protocol.
struct Group<'a> {
    resource: &'a Resource,
    scopes: Vec<(&'static str, Vec<&'a ResourceSpan>)>,
}

/// Returns the request that carries `spans`, grouped by resource and, below it, by protocol.
pub(super) fn batch(spans: &[ResourceSpan]) -> Batch {
    let mut request = Message::default();
    for group in groups(spans) {
        request.nested(1, |message| resource_spans(message, &group));
    }
    let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
    Batch { payload: request.into_bytes().into(), spans: count }
}

fn groups(spans: &[ResourceSpan]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_resource: HashMap<*const Resource, usize> = HashMap::new();
    for span in spans {
        let at = *by_resource.entry(Arc::as_ptr(&span.resource)).or_insert_with(|| {
            groups.push(Group { resource: &span.resource, scopes: Vec::new() });
            groups.len() - 1
        });
        let Some(group) = groups.get_mut(at) else { continue };
        // A process speaks few protocols: looking through them is quicker than hashing.
        match group.scopes.iter_mut().find(|(protocol, _)| *protocol == span.span.protocol) {
            Some((_, members)) => members.push(span),
            None => group.scopes.push((span.span.protocol, vec![span])),
        }
    }
    groups
}

fn resource_spans(message: &mut Message, group: &Group<'_>) {
    message.nested(1, |resource| attributes(resource, 1, &group.resource.attributes));
    for (protocol, spans) in &group.scopes {
        message.nested(2, |scope_spans| {
            scope_spans.nested(1, |scope| {
                scope.text(1, &format!("remora/{protocol}"));
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            for from in spans {
                scope_spans.nested(2, |message| span(message, from));
            }
            scope_spans.text(3, semconv::SCHEMA_URL);
        });
    }
    message.text(3, semconv::SCHEMA_URL);
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
