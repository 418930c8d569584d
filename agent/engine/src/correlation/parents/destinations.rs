//! What event loops have to do with each of their destinations: which connections are idle, and which have come and gone.

use foldhash::{HashMap, HashSet};

use crate::event::{ConnectionId, Endpoint};

/// Destinations of all processes that are remembered. Of more, those without connections are forgotten; where all have
/// some, further ones are not followed, and their calls have no parent where it matters.
const MAX_DESTINATIONS: usize = 8_192;
/// What of them is forgotten at once at least: looking for them costs as much as there are.
const MIN_FORGOTTEN: u64 = 1_024;
/// Connections of a pool at least, that all of them are in use means that it has no more.
const MIN_POOL: usize = 4;
/// The churn of a destination that is not followed: none like it was noted before.
const UNKNOWN_CHURN: u64 = u64::MAX;

/// What an event loop has to do with one destination.
#[derive(Debug, Default)]
struct Destination {
    /// Number of the last event at which a connection was opened, or became free.
    churn: u64,
    /// Connections that wait for a call, and take one at a time as far as is known.
    idle: HashSet<ConnectionId>,
    /// Connections with a call that is not answered.
    busy: HashSet<ConnectionId>,
    /// Connections on which calls overlap: none waits until they are free.
    multiplexed: HashSet<ConnectionId>,
}

impl Destination {
    fn has_connections(&self) -> bool {
        [&self.idle, &self.busy, &self.multiplexed].into_iter().any(|connections| !connections.is_empty())
    }
}

/// The destinations of event loops, by process and address.
#[derive(Debug, Default)]
pub(super) struct Destinations {
    known: HashMap<(u32, Endpoint), Destination>,
    /// Counts what is opened and becomes free, everywhere: a number that was noted means nothing else later.
    churn: u64,
    /// When it was last looked for what can be forgotten.
    cleaned_at: u64,
}

impl Destinations {
    /// Notes that a connection is opened. Returns the destination's churn.
    pub(super) fn open(&mut self, tgid: u32, peer: &Endpoint) -> u64 {
        self.churn += 1;
        let churn = self.churn;
        let Some(destination) = self.followed(tgid, peer) else { return churn };
        destination.churn = churn;
        churn
    }

    /// Notes that a connection may be used for another call.
    pub(super) fn free(&mut self, tgid: u32, peer: &Endpoint, connection: ConnectionId) {
        self.churn += 1;
        let churn = self.churn;
        let Some(destination) = self.followed(tgid, peer) else { return };
        destination.churn = churn;
        destination.busy.remove(&connection);
        if !destination.multiplexed.contains(&connection) {
            destination.idle.insert(connection);
        }
    }

    /// Notes a call on a connection. Returns the destination's churn, and whether somebody else may have waited for the
    /// connection: no other was idle, and calls do not overlap on it.
    pub(super) fn take(&mut self, tgid: u32, peer: &Endpoint, connection: ConnectionId) -> (u64, bool) {
        let Some(destination) = self.followed(tgid, peer) else { return (UNKNOWN_CHURN, true) };
        destination.idle.remove(&connection);
        if !destination.busy.insert(connection) {
            destination.multiplexed.insert(connection);
        }
        let is_multiplexed = destination.multiplexed.contains(&connection);
        (destination.churn, destination.idle.is_empty() && !is_multiplexed)
    }

    /// Notes that a connection does not wait for a call any more, which will be noted later.
    pub(super) fn occupy(&mut self, tgid: u32, peer: &Endpoint, connection: ConnectionId) {
        if let Some(destination) = self.known.get_mut(&(tgid, peer.clone())) {
            destination.idle.remove(&connection);
        }
    }

    /// Notes that a call will not be seen to be answered.
    pub(super) fn abandon(&mut self, tgid: u32, peer: &Endpoint, connection: ConnectionId) {
        if let Some(destination) = self.known.get_mut(&(tgid, peer.clone())) {
            destination.busy.remove(&connection);
        }
    }

