//! Connections whose sequence numbers are rewritten on the way, by what their other ends have told.

use foldhash::HashMap;

use crate::event::{Direction, FirstPositions};

/// Connections of which something was told before they were used. Of one more, nothing is remembered.
const MAX_TOLD: usize = 4096;
/// How long a connection may wait to be accepted and read.
const MEMORY_NS: u64 = 60_000_000_000;

/// How far the positions of the other end are from those of this one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Translation {
    egress: u32,
    ingress: u32,
}

impl Translation {
    fn between(own: FirstPositions, told: FirstPositions) -> Self {
        Self { egress: told.egress.wrapping_sub(own.egress), ingress: told.ingress.wrapping_sub(own.ingress) }
    }

    /// Returns the positions of a byte that went in this direction, and of the next byte of the other direction, as the
    /// other end knows them.
    pub(crate) fn apply(self, direction: Direction, position: u32, reverse_position: u32) -> (u32, u32) {
        let (forward, reverse) = match direction {
            Direction::Egress => (self.egress, self.ingress),
            Direction::Ingress => (self.ingress, self.egress),
        };
        (position.wrapping_add(forward), reverse_position.wrapping_add(reverse))
    }
}

/// What was told of connections, until they are used.
#[derive(Debug, Default)]
pub(crate) struct Told {
    by_socket: HashMap<u64, Beginning>,
    refused: u64,
}

#[derive(Debug)]
struct Beginning {
    own: FirstPositions,
    told: FirstPositions,
    at_ns: u64,
}

impl Told {
    /// Remembers where a connection begins, for this end and for the other one.
    pub(crate) fn note(&mut self, sock: u64, own: FirstPositions, told: FirstPositions, at_ns: u64) {
        if self.by_socket.len() >= MAX_TOLD && !self.by_socket.contains_key(&sock) {
            self.refused += 1;
            return;
        }
        self.by_socket.insert(sock, Beginning { own, told, at_ns });
    }

    /// Returns what was told of the connection that begins here, and forgets it: where the other end says that it begins,
    /// and how far apart the positions are.
    ///
    /// A socket's address is used again. That both directions begin at the same places is not.
    pub(crate) fn take(&mut self, sock: u64, own: FirstPositions) -> Option<(FirstPositions, Translation)> {
        if self.by_socket.get(&sock)?.own != own {
            return None;
        }
        let Beginning { own, told, at_ns: _ } = self.by_socket.remove(&sock)?;
        Some((told, Translation::between(own, told)))
    }

    /// Forgets what was told of connections that nobody uses.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        self.by_socket.retain(|_, beginning| now_ns.saturating_sub(beginning.at_ns) < MEMORY_NS);
    }

    /// Returns how many connections were not remembered.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(egress: u32, ingress: u32) -> FirstPositions {
        FirstPositions { egress, ingress }
    }

    #[test]
    fn positions_are_translated_by_their_direction() {
        let translation = Translation::between(at(10, 20), at(5, u32::MAX));
        assert_eq!(translation.apply(Direction::Ingress, 100, 200), (79, 195));
        assert_eq!(translation.apply(Direction::Egress, 100, 200), (95, 179));
        assert_eq!(Translation::default().apply(Direction::Ingress, 1, 2), (1, 2));
    }

    #[test]
    fn what_was_told_of_another_connection_is_not_believed() {
        let mut told = Told::default();
        told.note(7, at(1, 2), at(3, 4), 0);
        assert_eq!(told.take(8, at(1, 2)), None);
        assert_eq!(told.take(7, at(1, 3)), None);
        assert_eq!(told.take(7, at(1, 2)), Some((at(3, 4), Translation { egress: 2, ingress: 2 })));
        assert_eq!(told.take(7, at(1, 2)), None, "it is told once");
    }

    #[test]
    fn memory_is_bounded_in_number_and_time() {
        let mut told = Told::default();
        for sock in 0..MAX_TOLD as u64 + 3 {
            told.note(sock, at(1, 2), at(3, 4), 5);
        }
        assert_eq!(told.refused(), 3);
        told.expire(5 + MEMORY_NS - 1);
        assert!(told.take(0, at(1, 2)).is_some());
        told.expire(5 + MEMORY_NS);
        assert_eq!(told.take(1, at(1, 2)), None);
    }
}
