//! Keeps spans and answers with them: a log for what just came, live spans until they fill a segment, segments.
//!
//! The only room that touches the disk. Its hard problem: an acknowledged span is on the disk before the answer, in
//! exactly one visible place at any moment, and still there after a kill at any instruction.
//!
//! ```text
//! append → writer thread: log, fsync → live generation → answer
//!                         cut → sealer thread: segment → manifest → log files removed
//! ```

mod aliases;
mod budget;
mod caches;
mod codec;
mod compact;
mod counters;
mod error;
mod finder;
mod frame;
mod live;
mod manifest;
mod open;
mod recent;
mod repeats;
mod sealer;
mod segment;
mod settings;
mod summaries;
mod view;
mod wal;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::mpsc::Sender;
use tokio::sync::oneshot;

pub use aliases::JoinOutcome;
pub use counters::{FSYNC_BOUNDS_US, StoreCounters, StoreSizes};
pub use error::{AppendError, StoreError};
pub use finder::{Finder, MAX_REMEMBERED_ROWS};
pub use frame::MAX_REQUEST_BYTES;
pub use settings::StoreSettings;

use crate::analyze::Rollups;
use crate::model::{Join, Span, SpanId, SpanPredicate, TimeRange, TraceId, TraceSummary};
use aliases::Aliases;
use budget::Budget;
use caches::Caches;
use live::LiveBatch;
use repeats::RequestKey;
use view::View;
use writer::{Append, Command, MAX_WAITING};

/// Returns the spans of an OTLP protobuf request, or why they cannot be told; the log is read with it.
pub type DecodeRequest<'a> = dyn Fn(&[u8]) -> Result<Vec<Span>, String> + 'a;

/// Spans of one request, as bytes for the log and as what they say.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The request, OTLP protobuf.
    pub raw: Bytes,
    /// Its valid spans.
    pub spans: Vec<Span>,
}

/// A batch that is ready for the log. Made by [`Store::prepare`].
pub struct Prepared {
    frame: Vec<u8>,
    key: RequestKey,
    batch: LiveBatch,
}

/// All spans; clones share them. The last clone closes the store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    view: Arc<View>,
    aliases: Arc<Aliases>,
    caches: Caches,
    budget: Arc<Budget>,
    counters: Arc<StoreCounters>,
    commands: RwLock<Option<Sender<Command>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    is_closing: Arc<AtomicBool>,
    wal_dir: PathBuf,
}

impl Store {
    /// Returns the store in a directory, after its log was read back with `decode`.
    ///
    /// # Errors
    /// If files cannot be read or written or are damaged, or another process has the directory.
    pub fn open(
        settings: StoreSettings,
        decode: impl Fn(&[u8]) -> Result<Vec<Span>, String>,
    ) -> Result<Self, StoreError> {
        open::open(settings, &decode).map(|inner| Self { inner: Arc::new(inner) })
    }

    /// Returns a batch made ready for the log: compressed and sorted, which costs about 2 µs per span.
    ///
    /// # Errors
    /// If it cannot be compressed, or is longer than [`MAX_REQUEST_BYTES`].
    pub fn prepare(batch: Batch) -> Result<Prepared, AppendError> {
        if batch.raw.len() > MAX_REQUEST_BYTES {
            return Err(AppendError::TooLarge { limit_bytes: MAX_REQUEST_BYTES });
        }
        let arrived_unix_ns = unix_now_ns();
        let frame =
            wal::encode(arrived_unix_ns, &batch.raw).map_err(|error| AppendError::Log(error.to_string()))?;
        let key = wal::key_of(&frame);
        Ok(Prepared { frame, key, batch: LiveBatch::new(batch.spans, arrived_unix_ns) })
    }

