//! Requests that were kept a moment ago. A sender whose answer was lost sends the same bytes again; kept twice, they would
//! count twice in rollups until their spans are in one segment.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// How long a request is remembered, from its arrival: senders repeat within seconds.
const REMEMBERED_NS: u64 = 60_000_000_000;

/// Requests that are remembered at most, about 5 MiB; the oldest are forgotten first.
const MAX_REMEMBERED: usize = 65_536;

/// A request as 128 bits of a hash whose key is of this process, so that no sender can make two alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey([u64; 2]);

impl RequestKey {
    /// Returns the key of a request as the log has it: packed, which costs a fraction of hashing it unpacked.
    pub(crate) fn of(compressed: &[u8]) -> Self {
        static KEYS: LazyLock<[RandomState; 2]> = LazyLock::new(Default::default);
        Self(KEYS.each_ref().map(|key| key.hash_one(compressed)))
    }
}

/// The keys of requests that are on the disk, by arrival.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    arrived: HashMap<RequestKey, u64>,
    oldest_first: VecDeque<(RequestKey, u64)>,
}

impl Repeats {
    /// Returns whether the same request was kept shortly before one that arrived then.
    pub(crate) fn contains(&self, key: RequestKey, arrived_unix_ns: u64) -> bool {
        let first = self.arrived.get(&key);
        first.is_some_and(|first| arrived_unix_ns.saturating_sub(*first) <= REMEMBERED_NS)
    }

    /// Remembers a request that is on the disk.
    pub(crate) fn remember(&mut self, key: RequestKey, arrived_unix_ns: u64) {
        self.arrived.insert(key, arrived_unix_ns);
        self.oldest_first.push_back((key, arrived_unix_ns));
        while let Some((oldest, arrived)) = self.oldest_first.front().copied() {
            let is_old = arrived_unix_ns.saturating_sub(arrived) > REMEMBERED_NS;
            if !is_old && self.oldest_first.len() <= MAX_REMEMBERED {
                break;
            }
            self.oldest_first.pop_front();
            if self.arrived.get(&oldest) == Some(&arrived) {
                self.arrived.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_remembered_for_a_minute() {
        let mut repeats = Repeats::default();
        let (one, two) = (RequestKey::of(b"one"), RequestKey::of(b"two"));
        repeats.remember(one, 1000);
        assert!(repeats.contains(one, 1000) && repeats.contains(one, 1000 + REMEMBERED_NS));
        assert!(!repeats.contains(one, 1001 + REMEMBERED_NS) && !repeats.contains(two, 1000));
        repeats.remember(two, 1001 + REMEMBERED_NS);
        assert_eq!((repeats.arrived.len(), repeats.oldest_first.len()), (1, 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        for number in 0..=MAX_REMEMBERED {
            repeats.remember(RequestKey::of(&number.to_le_bytes()), 5);
        }
        assert_eq!((repeats.arrived.len(), repeats.oldest_first.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
        assert!(!repeats.contains(RequestKey::of(&0_usize.to_le_bytes()), 5));
    }
}
