//! Outstanding requests by their numbers, and how many of them are under way in either direction: that is asked for each
//! call that moves bytes.

use std::collections::HashMap;

use super::Open;
use crate::held::Held;

/// The requests of one connection that have numbers.
#[derive(Debug, Default)]
pub(super) struct Numbered {
    by_number: HashMap<u64, Open>,
    /// Requests that are still being sent.
    sending: usize,
    /// Requests whose responses have begun.
    answering: usize,
}

impl Numbered {
    /// Adds a request; returns the one that had its number.
    pub(super) fn insert(&mut self, number: u64, open: Open) -> Option<Open> {
        let replaced = self.remove(number);
        self.count(flow(&open), 1);
        self.by_number.insert(number, open);
        replaced
    }

    /// Takes out a request.
    pub(super) fn remove(&mut self, number: u64) -> Option<Open> {
        let open = self.by_number.remove(&number)?;
        self.count(flow(&open), -1);
        Some(open)
    }

    /// Changes a request, if it is there; returns what the change returns.
    pub(super) fn update<T>(&mut self, number: u64, change: impl FnOnce(&mut Open) -> T) -> Option<T> {
        let open = self.by_number.get_mut(&number)?;
        let before = flow(open);
        let changed = change(open);
        let after = flow(open);
        self.count(before, -1);
        self.count(after, 1);
        Some(changed)
    }

    /// Returns all, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&u64, &Open)> {
        self.by_number.iter()
    }

    /// Takes out all, in no order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Open> {
        (self.sending, self.answering) = (0, 0);
        self.by_number.drain().map(|(_, open)| open)
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Returns whether any request is still being sent, and whether any response has begun.
    pub(super) fn is_streaming(&self) -> (bool, bool) {
        (self.sending > 0, self.answering > 0)
    }

    fn count(&mut self, (is_sending, is_answering): (bool, bool), sign: isize) {
        self.sending = self.sending.saturating_add_signed(sign * isize::from(is_sending));
        self.answering = self.answering.saturating_add_signed(sign * isize::from(is_answering));
    }
}

/// Returns whether a request is still being sent, and whether its response has begun.
fn flow(open: &Open) -> (bool, bool) {
    (open.is_sending, open.exchange.response.is_some())
}

impl Held for Numbered {
    fn held_bytes(&self) -> usize {
        self.by_number.held_bytes()
    }
}
