//! Spans that match a predicate, for a search that asks again and again: first among the newest traces, then among
//! older ones.
//!
//! The traces of one step may lie anywhere in the row groups, and so may those of the next. Each row group is therefore
//! looked at once, in the columns that the predicate needs; the rows that passed are remembered with their traces, and
//! only those that a step asks for become spans.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::caches::Caches;
use super::error::StoreError;
use super::live::{Generation, LiveBatch};
use super::segment::{Condition, Row, Segment};
use super::summaries;
use super::view::Picture;
use crate::model::{Span, SpanPredicate, TimeRange, TraceId, TraceSummary};

/// Rows that a finder remembers (20 bytes each); further row groups are looked at anew in each step.
pub const MAX_REMEMBERED_ROWS: usize = 1_000_000;

/// Looks for spans in one picture of the store. Made by [`Store::finder`](super::Store::finder).
pub struct Finder<'a> {
    picture: Picture,
    caches: &'a Caches,
    predicate: SpanPredicate,
    deadline: Option<Instant>,
    /// One for each generation, newest first.
    live: Vec<Live>,
    /// By place of the segment in the picture.
    sealed: HashMap<usize, Sealed>,
    remembered_rows: usize,
}

struct Live {
    generation: Arc<Generation>,
    batches_looked_at: usize,
    places: Vec<(Arc<LiveBatch>, u32)>,
}

struct Sealed {
    condition: Condition,
    groups: HashMap<usize, Arc<[Row]>>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(
        picture: Picture,
        caches: &'a Caches,
        predicate: SpanPredicate,
        deadline: Option<Instant>,
    ) -> Self {
        let live = picture.generations().map(|generation| Live {
            generation: Arc::clone(generation),
            batches_looked_at: 0,
            places: Vec::new(),
        });
        let live = live.collect();
        Self { picture, caches, predicate, deadline, live, sealed: HashMap::new(), remembered_rows: 0 }
    }

    /// [`Store::summaries`](super::Store::summaries) of the same picture.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn summaries(
        &self,
        range: TimeRange,
        before: Option<(u64, TraceId)>,
        limit: usize,
    ) -> Result<Vec<TraceSummary>, StoreError> {
        summaries::newest(&self.picture, self.caches, range, before, limit)
    }

    /// Gives each span that starts in the range, matches, and is of a wanted trace, to `visit` until it breaks, with its
    /// trace's canonical id: live
    /// spans first, then newest segments first. Within a segment the order is not defined. A span that was sent twice
    /// may come twice. Returns whether it was broken off, also by the deadline.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn visit(
        &mut self,
        range: TimeRange,
        is_wanted: &dyn Fn(TraceId) -> bool,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let aliases = Arc::clone(&self.picture.aliases);
        let is_wanted = &|trace_id| is_wanted(aliases.canonical(trace_id));
        let visit = &mut |span: &Span| match aliases.canonical(span.trace_id) {
            trace_id if trace_id == span.trace_id => visit(span),
            trace_id => visit(&Span { trace_id, ..span.clone() }),
        };
        for live in &mut self.live {
            if live.visit(&self.predicate, range, is_wanted, visit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        let segments = Arc::clone(&self.picture.segments);
        for (place, segment) in segments.iter().enumerate().rev() {
            let meta = &segment.meta;
            let is_inside = range.overlaps(meta.first_start_unix_ns, meta.last_start_unix_ns);
            if is_inside && self.visit_segment(place, segment, range, is_wanted, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn visit_segment(
        &mut self,
        place: usize,
        segment: &Segment,
        range: TimeRange,
        is_wanted: &dyn Fn(TraceId) -> bool,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let mut sealed = match self.sealed.remove(&place) {
            Some(sealed) => sealed,
            None => Sealed { condition: segment.condition(&self.predicate)?, groups: HashMap::new() },
        };
        for group in segment.groups(range, &sealed.condition)? {
            if self.deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Ok(ControlFlow::Break(()));
            }
            let found = self.rows(segment, group, &mut sealed)?;
            let wanted = found.iter().filter(|found| is_wanted(found.trace_id));
            let rows: Vec<u32> = wanted.map(|found| found.row).collect();
            if rows.is_empty() {
                continue;
            }
            let flow = segment.visit(group, &rows, &mut |span| {
                let is_match = range.contains(span.start_unix_ns) && self.predicate.matches(span);
                if is_match { visit(span) } else { ControlFlow::Continue(()) }
            })?;
            if flow.is_break() {
                return Ok(flow);
            }
        }
        self.sealed.insert(place, sealed);
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the rows of a row group that may match.
    fn rows(
        &mut self,
        segment: &Segment,
        group: usize,
        sealed: &mut Sealed,
    ) -> Result<Arc<[Row]>, StoreError> {
        if let Some(rows) = sealed.groups.get(&group) {
            return Ok(Arc::clone(rows));
        }
        let rows: Arc<[Row]> = segment.rows(group, &sealed.condition)?.into();
        if self.remembered_rows + rows.len() <= MAX_REMEMBERED_ROWS {
            self.remembered_rows += rows.len();
            sealed.groups.insert(group, Arc::clone(&rows));
        }
        Ok(rows)
    }
}

impl Live {
    fn visit(
        &mut self,
        predicate: &SpanPredicate,
        range: TimeRange,
        is_wanted: &dyn Fn(TraceId) -> bool,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // The newest generation still grows.
        self.batches_looked_at = self.generation.places(predicate, self.batches_looked_at, &mut self.places);
        for span in self.places.iter().filter_map(|(batch, index)| batch.span(*index)) {
            if range.contains(span.start_unix_ns) && is_wanted(span.trace_id) {
                visit(span)?;
            }
        }
        ControlFlow::Continue(())
    }
}
