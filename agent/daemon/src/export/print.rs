//! Spans as lines of text.

use std::fmt::Write as _;

use remora_engine::semconv::{Attributes, Value};
use remora_engine::span::{SpanKind, Status};
use serde_json::{Map, json};

use super::display::{arrow, duration, printable, status_code};
use crate::enrich::ResourceSpan;

/// How a span is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people: time, service, kind, name, duration, error.
    Text,
    /// For programs: one JSON object a line, with all that is known.
    Json,
}

/// Returns a span as one line, without the line break.
#[must_use]
pub fn line(span: &ResourceSpan, format: Format) -> String {
    match format {
        Format::Text => text(span),
        Format::Json => json_line(span),
    }
}

fn text(from: &ResourceSpan) -> String {
    let span = &from.span;
    let mut line = format!(
        "{} {:<20} {} {:>10} {}",
        clock(from.started_at_unix_ns),
        printable(&from.resource.service_name),
        arrow(span.kind),
        duration(from.ended_at_unix_ns.saturating_sub(from.started_at_unix_ns)),
        printable(&span.name),
    );
    if let Some(status) = status_code(&span.attributes) {
        let _ = write!(line, " {status}");
    }
    if let Status::Error(message) = &span.status {
        let _ = write!(line, " ERROR {}", printable(message));
    }
    line
}

fn clock(unix_ns: u64) -> String {
    let seconds = unix_ns / 1_000_000_000 % 86_400;
    let milliseconds = unix_ns / 1_000_000 % 1000;
    format!("{:02}:{:02}:{:02}.{milliseconds:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn json_line(from: &ResourceSpan) -> String {
    let span = &from.span;
    let links = span.links.iter().map(|link| {
        json!({ "trace_id": hex(&link.trace_id.0), "span_id": hex(&link.span_id.0), "attributes": attributes(&link.attributes) })
    });
    let mut object = json!({
        "trace_id": hex(&span.trace_id.0),
        "span_id": hex(&span.span_id.0),
        "parent_span_id": span.parent.map(|parent| hex(&parent.span_id.0)),
        "parent_evidence": span.parent.map(|parent| parent.evidence.label()),
        "service": from.resource.service_name,
        "kind": match span.kind {
            SpanKind::Server => "server",
            SpanKind::Client => "client",
            SpanKind::Producer => "producer",
            SpanKind::Consumer => "consumer",
        },
        "name": span.name,
        "protocol": span.protocol,
        "start_unix_ns": from.started_at_unix_ns,
        "duration_ns": from.ended_at_unix_ns.saturating_sub(from.started_at_unix_ns),
        "status": match &span.status { Status::Unset => "unset", Status::Error(_) => "error" },
        "attributes": attributes(&span.attributes),
        "resource": attributes(&from.resource.attributes),
        "links": links.collect::<Vec<_>>(),
    });
    if let (Status::Error(message), Some(object)) = (&span.status, object.as_object_mut()) {
        object.insert("status_message".to_owned(), message.clone().into());
    }
    object.to_string()
}

fn attributes(attributes: &Attributes) -> serde_json::Value {
    let pairs = attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Text(text) => json!(&**text),
            Value::Int(number) => json!(number),
            Value::Double(number) => json!(number),
            Value::Bool(truth) => json!(truth),
            Value::Texts(texts) => json!(texts),
        };
        (key.to_string(), value)
    });
    pairs.collect::<Map<_, _>>().into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
