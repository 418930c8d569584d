//! The door for spans: never waits, never grows without bound.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use remora_engine::semconv::{Attributes, Value};
use tokio::sync::Notify;

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
    pub fn try_send(&self, span: ResourceSpan) -> Result<(), Refused> {
        self.0.put(span)
    }
}

/// Spans between the pipeline and the worker.
#[derive(Debug)]
pub(super) struct Intake {
    spans: Mutex<Vec<ResourceSpan>>,
    /// Bytes that wait, here and as batches in memory.
    bytes: AtomicUsize,
    max_bytes: usize,
    batch_spans: usize,
    is_ended: AtomicBool,
    /// Tells the worker that there is a first span, or a full batch.
    pub(super) arrived: Notify,
    queue_full: Counter,
    ended: Counter,
}

impl Intake {
    /// Returns an empty intake.
    pub(super) fn new(max_bytes: usize, batch_spans: usize, queue_full: Counter, ended: Counter) -> Self {
        Self {
            spans: Mutex::default(),
            bytes: AtomicUsize::new(0),
            max_bytes,
            batch_spans,
            is_ended: AtomicBool::new(false),
            arrived: Notify::new(),
            queue_full,
            ended,
        }
    }

    fn put(&self, span: ResourceSpan) -> Result<(), Refused> {
        let mut spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_ended.load(Ordering::Acquire) {
            self.ended.add(1);
            return Err(Refused::Ended);
        }
        let cost = cost(&span);
        if self.bytes.load(Ordering::Relaxed).saturating_add(cost) > self.max_bytes {
            self.queue_full.add(1);
            return Err(Refused::QueueFull);
        }
        self.bytes.fetch_add(cost, Ordering::Relaxed);
        spans.push(span);
        // Few wake-ups: one starts the clock of a batch, one says that it is full.
        let wakes = spans.len() == 1 || spans.len() == self.batch_spans;
        drop(spans);
        if wakes {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Returns the number of spans that wait here.
    pub(super) fn len(&self) -> usize {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns all spans that wait here; their memory is the taker's to account for.
    pub(super) fn take(&self) -> Vec<ResourceSpan> {
        let spans = std::mem::take(&mut *self.spans.lock().unwrap_or_else(PoisonError::into_inner));
        self.release(spans.iter().map(cost).sum());
        spans
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

    /// Refuses everything from here on.
    pub(super) fn end(&self) {
        // Under the lock: whoever put a span before is seen by the taker after.
        let _spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_ended.store(true, Ordering::Release);
    }
}

/// Estimates the memory of a span. The resource is shared and not counted.
fn cost(span: &ResourceSpan) -> usize {
    let text = span.span.name.len() + span.span.trace_state.len();
    let links: usize = span.span.links.iter().map(|link| 64 + attributes_cost(&link.attributes)).sum();
    size_of::<ResourceSpan>() + text + links + attributes_cost(&span.span.attributes)
}

fn attributes_cost(attributes: &Attributes) -> usize {
    let value = |value: &Value| match value {
        Value::Text(text) => text.len(),
        Value::Texts(texts) => texts.iter().map(|text| text.len() + size_of::<String>()).sum(),
        Value::Int(_) | Value::Double(_) | Value::Bool(_) => 0,
    };
    attributes.iter().map(|(key, found)| size_of_val(&(key, found)) * 2 + key.len() + value(found)).sum()
}
