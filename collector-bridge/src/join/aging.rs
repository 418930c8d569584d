//! A map that forgets: items live at least as long as the hold, if there is room for them.

use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::time::{Duration, Instant};

use foldhash::HashMap;

/// Two maps, of which the older one is dropped whole and becomes the younger one: nothing is spent on the age of a
/// single item, which lives between one and two holds.
#[derive(Debug)]
pub(super) struct Aging<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// Items in each of the maps, at most.
    limit: usize,
    hold: Duration,
    /// When the younger map began.
    began: Instant,
}

/// Items that were forgotten at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Forgotten {
    /// Because they were old enough.
    pub(super) expired: usize,
    /// Because there was no room.
    pub(super) evicted: usize,
}

impl<K: Eq + Hash, V> Aging<K, V> {
    pub(super) fn new(limit: usize, hold: Duration, now: Instant) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            limit: (limit / 2).max(1),
            hold,
            began: now,
        }
    }

    /// Holds so many from now on, at most.
    pub(super) fn hold_up_to(&mut self, limit: usize) {
        self.limit = (limit / 2).max(1);
    }

    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        self.young.get_mut(key).or_else(|| self.old.get_mut(key))
    }

    /// Returns the item in each of the maps.
    pub(super) fn find_both(&self, key: &K) -> [Option<&V>; 2] {
        [self.young.get(key), self.old.get(key)]
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    /// Adds an item, or gives the one that came lately to `meet`. One in the older map is not looked for, which would
    /// double the cost. Returns what had to go.
    pub(super) fn add(&mut self, key: K, value: V, now: Instant, meet: impl FnOnce(&mut V)) -> Forgotten {
        let mut forgotten = Forgotten::default();
        if self.young.len() >= self.limit {
            forgotten = self.turn(now);
        }
        match self.young.entry(key) {
            Entry::Occupied(mut known) => meet(known.get_mut()),
            Entry::Vacant(place) => {
                place.insert(value);
            }
        }
        forgotten
    }

    /// Forgets what is old enough.
    pub(super) fn expire(&mut self, now: Instant) -> Forgotten {
        let age = now.saturating_duration_since(self.began);
        if age < self.hold {
            return Forgotten::default();
        }
        let mut forgotten = self.turn(now);
        if age >= self.hold.saturating_mul(2) {
            forgotten.expired += self.old.len();
            self.old.clear();
        }
        forgotten
    }

    /// Drops the older map. Its youngest item is as old as the younger map.
    fn turn(&mut self, now: Instant) -> Forgotten {
        let dropped = self.old.len();
        let is_old_enough = now.saturating_duration_since(self.began) >= self.hold;
        // Its room is used again.
        self.old.clear();
        std::mem::swap(&mut self.young, &mut self.old);
        self.began = now;
        if is_old_enough {
            Forgotten { expired: dropped, evicted: 0 }
        } else {
            Forgotten { expired: 0, evicted: dropped }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_secs(60);

    #[test]
    fn items_live_for_the_hold_and_not_for_two_more() {
        let began = Instant::now();
        let mut aging = Aging::new(100, HOLD, began);
        aging.add(1, 'a', began, |_| ());
        assert_eq!(aging.expire(began + HOLD), Forgotten::default());
        assert_eq!(aging.find_mut(&1), Some(&mut 'a'));
        assert_eq!(aging.expire(began + HOLD * 2), Forgotten { expired: 1, evicted: 0 });
        aging.add(2, 'b', began + HOLD * 2, |_| ());
        assert_eq!(aging.expire(began + HOLD * 9), Forgotten { expired: 1, evicted: 0 });
        assert_eq!(aging.len(), 0);
    }

    #[test]
    fn more_than_the_limit_goes_oldest_first_and_is_told() {
        let now = Instant::now();
        let mut aging = Aging::new(10, HOLD, now);
        let evicted: usize = (0..23).map(|number| aging.add(number, (), now, |()| ()).evicted).sum();
        assert_eq!((aging.len(), evicted), (8, 15));
        assert!(aging.find_mut(&14).is_none() && aging.remove(&15).is_some());
    }
}
