//! Calls of event loops that are some request's, and it is not known whose: one of several that may have waited for the
//! same has made them.

use foldhash::HashMap;

use super::MAX_REMEMBERED;
use crate::pairing::ExchangeId;

/// Those that are under way.
#[derive(Debug, Default)]
pub(super) struct Unsure {
    calls: HashMap<ExchangeId, u32>,
    /// How many each process has.
    open: HashMap<u32, u32>,
}

impl Unsure {
    /// Notes one. Those that find no room make others ambiguous, not wrong.
    pub(super) fn begin(&mut self, call: ExchangeId, tgid: u32) {
        if self.calls.len() < MAX_REMEMBERED && self.calls.insert(call, tgid).is_none() {
            *self.open.entry(tgid).or_default() += 1;
        }
    }

    pub(super) fn contains(&self, call: ExchangeId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Returns how many a process has under way: as many of its requests wait for these.
    pub(super) fn open(&self, tgid: u32) -> u32 {
        self.open.get(&tgid).copied().unwrap_or(0)
    }

    /// Forgets an exchange that has ended.
    pub(super) fn end(&mut self, call: ExchangeId) {
        let Some(tgid) = self.calls.remove(&call) else { return };
        if let Some(open) = self.open.get_mut(&tgid) {
            *open -= 1;
            if *open == 0 {
                self.open.remove(&tgid);
            }
        }
    }
}
