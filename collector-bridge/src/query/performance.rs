//! Rate, errors and latency over time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::analyze::{MINUTE_NS, OperationMinute, Red, Rollups};
use crate::model::{SpanKind, TimeRange};

use super::services::handles_requests;

/// Which spans, in which series.
#[derive(Clone, Debug, PartialEq)]
pub struct PerformanceQuestion {
    /// Of this service only.
    pub service: Option<String>,
    /// Of spans with this name only.
    pub operation: Option<String>,
    /// Of which kinds.
    pub kinds: KindChoice,
    /// What makes a series.
    pub grouping: Grouping,
    /// Start of the first point and end of the last one; whole minutes.
    pub range: TimeRange,
    /// Width of a point; whole minutes, not 0.
    pub step_ns: u64,
}

/// Which kinds of spans are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindChoice {
    /// Server and consumer spans of services that have any in the range, all spans of the others.
    Auto,
    /// All.
    All,
    /// One.
    Only(SpanKind),
}

/// What makes a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// A service.
    Service,
    /// A service, a span name and a kind.
    Operation,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The service.
    pub service: String,
    /// Name and kind of the spans, where they make the series.
    pub operation: Option<(String, SpanKind)>,
    /// Kinds that were counted.
    pub kinds: BTreeSet<SpanKind>,
    /// Sums over the whole range.
    pub total: Red,
    /// Sums by number of the point; points without spans are left out.
    pub points: BTreeMap<u64, Red>,
}

/// Service, and span name and kind where they make the series.
type SeriesKey<'a> = (&'a str, Option<(&'a str, SpanKind)>);

/// Returns the series, most spans first, then by name.
#[must_use]
pub fn performance(rollups: &Rollups, question: &PerformanceQuestion) -> Vec<Series> {
    let handlers: BTreeSet<&str> =
        rollups.operations().filter(|sum| handles_requests(sum.kind)).map(|sum| sum.service).collect();
    let mut all: BTreeMap<SeriesKey<'_>, Series> = BTreeMap::new();
    for sum in rollups.operations().filter(|sum| question.asks_for(sum, &handlers)) {
        let operation = (question.grouping == Grouping::Operation).then_some((sum.name, sum.kind));
        let series = all.entry((sum.service, operation)).or_insert_with(|| Series {
            service: sum.service.to_owned(),
            operation: operation.map(|(name, kind)| (name.to_owned(), kind)),
            kinds: BTreeSet::new(),
            total: Red::default(),
            points: BTreeMap::new(),
        });
        series.kinds.insert(sum.kind);
        series.total.merge(sum.red);
        series.points.entry(question.point_of(&sum)).or_default().merge(sum.red);
    }
    let mut series: Vec<Series> = all.into_values().collect();
    series.sort_by_cached_key(|series| Reverse(series.total.count()));
    series
}

impl PerformanceQuestion {
    fn asks_for(&self, sum: &OperationMinute<'_>, handlers: &BTreeSet<&str>) -> bool {
        let has_kind = match self.kinds {
            KindChoice::Auto => handles_requests(sum.kind) || !handlers.contains(sum.service),
            KindChoice::All => true,
            KindChoice::Only(kind) => sum.kind == kind,
        };
        has_kind
            && self.range.contains(sum.minute_unix_ns)
            && self.service.as_deref().is_none_or(|service| service == sum.service)
            && self.operation.as_deref().is_none_or(|operation| operation == sum.name)
    }

    fn point_of(&self, sum: &OperationMinute<'_>) -> u64 {
        sum.minute_unix_ns.saturating_sub(self.range.from_unix_ns) / self.step_ns.max(MINUTE_NS)
    }
}
