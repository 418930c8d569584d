//! `GET /api/v1/traces/services` and `/operations`.

use axum::extract::{RawQuery, State};
use serde::Serialize;

use crate::query;

use super::Api;
use super::error::ApiError;
use super::fields::Fields;
use super::json::{Json, RangeJson, RedJson};
use super::names::kind_name;
use super::range::{covered_ns, now_unix_ns, take_range, whole_minutes};
use super::time::format_rfc3339;

#[derive(Debug, Serialize)]
pub(super) struct ServicesJson {
    range: RangeJson,
    services: Vec<ServiceJson>,
}

#[derive(Debug, Serialize)]
struct ServiceJson {
    name: String,
    span_count: u64,
    span_error_count: u64,
    operation_count: usize,
    last_seen: String,
    /// Server and consumer spans.
    requests: RedJson,
}

#[derive(Debug, Serialize)]
pub(super) struct OperationsJson {
    range: RangeJson,
    service: String,
    operations: Vec<OperationJson>,
}

#[derive(Debug, Serialize)]
struct OperationJson {
    name: String,
    kind: String,
    last_seen: String,
    #[serde(flatten)]
    red: RedJson,
}

pub(super) async fn services(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<ServicesJson>, ApiError> {
    let mut fields = Fields::of_query(query.as_deref(), &["from", "until", "since"])?;
    let now = now_unix_ns();
    let range = whole_minutes(take_range(&mut fields, now)?);
    let found = api.ask(move |store, _| Ok(query::services(&store.rollups(range)?))).await?;
    let services = found.into_iter().map(|service| ServiceJson {
        name: service.name,
        span_count: service.spans,
        span_error_count: service.span_errors,
        operation_count: service.operation_count,
        last_seen: format_rfc3339(service.last_minute_unix_ns),
        requests: RedJson::of(&service.handled, covered_ns(range, now)),
    });
    Ok(Json(ServicesJson { range: range.into(), services: services.collect() }))
}

pub(super) async fn operations(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<OperationsJson>, ApiError> {
    let mut fields = Fields::of_query(query.as_deref(), &["service", "kind", "from", "until", "since"])?;
    let service = fields.required_text("service")?;
    let kind = fields.kind("kind")?;
    let now = now_unix_ns();
    let range = whole_minutes(take_range(&mut fields, now)?);
    let wanted = service.clone();
    let found = api.ask(move |store, _| Ok(query::operations(&store.rollups(range)?, &wanted))).await?;
    let of_kind = found.into_iter().filter(|operation| kind.is_none_or(|kind| kind == operation.kind));
    let operations = of_kind.map(|operation| OperationJson {
        name: operation.name,
        kind: kind_name(operation.kind),
        last_seen: format_rfc3339(operation.last_minute_unix_ns),
        red: RedJson::of(&operation.red, covered_ns(range, now)),
    });
    Ok(Json(OperationsJson { range: range.into(), service, operations: operations.collect() }))
}
