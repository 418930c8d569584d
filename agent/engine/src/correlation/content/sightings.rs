//! Which ids were seen lately.

use std::hash::BuildHasher as _;

/// How long an id is remembered at least; at most twice as long.
const MEMORY_NS: u64 = 300_000_000_000;
/// Bits of each of the two filters. A million ids in five minutes leave one of forty looking familiar that is not.
const BITS: u64 = 1 << 23;
/// Bits of each id.
const PROBES: u64 = 4;

/// Two Bloom filters (Bloom, CACM 13(7), 1970) that take turns. An id that was seen is always known as such; the more
/// are seen, the more others seem to have been, which costs evidence and never makes any.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    current: Vec<u64>,
    previous: Vec<u64>,
    turn_at_ns: u64,
}

impl Sightings {
    /// Notes that a process was seen to name an id; returns whether it may have been lately.
    pub(super) fn see(&mut self, tgid: u32, hash: u64) -> bool {
        const WORDS: usize = (BITS / 64) as usize;
        if self.current.is_empty() {
            // Untouched pages cost nothing.
            self.current = vec![0; WORDS];
        }
        let seed = foldhash::quality::FixedState::default().hash_one((tgid, hash));
        let step = seed.rotate_left(32) | 1;
        let (mut is_current, mut is_previous) = (true, true);
        for probe in 0..PROBES {
            let bit = seed.wrapping_add(step.wrapping_mul(probe)) & (BITS - 1);
            let (word, mask) = (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64));
            is_previous &= self.previous.get(word).is_some_and(|bits| bits & mask != 0);
            if let Some(bits) = self.current.get_mut(word) {
                is_current &= *bits & mask != 0;
                *bits |= mask;
            }
        }
        is_current || is_previous
    }

    /// Lets time pass: what was seen long ago is forgotten.
    pub(super) fn handle_timeout(&mut self, now_ns: u64) {
        if now_ns >= self.turn_at_ns {
            self.turn_at_ns = now_ns.saturating_add(MEMORY_NS);
            self.previous = std::mem::take(&mut self.current);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_known_until_it_is_long_ago() {
        let mut sightings = Sightings::default();
        sightings.handle_timeout(1);
        assert!(!sightings.see(1, 7));
        assert!(!sightings.see(2, 7), "another process");
        assert!(sightings.see(1, 7));
        sightings.handle_timeout(MEMORY_NS);
        assert!(sightings.see(1, 7));
        sightings.handle_timeout(1 + MEMORY_NS);
        assert!(sightings.see(2, 7), "one turn is no oblivion");
        sightings.handle_timeout(1 + 2 * MEMORY_NS);
        sightings.handle_timeout(1 + 3 * MEMORY_NS);
        assert!(!sightings.see(1, 7));
    }

    #[test]
    fn few_of_many_seem_familiar() {
        let mut sightings = Sightings::default();
        let familiar = (1..=1_000_000).filter(|&hash| sightings.see(1, hash)).count();
        assert!(familiar < 25_000, "{familiar}");
    }
}
