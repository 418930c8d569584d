//! Requests that wait for their responses.

use std::collections::VecDeque;

use super::api::{self, Api};
use super::findings::Findings;
use super::walk::Layout;

use crate::held::Held;

/// Most requests of one connection that are remembered. Clients have five under way, or some more.
const MAX_OUTSTANDING: usize = 1024;

/// A request without its response.
#[derive(Debug)]
pub(super) struct Outstanding {
    /// As the wire has it. Clients may use one again, even while the first use is under way.
    pub(super) correlation: i32,
    /// As the engine has it.
    pub(super) number: u64,
    pub(super) key: i16,
    pub(super) api: &'static Api,
    pub(super) version: i16,
    pub(super) is_replica: bool,
    /// What a Produce request hands over.
    pub(super) sent: Findings,
}

impl Outstanding {
    /// Returns whether the response has compact and tagged fields.
    pub(super) fn is_flexible(&self) -> bool {
        self.api.is_flexible(self.version)
    }

    /// Returns whether tagged fields follow the number of the response. A client that asks for versions may not know
    /// them, so that they never do there.
    pub(super) fn has_tagged_head(&self) -> bool {
        self.is_flexible() && self.key != api::API_VERSIONS
    }

    /// Returns how batches lie in the response, if there are any.
    pub(super) fn layout(&self) -> Option<Layout> {
        match self.key {
            _ if self.version > self.api.newest => None,
            api::FETCH => Some(Layout::Fetch),
            api::SHARE_FETCH => Some(Layout::ShareFetch),
            _ => None,
        }
    }
}

/// The requests of one connection that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Outstanding>,
    given_up: Option<u64>,
}

impl Queue {
    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds one. Of too many, the oldest is given up.
    pub(super) fn add(&mut self, outstanding: Outstanding) {
        if self.waiting.len() >= MAX_OUTSTANDING {
            self.given_up = self.waiting.pop_front().map(|oldest| oldest.number);
        }
        self.waiting.push_back(outstanding);
    }

    /// Returns the oldest one that waits for this number.
    pub(super) fn find(&self, correlation: i32) -> Option<&Outstanding> {
        self.waiting.iter().find(|waiting| waiting.correlation == correlation)
    }

    /// Takes the oldest one that waits for this number.
    pub(super) fn take(&mut self, correlation: i32) -> Option<Outstanding> {
        let place = self.waiting.iter().position(|waiting| waiting.correlation == correlation)?;
        self.waiting.remove(place)
    }

    /// Notes what the rest of a request has shown.
    pub(super) fn complete(&mut self, number: u64, sent: Findings) {
        if let Some(waiting) = self.waiting.iter_mut().rev().find(|waiting| waiting.number == number) {
            waiting.sent = sent;
        }
    }

    /// Returns the one that was given up.
    pub(super) fn take_given_up(&mut self) -> Option<u64> {
        self.given_up.take()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Held for Queue {
    fn held_bytes(&self) -> usize {
        self.waiting.held_bytes()
    }
}

impl Held for Outstanding {
    fn held_bytes(&self) -> usize {
        self.sent.held_bytes()
    }
}
