//! Batches that wait to be sent, oldest first: on disk while the receiver is away, else in memory.
//!
//! Invariant: everything on disk is older than everything in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::Batch;
use super::intake::Intake;
use super::spool::Spool;
use crate::health::Counter;

/// The queue of batches.
#[derive(Debug)]
pub(super) struct Backlog {
    memory: VecDeque<Batch>,
    spool: Option<Spool>,
    /// The receiver does not take anything: new batches go straight to disk.
    is_away: bool,
    intake: Arc<Intake>,
    spool_failed: Counter,
}

impl Backlog {
    /// Returns a backlog of what the spool has kept.
    pub(super) fn new(spool: Option<Spool>, intake: Arc<Intake>, spool_failed: Counter) -> Self {
        Self { memory: VecDeque::new(), spool, is_away: false, intake, spool_failed }
    }

    /// Adds the newest batch.
    pub(super) fn push(&mut self, batch: Batch) {
        let has_older_on_disk = self.spool.as_ref().is_some_and(|spool| !spool.is_empty());
        if self.memory.is_empty() && (self.is_away || has_older_on_disk) && self.append(&batch) {
            return;
        }
        self.intake.occupy(batch.payload.len());
        self.memory.push_back(batch);
    }

    /// Returns the oldest batch.
    pub(super) fn front(&mut self) -> Option<Batch> {
        self.spool.as_mut().and_then(Spool::front).or_else(|| self.memory.front().cloned())
    }

    /// Removes the batch that [`front`](Self::front) returned last.
    pub(super) fn pop(&mut self) {
        if self.spool.as_mut().is_some_and(Spool::pop) {
            return;
        }
        if let Some(batch) = self.memory.pop_front() {
            self.intake.release(batch.payload.len());
        }
    }

    /// Says that the receiver is away: memory is emptied to disk, as far as that works.
    pub(super) fn handle_away(&mut self) {
        self.is_away = true;
        self.spill();
    }

    /// Says that the receiver takes batches again.
    pub(super) fn handle_back(&mut self) {
        self.is_away = false;
    }

    /// Returns the spans on disk.
    pub(super) fn spooled(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::spans)
    }

    /// Keeps on disk what can be kept beyond the end of this process. Returns the spans that cannot.
    pub(super) fn finish(&mut self) -> u64 {
        self.spill();
        self.memory.iter().map(|batch| u64::from(batch.spans)).sum()
    }

    fn spill(&mut self) {
        while let Some(batch) = self.memory.front().cloned() {
            if !self.append(&batch) {
                return;
            }
            self.memory.pop_front();
            self.intake.release(batch.payload.len());
        }
    }

    fn append(&mut self, batch: &Batch) -> bool {
        let Some(spool) = &mut self.spool else {
            return false;
        };
        let Err(error) = spool.append(batch) else {
            return true;
        };
        // Not lost: the batch stays in memory.
        self.spool_failed.add(1);
        tracing::warn!(%error, "cannot write to the spool");
        false
    }
}