    /// Notes that a connection is gone.
    pub(super) fn close(&mut self, tgid: u32, peer: &Endpoint, connection: ConnectionId) {
        if self.known.is_empty() {
            return;
        }
        if let Some(destination) = self.known.get_mut(&(tgid, peer.clone())) {
            destination.idle.remove(&connection);
            destination.busy.remove(&connection);
            destination.multiplexed.remove(&connection);
        }
    }

    /// Returns whether a process has a pool of connections to somewhere that were all in use until now: none is idle but
    /// those that have just become free.
    pub(super) fn is_any_exhausted(&self, tgid: u32, is_just_free: impl Fn(&ConnectionId) -> bool) -> bool {
        let pools = self.known.iter().filter(|((owner, _), _)| *owner == tgid).map(|(_, pool)| pool);
        pools
            .filter(|pool| pool.idle.len() + pool.busy.len() >= MIN_POOL)
            .any(|pool| pool.idle.iter().all(&is_just_free))
    }

    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.known.retain(|(owner, _), _| *owner != tgid);
    }

    /// Returns a destination; none where there are too many.
    fn followed(&mut self, tgid: u32, peer: &Endpoint) -> Option<&mut Destination> {
        let place = (tgid, peer.clone());
        let is_full = self.known.len() >= MAX_DESTINATIONS && !self.known.contains_key(&place);
        if is_full && self.churn.saturating_sub(self.cleaned_at) >= MIN_FORGOTTEN {
            self.cleaned_at = self.churn;
            self.known.retain(|_, destination| destination.has_connections());
        }
        if is_full && self.known.len() >= MAX_DESTINATIONS {
            return None;
        }
        Some(self.known.entry(place).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: usize) -> Endpoint {
        Endpoint::Unix(number.to_string())
    }

    fn connection(number: usize) -> ConnectionId {
        ConnectionId { sock: number as u64, inode: 1 }
    }

    #[test]
    fn destinations_without_connections_make_room() {
        let mut destinations = Destinations::default();
        destinations.free(1, &peer(0), connection(0));
        for number in 1..MAX_DESTINATIONS * 4 {
            destinations.open(1, &peer(number));
        }
        assert!(destinations.known.len() <= MAX_DESTINATIONS);
        assert!(destinations.known.contains_key(&(1, peer(0))));
        destinations.forget_process(1);
        assert!(destinations.known.is_empty());
    }

    #[test]
    fn where_there_is_no_room_nothing_is_believed() {
        let mut destinations = Destinations::default();
        for number in 0..MAX_DESTINATIONS * 2 {
            destinations.free(1, &peer(number), connection(number));
        }
        assert_eq!(destinations.known.len(), MAX_DESTINATIONS);
        let unknown = peer(MAX_DESTINATIONS + 5);
        let opened = destinations.open(1, &unknown);
        let (churn, may_be_awaited) = destinations.take(1, &unknown, connection(7));
        assert!(churn != opened && may_be_awaited);
    }

    #[test]
    fn calls_that_overlap_on_one_connection_say_nothing_of_another() {
        let mut destinations = Destinations::default();
        let [pipelined, pooled] = [1, 2].map(connection);
        let take = |destinations: &mut Destinations, connection| destinations.take(1, &peer(1), connection).1;
        assert!(take(&mut destinations, pipelined), "nothing has overlapped");
        assert!(!take(&mut destinations, pipelined));
        assert!(take(&mut destinations, pooled));
        destinations.free(1, &peer(1), pipelined);
        destinations.free(1, &peer(1), pooled);
        assert!(take(&mut destinations, pooled), "the idle one is not of its pool");
        assert!(!take(&mut destinations, pipelined));
        destinations.close(1, &peer(1), pipelined);
        assert!(take(&mut destinations, pipelined), "another at its address");
    }

    #[test]
    fn churn_of_what_was_forgotten_does_not_come_again() {
        let mut destinations = Destinations::default();
        let before = destinations.open(1, &peer(1));
        destinations.forget_process(1);
        destinations.open(1, &peer(1));
        assert_ne!(destinations.take(1, &peer(1), connection(1)).0, before);
    }
}
