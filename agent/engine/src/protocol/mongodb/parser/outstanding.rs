//! Requests that wait for their responses, by their numbers.

use crate::held::Held;
use crate::protocol::aged::Aged;
use crate::semconv::{self, Attributes};

/// Most requests of one connection that wait. Drivers send one after the other.
const MAX_OUTSTANDING: usize = 1024;

/// A request without its last response.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The number of the request.
    pub(super) id: u32,
    /// It was told.
    pub(super) is_reported: bool,
    /// Its response has begun.
    pub(super) is_answered: bool,
    /// Rows that came with all of its responses but the last; none where they were not all counted.
    pub(super) rows: Option<u64>,
    /// What was found in the request after it was told.
    pub(super) late: Attributes,
}

/// All that wait.
#[derive(Debug)]
pub(super) struct Outstanding {
    waiting: Aged<u32, Waiting>,
    given_up: Option<u32>,
}

impl Default for Outstanding {
    fn default() -> Self {
        Self { waiting: Aged::new(MAX_OUTSTANDING), given_up: None }
    }
}

impl Outstanding {
    /// Adds a request. Of too many, the oldest is given up.
    pub(super) fn add(&mut self, id: u32, is_reported: bool) {
        self.put_back(id, Waiting { id, is_reported, rows: Some(0), ..Waiting::default() });
    }

    /// Returns whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether the one waits that a response names.
    pub(super) fn knows(&self, response_to: u32) -> bool {
        self.waiting.get(&response_to).is_some()
    }

    /// Takes out the one that a response names.
    pub(super) fn take(&mut self, response_to: u32) -> Option<Waiting> {
        self.waiting.remove(&response_to)
    }

    /// Puts back one that another response will answer, which names the message with this number.
    pub(super) fn put_back(&mut self, id: u32, waiting: Waiting) {
        let told = waiting.id;
        let forgotten = self.waiting.insert(id, waiting).filter(|forgotten| forgotten.is_reported);
        // A request of the same number takes the place of the other where they are paired.
        self.given_up = forgotten.map(|forgotten| forgotten.id).filter(|&id| id != told);
    }

    /// Returns the request that was given up.
    pub(super) fn take_given_up(&mut self) -> Option<u32> {
        self.given_up.take()
    }

    /// Adds what the rest of a request has told.
    pub(super) fn learn(&mut self, id: u32, count: Option<u64>, database: Option<String>) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if let Some(count) = count.filter(|&count| count > 1).and_then(|count| i64::try_from(count).ok()) {
            waiting.late.push((semconv::DB_OPERATION_BATCH_SIZE, count.into()));
        }
        if let Some(database) = database {
            waiting.late.push((semconv::DB_NAMESPACE, database.into()));
        }
    }
}

impl Held for Outstanding {
    fn held_bytes(&self) -> usize {
        self.waiting.held_bytes()
    }
}

impl Held for Waiting {
    fn held_bytes(&self) -> usize {
        self.late.held_bytes()
    }
}
