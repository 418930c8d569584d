//! Traces that fulfil conditions, newest first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Span, SpanId, SpanKind, SpanPredicate, StatusCode, TimeRange, TraceId, TraceSummary};
use crate::store::{Finder, Store};

use super::{AttributeCondition, Cursor, QueryError};

/// Matching spans that are named for each found trace: the earliest.
pub const MAX_MATCHED_SPANS: usize = 3;
/// Summaries that are looked at in the first round, and in any.
const CHUNK: std::ops::RangeInclusive<usize> = 128..=16_384;

/// Conditions on a trace; what is none or empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchFilter {
    /// The trace takes at least this long, from its first start to its last end.
    pub min_duration_ns: Option<u64>,
    /// The trace takes at most this long.
    pub max_duration_ns: Option<u64>,
    /// One of its spans has this service …
    pub service: Option<String>,
    /// … and this name …
    pub operation: Option<String>,
    /// … and this kind …
    pub kind: Option<SpanKind>,
    /// … and this status …
    pub status: Option<StatusCode>,
    /// … and takes at least this long …
    pub min_span_duration_ns: Option<u64>,
    /// … and at most this long …
    pub max_span_duration_ns: Option<u64>,
    /// … and has these attributes: all of it the same span.
    pub attributes: Vec<AttributeCondition>,
}

/// A page to find.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuestion {
    /// What the traces must fulfil.
    pub filter: SearchFilter,
    /// When they start.
    pub range: TimeRange,
    /// The page before; none for the first page.
    pub after: Option<Cursor>,
    /// How many traces a page has.
    pub limit: usize,
}

/// A page.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPage {
    /// Newest first, then by id, largest first.
    pub traces: Vec<FoundTrace>,
    /// There are more.
    pub has_more: bool,
}

/// A trace that fulfils the conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrace {
    /// The trace.
    pub summary: TraceSummary,
    /// The earliest of the spans that fulfil all conditions on spans, if any condition needed spans.
    pub matched_spans: Vec<MatchedSpan>,
}

/// A span that fulfils the conditions on spans.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchedSpan {
    /// The span.
    pub span_id: SpanId,
    /// Its start.
    pub start_unix_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// Its service.
    pub service: String,
    /// Its name.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: SpanKind,
    /// Its status.
    pub status: StatusCode,
}

/// Returns the next page. Looks at summaries in rounds of growing size, and at spans only of the traces that their
/// summaries leave in question; all rounds see the same store.
///
/// # Errors
/// If the store cannot be read, or the deadline passes.
pub fn search(store: &Store, question: &SearchQuestion, deadline: Instant) -> Result<SearchPage, QueryError> {
    let filter = &question.filter;
    let mut finder = store.finder(filter.predicate(), Some(deadline));
    let mut traces: Vec<FoundTrace> = Vec::new();
    let mut before = question.after.as_ref().map(|cursor| cursor.position);
    let mut chunk_size = question.limit.saturating_add(1).clamp(*CHUNK.start(), *CHUNK.end());
    loop {
        let mut chunk = finder.summaries(question.range, before, chunk_size)?;
        let is_last = chunk.len() < chunk_size;
        before = chunk.last().map(|summary| (summary.start_unix_ns, summary.trace_id));
        chunk.retain(|summary| filter.may_match(summary) && !question.has_returned(summary));
        if filter.needs_spans() {
            traces.extend(with_matched_spans(&mut finder, filter, chunk)?);
        } else {
            let found = chunk.into_iter();
            traces.extend(found.map(|summary| FoundTrace { summary, matched_spans: Vec::new() }));
        }
        if is_last || traces.len() > question.limit {
            let has_more = traces.len() > question.limit;
            traces.truncate(question.limit);
            return Ok(SearchPage { traces, has_more });
        }
        if Instant::now() > deadline {
            return Err(QueryError::Deadline);
        }
        chunk_size = chunk_size.saturating_mul(4).min(*CHUNK.end());
    }
}

