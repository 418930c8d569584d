//! A map of at most so many keys; what has no place is summed in one overflow value.
//!
//! Kept are the keys with the smallest hashes: the choice depends on the set of keys alone, so maps can be filled and
//! merged in any order, and the same keys survive in every minute and every segment.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// Sums that can be added to each other in any order.
pub(super) trait Merge {
    /// Adds what another one has counted.
    fn merge(&mut self, other: &Self);
}

/// At most `LIMIT` keys.
#[derive(Clone, Debug)]
pub(super) struct Capped<K, V, const LIMIT: usize> {
    kept: BTreeMap<K, V>,
    /// The largest hash among the kept keys; known once the map is full.
    worst: Option<u64>,
    overflow: Option<V>,
}

impl<K, V, const LIMIT: usize> Default for Capped<K, V, LIMIT> {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), worst: None, overflow: None }
    }
}

impl<K: PartialEq, V: PartialEq, const LIMIT: usize> PartialEq for Capped<K, V, LIMIT> {
    fn eq(&self, other: &Self) -> bool {
        self.kept == other.kept && self.overflow == other.overflow
    }
}

impl<K, V, const LIMIT: usize> Capped<K, V, LIMIT> {
    /// Returns the kept keys in their order.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&K, &V)> {
        self.kept.iter()
    }

    /// Returns all values, also that of the overflow.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.kept.values_mut().chain(&mut self.overflow)
    }

    /// Returns the sum of all that had no place; none where all had one.
    pub(super) fn overflow(&self) -> Option<&V> {
        self.overflow.as_ref()
    }
}

impl<K: Ord + Hash + Clone, V: Merge + Default + Clone, const LIMIT: usize> Capped<K, V, LIMIT> {
    /// Returns the key's value, made if need be, or the overflow value where the key has no place.
    pub(super) fn entry<Q>(&mut self, key: &Q, own: impl FnOnce() -> K) -> &mut V
    where
        K: Borrow<Q>,
        Q: Ord + Hash + ?Sized,
    {
        if !self.kept.contains_key(key) && self.make_room(key) {
            self.kept.insert(own(), V::default());
        }
        match self.kept.get_mut(key) {
            Some(value) => value,
            None => self.overflow.get_or_insert_default(),
        }
    }

    /// Adds all values of another map, its overflow to the overflow.
    pub(super) fn merge(&mut self, other: &Self) {
        for (key, value) in &other.kept {
            self.add(key, value);
        }
        if let Some(overflow) = &other.overflow {
            self.add_overflow(overflow);
        }
    }

    /// Adds to one key's value.
    pub(super) fn add(&mut self, key: &K, value: &V) {
        if let Some(known) = self.kept.get_mut(key) {
            known.merge(value);
        } else if self.make_room(key) {
            self.kept.insert(key.clone(), value.clone());
        } else {
            self.add_overflow(value);
        }
    }

    /// Adds to the overflow.
    pub(super) fn add_overflow(&mut self, value: &V) {
        self.overflow.get_or_insert_default().merge(value);
    }

    /// Answers whether a new key belongs to the kept ones, and moves the one that it displaces to the overflow.
    fn make_room<Q: Ord + Hash + ?Sized>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        if self.kept.len() < LIMIT {
            return true;
        }
        let worst = *self.worst.get_or_insert_with(|| largest_hash(self.kept.keys()));
        if stable_hash(key) >= worst {
            return false;
        }
        let displaced = self.kept.keys().find(|key| stable_hash(*key) == worst).cloned();
        if let Some(value) = displaced.and_then(|key| self.kept.remove::<K>(&key)) {
            self.add_overflow(&value);
        }
        self.worst = None;
        true
    }
}

fn largest_hash<'a, K: Hash + 'a>(keys: impl Iterator<Item = &'a K>) -> u64 {
    keys.map(stable_hash).max().unwrap_or(0)
}

/// FNV-1a with a final mix: the same in every process, unlike the standard library's.
fn stable_hash<Q: Hash + ?Sized>(key: &Q) -> u64 {
    let mut hasher = Fnv1a(0xcbf2_9ce4_8422_2325);
    key.hash(&mut hasher);
    hasher.finish()
}

struct Fnv1a(u64);

impl Hasher for Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        mixed ^ (mixed >> 33)
    }
}

#[cfg(test)]
mod tests;
