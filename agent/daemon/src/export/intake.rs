//! The door for spans: never waits, never grows without bound.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::otlp::Draft;
use crate::enrich::ResourceSpan;
use crate::health::Counter;

/// Why a span was not taken. It is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The memory for waiting spans is used up.
    #[error("the export queue is full")]
    QueueFull,
    /// The exporter has ended.
    #[error("the exporter has ended")]
    Ended,
}

/// Where the pipeline puts spans. Clones are handles to the same exporter.
#[derive(Clone, Debug)]
pub struct SpanSink(pub(super) Arc<Intake>);

impl SpanSink {
    /// Hands a span over.
    ///
    /// # Errors
    /// There is no room, or the exporter has ended; the span is lost and counted.
    pub fn try_send(&self, span: &ResourceSpan) -> Result<(), Refused> {
        self.0.put(span)
    }
}

/// Requests that are being written, oldest first; all but the last are full.
#[derive(Debug, Default)]
struct Drafts {
    full: Vec<Draft>,
    open: Draft,
}

/// Spans between the pipeline and the worker.
#[derive(Debug)]
pub(super) struct Intake {
    drafts: Mutex<Drafts>,
    /// Bytes that wait, here and as batches in memory.
    bytes: AtomicUsize,
    max_bytes: usize,
    batch_spans: u32,
    is_ended: AtomicBool,
    /// Tells the worker that there is a first span, or a full batch.
    pub(super) arrived: Notify,
    queue_full: Counter,
    ended: Counter,
}

impl Intake {
    /// Returns an empty intake.
    pub(super) fn new(max_bytes: usize, batch_spans: u32, queue_full: Counter, ended: Counter) -> Self {
        Self {
            drafts: Mutex::default(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            batch_spans,
            is_ended: AtomicBool::new(false),
            arrived: Notify::new(),
            queue_full,
            ended,
        }
    }

    fn put(&self, span: &ResourceSpan) -> Result<(), Refused> {
        let mut drafts = self.drafts();
        if self.is_ended.load(Ordering::Acquire) {
            self.ended.add(1);
            return Err(Refused::Ended);
        }
        if self.bytes.load(Ordering::Relaxed) >= self.max_bytes {
            self.queue_full.add(1);
            return Err(Refused::QueueFull);
        }
        let grown = drafts.open.add(span);
        self.bytes.fetch_add(grown, Ordering::Relaxed);
        let is_full = drafts.open.spans() >= self.batch_spans;
        // Few wake-ups: one starts the clock of a batch, one says that it is full.
        let wakes = is_full || (drafts.open.spans() == 1 && drafts.full.is_empty());
        if is_full {
            let full = std::mem::take(&mut drafts.open);
            drafts.full.push(full);
        }
        drop(drafts);
        if wakes {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Returns the full drafts, oldest first, and whether another one has begun; their memory is the taker's to account
    /// for.
    pub(super) fn take_full(&self) -> (Vec<Draft>, bool) {
        let mut drafts = self.drafts();
        let full = std::mem::take(&mut drafts.full);
        let has_begun = drafts.open.spans() > 0;
        drop(drafts);
        self.release(full.iter().map(Draft::bytes).sum());
        (full, has_begun)
    }

    /// Returns all drafts, oldest first; their memory is the taker's to account for.
    pub(super) fn take(&self) -> Vec<Draft> {
        let Drafts { full: mut drafts, open } = std::mem::take(&mut *self.drafts());
        if open.spans() > 0 {
            drafts.push(open);
        }
        self.release(drafts.iter().map(Draft::bytes).sum());
        drafts
    }

    /// Accounts for memory elsewhere that counts against the same limit.
    pub(super) fn occupy(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Gives memory back.
    pub(super) fn release(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns the bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn drafts(&self) -> MutexGuard<'_, Drafts> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses everything from here on.
    pub(super) fn end(&self) {
        // Under the lock: whoever put a span before is seen by the taker after.
        let _drafts = self.drafts();
        self.is_ended.store(true, Ordering::Release);
    }
}
