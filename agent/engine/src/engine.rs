//! The state machine that calls the rooms in order.

use crate::command::Command;
use crate::event::{Event, Scheduling};
use crate::protocol::ParserSettings;
use crate::span::Span;

/// Limits and choices of the engine.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// For the protocols.
    pub parsers: ParserSettings,
    /// Seed of the ids that cannot be derived from positions on the wire.
    pub id_seed: u64,
}

/// Something the engine counts: discards by reason, and what it understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// `loss`, `messages`, `state`: the family.
    pub family: &'static str,
    /// The reason or thing.
    pub label: &'static str,
    /// The protocol, or empty.
    pub protocol: &'static str,
    /// How many so far (for `state`: right now).
    pub value: u64,
}

/// From events to spans. Time comes only from the events and from [`handle_timeout`](Self::handle_timeout).
#[derive(Debug)]
pub struct Engine {}

impl Engine {
    /// Returns an engine without connections.
    #[must_use]
    pub fn new(_settings: Settings) -> Self {
        Self {}
    }

    /// Takes in one event. Events come in the order of their times, apart from calls that blocked for long.
    pub fn handle_event(&mut self, _event: Event) {}

    /// Tells how a process schedules its requests.
    pub fn handle_process(&mut self, _tgid: u32, _scheduling: Scheduling) {}

    /// Tells that a process is gone, and with it every connection that only it held.
    pub fn handle_process_exit(&mut self, _tgid: u32, _now_ns: u64) {}

    /// Lets time pass: expires what waited too long.
    pub fn handle_timeout(&mut self, _now_ns: u64) {}

    /// Ends all that is open, for a shutdown.
    pub fn finish(&mut self, _now_ns: u64) {}

    /// Returns the next finished span.
    pub fn poll_span(&mut self) -> Option<Span> {
        None
    }

    /// Returns the next wish about capture.
    pub fn poll_command(&mut self) -> Option<Command> {
        None
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }

    /// Returns all counters.
    #[must_use]
    pub fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }
}
