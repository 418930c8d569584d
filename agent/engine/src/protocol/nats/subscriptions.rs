//! What a client has subscribed to.

use std::collections::BTreeMap;

use super::subject::{is_inbox, matches};

use crate::held::Held;
use crate::protocol::Side;

/// Subscriptions of one connection that are known. Of more, neither subject nor group is.
const MAX_SUBSCRIPTIONS: usize = 1024;

/// A subscription.
#[derive(Debug)]
pub(super) struct Subscription {
    subject: Vec<u8>,
    pub(super) group: Vec<u8>,
    /// Messages that it was promised by a stream and has not got; none where that is not known.
    pub(super) promised: Option<u64>,
    /// The question that the next message answers.
    pub(super) pull: Option<u64>,
}

/// The subscriptions of a connection.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    known: BTreeMap<Vec<u8>, Subscription>,
    /// There may be others.
    are_partial: bool,
}

impl Subscriptions {
    /// Returns no subscriptions; `are_partial` says that there may be others.
    pub(super) fn new(are_partial: bool) -> Self {
        Self { are_partial, ..Self::default() }
    }

    /// Notes a subscription; returns the one that had its number.
    pub(super) fn add(&mut self, sid: &[u8], subject: &[u8], group: &[u8]) -> Option<Subscription> {
        let replaced = self.remove(sid);
        if self.known.len() >= MAX_SUBSCRIPTIONS {
            self.are_partial = true;
            return replaced;
        }
        let subscription =
            Subscription { subject: subject.to_vec(), group: group.to_vec(), promised: Some(0), pull: None };
        self.known.insert(sid.to_vec(), subscription);
        replaced
    }

    /// Forgets a subscription; returns it.
    pub(super) fn remove(&mut self, sid: &[u8]) -> Option<Subscription> {
        self.known.remove(sid)
    }

    /// Returns the subscription that a message is for.
    pub(super) fn of_sid(&mut self, sid: &[u8]) -> Option<&mut Subscription> {
        self.known.get_mut(sid)
    }

    /// Returns the subscription on which answers to a subject arrive: its own before one for many.
    pub(super) fn of_subject(&mut self, subject: &[u8]) -> Option<&mut Subscription> {
        let is_own = self.known.values().any(|known| known.subject == subject);
        self.known.values_mut().find(|known| match is_own {
            true => known.subject == subject,
            false => matches(&known.subject, subject),
        })
    }

    /// Returns whether an answer that is sent to a subject arrives on this connection.
    pub(super) fn expect(&mut self, subject: &[u8]) -> bool {
        self.of_subject(subject).is_some() || (self.are_partial && is_inbox(subject))
    }

    /// Notes that bytes of one side are missing: some of the client's subscriptions and questions, or messages that were
    /// promised. Returns the questions whose answers may be among them.
    pub(super) fn miss(&mut self, side: Side) -> impl Iterator<Item = u64> {
        self.are_partial |= side == Side::Client;
        self.known.values_mut().filter_map(|known| {
            known.promised = None;
            known.pull.take()
        })
    }

    /// Notes that something was missed.
    pub(super) fn lose(&mut self) {
        self.are_partial = true;
        for known in self.known.values_mut() {
            (known.promised, known.pull) = (None, None);
        }
    }
}

impl Subscription {
    /// Returns the subject that it was made for, if it is for one alone.
    pub(super) fn own_subject(&self) -> Option<&[u8]> {
        let is_pattern = self.subject.split(|&byte| byte == b'.').any(|token| matches!(token, b"*" | b">"));
        (!is_pattern).then_some(self.subject.as_slice())
    }
}

impl Held for Subscriptions {
    fn held_bytes(&self) -> usize {
        self.known.held_bytes()
    }
}

impl Held for Subscription {
    fn held_bytes(&self) -> usize {
        self.subject.held_bytes() + self.group.held_bytes()
    }
}
