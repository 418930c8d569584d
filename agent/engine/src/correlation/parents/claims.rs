//! For whom connections are written to, where others do the writing.

use std::collections::VecDeque;

use foldhash::HashMap;

use crate::event::{ConnectionId, Executor};
use crate::pairing::ExchangeId;

/// Claims of one connection that may wait for their bytes. For one more, the oldest is forgotten.
const MAX_PLACES: usize = 256;

/// The claims of all connections. Connections are bounded, and their claims go with them.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Who has written whatever comes next.
    next: HashMap<ConnectionId, Executor>,
    /// Whose the bytes are from some positions on, in the order of the positions.
    places: HashMap<ConnectionId, VecDeque<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    from: u32,
    /// None: nobody's.
    server: Option<ExchangeId>,
}

impl Claims {
    /// What is written next is written for `executor`.
    pub(super) fn claim_next(&mut self, connection: ConnectionId, executor: Executor) {
        self.next.insert(connection, executor);
    }

    /// What is written from a position on is written for a request, or for none.
    pub(super) fn claim_from(&mut self, connection: ConnectionId, from: u32, server: Option<ExchangeId>) {
        let places = self.places.entry(connection).or_default();
        // What was to be written there will not be.
        while places.back().is_some_and(|last| !is_before(last.from, from)) {
            places.pop_back();
        }
        if places.len() >= MAX_PLACES {
            places.pop_front();
        }
        places.push_back(Place { from, server });
    }

    /// Returns for whom `executor` writes to a connection.
    pub(super) fn writer(&self, connection: ConnectionId, executor: &Executor) -> Executor {
        self.next.get(&connection).copied().unwrap_or(*executor)
    }

    /// Returns whose the byte at a position is, if positions are claimed on the connection: perhaps nobody's.
    pub(super) fn owner(&self, connection: ConnectionId, position: u32) -> Option<Option<ExchangeId>> {
        let places = self.places.get(&connection)?;
        let place = places.iter().rev().find(|place| !is_before(position, place.from))?;
        Some(place.server)
    }

    pub(super) fn forget_connection(&mut self, connection: ConnectionId) {
        self.next.remove(&connection);
        self.places.remove(&connection);
    }
}

/// Half of the numbers lie behind a position, the other half ahead of it.
fn is_before(one: u32, other: u32) -> bool {
    other.wrapping_sub(one).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: ConnectionId = ConnectionId { sock: 1, inode: 1 };
    const ONE: Option<ExchangeId> = Some(ExchangeId(1));
    const OTHER: Option<ExchangeId> = Some(ExchangeId(2));

    #[test]
    fn a_byte_is_whose_place_it_lies_behind() {
        let mut claims = Claims::default();
        assert_eq!(claims.owner(CONNECTION, 7), None);
        claims.claim_from(CONNECTION, u32::MAX - 1, ONE);
        claims.claim_from(CONNECTION, 10, None);
        claims.claim_from(CONNECTION, 20, OTHER);
        assert_eq!(claims.owner(CONNECTION, u32::MAX - 2), None, "before all claims");
        let owners = [u32::MAX - 1, 9, 10, 19, 20, 1_000].map(|at| claims.owner(CONNECTION, at).unwrap());
        assert_eq!(owners, [ONE, ONE, None, None, OTHER, OTHER]);
        claims.forget_connection(CONNECTION);
        assert_eq!(claims.owner(CONNECTION, 20), None);
    }

    #[test]
    fn a_place_that_is_claimed_again_was_not_written_to() {
        let mut claims = Claims::default();
        claims.claim_from(CONNECTION, 10, ONE);
        claims.claim_from(CONNECTION, 30, ONE);
        claims.claim_from(CONNECTION, 20, OTHER);
        assert_eq!([15, 25, 35].map(|at| claims.owner(CONNECTION, at).unwrap()), [ONE, OTHER, OTHER]);
    }

    #[test]
    fn the_oldest_claims_are_forgotten_first() {
        let mut claims = Claims::default();
        let count = MAX_PLACES as u32 + 1;
        (0..count).for_each(|from| claims.claim_from(CONNECTION, from, Some(ExchangeId(from.into()))));
        assert_eq!(claims.owner(CONNECTION, 0), None);
        assert_eq!(claims.owner(CONNECTION, 1), Some(ONE));
    }
}
