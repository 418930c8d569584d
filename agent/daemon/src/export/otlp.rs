//! Resource spans as OTLP messages, version 1.x.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource as OtlpResource;
use opentelemetry_proto::tonic::trace::v1::span::{Link as OtlpLink, SpanKind as OtlpKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as OtlpSpan, Status as OtlpStatus,
};
use prost::Message as _;
use remora_engine::semconv::{self, Attributes, Key, Value};
use remora_engine::span::{Link, Parent, SpanKind, Status};

use super::batch::Batch;
use crate::enrich::{Resource, ResourceSpan};

/// `SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK`
const HAS_IS_REMOTE: u32 = 0x100;
/// `SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK`
const IS_REMOTE: u32 = 0x200;

/// Returns the request that carries `spans`, grouped by resource and, below it, by protocol.
pub(super) fn batch(spans: Vec<ResourceSpan>) -> Batch {
    let count = u32::try_from(spans.len()).unwrap_or(u32::MAX);
    Batch { payload: request(spans).encode_to_vec().into(), spans: count }
}

fn request(spans: Vec<ResourceSpan>) -> ExportTraceServiceRequest {
    let mut resource_spans: Vec<ResourceSpans> = Vec::new();
    let mut by_resource: HashMap<*const Resource, usize> = HashMap::new();
    let mut by_scope: HashMap<(usize, &'static str), usize> = HashMap::new();
    for span in spans {
        let resource = *by_resource.entry(Arc::as_ptr(&span.resource)).or_insert_with(|| {
            resource_spans.push(resource_of(&span.resource));
            resource_spans.len() - 1
        });
        let Some(group) = resource_spans.get_mut(resource) else {
            continue;
        };
        let scope = *by_scope.entry((resource, span.span.protocol)).or_insert_with(|| {
            group.scope_spans.push(scope_of(span.span.protocol));
            group.scope_spans.len() - 1
        });
        if let Some(scope) = group.scope_spans.get_mut(scope) {
            scope.spans.push(span_of(span));
        }
    }
    ExportTraceServiceRequest { resource_spans }
}

fn resource_of(resource: &Resource) -> ResourceSpans {
    let attributes = resource.attributes.iter().cloned().map(attribute).collect();
    ResourceSpans {
        resource: Some(OtlpResource { attributes, ..OtlpResource::default() }),
        scope_spans: Vec::new(),
        schema_url: semconv::SCHEMA_URL.to_owned(),
    }
}

fn scope_of(protocol: &str) -> ScopeSpans {
    let scope = InstrumentationScope {
        name: format!("remora/{protocol}"),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    ScopeSpans { scope: Some(scope), spans: Vec::new(), schema_url: semconv::SCHEMA_URL.to_owned() }
}

fn span_of(from: ResourceSpan) -> OtlpSpan {
    let ResourceSpan { span, started_at_unix_ns, ended_at_unix_ns, .. } = from;
    let mut attributes: Vec<KeyValue> = span.attributes.into_iter().map(attribute).collect();
    if let Some(parent) = span.parent {
        push_evidence(&mut attributes, parent);
    }
    OtlpSpan {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        trace_state: span.trace_state,
        parent_span_id: span.parent.map(|parent| parent.span_id.0.to_vec()).unwrap_or_default(),
        flags: flags(span.flags, span.parent),
        name: span.name,
        kind: match span.kind {
            SpanKind::Client => OtlpKind::Client,
            SpanKind::Server => OtlpKind::Server,
        }
        .into(),
        start_time_unix_nano: started_at_unix_ns,
        end_time_unix_nano: ended_at_unix_ns,
        attributes,
        links: span.links.into_iter().map(link).collect(),
        status: match span.status {
            Status::Unset => None,
            Status::Error(message) => Some(OtlpStatus { message, code: StatusCode::Error.into() }),
        },
        ..OtlpSpan::default()
    }
}

fn push_evidence(attributes: &mut Vec<KeyValue>, parent: Parent) {
    let key = semconv::REMORA_PARENT_EVIDENCE;
    if !attributes.iter().any(|attribute| attribute.key == key) {
        attributes.push(attribute((key, Value::Text(Cow::Borrowed(parent.evidence.label())))));
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

fn link(link: Link) -> OtlpLink {
    OtlpLink {
        trace_id: link.trace_id.0.to_vec(),
        span_id: link.span_id.0.to_vec(),
        attributes: into_attributes(link.attributes),
        ..OtlpLink::default()
    }
}

fn into_attributes(attributes: Attributes) -> Vec<KeyValue> {
    attributes.into_iter().map(attribute).collect()
}

fn attribute((key, value): (Key, Value)) -> KeyValue {
    KeyValue { key: key.into_owned(), value: Some(any(value)), ..KeyValue::default() }
}

fn any(value: Value) -> AnyValue {
    let kind = match value {
        Value::Text(text) => AnyKind::StringValue(text.into_owned()),
        Value::Int(number) => AnyKind::IntValue(number),
        Value::Double(number) => AnyKind::DoubleValue(number),
        Value::Bool(truth) => AnyKind::BoolValue(truth),
        Value::Texts(texts) => {
            let texts = texts.into_iter().map(|text| any(Value::Text(text.into())));
            AnyKind::ArrayValue(ArrayValue { values: texts.collect() })
        }
    };
    AnyValue { value: Some(kind) }
}
