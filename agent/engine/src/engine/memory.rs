//! What connections hold in memory, and who gives up what it holds where that is too much.

use super::{Connection, Engine, LossReason};
use crate::event::ConnectionId;
use crate::held::Held as _;
use crate::pairing::Pairing;
use crate::session::Surroundings;

/// Most bytes that one connection holds: unread ones, what its parser remembers, and requests without responses. As many
/// short requests as are followed need less, and what programs need is a hundredth of it.
const MAX_CONNECTION_BYTES: usize = 8 << 20;
/// Most bytes that all connections hold. Beyond it, those that hold most give up what they hold.
const MAX_BYTES: usize = 64 << 20;
/// What is left then: who holds most is looked for among all, and not for each event.
const RELIEVED_BYTES: usize = MAX_BYTES / 4 * 3;
/// Bytes that pass or are added before a connection is weighed again: as many as it holds, but at least and at most so
/// many. Weighing costs as much as there is to weigh; a limit is noticed late by what passes meanwhile.
const MIN_PAUSE_BYTES: usize = 4 << 10;
const MAX_PAUSE_BYTES: usize = 512 << 10;
/// What counts for an event besides its bytes.
const EVENT_BYTES: usize = 32;

/// What a connection holds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weight {
    /// Bytes that wait for others.
    waiting: usize,
    /// What was last found to be remembered.
    remembered: usize,
    /// Bytes that have passed or were added since.
    passed: usize,
}

impl Weight {
    /// Returns the bytes that it holds, as they count in the engine's total.
    pub(super) fn held_bytes(self) -> usize {
        self.waiting + self.remembered
    }

    /// Notes that as many bytes have passed or were added; returns whether it is time to look at what is remembered.
    fn is_due(&mut self, passed: usize) -> bool {
        self.passed = self.passed.saturating_add(passed).saturating_add(EVENT_BYTES);
        let is_due = self.passed >= self.remembered.clamp(MIN_PAUSE_BYTES, MAX_PAUSE_BYTES);
        if is_due {
            self.passed = 0;
        }
        is_due
    }
}

impl Connection {
    /// Weighs it again after as many bytes have passed.
    fn weigh(&mut self, passed: usize) {
        self.weight.waiting =
            self.egress.held_bytes() + self.ingress.held_bytes() + self.session.waiting_bytes();
        self.weight.waiting += self.tls.as_ref().map_or(0, |tls| tls.held_bytes());
        let added = self.pairing.take_added_bytes();
        if self.weight.is_due(passed.saturating_add(added)) {
            self.weight.remembered = self.session.remembered_bytes() + self.pairing.held_bytes();
        }
    }
}

impl Engine {
    /// Weighs a connection after as many bytes have passed. Where it holds too much it gives up what it holds; where all
    /// do, those do that hold most.
    pub(super) fn bound_memory(&mut self, id: ConnectionId, passed: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let before = connection.weight.held_bytes();
        connection.weigh(passed);
        let held = connection.weight.held_bytes();
        self.held_bytes = self.held_bytes - before + held;
        if held > MAX_CONNECTION_BYTES {
            self.give_up(id, true);
        }
        if self.held_bytes + self.joins.held_bytes() > MAX_BYTES {
            self.relieve();
        }
    }

    fn relieve(&mut self) {
        let mut heaviest: Vec<(usize, ConnectionId)> = self
            .connections
            .iter()
            .map(|(id, connection)| (connection.weight.held_bytes(), *id))
            .filter(|(held, _)| *held > 0)
            .collect();
        heaviest.sort_unstable();
        while self.held_bytes > RELIEVED_BYTES
            && let Some((_, id)) = heaviest.pop()
        {
            self.give_up(id, false);
        }
    }

    /// Drops all that a connection holds. It goes on where its messages can be told again.
    fn give_up(&mut self, id: ConnectionId, is_breach: bool) {
        self.lose_open(id, 0, LossReason::Memory);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        self.tally.held_too_much += 1;
        let mut outcomes = Vec::new();
        connection.pairing = Pairing::default();
        connection.egress.clear();
        connection.ingress.clear();
        let around =
            Surroundings { settings: &self.parsers, learned: &self.learned, opened: &connection.opened };
        connection.session.forget(is_breach, &around, &mut outcomes);
        self.held_bytes -= std::mem::take(&mut connection.weight).held_bytes();
        self.take_outcomes(id, &mut outcomes);
    }
}
