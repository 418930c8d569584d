//! Whose the bytes of connections are, by their positions: a message waits behind others until somebody writes them all.

use std::collections::VecDeque;

use foldhash::HashMap;

use crate::event::ConnectionId;
use crate::pairing::ExchangeId;

/// Claims of one connection that may wait for their bytes. For one more, the oldest is forgotten.
const MAX_PLACES: usize = 256;

/// Whose the bytes are from some positions on, in the order of the positions.
#[derive(Debug, Default)]
pub(super) struct Places {
    // Connections are bounded, and their places go with them.
    places: HashMap<ConnectionId, VecDeque<Place>>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    from: u32,
    /// None: nobody's.
    server: Option<ExchangeId>,
}

impl Places {
    /// What is written from a position on is written for a request, or for none.
    pub(super) fn claim(&mut self, connection: ConnectionId, from: u32, server: Option<ExchangeId>) {
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

    /// Returns whose the byte at a position is, if positions are claimed on the connection: perhaps nobody's, as of one whose
    /// position is not known.
    pub(super) fn owner(
        &self,
        connection: ConnectionId,
        position: Option<u32>,
    ) -> Option<Option<ExchangeId>> {
        let places = self.places.get(&connection)?;
        let Some(position) = position else { return Some(None) };
        let place = places.iter().rev().find(|place| !is_before(position, place.from))?;
        Some(place.server)
    }

    /// Forgets whose the bytes are: some of what was told is out of date. What was claimed stays nobody's.
    pub(super) fn invalidate(&mut self) {
        self.places.values_mut().flatten().for_each(|place| place.server = None);
    }

    /// Forgets a connection.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
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
        let mut places = Places::default();
        assert_eq!(places.owner(CONNECTION, Some(7)), None);
        places.claim(CONNECTION, u32::MAX - 1, ONE);
        places.claim(CONNECTION, 10, None);
        places.claim(CONNECTION, 20, OTHER);
        assert_eq!(places.owner(CONNECTION, Some(u32::MAX - 2)), None, "before all claims");
        let owners =
            [u32::MAX - 1, 9, 10, 19, 20, 1_000].map(|at| places.owner(CONNECTION, Some(at)).unwrap());
        assert_eq!(owners, [ONE, ONE, None, None, OTHER, OTHER]);
        assert_eq!(places.owner(CONNECTION, None), Some(None), "it may be anybody's");
        places.forget(CONNECTION);
        assert_eq!(places.owner(CONNECTION, Some(20)), None);
    }

    #[test]
    fn a_place_that_is_claimed_again_was_not_written_to() {
        let mut places = Places::default();
        places.claim(CONNECTION, 10, ONE);
        places.claim(CONNECTION, 30, ONE);
        places.claim(CONNECTION, 20, OTHER);
        assert_eq!([15, 25, 35].map(|at| places.owner(CONNECTION, Some(at)).unwrap()), [ONE, OTHER, OTHER]);
    }

    #[test]
    fn the_oldest_claims_are_forgotten_first() {
        let mut places = Places::default();
        let count = MAX_PLACES as u32 + 1;
        (0..count).for_each(|from| places.claim(CONNECTION, from, Some(ExchangeId(from.into()))));
        assert_eq!(places.owner(CONNECTION, Some(0)), None);
        assert_eq!(places.owner(CONNECTION, Some(1)), Some(ONE));
    }
}
