//! What spans are called, which is bounded whatever peers send: a server has so many routes, and its calls so many names.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::route::{Routes, ServiceKey};

/// Names of what is asked of one server in one protocol. Any further one is only its verb.
const MAX_NAMES: usize = 500;
/// Servers whose names are remembered.
const MAX_SERVERS: usize = 4_096;

/// The names of what all servers are asked.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) routes: Routes,
    servers: HashMap<(&'static str, ServiceKey), HashSet<u64>>,
    state: RandomState,
}

impl Names {
    /// Returns a name, or its first word where the server has too many: of messages to thousands of channels, `publish`.
    /// What is but one word, such as a command that no server knows, becomes the protocol's name.
    pub(super) fn bounded<'a>(
        &mut self,
        protocol: &'static str,
        server: ServiceKey,
        name: &'a str,
    ) -> &'a str {
        let hash = self.state.hash_one(name);
        let is_full = self.servers.len() >= MAX_SERVERS;
        let known = match self.servers.entry((protocol, server)) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(_) if is_full => None,
            Entry::Vacant(place) => Some(place.insert(HashSet::default())),
        };
        let is_known = known
            .is_some_and(|known| known.contains(&hash) || (known.len() < MAX_NAMES && known.insert(hash)));
        match name.split_once(' ') {
            _ if is_known => name,
            Some((verb, _)) => verb,
            None => protocol,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_so_many_names() {
        let (mut names, server) = (Names::default(), || ServiceKey(6379, String::new()));
        for number in 0..MAX_NAMES {
            let name = format!("publish channel{number}");
            assert_eq!(names.bounded("redis", server(), &name), name);
        }
        assert_eq!(names.bounded("redis", server(), "publish channel0"), "publish channel0");
        assert_eq!(names.bounded("redis", server(), "publish another"), "publish");
        assert_eq!(names.bounded("redis", server(), "frobnicate"), "redis");
        assert_eq!(names.bounded("redis", ServiceKey(6380, String::new()), "frobnicate"), "frobnicate");
        assert_eq!(names.bounded("nats", server(), "send a"), "send a");
    }
}
