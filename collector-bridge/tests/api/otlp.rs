//! OTLP requests as senders make them.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, span, status};
use prost::Message as _;

/// 2023-11-14T22:14:00Z, a whole minute.
pub(crate) const START_S: u64 = 1_700_000_040;
pub(crate) const START_NS: u64 = START_S * 1_000_000_000;
pub(crate) const MS: u64 = 1_000_000;

pub(crate) use any_value::Value::{
    ArrayValue as Array, BoolValue as Bool, DoubleValue as Double, IntValue as Int,
};
pub(crate) use span::SpanKind as Kind;

pub(crate) fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}

pub(crate) fn array(values: Vec<any_value::Value>) -> any_value::Value {
    let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
    Array(opentelemetry_proto::tonic::common::v1::ArrayValue { values })
}

/// A span, and the service that made it.
#[derive(Clone)]
pub(crate) struct TestSpan {
    pub(crate) service: &'static str,
    pub(crate) span: Span,
}

/// Returns an internal span at [`START_NS`] that takes 10 ms.
pub(crate) fn span(service: &'static str, trace: u128, id: u64, name: &str) -> TestSpan {
    TestSpan {
        service,
        span: Span {
            trace_id: trace.to_be_bytes().to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            name: name.to_owned(),
            kind: Kind::Internal as i32,
            start_time_unix_nano: START_NS,
            end_time_unix_nano: START_NS + 10 * MS,
            ..Span::default()
        },
    }
}

impl TestSpan {
    pub(crate) fn kind(mut self, kind: Kind) -> Self {
        self.span.kind = kind as i32;
        self
    }

    pub(crate) fn below(mut self, parent: u64) -> Self {
        self.span.parent_span_id = parent.to_be_bytes().to_vec();
        self
    }

    /// In nanoseconds after [`START_NS`].
    pub(crate) fn at(mut self, offset_ns: u64, duration_ns: u64) -> Self {
        self.span.start_time_unix_nano = START_NS + offset_ns;
        self.span.end_time_unix_nano = START_NS + offset_ns + duration_ns;
        self
    }

    pub(crate) fn with(mut self, key: &str, value: any_value::Value) -> Self {
        self.span.attributes.push(attribute(key, value));
        self
    }

    pub(crate) fn failed(mut self, message: &str) -> Self {
        self.span.status =
            Some(Status { code: status::StatusCode::Error as i32, message: message.to_owned() });
        self
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Returns a request, protobuf; each span with a resource of its own.
pub(crate) fn request(spans: &[TestSpan]) -> Vec<u8> {
    let resource_spans = spans.iter().map(|one| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                attribute("service.name", text(one.service)),
                attribute("host.name", text("test-host")),
            ],
            ..Resource::default()
        }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "tests".to_owned(),
                version: "1".to_owned(),
                ..Default::default()
            }),
            spans: vec![one.span.clone()],
            ..ScopeSpans::default()
        }],
        ..ResourceSpans::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec()
}