    /// Keeps a batch; returns when it is on the disk and visible to queries. Waits a moment for room under pressure. One
    /// that was kept within the last minute, byte for byte, is not kept again.
    ///
    /// # Errors
    /// If it cannot be kept; nothing of it is acknowledged then, and it may be sent again.
    pub async fn append(&self, prepared: Prepared) -> Result<(), AppendError> {
        let memory_bytes = prepared.batch.memory_bytes;
        self.inner.budget.take(memory_bytes).await?;
        let (answer, answered) = oneshot::channel();
        let append = Append { frame: prepared.frame, key: prepared.key, batch: prepared.batch, answer };
        self.send(append).inspect_err(|_| self.inner.budget.release(memory_bytes))?;
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// [`Store::append`] for threads; refuses at once where the other waits.
    ///
    /// # Errors
    /// As for [`Store::append`].
    pub fn append_blocking(&self, batch: Batch) -> Result<(), AppendError> {
        let prepared = Self::prepare(batch)?;
        let memory_bytes = prepared.batch.memory_bytes;
        self.inner.budget.try_take(memory_bytes)?;
        let (answer, answered) = oneshot::channel();
        let append = Append { frame: prepared.frame, key: prepared.key, batch: prepared.batch, answer };
        self.send(append).inspect_err(|_| self.inner.budget.release(memory_bytes))?;
        answered.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }

    fn send(&self, append: Append) -> Result<(), AppendError> {
        let commands = self.inner.commands.read().unwrap_or_else(PoisonError::into_inner);
        let commands = commands.as_ref().ok_or(AppendError::Closed)?;
        commands.try_send(Command::Append(append)).map_err(|_| AppendError::LogBusy { limit: MAX_WAITING })
    }

    /// Moves all live spans into segments; returns when they are there, however long the disk takes. For threads.
    ///
    /// # Errors
    /// If the store is closed meanwhile; the spans are then in the log.
    pub fn seal(&self) -> Result<(), StoreError> {
        let (done, is_done) = mpsc::channel();
        let commands = self.inner.commands.read().unwrap_or_else(PoisonError::into_inner).clone();
        let cut = Command::Cut { done: Some(done) };
        commands.ok_or(StoreError::Closed)?.blocking_send(cut).map_err(|_| StoreError::Closed)?;
        is_done.recv().map_err(|_| StoreError::Closed)
    }

    /// Refuses more spans, moves all live ones into segments if the disk allows it, ends the threads. For threads.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Makes the traces that server spans began part of their clients' traces. All readers know of it when this returns,
    /// and so will the next start. Cost: a short write to a file where a trace got another id.
    pub fn join(&self, joins: &[Join]) -> JoinOutcome {
        self.inner.aliases.join(joins, unix_now_ns())
    }

    /// Returns all ids of a trace, the canonical one first; the id itself where it was never joined.
    #[must_use]
    pub fn trace_ids(&self, trace_id: TraceId) -> Vec<TraceId> {
        self.inner.aliases.ids(trace_id)
    }

    /// Returns the spans of the trace with any of its ids by start, live and sealed, duplicates removed; all of them have
    /// the canonical id. Empty if it is unknown.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
        summaries::trace_of(&self.inner.view.picture(), trace_id)
    }

