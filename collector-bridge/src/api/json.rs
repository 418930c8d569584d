//! Shapes that several answers share.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Number, Value};

use crate::analyze::{LatencySketch, Red};
use crate::model::{AnyValue, KeyValue, TimeRange};

use super::time::format_rfc3339;

/// A JSON answer; ends with a line feed, for terminals.
pub(super) struct Json<T>(pub(super) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let Ok(mut bytes) = serde_json::to_vec(&self.0) else {
            // Only maps with keys that are no texts cannot be written, and no answer has one.
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        };
        bytes.push(b'\n');
        ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
    }
}

/// `{"from", "until"}`, the second one not inside.
#[derive(Debug, Serialize)]
pub(super) struct RangeJson {
    from: String,
    until: String,
}

impl From<TimeRange> for RangeJson {
    fn from(range: TimeRange) -> Self {
        Self { from: format_rfc3339(range.from_unix_ns), until: format_rfc3339(range.until_unix_ns) }
    }
}

/// Quantiles and exact facts of durations.
#[derive(Debug, Serialize)]
pub(super) struct LatencyJson {
    p50_ns: u64,
    p90_ns: u64,
    p95_ns: u64,
    p99_ns: u64,
    mean_ns: u64,
    min_ns: u64,
    max_ns: u64,
    /// Bound of the quantiles' error; the other facts are exact.
    relative_error: f64,
}

impl LatencyJson {
    /// Returns nothing for no durations.
    pub(super) fn of(sketch: &LatencySketch) -> Option<Self> {
        Some(Self {
            p50_ns: sketch.quantile_ns(0.5)?,
            p90_ns: sketch.quantile_ns(0.9)?,
            p95_ns: sketch.quantile_ns(0.95)?,
            p99_ns: sketch.quantile_ns(0.99)?,
            mean_ns: sketch.mean_ns()?,
            min_ns: sketch.min_ns()?,
            max_ns: sketch.max_ns()?,
            relative_error: sketch.relative_error(),
        })
    }
}

/// Rate, errors, durations.
#[derive(Debug, Serialize)]
pub(super) struct RedJson {
    count: u64,
    errors: u64,
    /// From 0 to 1; nothing without spans.
    error_rate: Option<f64>,
    throughput_per_second: f64,
    latency: Option<LatencyJson>,
}

impl RedJson {
    /// Returns the sums of spans that came in that time.
    pub(super) fn of(red: &Red, covered_ns: u64) -> Self {
        let count = red.count();
        Self {
            count,
            errors: red.errors,
            error_rate: ratio(red.errors, count),
            throughput_per_second: throughput(count, covered_ns),
            latency: LatencyJson::of(&red.latency),
        }
    }
}

/// Returns part of whole; nothing of nothing.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Returns spans per second.
pub(super) fn throughput(count: u64, covered_ns: u64) -> f64 {
    if covered_ns == 0 { 0.0 } else { count as f64 * 1e9 / covered_ns as f64 }
}

/// Returns the attributes as an object; of several with one key the first one, which is also what searches see.
pub(super) fn attributes(attributes: &[KeyValue]) -> Map<String, Value> {
    let mut object = Map::new();
    for KeyValue { key, value } in attributes {
        object.entry(key.to_string()).or_insert_with(|| attribute_value(value));
    }
    object
}

/// Numbers that JSON lacks become texts, as in OTLP's JSON; bytes become `{"bytes": "<hex>"}`.
fn attribute_value(value: &AnyValue) -> Value {
    match value {
        AnyValue::Empty => Value::Null,
        AnyValue::String(text) => Value::String(text.clone()),
        AnyValue::Bool(truth) => Value::Bool(*truth),
        AnyValue::Int(number) => Value::Number((*number).into()),
        AnyValue::Double(number) => match Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None if number.is_nan() => Value::String("NaN".to_owned()),
            None => Value::String(if *number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()),
        },
        AnyValue::Bytes(_) => {
            Value::Object(Map::from_iter([("bytes".to_owned(), Value::String(value.to_string()))]))
        }
        AnyValue::Array(values) => Value::Array(values.iter().map(attribute_value).collect()),
        AnyValue::Map(pairs) => Value::Object(attributes(pairs)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_values() {
        let check =
            |value: AnyValue, expected: &str| assert_eq!(attribute_value(&value).to_string(), expected);
        check(AnyValue::Empty, "null");
        check("a\"b".into(), r#""a\"b""#);
        check(i64::MIN.into(), "-9223372036854775808");
        check(1.0.into(), "1.0");
        check(f64::NAN.into(), r#""NaN""#);
        check(f64::NEG_INFINITY.into(), r#""-Infinity""#);
        check(AnyValue::Bytes(vec![0, 255]), r#"{"bytes":"00ff"}"#);
        check(AnyValue::Array(vec![true.into(), "x".into()]), r#"[true,"x"]"#);
        check(AnyValue::Map(vec![KeyValue::new("k", 1_i64), KeyValue::new("k", 2_i64)]), r#"{"k":1}"#);
    }
}
