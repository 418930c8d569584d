//! The list of traces, newest first: a merge of the sorted tables of all segments with the live traces.
//!
//! A trace may lie in several places. Its start is then the earliest of them, so a place may name it too early in the
//! list; it goes back into the queue with its true start and comes out where it belongs.

use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;

use super::caches::Caches;
use super::error::StoreError;
use super::segment::{Segment, SummaryTable};
use super::sort_and_dedup;
use super::view::Picture;
use crate::assemble::settled;
use crate::model::{Span, TimeRange, TraceId, TraceSummary};

type Key = (u64, TraceId);

struct Cursor {
    table: Arc<SummaryTable>,
    index: usize,
}

/// Returns traces in the range below `before`, newest first, at most `limit`.
pub(super) fn newest(
    picture: &Picture,
    cache: &Caches,
    range: TimeRange,
    before: Option<Key>,
    limit: usize,
) -> Result<Vec<TraceSummary>, StoreError> {
    let mut merge = Merge::new(picture, cache, range, before);
    let mut found = Vec::new();
    while found.len() < limit {
        let Some(summary) = merge.next()? else { break };
        found.push(summary);
    }
    Ok(found)
}

struct Merge<'a> {
    picture: &'a Picture,
    cache: &'a Caches,
    /// Only keys below this.
    bound: Key,
    from_unix_ns: u64,
    queue: BinaryHeap<(Key, Source)>,
    cursors: Vec<Cursor>,
    seen: HashSet<TraceId>,
    ready: Vec<(Key, TraceSummary)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A trace in a generation.
    Live,
    /// The next line of a cursor.
    Line { cursor: usize, segment: usize },
    /// A segment whose table is not read yet; the key is its latest start.
    Segment(usize),
    /// A whole summary in `ready`.
    Ready(usize),
}

impl<'a> Merge<'a> {
    fn new(picture: &'a Picture, cache: &'a Caches, range: TimeRange, before: Option<Key>) -> Self {
        let end = (range.until_unix_ns, TraceId([0; 16]));
        let bound = before.map_or(end, |before| before.min(end));
        let mut queue = BinaryHeap::new();
        for generation in picture.generations() {
            let starts = generation.first_starts().into_iter();
            queue.extend(
                starts.filter(|(start, _)| *start >= range.from_unix_ns).map(|key| (key, Source::Live)),
            );
        }
        for (index, segment) in picture.segments.iter().enumerate() {
            let meta = &segment.meta;
            if meta.last_start_unix_ns >= range.from_unix_ns && meta.first_start_unix_ns <= bound.0 {
                let latest = (meta.last_start_unix_ns.min(bound.0), TraceId([0xff; 16]));
                queue.push((latest, Source::Segment(index)));
            }
        }
        Self {
            picture,
            cache,
            bound,
            from_unix_ns: range.from_unix_ns,
            queue,
            cursors: Vec::new(),
            seen: HashSet::new(),
            ready: Vec::new(),
        }
    }

    fn next(&mut self) -> Result<Option<TraceSummary>, StoreError> {
        while let Some((key, source)) = self.queue.pop() {
            match source {
                Source::Ready(index) => {
                    return Ok(self.ready.get(index).map(|(_, summary)| summary.clone()));
                }
                Source::Segment(segment) => self.open(segment)?,
                Source::Live => self.live(key)?,
                Source::Line { cursor, segment } => self.line(key, cursor, segment)?,
            }
        }
        Ok(None)
    }

    fn open(&mut self, segment: usize) -> Result<(), StoreError> {
        let Some(opened) = self.picture.segments.get(segment) else {
            return Ok(());
        };
        let table = self.cache.summaries(opened)?;
        let index = table.first_below(self.bound);
        self.cursors.push(Cursor { table, index });
        self.advance(self.cursors.len() - 1, segment);
        Ok(())
    }

    /// Puts the cursor's line into the queue, if it is in the range.
    fn advance(&mut self, cursor: usize, segment: usize) {
        let Some(key) = self.cursors.get(cursor).and_then(|at| at.table.key(at.index)) else {
            return;
        };
        if key.0 >= self.from_unix_ns {
            self.queue.push((key, Source::Line { cursor, segment }));
        }
    }

    fn line(&mut self, key: Key, cursor: usize, segment: usize) -> Result<(), StoreError> {
        let summary = self.cursors.get_mut(cursor).and_then(|at| {
            at.index += 1;
            at.table.summary(at.index - 1)
        });
        self.advance(cursor, segment);
        let ids = self.picture.aliases.ids(key.1);
        if !self.is_new(&ids) {
            return Ok(());
        }
        match summary {
            Some(summary) if ids.first() == Some(&key.1) && !self.is_elsewhere(&ids, segment)? => {
                self.put(summary);
            }
            _ => self.put_whole(&ids)?,
        }
        Ok(())
    }

    fn live(&mut self, key: Key) -> Result<(), StoreError> {
        // A live trace above the bound may have an older part that brings it below.
        let ids = self.picture.aliases.ids(key.1);
        if self.is_new(&ids) { self.put_whole(&ids) } else { Ok(()) }
    }

    /// Returns whether the trace was not met before, under any of its ids.
    fn is_new(&mut self, ids: &[TraceId]) -> bool {
        ids.first().is_some_and(|canonical| self.seen.insert(*canonical))
    }

    /// Returns whether parts of the trace are elsewhere than under its canonical id, the first, in the segment.
    fn is_elsewhere(&self, ids: &[TraceId], segment: usize) -> Result<bool, StoreError> {
        for (number, trace_id) in ids.iter().enumerate() {
            for (index, other) in self.picture.segments.iter().enumerate() {
                let is_here = index == segment && number == 0;
                if !is_here && other.contains(*trace_id)? {
                    return Ok(true);
                }
            }
            if self.picture.generations().any(|generation| generation.contains(*trace_id)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn put_whole(&mut self, ids: &[TraceId]) -> Result<(), StoreError> {
        let spans = spans_of(self.picture, ids)?;
        let spans: Vec<&Span> = spans.iter().collect();
        let settled = settled(&spans);
        let spans = settled.as_ref().map_or(spans, |settled| settled.spans.iter().collect());
        if let Some(summary) = TraceSummary::of(&spans) {
            self.put(summary);
        }
        Ok(())
    }

    /// Queues a whole summary at its true place, if that is in the range.
    fn put(&mut self, summary: TraceSummary) {
        let key = (summary.start_unix_ns, summary.trace_id);
        if key < self.bound && key.0 >= self.from_unix_ns {
            self.queue.push((key, Source::Ready(self.ready.len())));
            self.ready.push((key, summary));
        }
    }
}

/// Returns the spans of the trace with this id, or of which it is an alias, from all places, by start, without duplicates.
pub(super) fn trace_of(picture: &Picture, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
    spans_of(picture, &picture.aliases.ids(trace_id))
}

/// Returns the spans with any of the ids, under the first one.
fn spans_of(picture: &Picture, ids: &[TraceId]) -> Result<Vec<Span>, StoreError> {
    let mut spans = Vec::new();
    for trace_id in ids {
        for generation in picture.generations() {
            spans.extend(generation.trace(*trace_id));
        }
        for segment in picture.segments.iter() {
            spans.extend(Segment::trace(segment, *trace_id)?);
        }
    }
    for span in &mut spans {
        span.trace_id = ids.first().copied().unwrap_or(span.trace_id);
    }
    sort_and_dedup(&mut spans);
    Ok(spans)
}
