//! What connections to a server have in common: whether it is MySQL or MariaDB, which only its greeting says.
//!
//! Prepared statements are not shared: each connection numbers them for itself.

use std::collections::HashMap;

use crate::event::Endpoint;
use crate::protocol::Learned;

/// Most servers that are remembered. More are not learned.
const MAX_SERVERS: usize = 1024;

/// What all connections have shown.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Servers {
    systems: HashMap<Endpoint, &'static str>,
}

/// What a connection shows others, and learns from them.
#[derive(Debug)]
pub(super) struct Shared {
    learned: Learned,
    server: Option<Endpoint>,
}

impl Shared {
    pub(super) fn new(learned: &Learned, server: Option<&Endpoint>) -> Self {
        Self { learned: learned.clone(), server: server.cloned() }
    }

    /// Returns what all connections have shown.
    pub(super) fn learned(&self) -> &Learned {
        &self.learned
    }

    /// Shows others what the server is.
    pub(super) fn note(&self, system: &'static str) {
        let Some(server) = &self.server else { return };
        let mut known = self.learned.lock();
        let systems = &mut known.mysql_servers.systems;
        if systems.len() < MAX_SERVERS || systems.contains_key(server) {
            systems.insert(server.clone(), system);
        }
    }

    /// Returns what the server is.
    pub(super) fn system(&self) -> Option<&'static str> {
        self.learned.lock().mysql_servers.systems.get(self.server.as_ref()?).copied()
    }
}