    /// Returns traces that start in the range, newest first (then by id, largest first), live and sealed merged;
    /// only those after `before` (start, id) in that order; at most `limit`.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn summaries(
        &self,
        range: TimeRange,
        before: Option<(u64, TraceId)>,
        limit: usize,
    ) -> Result<Vec<TraceSummary>, StoreError> {
        summaries::newest(&self.inner.view.picture(), &self.inner.caches, range, before, limit)
    }

    /// Gives each span that starts in the range and matches to `visit` until it breaks: live spans first, then newest
    /// segments first. Within a segment the order is not defined. A span that was sent twice may come twice.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn scan(
        &self,
        range: TimeRange,
        predicate: &SpanPredicate,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.finder(predicate.clone(), None).visit(range, &|_| true, visit).map(|_| ())
    }

    /// Gives what came last to `visit`, for whoever must know it again after a start: all live spans, and of segments that
    /// were sealed within `within` before the newest one, client spans and the server spans that expect one.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn visit_recent(&self, within: Duration, visit: &mut dyn FnMut(&Span)) -> Result<(), StoreError> {
        recent::visit(&self.inner.view.picture(), within, visit)
    }

    /// Gives to `visit` the client spans with one of the ids in `clients`, and the server spans that expect one in
    /// `expected`: live ones, then newest segments first, until the deadline passes.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn find_sides(
        &self,
        clients: &HashSet<SpanId>,
        expected: &HashSet<SpanId>,
        deadline: Instant,
        visit: &mut dyn FnMut(&Span),
    ) -> Result<(), StoreError> {
        recent::find_sides(&self.inner.view.picture(), clients, expected, deadline, visit)
    }

    /// Returns what looks for spans in several steps, each span once, in the store as it is now. It gives up where the
    /// deadline passes.
    #[must_use]
    pub fn finder(&self, predicate: SpanPredicate, deadline: Option<Instant>) -> Finder<'_> {
        Finder::new(self.inner.view.picture(), &self.inner.caches, predicate, deadline)
    }

    /// Returns the rollups of all spans in the range, live and sealed. A span that starts more than
    /// [`MAX_AHEAD_NS`](crate::analyze::MAX_AHEAD_NS) ahead of its arrival is counted in the minute of its arrival; once
    /// its segment was merged with others, in the minute in which it came into its first one.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn rollups(&self, range: TimeRange) -> Result<Rollups, StoreError> {
        let picture = self.inner.view.picture();
        let canonical = |trace_id| picture.aliases.canonical(trace_id);
        let mut rollups = Rollups::default();
        for segment in picture.segments.iter() {
            if segment.meta.overlaps_counted(range) {
                rollups.merge_known_as(&*self.inner.caches.rollups(segment)?, &canonical);
            }
        }
        for generation in picture.generations() {
            generation.merge_rollups_into(&mut rollups, &canonical);
        }
        rollups.restrict(range);
        rollups.rename_traces(&canonical);
        Ok(rollups)
    }

    /// Returns what the store counted since its start.
    #[must_use]
    pub fn counters(&self) -> &StoreCounters {
        &self.inner.counters
    }

    /// Returns how much is there.
    #[must_use]
    pub fn sizes(&self) -> StoreSizes {
        let picture = self.inner.view.picture();
        let metas = || picture.segments.iter().map(|segment| &segment.meta);
        StoreSizes {
            live_spans: picture.generations().map(|generation| generation.span_count() as u64).sum(),
            live_bytes: self.inner.budget.used() as u64,
            wal_bytes: wal::disk_bytes(&self.inner.wal_dir),
            segments: picture.segments.len() as u64,
            segment_spans: metas().map(|meta| meta.spans).sum(),
            segment_bytes: metas().map(|meta| meta.disk_bytes).sum(),
            aliases: self.inner.aliases.len() as u64,
            aliases_evicted: self.inner.aliases.evicted(),
        }
    }
}

impl Inner {
    fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.commands.write().unwrap_or_else(PoisonError::into_inner).take();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked; the log has what it had");
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Sorts spans by start, then longest first, then id; removes those that are there twice with the same content.
fn sort_and_dedup(spans: &mut Vec<Span>) {
    spans.sort_by(|a, b| {
        let key = |span: &Span| (span.start_unix_ns, std::cmp::Reverse(span.end_unix_ns), span.span_id);
        key(a).cmp(&key(b))
    });
    let mut unique: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans.drain(..) {
        let neighbours = unique.iter().rev().take_while(|other| {
            other.start_unix_ns == span.start_unix_ns
                && other.end_unix_ns == span.end_unix_ns
                && other.span_id == span.span_id
        });
        if !neighbours.into_iter().any(|other| *other == span) {
            unique.push(span);
        }
    }
    *spans = unique;
}

fn unix_now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
