//! Requests that wait for their responses, by their numbers.

use foldhash::HashMap;

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
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    waiting: HashMap<u32, Waiting>,
}

impl Outstanding {
    /// Adds a request; returns whether there was room.
    pub(super) fn add(&mut self, id: u32, is_reported: bool) -> bool {
        let has_room = self.waiting.len() < MAX_OUTSTANDING;
        if has_room {
            let waiting = Waiting { id, is_reported, rows: Some(0), ..Waiting::default() };
            self.waiting.insert(id, waiting);
        }
        has_room
    }

    /// Returns whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns whether the one waits that a response names.
    pub(super) fn knows(&self, response_to: u32) -> bool {
        self.waiting.contains_key(&response_to)
    }

    /// Takes out the one that a response names.
    pub(super) fn take(&mut self, response_to: u32) -> Option<Waiting> {
        self.waiting.remove(&response_to)
    }

    /// Puts back one that another response will answer, which names the message with this number.
    pub(super) fn put_back(&mut self, id: u32, waiting: Waiting) {
        self.waiting.insert(id, waiting);
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
