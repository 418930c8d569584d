//! Spans that are on the disk only in the log: a growing list of batches, cut into generations that become segments.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::analyze::Rollups;
use crate::model::{Span, SpanPredicate, TraceId};

/// Spans of one or more requests, and their order by trace.
#[derive(Debug)]
pub(crate) struct LiveBatch {
    spans: Vec<Span>,
    by_trace: Vec<u32>,
    /// When the request came; of several the last.
    pub(crate) arrived_unix_ns: u64,
    pub(crate) memory_bytes: usize,
}

impl LiveBatch {
    pub(crate) fn new(spans: Vec<Span>, arrived_unix_ns: u64) -> Self {
        let memory_bytes =
            spans.iter().map(Span::memory_bytes).sum::<usize>() + spans.len() * size_of::<u32>();
        let mut keyed: Vec<(TraceId, u32)> =
            spans.iter().enumerate().map(|(index, span)| (span.trace_id, index as u32)).collect();
        keyed.sort_unstable();
        let by_trace = keyed.into_iter().map(|(_, index)| index).collect();
        Self { spans, by_trace, arrived_unix_ns, memory_bytes }
    }

    /// Returns one batch of several, so that many small requests do not make lookups slow.
    pub(crate) fn merged(batches: Vec<Self>) -> Self {
        let mut batches = batches;
        match batches.len() {
            1 => batches.remove(0),
            _ => {
                let arrived = batches.iter().map(|batch| batch.arrived_unix_ns).max().unwrap_or(0);
                Self::new(batches.into_iter().flat_map(|batch| batch.spans).collect(), arrived)
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.spans.len()
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// Returns the span at that place.
    pub(crate) fn span(&self, index: u32) -> Option<&Span> {
        self.spans.get(index as usize)
    }

    fn trace_of(&self, index: u32) -> Option<TraceId> {
        self.spans.get(index as usize).map(|span| span.trace_id)
    }

    fn trace(&self, trace_id: TraceId) -> impl Iterator<Item = &Span> {
        let first = self.by_trace.partition_point(|index| self.trace_of(*index) < Some(trace_id));
        let from_first = self.by_trace.get(first..).unwrap_or_default().iter();
        let spans = from_first.filter_map(|index| self.spans.get(*index as usize));
        spans.take_while(move |span| span.trace_id == trace_id)
    }
}

/// The batches between two cuts.
#[derive(Debug)]
pub(crate) struct Generation {
    batches: RwLock<Batches>,
    digest: Mutex<Digest>,
}

#[derive(Clone, Debug, Default)]
struct Batches {
    list: Vec<Arc<LiveBatch>>,
    spans: usize,
    memory_bytes: usize,
    /// When the first batch came.
    began: Option<Instant>,
}

/// What queries want to know of all spans; brought up to date by the query that asks, so that taking spans in costs
/// nothing for it.
#[derive(Debug, Default)]
struct Digest {
    /// Batches that are counted, from the front of the list.
    counted: usize,
    first_starts: HashMap<TraceId, u64>,
    rollups: Rollups,
}

impl Generation {
    pub(crate) fn new() -> Self {
        Self { batches: RwLock::default(), digest: Mutex::default() }
    }

    pub(crate) fn push(&self, batch: LiveBatch) {
        let mut batches = self.batches.write().unwrap_or_else(PoisonError::into_inner);
        batches.spans += batch.len();
        batches.memory_bytes += batch.memory_bytes;
        batches.began.get_or_insert_with(Instant::now);
        batches.list.push(Arc::new(batch));
    }

    /// Returns the time since the first batch came; zero without one.
    pub(crate) fn age(&self) -> Duration {
        let began = self.batches.read().unwrap_or_else(PoisonError::into_inner).began;
        began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    pub(crate) fn span_count(&self) -> usize {
        self.batches.read().unwrap_or_else(PoisonError::into_inner).spans
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.batches.read().unwrap_or_else(PoisonError::into_inner).memory_bytes
    }

    /// Returns the batches so far; those that come later are not in it.
    pub(crate) fn batches(&self) -> Vec<Arc<LiveBatch>> {
        self.batches.read().unwrap_or_else(PoisonError::into_inner).list.clone()
    }

    /// Returns the spans of a trace, as they came.
    pub(crate) fn trace(&self, trace_id: TraceId) -> Vec<Span> {
        self.batches().iter().flat_map(|batch| batch.trace(trace_id).cloned().collect::<Vec<_>>()).collect()
    }

    /// Adds the places of all spans that match to `places`, without the batches that were looked at before; returns
    /// how many were by now.
    pub(crate) fn places(
        &self,
        predicate: &SpanPredicate,
        looked_at: usize,
        places: &mut Vec<(Arc<LiveBatch>, u32)>,
    ) -> usize {
        let batches = self.batches();
        for batch in batches.iter().skip(looked_at) {
            let numbered = (0_u32..).zip(&batch.spans).filter(|(_, span)| predicate.matches(span));
            places.extend(numbered.map(|(index, _)| (Arc::clone(batch), index)));
        }
        batches.len()
    }

    /// Returns first start and id of each trace.
    pub(crate) fn first_starts(&self) -> Vec<(u64, TraceId)> {
        self.digest().first_starts.iter().map(|(trace_id, start)| (*start, *trace_id)).collect()
    }

    /// Returns whether a span of the trace is here.
    pub(crate) fn contains(&self, trace_id: TraceId) -> bool {
        self.digest().first_starts.contains_key(&trace_id)
    }

    /// Adds what was counted over the spans to `rollups`.
    pub(crate) fn merge_rollups_into(&self, rollups: &mut Rollups, canonical: &dyn Fn(TraceId) -> TraceId) {
        rollups.merge_known_as(&self.digest().rollups, canonical);
    }

    fn digest(&self) -> MutexGuard<'_, Digest> {
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = self.batches();
        for batch in batches.iter().skip(digest.counted) {
            for span in &batch.spans {
                let first = digest.first_starts.entry(span.trace_id).or_insert(u64::MAX);
                *first = span.start_unix_ns.min(*first);
                digest.rollups.record_arrived(span, batch.arrived_unix_ns);
            }
        }
        digest.counted = batches.len();
        digest
    }
}

/// Returns all spans of some batches, and when they arrived.
pub(crate) fn spans_of(batches: &[Arc<LiveBatch>]) -> impl Iterator<Item = (&Span, u64)> {
    batches.iter().flat_map(|batch| batch.spans.iter().map(|span| (span, batch.arrived_unix_ns)))
}
