//! Jobs that one process receives and another one works on: the master of forked workers reads them from a queue, and
//! hands each to a worker, through a pipe. The job's own id tells which it is.

use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashSet};

use super::parents::Piece;
use super::works::Work;
use super::{Active, Context, Correlation};
use crate::event::{ConnectionId, PipeRead};
use crate::pairing::ExchangeId;

/// Jobs that may wait for a worker. For one more, those that have waited longest are forgotten.
const MAX_WAITING: usize = 16_384;
/// How long a job may wait.
const MAX_WAIT_NS: u64 = 3_600_000_000_000;

/// How a job came.
#[derive(Debug)]
pub(super) enum Message {
    /// Its receiver asked for it.
    Asked(Box<Work>),
    /// The server brought it: the work has begun, and is nobody's.
    Pushed(ExchangeId),
}

/// A job that nobody works on yet.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: Message,
    pub(super) context: Context,
    pub(super) connection: ConnectionId,
    pub(super) received_at_ns: u64,
}

/// What waits under an id.
#[derive(Debug)]
struct Waiting {
    /// None where several have come under it: which of them a worker has is not known.
    job: Option<Job>,
    since_ns: u64,
}

/// The jobs that wait, by the processes that have received them and their ids.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    waiting: HashMap<(u32, u64), Waiting>,
    /// Under what those wait that servers have brought.
    pushed: HashMap<ExchangeId, (u32, u64)>,
    /// The masters of workers, by the workers; and the same masters.
    masters: HashMap<u32, u32>,
    with_workers: HashSet<u32>,
    forgotten: u64,
}

impl Jobs {
    /// Notes that a process has received a job. Returns whether it has workers: it will hardly work on it itself.
    pub(super) fn wait(&mut self, receiver: u32, id: u64, job: Job) -> bool {
        if !self.with_workers.contains(&receiver) {
            return false;
        }
        if self.waiting.len() >= MAX_WAITING {
            let mut times: Vec<u64> = self.waiting.values().map(|waiting| waiting.since_ns).collect();
            let middle = times.len() / 2;
            let (_, &mut median, _) = times.select_nth_unstable(middle);
            self.retain(|_, since_ns| since_ns > median);
        }
        let since_ns = job.received_at_ns;
        match self.waiting.entry((receiver, id)) {
            Entry::Vacant(entry) => {
                if let Message::Pushed(work) = job.message {
                    self.pushed.insert(work, *entry.key());
                }
                entry.insert(Waiting { job: Some(job), since_ns });
            }
            Entry::Occupied(mut entry) => {
                let before = entry.insert(Waiting { job: None, since_ns });
                self.forgotten += 1 + u64::from(before.job.is_some());
                if let Some(Message::Pushed(work)) = before.job.map(|job| job.message) {
                    self.pushed.remove(&work);
                }
            }
        }
        true
    }

    /// Forgets a job that the server has brought, which nobody will work on any more.
    pub(super) fn forget_pushed(&mut self, work: ExchangeId) {
        if let Some(key) = self.pushed.remove(&work) {
            self.waiting.remove(&key);
        }
    }

    /// Returns a job that was received by the master of this worker.
    fn take(&mut self, id: u64, worker: u32) -> Option<Job> {
        let key = (*self.masters.get(&worker)?, id);
        // What several have come under stays: each of them may still be handed on.
        self.waiting.get(&key)?.job.as_ref()?;
        let job = self.waiting.remove(&key)?.job?;
        if let Message::Pushed(work) = job.message {
            self.pushed.remove(&work);
        }
        Some(job)
    }

    /// Notes that a process was forked by another to work for it.
    pub(super) fn note_worker(&mut self, worker: u32, master: u32) {
        // Both go with their processes, which are bounded.
        self.masters.insert(worker, master);
        self.with_workers.insert(master);
    }

    /// Forgets a process that is gone.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.masters.remove(&tgid);
        if self.with_workers.remove(&tgid) {
            self.retain(|receiver, _| receiver != tgid);
        }
    }

    fn retain(&mut self, is_kept: impl Fn(u32, u64) -> bool) {
        let Self { forgotten, pushed, .. } = self;
        self.waiting.retain(|(receiver, _), waiting| {
            let is_kept = is_kept(*receiver, waiting.since_ns);
            if let Some(job) = waiting.job.as_ref().filter(|_| !is_kept) {
                *forgotten += 1;
                if let Message::Pushed(work) = job.message {
                    pushed.remove(&work);
                }
            }
            is_kept
        });
    }

    /// Forgets what has waited too long.
    pub(super) fn expire(&mut self, now_ns: u64) {
        self.retain(|_, since_ns| now_ns.saturating_sub(since_ns) < MAX_WAIT_NS);
    }

    /// Returns how many were given up that nobody was seen to work on.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

impl Correlation {
    /// Notes that a worker has read from a pipe: the next job, of which `job` is the id, or something else. `id` is that
    /// of the work that begins.
    pub(crate) fn handle_pipe_read(&mut self, read: &PipeRead, job: Option<u64>, id: ExchangeId) {
        match self.parents.note_pipe_read(read) {
            Piece::Header => {
                let over = self.parents.job_of(read);
                self.end_works(over.into_iter().collect(), None);
            }
            Piece::Beginning => {
                if let Some(job) = job.and_then(|job| self.jobs.take(job, read.executor.tgid)) {
                    self.begin_job(job, read, id);
                }
            }
            Piece::Other => {}
        }
    }

    fn begin_job(&mut self, job: Job, read: &PipeRead, id: ExchangeId) {
        let Job { message, context, connection, .. } = job;
        let id = match message {
            Message::Asked(work) => self.works.pick_up(id, *work, &read.executor, read.at_ns),
            Message::Pushed(work) => self.works.hand(work, &read.executor, read.at_ns),
        };
        if let Some(id) = id {
            self.parents.begin_job(id, connection, read);
            self.active.insert(id, Active::root(context));
        }
    }
}
