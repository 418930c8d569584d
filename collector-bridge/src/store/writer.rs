//! The one thread that orders everything: log first, then live spans, then the answers, then cuts.
//!
//! It takes whatever waits as one group, so each fsync carries all requests that came during the fsync before it, and
//! nobody waits for a timer.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use tokio::sync::mpsc::Receiver;
use tokio::sync::oneshot;

use super::counters::StoreCounters;
use super::error::AppendError;
use super::live::{Generation, LiveBatch};
use super::repeats::{Repeats, RequestKey};
use super::view::View;
use super::wal::Wal;

/// Requests that wait for the log, at most.
pub(crate) const MAX_WAITING: usize = 1024;

/// Bytes after which a group is written although more requests wait.
const GROUP_BYTES: usize = 1 << 20;

/// Batches below this size are merged within a group.
const MERGED_SPANS: usize = 1024;

/// What the thread is asked for.
pub(crate) enum Command {
    /// Keep a request.
    Append(Append),
    /// Hand the live spans over for sealing, if there are any; say when all that was handed over is sealed.
    Cut { done: Option<Sender<()>> },
}

/// A request on its way to the disk.
pub(crate) struct Append {
    pub(crate) frame: Vec<u8>,
    pub(crate) key: RequestKey,
    pub(crate) batch: LiveBatch,
    pub(crate) answer: oneshot::Sender<Result<(), AppendError>>,
}

/// What the sealer is asked for.
pub(crate) enum SealCommand {
    /// Make a segment.
    Seal(SealJob),
    /// Say that everything before this is done.
    Answer(Sender<()>),
}

/// A generation that is to become a segment.
pub(crate) struct SealJob {
    pub(crate) generation: Arc<Generation>,
    /// The log's files up to this number hold nothing but this and older generations.
    pub(crate) wal_through: u64,
}

pub(crate) struct Writer {
    pub(crate) wal: Wal,
    pub(crate) repeats: Repeats,
    pub(crate) view: Arc<View>,
    pub(crate) counters: Arc<StoreCounters>,
    pub(crate) seals: Sender<SealCommand>,
    pub(crate) seal_bytes: usize,
    pub(crate) seal_spans: usize,
    /// Gives the memory of a refused batch back.
    pub(crate) release: Arc<dyn Fn(usize) + Send + Sync>,
}

impl Writer {
    /// Works until all senders are gone, then hands over what is left.
    pub(crate) fn run(mut self, mut commands: Receiver<Command>) {
        while let Some(command) = commands.blocking_recv() {
            let mut group = Group::default();
            group.add(command);
            while !group.is_full() {
                let Ok(command) = commands.try_recv() else {
                    break;
                };
                group.add(command);
            }
            self.keep(group.appends);
            let current = self.view.current();
            let is_large =
                current.memory_bytes() >= self.seal_bytes || current.span_count() >= self.seal_spans;
            if is_large || group.is_cut {
                self.cut();
            }
            if let Some(done) = group.done {
                let _ = self.seals.send(SealCommand::Answer(done));
            }
        }
        self.cut();
    }

    fn keep(&mut self, group: Vec<Append>) {
        let (group, twins) = self.without_repeats(group);
        if group.is_empty() {
            return;
        }
        let frames: Vec<u8> = group.iter().flat_map(|append| append.frame.iter().copied()).collect();
        let began = Instant::now();
        let written = self.wal.append(&frames);
        self.counters.record_fsync(began.elapsed());
        if let Err(error) = written {
            StoreCounters::add(&self.counters.wal_failures, 1);
            tracing::warn!(%error, requests = group.len(), "requests were refused, nothing of them is acknowledged");
            for append in group.into_iter().chain(twins) {
                (self.release)(append.batch.memory_bytes);
                let _ = append.answer.send(Err(AppendError::Log(error.to_string())));
            }
            return;
        }
        StoreCounters::add(&self.counters.wal_written_bytes, frames.len() as u64);
        let current = self.view.current();
        let mut small = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        for append in group {
            StoreCounters::add(&self.counters.appended_spans, append.batch.len() as u64);
            self.repeats.remember(append.key, append.batch.arrived_unix_ns);
            answers.push(append.answer);
            if append.batch.len() < MERGED_SPANS {
                small.push(append.batch);
            } else {
                current.push(append.batch);
            }
        }
        if !small.is_empty() {
            current.push(LiveBatch::merged(small));
        }
        // Only here: what is acknowledged is on the disk and visible.
        for answer in answers {
            let _ = answer.send(Ok(()));
        }
        twins.into_iter().for_each(|twin| self.answer_repeat(twin));
    }

    /// Answers requests that are on the disk already; returns the others, those apart that are in the group twice.
    fn without_repeats(&self, group: Vec<Append>) -> (Vec<Append>, Vec<Append>) {
        let (known, group): (Vec<_>, Vec<_>) = group
            .into_iter()
            .partition(|append| self.repeats.contains(append.key, append.batch.arrived_unix_ns));
        known.into_iter().for_each(|append| self.answer_repeat(append));
        let mut keys = HashSet::with_capacity(group.len());
        group.into_iter().partition(|append| keys.insert(append.key))
    }

    fn answer_repeat(&self, append: Append) {
        (self.release)(append.batch.memory_bytes);
        StoreCounters::add(&self.counters.repeated_requests, 1);
        let _ = append.answer.send(Ok(()));
    }

    fn cut(&mut self) {
        if self.view.current().span_count() == 0 {
            return;
        }
        let wal_through = self.wal.rotate();
        let generation = self.view.cut();
        // The sealing thread ends only after this one, so the job is never lost; the log has it in any case.
        let _ = self.seals.send(SealCommand::Seal(SealJob { generation, wal_through }));
    }
}

/// What one fsync is for.
#[derive(Default)]
struct Group {
    appends: Vec<Append>,
    bytes: usize,
    is_cut: bool,
    done: Option<Sender<()>>,
}

impl Group {
    fn add(&mut self, command: Command) {
        match command {
            Command::Append(append) => {
                self.bytes += append.frame.len();
                self.appends.push(append);
            }
            Command::Cut { done } => {
                self.is_cut = true;
                self.done = done;
            }
        }
    }

    fn is_full(&self) -> bool {
        self.is_cut || self.bytes >= GROUP_BYTES
    }
}
