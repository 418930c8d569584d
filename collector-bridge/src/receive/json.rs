//! OTLP JSON → OTLP protobuf (OTLP specification, "JSON Protobuf Encoding").
//!
//! Names in lowerCamelCase, ids in hex of either case, enums as numbers, 64-bit numbers as text or number, bytes in
//! base64, unknown names skipped, null for what is not set.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use serde_json::Value;

type Result<T> = std::result::Result<T, String>;

/// Returns the request's protobuf bytes.
///
/// # Errors
/// If it is no JSON, or a field has another type; the text names the field.
pub(super) fn to_protobuf(json: &[u8]) -> Result<Vec<u8>> {
    let root: Value = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    if !root.is_object() {
        return Err("the request is not an object".to_owned());
    }
    let request = ExportTraceServiceRequest { resource_spans: list(&root, "resourceSpans", resource_spans)? };
    Ok(request.encode_to_vec())
}

fn resource_spans(json: &Value) -> Result<ResourceSpans> {
    Ok(ResourceSpans {
        resource: optional(json, "resource", resource)?,
        scope_spans: list(json, "scopeSpans", scope_spans)?,
        schema_url: text(json, "schemaUrl")?,
    })
}

fn resource(json: &Value) -> Result<Resource> {
    Ok(Resource {
        attributes: list(json, "attributes", attribute)?,
        dropped_attributes_count: number(json, "droppedAttributesCount")?,
        ..Resource::default()
    })
}

fn scope_spans(json: &Value) -> Result<ScopeSpans> {
    Ok(ScopeSpans {
        scope: optional(json, "scope", scope)?,
        spans: list(json, "spans", span)?,
        schema_url: text(json, "schemaUrl")?,
    })
}

fn scope(json: &Value) -> Result<InstrumentationScope> {
    Ok(InstrumentationScope {
        name: text(json, "name")?,
        version: text(json, "version")?,
        attributes: list(json, "attributes", attribute)?,
        dropped_attributes_count: number(json, "droppedAttributesCount")?,
    })
}

fn span(json: &Value) -> Result<Span> {
    Ok(Span {
        trace_id: id(json, "traceId")?,
        span_id: id(json, "spanId")?,
        trace_state: text(json, "traceState")?,
        parent_span_id: id(json, "parentSpanId")?,
        flags: number(json, "flags")?,
        name: text(json, "name")?,
        kind: number(json, "kind")?,
        start_time_unix_nano: number(json, "startTimeUnixNano")?,
        end_time_unix_nano: number(json, "endTimeUnixNano")?,
        attributes: list(json, "attributes", attribute)?,
        dropped_attributes_count: number(json, "droppedAttributesCount")?,
        events: list(json, "events", event)?,
        dropped_events_count: number(json, "droppedEventsCount")?,
        links: list(json, "links", link)?,
        dropped_links_count: number(json, "droppedLinksCount")?,
        status: optional(json, "status", status)?,
    })
}

fn event(json: &Value) -> Result<Event> {
    Ok(Event {
        time_unix_nano: number(json, "timeUnixNano")?,
        name: text(json, "name")?,
        attributes: list(json, "attributes", attribute)?,
        dropped_attributes_count: number(json, "droppedAttributesCount")?,
    })
}

fn link(json: &Value) -> Result<Link> {
    Ok(Link {
        trace_id: id(json, "traceId")?,
        span_id: id(json, "spanId")?,
        trace_state: text(json, "traceState")?,
        attributes: list(json, "attributes", attribute)?,
        dropped_attributes_count: number(json, "droppedAttributesCount")?,
        flags: number(json, "flags")?,
    })
}

fn status(json: &Value) -> Result<Status> {
    Ok(Status { message: text(json, "message")?, code: number(json, "code")? })
}

fn attribute(json: &Value) -> Result<KeyValue> {
    Ok(KeyValue {
        key: text(json, "key")?,
        value: optional(json, "value", any_value)?,
        ..KeyValue::default()
    })
}

fn any_value(json: &Value) -> Result<AnyValue> {
    let fields = json.as_object().ok_or("an attribute value is not an object")?;
    let mut value = None;
    for (name, field) in fields.iter().filter(|(_, field)| !field.is_null()) {
        value = Some(match name.as_str() {
            "stringValue" => OtlpValue::StringValue(text(json, name)?),
            "boolValue" => OtlpValue::BoolValue(field.as_bool().ok_or("boolValue is not true or false")?),
            "intValue" => OtlpValue::IntValue(number(json, name)?),
            "doubleValue" => OtlpValue::DoubleValue(double(field)?),
            "bytesValue" => OtlpValue::BytesValue(base64(field.as_str().ok_or("bytesValue is not text")?)?),
            "arrayValue" => OtlpValue::ArrayValue(ArrayValue { values: list(field, "values", any_value)? }),
            "kvlistValue" => {
                OtlpValue::KvlistValue(KeyValueList { values: list(field, "values", attribute)? })
            }
            _ => continue,
        });
    }
    Ok(AnyValue { value })
}

fn present<'a>(json: &'a Value, name: &str) -> Option<&'a Value> {
    json.get(name).filter(|value| !value.is_null())
}

fn optional<T>(json: &Value, name: &str, read: fn(&Value) -> Result<T>) -> Result<Option<T>> {
    present(json, name)
        .map(|value| if value.is_object() { read(value) } else { Err(format!("{name} is not an object")) })
        .transpose()
}

fn list<T>(json: &Value, name: &str, read: fn(&Value) -> Result<T>) -> Result<Vec<T>> {
    let Some(value) = present(json, name) else {
        return Ok(Vec::new());
    };
    let items = value.as_array().ok_or_else(|| format!("{name} is not an array"))?;
    items
        .iter()
        .map(|item| if item.is_object() { read(item) } else { Err(format!("{name} holds no objects")) })
        .collect()
}

fn text(json: &Value, name: &str) -> Result<String> {
    let Some(value) = present(json, name) else {
        return Ok(String::new());
    };
    value.as_str().map(str::to_owned).ok_or_else(|| format!("{name} is not text"))
}

fn number<T: TryFrom<i128> + Default>(json: &Value, name: &str) -> Result<T> {
    let Some(value) = present(json, name) else {
        return Ok(T::default());
    };
    let whole = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => {
            number.as_i64().map(i128::from).or(number.as_u64().map(i128::from)).or_else(|| {
                // JSON does not tell 5 from 5.0 or 5e0.
                number
                    .as_f64()
                    .filter(|number| number.fract() == 0.0 && number.abs() < 9.0e15)
                    .map(|number| number as i128)
            })
        }
        _ => None,
    };
    whole
        .and_then(|whole| T::try_from(whole).ok())
        .ok_or_else(|| format!("{name} is not a number in its range"))
}

fn double(value: &Value) -> Result<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| "doubleValue is not a number".to_owned())
}

/// Returns an id's bytes. What is no hex gives no bytes, so that the span is rejected and not the whole request.
fn id(json: &Value, name: &str) -> Result<Vec<u8>> {
    let digits = text(json, name)?;
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some((*high as char).to_digit(16)? as u8 * 16 + (*low as char).to_digit(16)? as u8),
        _ => None,
    };
    // One byte is no valid length, so it is rejected wherever an id may also be absent.
    Ok(pairs.map(byte).collect::<Option<Vec<u8>>>().unwrap_or_else(|| vec![0]))
}

/// Returns the bytes of base64 text (RFC 4648, either alphabet, padded or not, as proto3 JSON demands).
fn base64(text: &str) -> Result<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return Err("bytesValue is not base64".to_owned()),
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
