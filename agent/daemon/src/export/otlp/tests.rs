use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyKind;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::Link as OtlpLink;
use prost::Message as _;
use remora_engine::span::{SpanId, TraceId};

use super::*;
use crate::export::sample;

fn batch(spans: &[ResourceSpan]) -> Batch {
    let mut draft = Draft::default();
    spans.iter().for_each(|span| {
        draft.add(span);
    });
    draft.finish()
}

fn decoded(spans: &[ResourceSpan]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(batch(spans).payload).unwrap()
}

fn pair(key: &str, value: AnyKind) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[test]
fn every_kind_of_value_is_read_back_by_the_generated_types() {
    let mut span = sample::span(1);
    span.span.parent = None;
    span.span.attributes = vec![
        ("text".into(), "é".to_owned().into()),
        ("empty".into(), String::new().into()),
        ("zero".into(), 0_i64.into()),
        ("negative".into(), (-5_i64).into()),
        ("double".into(), Value::Double(-0.25)),
        ("no".into(), false.into()),
        ("texts".into(), Value::Texts(vec!["a".to_owned(), String::new()])),
        ("long".into(), "x".repeat(100_000).into()),
    ];
    let text = |text: &str| AnyKind::StringValue(text.to_owned());
    let values = [text("a"), text("")].map(|value| AnyValue { value: Some(value) }).to_vec();
    let expected = [
        pair("text", text("é")),
        pair("empty", text("")),
        pair("zero", AnyKind::IntValue(0)),
        pair("negative", AnyKind::IntValue(-5)),
        pair("double", AnyKind::DoubleValue(-0.25)),
        pair("no", AnyKind::BoolValue(false)),
        pair("texts", AnyKind::ArrayValue(ArrayValue { values })),
        pair("long", text(&"x".repeat(100_000))),
    ];
    let request = decoded(&[span]);
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].attributes, expected);
}

#[test]
fn links_and_schemas_are_read_back_too() {
    let mut span = sample::span(1);
    let attributes = vec![("remora.link.confidence".into(), Value::Double(0.5))];
    span.span.links = vec![Link { trace_id: TraceId([3; 16]), span_id: SpanId([4; 8]), attributes }];
    let request = decoded(&[span]);
    let group = &request.resource_spans[0];
    assert_eq!(group.schema_url, semconv::SCHEMA_URL);
    assert_eq!(group.scope_spans[0].schema_url, semconv::SCHEMA_URL);
    let expected = OtlpLink {
        trace_id: vec![3; 16],
        span_id: vec![4; 8],
        attributes: vec![pair("remora.link.confidence", AnyKind::DoubleValue(0.5))],
        ..OtlpLink::default()
    };
    assert_eq!(group.scope_spans[0].spans[0].links, [expected]);
}

#[test]
fn it_is_byte_for_byte_what_the_generated_types_would_write() {
    let spans: Vec<ResourceSpan> = (0..50).map(sample::span).collect();
    let Batch { payload, spans: count } = batch(&spans);
    assert_eq!(count, 50);
    assert_eq!(ExportTraceServiceRequest::decode(payload.clone()).unwrap().encode_to_vec(), payload);
}
