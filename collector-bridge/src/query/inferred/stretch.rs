//! Time in stretches, each of which is solved alone.
//!
//! Stretches are cut by the clock, not by the question, so that either end of a link gives the same answer. One that
//! holds too much is cut in two.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use crate::infer::{InferCounters, Inference, Sighting, fingerprint, infer};
use crate::model::{Span, SpanKind, SpanPredicate, TimeRange, TraceId};
use crate::store::Store;

use super::process::Process;
use super::{FRESH_NS, InferState, Inferrer, LONGEST_REQUEST_NS, MAX_PROCESSES, QueryError, Remembered};

/// The longest stretch: 69 s.
const LONGEST_NS: u64 = 1 << 36;
/// The shortest stretch: 17 ms. What holds too much for it is refused.
const SHORTEST_NS: u64 = 1 << 24;
/// Spans of a process that are looked at for one stretch, and calls without parent among them.
const MAX_SPANS: usize = 12_000;
const MAX_ORPHANS: usize = 3_000;
/// Stretches that are looked at for one question.
const MAX_STRETCHES: usize = 64;
/// So long after all that is looked at for a stretch, nothing more is expected to come.
const SETTLED_AFTER_NS: u64 = 15_000_000_000;

/// A walk through the stretches that one question is about.
pub(super) struct Walk<'a> {
    store: &'a Store,
    inferrer: &'a Inferrer,
    remembered: &'a mut Remembered,
    now_unix_ns: u64,
    deadline: Instant,
    found: Vec<Arc<Inference>>,
    state: InferState,
    stretches_left: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        store: &'a Store,
        inferrer: &'a Inferrer,
        remembered: &'a mut Remembered,
        now_unix_ns: u64,
        deadline: Instant,
    ) -> Self {
        let (found, state, stretches_left) = (Vec::new(), InferState::Final, MAX_STRETCHES);
        Self { store, inferrer, remembered, now_unix_ns, deadline, found, state, stretches_left }
    }

    /// Returns how much the answer is worth, and what was found in all stretches.
    pub(super) fn finish(self) -> (InferState, Vec<Arc<Inference>>) {
        (self.state, self.found)
    }

    /// Notes that something was not looked at.
    pub(super) fn refuse(&mut self) {
        InferCounters::add(&self.inferrer.counters.refused_stretches, 1);
        self.state = self.state.max(InferState::Partial);
    }

    /// Solves the stretches in which calls begin at a wanted time, of as many processes as may be; returns false if there
    /// was no time for all.
    pub(super) fn processes(
        &mut self,
        wanted: &BTreeMap<Process, Vec<TimeRange>>,
    ) -> Result<bool, QueryError> {
        for (process, ranges) in wanted.iter().take(MAX_PROCESSES) {
            match self.process(process, ranges) {
                Ok(()) => {}
                Err(QueryError::Deadline) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn process(&mut self, process: &Process, wanted: &[TimeRange]) -> Result<(), QueryError> {
        if !self.has_orphans(process, wanted)? {
            return Ok(());
        }
        let numbers = wanted.iter().flat_map(|range| {
            range.from_unix_ns / LONGEST_NS..=range.until_unix_ns.saturating_sub(1) / LONGEST_NS
        });
        for number in numbers.collect::<BTreeSet<u64>>() {
            let from_unix_ns = number.saturating_mul(LONGEST_NS);
            let until_unix_ns = from_unix_ns.saturating_add(LONGEST_NS);
            self.stretch(process, wanted, TimeRange { from_unix_ns, until_unix_ns })?;
        }
        Ok(())
    }

    /// Returns whether a call of which nobody knows for whom it was made begins at a wanted time. Most processes have
    /// none, and this costs little.
    fn has_orphans(&self, process: &Process, wanted: &[TimeRange]) -> Result<bool, QueryError> {
        let from_unix_ns = wanted.iter().map(|range| range.from_unix_ns).min().unwrap_or(0);
        let until_unix_ns = wanted.iter().map(|range| range.until_unix_ns).max().unwrap_or(0);
        let mut has_orphans = false;
        for kind in [SpanKind::Client, SpanKind::Producer] {
            let predicate = SpanPredicate { kind: Some(kind), without_parent: true, ..process.predicate() };
            let _ = self.visit(predicate, TimeRange { from_unix_ns, until_unix_ns }, &mut |span| {
                let is_wanted = wanted.iter().any(|range| range.contains(span.start_unix_ns));
                has_orphans |= is_wanted && span.is_from_agent();
                if has_orphans { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        Ok(has_orphans)
    }

    fn stretch(
        &mut self,
        process: &Process,
        wanted: &[TimeRange],
        stretch: TimeRange,
    ) -> Result<(), QueryError> {
        let TimeRange { from_unix_ns, until_unix_ns } = stretch;
        let is_wanted =
            wanted.iter().any(|range| range.overlaps(from_unix_ns, until_unix_ns.saturating_sub(1)));
        if !is_wanted {
            return Ok(());
        }
        if self.stretches_left == 0 {
            self.refuse();
            return Ok(());
        }
        self.stretches_left -= 1;
        if let Some(sightings) = self.read(process, stretch)? {
            self.solve(&sightings, stretch);
            return Ok(());
        }
        let half_ns = (until_unix_ns - from_unix_ns) / 2;
        if half_ns < SHORTEST_NS {
            self.refuse();
            return Ok(());
        }
        let middle_unix_ns = from_unix_ns + half_ns;
        self.stretch(process, wanted, TimeRange { from_unix_ns, until_unix_ns: middle_unix_ns })?;
        self.stretch(process, wanted, TimeRange { from_unix_ns: middle_unix_ns, until_unix_ns })
    }

    /// Returns what the process was asked and asked in a stretch, and half as long before and after it; requests that
    /// began earlier too, if they reach into that. None if it is too much.
    fn read(&mut self, process: &Process, stretch: TimeRange) -> Result<Option<Vec<Sighting>>, QueryError> {
        let margin_ns = (stretch.until_unix_ns - stretch.from_unix_ns) / 2;
        let fresh_unix_ns = self.now_unix_ns.saturating_sub(FRESH_NS);
        let from_unix_ns = stretch.from_unix_ns.saturating_sub(margin_ns);
        let until_unix_ns = stretch.until_unix_ns.saturating_add(margin_ns);
        if self.now_unix_ns < until_unix_ns.saturating_add(SETTLED_AFTER_NS) {
            self.state = self.state.max(InferState::Provisional);
        }
        let around = TimeRange { from_unix_ns, until_unix_ns: until_unix_ns.min(fresh_unix_ns) };
        let before = TimeRange {
            from_unix_ns: from_unix_ns.saturating_sub(LONGEST_REQUEST_NS),
            until_unix_ns: from_unix_ns,
        };
        let mut seen = Vec::new();
        let mut orphans = 0;
        let mut look = |span: &Span| {
            if let Some(sighting) = Sighting::of(span) {
                orphans += usize::from(sighting.is_orphan());
                seen.push(sighting);
            }
            let is_too_much = seen.len() > MAX_SPANS || orphans > MAX_ORPHANS;
            if is_too_much { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let mut flow = self.visit(process.predicate(), around, &mut look)?;
        for kind in [SpanKind::Server, SpanKind::Consumer] {
            let predicate =
                SpanPredicate { kind: Some(kind), min_duration_ns: Some(margin_ns), ..process.predicate() };
            if flow.is_continue() {
                flow = self.visit(predicate, before, &mut look)?;
            }
        }
        Ok(flow.is_continue().then_some(seen))
    }

    fn visit(
        &self,
        predicate: SpanPredicate,
        range: TimeRange,
        look: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, QueryError> {
        let mut finder = self.store.finder(predicate, Some(self.deadline));
        let flow = finder.visit(range, &|_: TraceId| true, look)?;
        if Instant::now() > self.deadline {
            return Err(QueryError::Deadline);
        }
        Ok(flow)
    }

    fn solve(&mut self, sightings: &[Sighting], stretch: TimeRange) {
        let fingerprint = fingerprint(sightings).wrapping_add(stretch.from_unix_ns);
        if let Some(inference) = self.remembered.find(fingerprint) {
            self.found.push(inference);
            return;
        }
        let mut inference = infer(sightings, stretch);
        inference.inferred.retain(|link| link.confidence >= self.inferrer.settings.min_confidence);
        self.inferrer.counters.record(&inference, inference.inferred.len());
        let inference = Arc::new(inference);
        self.remembered.add(fingerprint, Arc::clone(&inference));
        self.found.push(inference);
    }
}
