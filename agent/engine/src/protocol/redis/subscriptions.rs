//! The channels that a connection listens to.

use super::command::Channels;

/// Channels that the connection has subscribed to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Subscriptions {
    named: u64,
    patterns: u64,
    sharded: u64,
    /// There may be others, from the time before.
    are_unknown: bool,
}

impl Subscriptions {
    /// Returns what is known at the beginning.
    pub(super) fn new(are_unknown: bool) -> Self {
        Self { are_unknown, ..Self::default() }
    }

    /// Says that there may be others.
    pub(super) fn doubt(&mut self) {
        self.are_unknown = true;
    }

    /// Returns whether there may be others.
    pub(super) fn are_unknown(self) -> bool {
        self.are_unknown
    }

    /// Returns whether there are any.
    pub(super) fn are_any(self) -> bool {
        self.named + self.patterns + self.sharded > 0
    }

    /// Returns how many there are of a kind.
    pub(super) fn of(self, kind: Channels) -> u64 {
        match kind {
            Channels::Named => self.named,
            Channels::Patterns => self.patterns,
            Channels::Sharded => self.sharded,
        }
    }

    /// Takes over what the server says remains. It counts names and patterns together.
    pub(super) fn confirm(&mut self, kind: Channels, remaining: u64) {
        match kind {
            Channels::Named => self.named = remaining.saturating_sub(self.patterns),
            Channels::Patterns => self.patterns = remaining.saturating_sub(self.named),
            Channels::Sharded => self.sharded = remaining,
        }
        self.are_unknown &= remaining > 0 || kind == Channels::Sharded;
    }
}
