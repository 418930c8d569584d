//! `POST /api/v1/traces/search`.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::model::AnyValue;
use crate::query::{
    self, AttributeCondition, Comparison, Cursor, FoundTrace, MatchedSpan, Scope, SearchFilter, SearchPage,
    SearchQuestion,
};

use super::error::ApiError;
use super::fields::Fields;
use super::json::{Json, RangeJson};
use super::names::{kind_name, status_name};
use super::range::{now_unix_ns, take_range};
use super::time::format_rfc3339;
use super::{Api, MAX_BODY_BYTES};

/// Traces on a page, unless asked otherwise and at most.
pub(super) const DEFAULT_TRACES: usize = 20;
pub(super) const MAX_TRACES: usize = 1_000;
/// Conditions on attributes.
pub(super) const MAX_CONDITIONS: usize = 32;
/// Parts of the body.
const BODY_FIELDS: [&str; 14] = [
    "service",
    "operation",
    "kind",
    "status",
    "attributes",
    "min_duration",
    "max_duration",
    "min_span_duration",
    "max_span_duration",
    "from",
    "until",
    "since",
    "limit",
    "cursor",
];
/// Values of `op`.
pub(super) const OPERATORS: [&str; 7] = ["=", "!=", "<", "<=", ">", ">=", "exists"];
/// Values of `scope`.
pub(super) const SCOPES: [&str; 3] = ["any", "span", "resource"];

#[derive(Debug, Serialize)]
pub(super) struct SearchJson {
    range: RangeJson,
    traces: Vec<FoundTraceJson>,
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
struct FoundTraceJson {
    #[serde(flatten)]
    summary: SummaryJson,
    matched_spans: Vec<MatchedSpanJson>,
}

/// A trace in a list, and the head of a trace.
#[derive(Debug, Serialize)]
pub(super) struct SummaryJson {
    trace_id: String,
    root_service: String,
    root_operation: String,
    root_status: String,
    has_root: bool,
    start_time: String,
    start_time_unix_nano: String,
    duration_ns: u64,
    span_count: u32,
    error_count: u32,
    services: Vec<ServiceCountJson>,
}

#[derive(Debug, Serialize)]
struct ServiceCountJson {
    name: String,
    span_count: u32,
    error_count: u32,
}

#[derive(Debug, Serialize)]
struct MatchedSpanJson {
    span_id: String,
    service: String,
    name: String,
    kind: String,
    status: String,
    start_time_unix_nano: String,
    duration_ns: u64,
}

pub(super) async fn search(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<SearchJson>, ApiError> {
    let mut fields = Fields::of_object(read_body(&headers, body).await?, "", &BODY_FIELDS)?;
    let now = now_unix_ns();
    let question = read_question(&mut fields, now)?;
    let asked = question.clone();
    let page = api.ask(move |store, deadline| query::search(store, &asked, deadline)).await?;
    Ok(Json(SearchJson {
        range: question.range.into(),
        next_cursor: next_cursor(&question, &page, now).map(|cursor| cursor.to_string()),
        traces: page.traces.into_iter().map(found_trace_json).collect(),
    }))
}

/// Returns the body's object; an empty body is an empty object, which asks for the newest traces.
async fn read_body(headers: &HeaderMap, body: Body) -> Result<Map<String, Value>, ApiError> {
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let message = "the body must be JSON: send it with `content-type: application/json`";
            return Err(ApiError::new("unsupported_media_type", message));
        }
    }
    let too_large = |_| ApiError::new("body_too_large", format!("the body may have {MAX_BODY_BYTES} bytes"));
    let bytes = to_bytes(body, MAX_BODY_BYTES).await.map_err(too_large)?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::new(
            "invalid_body",
            "the body must be a JSON object, such as {\"service\": \"shop\"}",
        )),
        Err(error) => Err(ApiError::new("invalid_body", format!("the body is not JSON: {error}"))),
    }
}

