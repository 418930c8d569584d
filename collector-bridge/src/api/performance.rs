//! `GET /api/v1/traces/performance`: rate, errors and latency over time.

use axum::extract::{RawQuery, State};
use serde::Serialize;

use crate::analyze::{MINUTE_NS, Red};
use crate::model::TimeRange;
use crate::query::{self, Grouping, KindChoice, PerformanceQuestion, Series};

use super::Api;
use super::error::ApiError;
use super::fields::Fields;
use super::json::{Json, RangeJson, RedJson};
use super::names::{KINDS, kind_name, parse_kind};
use super::range::{covered_ns, now_unix_ns, take_range, whole_minutes};
use super::time::{format_rfc3339, parse_duration};

/// Series in an answer, unless asked otherwise and at most.
pub(super) const DEFAULT_SERIES: usize = 20;
pub(super) const MAX_SERIES: usize = 200;
/// Points of one series.
pub(super) const MAX_POINTS: u64 = 1_500;
/// Points of all series together: some 20 MB of JSON.
pub(super) const MAX_POINTS_TOTAL: u64 = 60_000;
/// Points that a step is chosen for.
const AIMED_POINTS: u64 = 60;
/// Steps that are chosen, in minutes.
const CHOSEN_STEPS: [u64; 12] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440];

#[derive(Debug, Serialize)]
pub(super) struct PerformanceJson {
    range: RangeJson,
    step_seconds: u64,
    /// Series that there are, also those beyond the limit.
    series_count: usize,
    series: Vec<SeriesJson>,
}

#[derive(Debug, Serialize)]
struct SeriesJson {
    service: String,
    operation: Option<String>,
    kinds: Vec<String>,
    total: RedJson,
    points: Vec<PointJson>,
}

#[derive(Debug, Serialize)]
struct PointJson {
    time: String,
    #[serde(flatten)]
    red: RedJson,
}