impl SearchQuestion {
    fn has_returned(&self, summary: &TraceSummary) -> bool {
        self.after.as_ref().is_some_and(|cursor| cursor.has_returned(summary.trace_id))
    }
}

impl SearchFilter {
    /// Returns whether summaries cannot answer alone.
    fn needs_spans(&self) -> bool {
        let is_error_or_any = matches!(self.status, None | Some(StatusCode::Error));
        self.operation.is_some()
            || self.kind.is_some()
            || !is_error_or_any
            || self.min_span_duration_ns.is_some()
            || self.max_span_duration_ns.is_some()
            || !self.attributes.is_empty()
    }

    /// Returns whether the trace may fulfil the filter; it does where no spans are needed.
    fn may_match(&self, summary: &TraceSummary) -> bool {
        let duration_ns = summary.duration_ns();
        if self.min_duration_ns.is_some_and(|min| duration_ns < min)
            || self.max_duration_ns.is_some_and(|max| duration_ns > max)
        {
            return false;
        }
        let wants_error = self.status == Some(StatusCode::Error);
        match &self.service {
            Some(service) => summary
                .services
                .iter()
                .any(|known| *known.service == **service && (!wants_error || known.error_count > 0)),
            None => !wants_error || summary.error_count > 0,
        }
    }

    /// What the store can check; the spans that it gives may not fulfil the other conditions.
    fn predicate(&self) -> SpanPredicate {
        SpanPredicate {
            service: self.service.clone(),
            name: self.operation.clone(),
            kind: self.kind,
            status: self.status,
            min_duration_ns: self.min_span_duration_ns,
            max_duration_ns: self.max_span_duration_ns,
            without_parent: false,
            attributes: self.attributes.iter().filter_map(AttributeCondition::for_store).collect(),
        }
    }
}

/// Keeps the traces of which a span fulfils the conditions, in their order. All their spans start between the first
/// start and the last end of the traces.
fn with_matched_spans(
    finder: &mut Finder<'_>,
    filter: &SearchFilter,
    traces: Vec<TraceSummary>,
) -> Result<Vec<FoundTrace>, QueryError> {
    let Some(from_unix_ns) = traces.iter().map(|trace| trace.start_unix_ns).min() else {
        return Ok(Vec::new());
    };
    let last_end = traces.iter().map(|trace| trace.end_unix_ns.max(trace.start_unix_ns)).max();
    let range = TimeRange { from_unix_ns, until_unix_ns: last_end.unwrap_or(from_unix_ns).saturating_add(1) };
    let wanted: HashSet<TraceId> = traces.iter().map(|trace| trace.trace_id).collect();
    let mut matched: HashMap<TraceId, BTreeMap<(u64, SpanId), MatchedSpan>> = HashMap::new();
    let flow = finder.visit(range, &|trace_id| wanted.contains(&trace_id), &mut |span| {
        if filter.attributes.iter().all(|condition| condition.matches(span)) {
            let earliest = matched.entry(span.trace_id).or_default();
            earliest.insert((span.start_unix_ns, span.span_id), MatchedSpan::of(span));
            if earliest.len() > MAX_MATCHED_SPANS {
                earliest.pop_last();
            }
        }
        ControlFlow::Continue(())
    })?;
    // Nothing but the deadline breaks it off.
    if flow.is_break() {
        return Err(QueryError::Deadline);
    }
    let found = traces.into_iter().filter_map(|summary| {
        let spans = matched.remove(&summary.trace_id)?;
        Some(FoundTrace { summary, matched_spans: spans.into_values().collect() })
    });
    Ok(found.collect())
}

impl MatchedSpan {
    fn of(span: &Span) -> Self {
        Self {
            span_id: span.span_id,
            start_unix_ns: span.start_unix_ns,
            duration_ns: span.duration_ns(),
            service: span.service_name().to_owned(),
            name: Arc::clone(&span.name),
            kind: span.kind,
            status: span.status.code,
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
