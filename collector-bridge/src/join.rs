//! The two sides of a request, seen on two hosts: which server span has which client span as its parent. And requests of
//! which an SDK tells in a trace of its own: which of the agent's traces that is part of.
//!
//! Takes what [`Sightings`] keeps of spans that are stored already and makes [`Join`]s of them; knows neither files nor
//! the other parts of the traces. Its hard problem: either side comes first, seconds or a minute apart, most never find
//! another one, and what senders claim must not take memory without bound. What comes so late that the other side may
//! be forgotten is named ([`Late`]), so that it can be looked for among what is stored.

mod aging;
mod counters;
mod index;
mod late;
mod messages;
mod twins;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use counters::JoinCounters;
pub use index::Sightings;
pub use late::Late;

use crate::model::{Join, Span};
use index::Index;
use messages::Messages;
use twins::Twins;

/// Limits of joining; [`JoinSettings::default`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinSettings {
    /// How long either side waits for the other one, at least, if there is room. Default 60 s.
    pub hold: Duration,
    /// Client spans, and server spans without theirs, that are known at most, each. Default 1,000,000, which takes up to
    /// 60 MiB for client spans, and twice that for server spans. So many messages, too, and a quarter as many requests of which an SDK tells as
    /// well, or may.
    pub max_waiting: usize,
}

impl Default for JoinSettings {
    fn default() -> Self {
        Self { hold: Duration::from_secs(60), max_waiting: 1_000_000 }
    }
}

/// Brings the two sides together, from all threads.
#[derive(Debug)]
pub struct Joiner {
    index: Mutex<Index>,
    messages: Mutex<Messages>,
    twins: Mutex<Twins>,
    counters: JoinCounters,
}

impl Joiner {
    /// Returns one that has seen nothing.
    #[must_use]
    pub fn new(settings: &JoinSettings, now: Instant) -> Self {
        Self {
            index: Mutex::new(Index::new(settings, now)),
            messages: Mutex::new(Messages::new(settings.max_waiting, now)),
            twins: Mutex::new(Twins::new(settings.max_waiting / 4, settings.hold, now)),
            counters: JoinCounters::default(),
        }
    }

    /// Takes what was seen, and returns the sides that are complete by it. Cost: a map entry for each client span.
    pub fn observe(&self, sightings: &Sightings, now: Instant) -> Vec<Join> {
        if sightings.is_empty() {
            return Vec::new();
        }
        self.index.lock().unwrap_or_else(PoisonError::into_inner).observe(sightings, now, &self.counters)
    }

    /// Takes what was seen, and returns the traces of SDKs that are part of the agent's by it.
    pub fn observe_requests(&self, sightings: &Sightings, now: Instant) -> Vec<Join> {
        if sightings.requests.is_empty() {
            return Vec::new();
        }
        let mut twins = self.twins.lock().unwrap_or_else(PoisonError::into_inner);
        twins.observe(&sightings.requests, now, &self.counters)
    }

    /// Links those of the spans that received messages to the spans that sent them, as far as these are known: those that
    /// came before, or come with them.
    pub fn link(&self, spans: &mut [Span], now: Instant) {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).link(spans, now, &self.counters);
    }

    /// Returns what came late since the last call and found no other side; none without any.
    pub fn take_late(&self) -> Option<Late> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).take_late()
    }

    /// Gives up what has waited long enough; for times in which nothing is seen.
    pub fn expire(&self, now: Instant) {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).expire(now, &self.counters);
        self.twins.lock().unwrap_or_else(PoisonError::into_inner).expire(now);
    }

    /// Returns the server spans that wait for their client span.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).waiting()
    }

    /// Returns what was counted.
    #[must_use]
    pub fn counters(&self) -> &JoinCounters {
        &self.counters
    }
}
