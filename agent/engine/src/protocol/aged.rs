//! A bounded map that forgets what it has known longest.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::hash::Hash;

use foldhash::HashMap;

use crate::held::Held;

/// Values by key, of which at most so many are kept.
#[derive(Debug)]
pub(super) struct Aged<K, V> {
    most: usize,
    known: HashMap<K, (u64, V)>,
    /// Keys in the order in which they came, each with its number. Those whose number is another's by now are void.
    order: VecDeque<(u64, K)>,
    next: u64,
}

impl<K: Clone + Eq + Hash, V> Aged<K, V> {
    /// Returns a map that keeps so many values, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), known: HashMap::default(), order: VecDeque::new(), next: 0 }
    }

    /// Adds a value. Returns the one that is forgotten for it: that of the same key, or the oldest of too many.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.next += 1;
        let replaced = self.known.insert(key.clone(), (self.next, value));
        self.order.push_back((self.next, key));
        let forgotten = match replaced {
            Some((_, value)) => Some(value),
            None if self.known.len() > self.most => self.take_oldest(),
            None => None,
        };
        if self.order.len() > self.most.saturating_mul(2) {
            let known = &self.known;
            self.order.retain(|(number, key)| known.get(key).is_some_and(|(current, _)| current == number));
        }
        forgotten
    }

    fn take_oldest(&mut self) -> Option<V> {
        while let Some((number, key)) = self.order.pop_front() {
            if self.known.get(&key).is_some_and(|(current, _)| *current == number) {
                return self.known.remove(&key).map(|(_, value)| value);
            }
        }
        None
    }

    /// Returns the value of a key.
    pub(super) fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.known.get(key).map(|(_, value)| value)
    }

    /// Returns the value of a key.
    pub(super) fn get_mut<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.known.get_mut(key).map(|(_, value)| value)
    }

    /// Takes out the value of a key.
    pub(super) fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (_, value) = self.known.remove(key)?;
        if self.known.is_empty() {
            self.order.clear();
        }
        Some(value)
    }

    /// Returns all, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.known.iter().map(|(key, (_, value))| (key, value))
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Returns whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.order.clear();
    }
}

impl<K: Held, V: Held> Held for Aged<K, V> {
    fn held_bytes(&self) -> usize {
        self.known.held_bytes() + self.order.held_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_told() {
        let mut aged = Aged::new(2);
        assert_eq!(aged.insert("a", 1), None);
        assert_eq!(aged.insert("b", 2), None);
        assert_eq!(aged.insert("a", 3), Some(1), "what had its key");
        assert_eq!(aged.insert("c", 4), Some(2), "which has become the oldest");
        assert_eq!((aged.get("a"), aged.get("b"), aged.get("c")), (Some(&3), None, Some(&4)));
        assert_eq!((aged.remove("a"), aged.remove("a"), aged.len()), (Some(3), None, 1));
        assert_eq!(aged.insert("a", 5), None, "there is room again");
    }

    #[test]
    fn keys_that_come_and_go_take_no_room() {
        let mut aged = Aged::new(4);
        aged.insert(0, ());
        for number in 1..1000 {
            assert_eq!(aged.insert(number, ()), None);
            assert_eq!(aged.remove(&number), Some(()));
        }
        assert!(aged.order.len() <= 8 && aged.len() == 1);
        aged.clear();
        assert!(aged.is_empty() && aged.iter().next().is_none());
    }
}
