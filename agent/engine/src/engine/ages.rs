//! Which connection was idle longest, as far as it has to be known: about.
//!
//! Connections stand in a row. Who comes to its front and was used meanwhile goes to its end, so that looking costs no more
//! than the uses did.

use std::collections::VecDeque;

use crate::event::ConnectionId;

/// Places of connections that are gone for which there is room, besides as many as there are connections.
const MAX_VOID: usize = 1024;

/// The row.
#[derive(Debug, Default)]
pub(super) struct Ages {
    /// With when each was last used, as far as was known when it came to its place.
    row: VecDeque<(ConnectionId, u64)>,
}

impl Ages {
    /// Adds a connection that is used now. `is_there` tells which others still are, of as many as `count`.
    pub(super) fn add(
        &mut self,
        connection: ConnectionId,
        now_ns: u64,
        count: usize,
        is_there: impl Fn(&ConnectionId) -> bool,
    ) {
        if self.row.len() > count.saturating_mul(2).saturating_add(MAX_VOID) {
            self.row.retain(|(connection, _)| is_there(connection));
        }
        self.row.push_back((connection, now_ns));
    }

    /// Takes out the connection that is idle longest. `last_used` tells when each was used last, of those that are there.
    pub(super) fn take_oldest(
        &mut self,
        last_used: impl Fn(&ConnectionId) -> Option<u64>,
    ) -> Option<ConnectionId> {
        // Each is looked at twice at most: what was used moves back with the time of its use.
        for _ in 0..self.row.len().saturating_mul(2) {
            let (connection, known_ns) = self.row.pop_front()?;
            match last_used(&connection) {
                Some(used_ns) if used_ns > known_ns => self.row.push_back((connection, used_ns)),
                Some(_) => return Some(connection),
                None => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn id(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 1 }
    }

    #[test]
    fn who_was_used_meanwhile_is_not_the_oldest() {
        let mut used = HashMap::new();
        let mut ages = Ages::default();
        for sock in 0..4 {
            used.insert(id(sock), sock);
            ages.add(id(sock), sock, used.len(), |connection| used.contains_key(connection));
        }
        used.insert(id(0), 9);
        used.remove(&id(1));
        let mut take = || {
            let taken = ages.take_oldest(|connection| used.get(connection).copied());
            taken.and_then(|taken| used.remove(&taken));
            taken
        };
        assert_eq!([take(), take(), take(), take()], [Some(id(2)), Some(id(3)), Some(id(0)), None]);
    }

    #[test]
    fn connections_that_are_gone_take_no_room() {
        let mut ages = Ages::default();
        (0..10_000).for_each(|sock| ages.add(id(sock), sock, 1, |_| false));
        assert!(ages.row.len() <= MAX_VOID + 4);
    }
}
