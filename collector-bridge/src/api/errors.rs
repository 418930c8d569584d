//! `GET /api/v1/traces/errors`.

use axum::extract::{RawQuery, State};
use serde::Serialize;

use crate::analyze::OVERFLOW_NAME;
use crate::query::{self, ErrorGroup, ErrorsQuestion};

use super::Api;
use super::error::ApiError;
use super::fields::Fields;
use super::json::{Json, RangeJson};
use super::names::kind_name;
use super::range::{now_unix_ns, take_range, whole_minutes};
use super::time::format_rfc3339;

/// Groups in an answer, unless asked otherwise and at most.
pub(super) const DEFAULT_GROUPS: usize = 50;
pub(super) const MAX_GROUPS: usize = 1_000;

#[derive(Debug, Serialize)]
pub(super) struct ErrorsJson {
    range: RangeJson,
    /// Groups and errors that there are, also those beyond the limit.
    group_count: usize,
    error_count: u64,
    errors: Vec<GroupJson>,
}

#[derive(Debug, Serialize)]
struct GroupJson {
    service: String,
    operation: String,
    kind: Option<String>,
    error_type: Option<String>,
    message: Option<String>,
    count: u64,
    first_seen: String,
    last_seen: String,
    trace_ids: Vec<String>,
}

pub(super) async fn errors(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<ErrorsJson>, ApiError> {
    let allowed = ["service", "operation", "from", "until", "since", "limit"];
    let mut fields = Fields::of_query(query.as_deref(), &allowed)?;
    let question = ErrorsQuestion { service: fields.text("service")?, operation: fields.text("operation")? };
    let limit = fields.count("limit", DEFAULT_GROUPS, MAX_GROUPS)?;
    let range = whole_minutes(take_range(&mut fields, now_unix_ns())?);
    let groups = api.ask(move |store, _| Ok(query::error_groups(&store.rollups(range)?, &question))).await?;
    Ok(Json(ErrorsJson {
        range: range.into(),
        group_count: groups.len(),
        error_count: groups.iter().map(|group| group.stats.count).sum(),
        errors: groups.into_iter().take(limit).map(group_json).collect(),
    }))
}

fn group_json(group: ErrorGroup) -> GroupJson {
    let failure = group.failure.as_ref();
    GroupJson {
        service: group.service,
        operation: failure.map_or(OVERFLOW_NAME, |failure| &*failure.operation).to_owned(),
        kind: failure.map(|failure| kind_name(failure.kind)),
        error_type: failure.and_then(|failure| failure.error_type.as_deref()).map(str::to_owned),
        message: failure.and_then(|failure| failure.message.as_deref()).map(str::to_owned),
        count: group.stats.count,
        first_seen: format_rfc3339(group.stats.first_unix_ns),
        last_seen: format_rfc3339(group.stats.last_unix_ns),
        trace_ids: group.stats.examples.iter().map(|example| example.1.to_string()).collect(),
    }
}