pub(super) async fn performance(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<PerformanceJson>, ApiError> {
    let allowed = ["service", "operation", "kind", "group_by", "from", "until", "since", "step", "limit"];
    let mut fields = Fields::of_query(query.as_deref(), &allowed)?;
    let now = now_unix_ns();
    let (question, limit) = read_question(&mut fields, now)?;
    let PerformanceQuestion { range, step_ns, .. } = question;
    let series = api.ask(move |store, _| Ok(query::performance(&store.rollups(range)?, &question))).await?;
    Ok(Json(PerformanceJson {
        range: range.into(),
        step_seconds: step_ns / 1_000_000_000,
        series_count: series.len(),
        series: series
            .into_iter()
            .take(limit)
            .map(|series| series_json(series, range, step_ns, now))
            .collect(),
    }))
}

fn read_question(fields: &mut Fields, now_unix_ns: u64) -> Result<(PerformanceQuestion, usize), ApiError> {
    let service = fields.text("service")?;
    let operation = fields.text("operation")?;
    let grouping = match fields.text("group_by")?.as_deref() {
        Some("service") => Grouping::Service,
        Some("operation") => Grouping::Operation,
        None if service.is_some() || operation.is_some() => Grouping::Operation,
        None => Grouping::Service,
        Some(_) => {
            return Err(ApiError::invalid("group_by", "`group_by` must be one of service, operation"));
        }
    };
    let kinds = read_kinds(fields, operation.is_some())?;
    let limit = fields.count("limit", DEFAULT_SERIES, MAX_SERIES)?;
    let range = whole_minutes(take_range(fields, now_unix_ns)?);
    let (range, step_ns) = read_step(fields, range, limit as u64)?;
    Ok((PerformanceQuestion { service, operation, kinds, grouping, range, step_ns }, limit))
}

/// An operation that is named is counted whatever its kind is.
fn read_kinds(fields: &mut Fields, names_operation: bool) -> Result<KindChoice, ApiError> {
    let parse = |text: &str| match text {
        "auto" => Some(KindChoice::Auto),
        "all" => Some(KindChoice::All),
        kind => parse_kind(kind).map(KindChoice::Only),
    };
    let default = if names_operation { KindChoice::All } else { KindChoice::Auto };
    Ok(fields.parsed("kind", parse, &format!("one of auto, all, {}", KINDS.join(", ")))?.unwrap_or(default))
}

/// Returns the step, and the range that begins at a multiple of it, so that points stay the same as time goes on.
fn read_step(fields: &mut Fields, range: TimeRange, limit: u64) -> Result<(TimeRange, u64), ApiError> {
    let parse = |text: &str| parse_duration(text).filter(|step| *step > 0 && step.is_multiple_of(MINUTE_NS));
    let step_ns = match fields.parsed("step", parse, "a duration of whole minutes such as 1m, 5m or 1h")? {
        Some(step_ns) => step_ns,
        None => chosen_step(range),
    };
    let from_unix_ns = range.from_unix_ns / step_ns * step_ns;
    let points = (range.until_unix_ns - from_unix_ns).div_ceil(step_ns);
    if points > MAX_POINTS {
        let message =
            format!("`step` makes {points} points; at most {MAX_POINTS} are allowed: choose a longer step");
        return Err(ApiError::invalid("step", message));
    }
    if points * limit > MAX_POINTS_TOTAL {
        let message = format!(
            "{limit} series of {points} points are more than {MAX_POINTS_TOTAL} points: lower `limit` or choose a longer step"
        );
        return Err(ApiError::invalid("limit", message));
    }
    Ok((TimeRange { from_unix_ns, ..range }, step_ns))
}

/// The first step that makes few points; beyond all, whole days.
fn chosen_step(range: TimeRange) -> u64 {
    let least = (range.until_unix_ns - range.from_unix_ns) / AIMED_POINTS;
    let chosen = CHOSEN_STEPS.iter().map(|minutes| minutes * MINUTE_NS).find(|step| *step >= least);
    let day = 1_440 * MINUTE_NS;
    chosen.unwrap_or_else(|| least.div_ceil(day) * day)
}

fn series_json(series: Series, range: TimeRange, step_ns: u64, now_unix_ns: u64) -> SeriesJson {
    let point_count = (range.until_unix_ns - range.from_unix_ns).div_ceil(step_ns);
    let empty = Red::default();
    let points = (0..point_count).map(|number| {
        let start = range.from_unix_ns + number * step_ns;
        let end = start.saturating_add(step_ns).min(range.until_unix_ns);
        let point = TimeRange { from_unix_ns: start, until_unix_ns: end };
        let red = series.points.get(&number).unwrap_or(&empty);
        PointJson { time: format_rfc3339(start), red: RedJson::of(red, covered_ns(point, now_unix_ns)) }
    });
    SeriesJson {
        points: points.collect(),
        total: RedJson::of(&series.total, covered_ns(range, now_unix_ns)),
        kinds: series.kinds.iter().map(|kind| kind_name(*kind)).collect(),
        operation: series.operation.map(|(name, _)| name),
        service: series.service,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(query: &str) -> Result<(u64, u64, u64), String> {
        let allowed = ["from", "until", "since", "step", "limit", "kind", "group_by", "service", "operation"];
        let mut fields = Fields::of_query(Some(query), &allowed).unwrap();
        let (question, _) =
            read_question(&mut fields, 2_000_000_000_000_000_000).map_err(|error| error.to_string())?;
        let minutes = |ns: u64| ns / MINUTE_NS;
        let range = question.range;
        Ok((minutes(range.from_unix_ns), minutes(range.until_unix_ns), minutes(question.step_ns)))
    }

    #[test]
    fn steps_fit_the_range() {
        assert_eq!(question("from=6000&until=9600"), Ok((100, 160, 1)));
        assert_eq!(question("from=6060&until=86400&step=5m"), Ok((100, 1440, 5)));
        assert_eq!(question("until=864000&since=7d"), Ok((4320, 14400, 180)));
        assert_eq!(question("from=0&until=1700000000").unwrap().2 % 1440, 0);
    }

    #[test]
    fn wrong_questions() {
        let check = |query: &str, start: &str| {
            let message = question(query).unwrap_err();
            assert!(message.starts_with(start), "{query}: {message}");
        };
        check("step=90s", "`step` must be a duration of whole minutes");
        check("step=0m", "`step` must be a duration of whole minutes");
        check("from=0&until=100000&step=1m", "`step` makes 1667 points");
        check("from=0&until=80000&step=1m&limit=100", "100 series of 1334 points");
        check("group_by=host", "`group_by` must be one of");
        check("kind=SERVER", "`kind` must be one of auto, all, ");
    }
}