fn read_question(fields: &mut Fields, now_unix_ns: u64) -> Result<SearchQuestion, ApiError> {
    let filter = SearchFilter {
        min_duration_ns: fields.duration("min_duration")?,
        max_duration_ns: fields.duration("max_duration")?,
        service: fields.text("service")?,
        operation: fields.text("operation")?,
        kind: fields.kind("kind")?,
        status: fields.status("status")?,
        min_span_duration_ns: fields.duration("min_span_duration")?,
        max_span_duration_ns: fields.duration("max_span_duration")?,
        attributes: read_attributes(fields)?,
    };
    for (least, most, field) in [
        (filter.min_duration_ns, filter.max_duration_ns, "min_duration"),
        (filter.min_span_duration_ns, filter.max_span_duration_ns, "min_span_duration"),
    ] {
        if least.zip(most).is_some_and(|(least, most)| least > most) {
            return Err(ApiError::invalid(field, format!("`{field}` is greater than its maximum")));
        }
    }
    let limit = fields.count("limit", DEFAULT_TRACES, MAX_TRACES)?;
    let range = take_range(fields, now_unix_ns)?;
    let after = read_cursor(fields, &filter)?;
    // The first page fixes the range: `since` must not move on between pages.
    let range = after.as_ref().map_or(range, |cursor| cursor.range);
    Ok(SearchQuestion { filter, range, after, limit })
}

fn read_cursor(fields: &mut Fields, filter: &SearchFilter) -> Result<Option<Cursor>, ApiError> {
    // Longer than other texts, so it is not read as one.
    let cursor = match fields.take("cursor") {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse::<Cursor>().ok(),
        Some(_) => None,
    };
    let Some(cursor) = cursor else {
        return Err(ApiError::invalid("cursor", "`cursor` must be the `next_cursor` of an earlier page"));
    };
    if cursor.question != question_hash(filter) {
        return Err(ApiError::invalid("cursor", "`cursor` belongs to a search with other conditions"));
    }
    Ok(Some(cursor))
}

/// Stands for the conditions, in this build of the bridge.
fn question_hash(filter: &SearchFilter) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{filter:?}").hash(&mut hasher);
    hasher.finish()
}

fn next_cursor(question: &SearchQuestion, page: &SearchPage, now_unix_ns: u64) -> Option<Cursor> {
    let last = page.traces.last().filter(|_| page.has_more)?;
    let position = (last.summary.start_unix_ns, last.summary.trace_id);
    let first = || Cursor::first(question_hash(&question.filter), question.range, now_unix_ns, position);
    let mut cursor = question.after.clone().unwrap_or_else(first);
    cursor.position = position;
    for trace in &page.traces {
        cursor.remember(trace.summary.trace_id, trace.summary.end_unix_ns);
    }
    Some(cursor)
}

/// Takes conditions: a list of `{key, op, value, scope}`, or an object of attributes that must be equal.
fn read_attributes(fields: &mut Fields) -> Result<Vec<AttributeCondition>, ApiError> {
    let conditions = match fields.take("attributes") {
        None => return Ok(Vec::new()),
        Some(Value::Array(conditions)) => conditions,
        Some(Value::Object(equal)) => equal
            .into_iter()
            .map(|(key, value)| serde_json::json!({ "key": key, "op": "=", "value": value }))
            .collect(),
        Some(_) => {
            return Err(ApiError::invalid("attributes", "`attributes` must be a list of conditions"));
        }
    };
    if conditions.len() > MAX_CONDITIONS {
        return Err(ApiError::invalid(
            "attributes",
            format!("`attributes` may have {MAX_CONDITIONS} conditions"),
        ));
    }
    conditions.into_iter().enumerate().map(|(index, condition)| read_condition(index, condition)).collect()
}

