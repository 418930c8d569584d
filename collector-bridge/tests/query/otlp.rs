//! The model's spans as the OTLP request that would have brought them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use remora_bridge::model;

pub(crate) fn request(spans: &[model::Span]) -> Vec<u8> {
    let resource_spans = spans.iter().map(|span| ResourceSpans {
        resource: Some(Resource { attributes: attributes(&span.resource.attributes), ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: vec![wire_span(span)], ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}

fn wire_span(span: &model::Span) -> Span {
    Span {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent_span_id.map(|parent| parent.0.to_vec()).unwrap_or_default(),
        name: span.name.to_string(),
        kind: span.kind.to_otlp(),
        start_time_unix_nano: span.start_unix_ns,
        end_time_unix_nano: span.end_unix_ns,
        attributes: attributes(&span.attributes),
        status: Some(Status { code: span.status.code.to_otlp(), message: span.status.message.clone() }),
        ..Span::default()
    }
}

fn attributes(attributes: &[model::KeyValue]) -> Vec<KeyValue> {
    let wire = |attribute: &model::KeyValue| KeyValue {
        key: attribute.key.to_string(),
        value: Some(AnyValue {
            value: Some(match &attribute.value {
                model::AnyValue::Int(number) => any_value::Value::IntValue(*number),
                other => any_value::Value::StringValue(other.to_string()),
            }),
        }),
        ..KeyValue::default()
    };
    attributes.iter().map(wire).collect()
}
