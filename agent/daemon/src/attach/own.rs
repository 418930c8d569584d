//! Connections of the agent's own to observed processes: what comes over them is nobody's request.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The agent's ends of them, while they matter. Clones are handles to the same set.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnConnections(Arc<Mutex<HashSet<(u32, SocketAddr)>>>);

impl OwnConnections {
    /// Notes a connection from `local` to a process, before anything is sent.
    pub(super) fn note(&self, tgid: u32, local: SocketAddr) {
        self.lock().insert((tgid, local));
    }

    /// Returns whether a process's peer is this agent.
    pub(super) fn contains(&self, tgid: u32, peer: SocketAddr) -> bool {
        self.lock().contains(&(tgid, peer))
    }

    /// The agent has no connection to a process any more, and what was noted has been seen.
    pub(super) fn forget(&self, tgid: u32) {
        self.lock().retain(|(owner, _)| *owner != tgid);
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(u32, SocketAddr)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