fn read_condition(index: usize, condition: Value) -> Result<AttributeCondition, ApiError> {
    let path = format!("attributes[{index}]");
    let Value::Object(object) = condition else {
        return Err(ApiError::invalid(
            &path,
            format!("`{path}` must be an object with `key`, `op` and `value`"),
        ));
    };
    let mut fields = Fields::of_object(object, &format!("{path}."), &["key", "op", "value", "scope"])?;
    let key = fields.required_text("key")?;
    let value = fields.take("value");
    let operator = fields.parsed(
        "op",
        |text| OPERATORS.into_iter().find(|known| *known == text),
        &format!("one of {}", OPERATORS.join(" ")),
    )?;
    let scope = fields.parsed(
        "scope",
        |text| {
            Some([Scope::Any, Scope::Span, Scope::Resource][SCOPES.iter().position(|known| *known == text)?])
        },
        &format!("one of {}", SCOPES.join(", ")),
    )?;
    let operator = operator.unwrap_or(if value.is_some() { "=" } else { "exists" });
    let comparison = read_comparison(&fields, operator, value)?;
    Ok(AttributeCondition { key, scope: scope.unwrap_or_default(), comparison })
}

fn read_comparison(fields: &Fields, operator: &str, value: Option<Value>) -> Result<Comparison, ApiError> {
    let path = fields.path("value");
    let bound = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    let comparison = match (operator, &value) {
        ("exists", None) => Some(Comparison::Exists),
        ("=", Some(value)) => scalar(value).map(Comparison::Equal),
        ("!=", Some(value)) => scalar(value).map(Comparison::NotEqual),
        ("<", Some(value)) => bound(value).map(Comparison::Less),
        ("<=", Some(value)) => bound(value).map(Comparison::LessOrEqual),
        (">", Some(value)) => bound(value).map(Comparison::Greater),
        (">=", Some(value)) => bound(value).map(Comparison::GreaterOrEqual),
        _ => None,
    };
    let needed = match operator {
        "exists" => "must be left out for `exists`".to_owned(),
        "=" | "!=" => format!("must be a text, a number or a truth for `{operator}`"),
        _ => format!("must be a number for `{operator}`"),
    };
    comparison.ok_or_else(|| ApiError::invalid(&path, format!("`{path}` {needed}")))
}

fn scalar(value: &Value) -> Option<AnyValue> {
    match value {
        Value::String(text) => Some(AnyValue::from(text.as_str())),
        Value::Bool(truth) => Some(AnyValue::Bool(*truth)),
        Value::Number(number) => {
            let whole = number.as_i64().map(AnyValue::Int);
            whole.or_else(|| number.as_f64().map(AnyValue::Double))
        }
        _ => None,
    }
}

fn found_trace_json(found: FoundTrace) -> FoundTraceJson {
    FoundTraceJson {
        summary: SummaryJson::of(&found.summary),
        matched_spans: found.matched_spans.into_iter().map(matched_span_json).collect(),
    }
}

impl SummaryJson {
    pub(super) fn of(summary: &crate::model::TraceSummary) -> Self {
        let services = summary.services.iter().map(|service| ServiceCountJson {
            name: service.service.to_string(),
            span_count: service.span_count,
            error_count: service.error_count,
        });
        Self {
            trace_id: summary.trace_id.to_string(),
            root_service: summary.root_service.to_string(),
            root_operation: summary.root_name.to_string(),
            root_status: status_name(summary.root_status),
            has_root: summary.has_root,
            start_time: format_rfc3339(summary.start_unix_ns),
            start_time_unix_nano: summary.start_unix_ns.to_string(),
            duration_ns: summary.duration_ns(),
            span_count: summary.span_count,
            error_count: summary.error_count,
            services: services.collect(),
        }
    }
}

fn matched_span_json(span: MatchedSpan) -> MatchedSpanJson {
    MatchedSpanJson {
        span_id: span.span_id.to_string(),
        service: span.service,
        name: span.name.to_string(),
        kind: kind_name(span.kind),
        status: status_name(span.status),
        start_time_unix_nano: span.start_unix_ns.to_string(),
        duration_ns: span.duration_ns,
    }
}
