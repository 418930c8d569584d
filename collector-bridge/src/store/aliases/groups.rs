//! Trace ids that mean one trace: a forest whose edges lead from the trace that a server span began to that of its client.
//!
//! Kept as sets that know their top. Each id that is no top has one edge, and an edge is only taken from a top to
//! another set, so no edge closes a cycle, and the sets are the same in whichever order the edges of a forest come.

use std::collections::{HashMap, VecDeque};

use crate::model::TraceId;

/// Ids of one trace, at most: reading it asks for each of them.
pub(crate) const MAX_IDS: usize = 1_024;

/// An alias, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) alias: TraceId,
    pub(super) canonical: TraceId,
    pub(super) joined_unix_ns: u64,
}

/// What became of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merged {
    /// The two were one trace before.
    Same,
    /// They are one now.
    Made(Entry),
    /// The lower one is part of another trace.
    HasUpstream,
    /// The trace would have more than [`MAX_IDS`] ids.
    TooLarge,
}

#[derive(Debug)]
struct Set {
    canonical: TraceId,
    /// All ids, also the canonical one.
    ids: Vec<TraceId>,
}

/// All sets with more than one id.
#[derive(Debug, Default)]
pub(super) struct Groups {
    place_of: HashMap<TraceId, u32>,
    sets: HashMap<u32, Set>,
    next_place: u32,
    /// Aliases, oldest first.
    order: VecDeque<(TraceId, u64)>,
    /// Aliases that were forgotten for lack of room.
    pub(super) evicted: u64,
}

impl Groups {
    /// Returns the number of aliases.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn canonical(&self, trace_id: TraceId) -> TraceId {
        self.set(trace_id).map_or(trace_id, |set| set.canonical)
    }

    /// Returns all ids of a trace, the canonical one first, then in their order.
    pub(super) fn ids(&self, trace_id: TraceId) -> Vec<TraceId> {
        let Some(set) = self.set(trace_id) else {
            return vec![trace_id];
        };
        let mut ids = set.ids.clone();
        ids.sort_unstable_by_key(|id| (*id != set.canonical, *id));
        ids
    }

    /// Makes a trace part of another one. Cost: amortised, the logarithm of their ids.
    pub(super) fn merge(&mut self, lower: TraceId, upper: TraceId, joined_unix_ns: u64) -> Merged {
        let canonical = self.canonical(upper);
        let top = self.canonical(lower);
        if top == canonical {
            return Merged::Same;
        }
        if top != lower {
            return Merged::HasUpstream;
        }
        let count = |set: Option<&Set>| set.map_or(1, |set| set.ids.len());
        if count(self.set(lower)) + count(self.set(upper)) > MAX_IDS {
            return Merged::TooLarge;
        }
        let (one, other) = (self.place(lower), self.place(upper));
        let size = |place: &u32| self.sets.get(place).map_or(0, |set| set.ids.len());
        let (small, large) = if size(&one) < size(&other) { (one, other) } else { (other, one) };
        let moved = self.sets.remove(&small).map(|set| set.ids).unwrap_or_default();
        for id in &moved {
            self.place_of.insert(*id, large);
        }
        if let Some(set) = self.sets.get_mut(&large) {
            set.ids.extend(moved);
            set.canonical = canonical;
        }
        self.order.push_back((lower, joined_unix_ns));
        Merged::Made(Entry { alias: lower, canonical, joined_unix_ns })
    }

    /// Forgets the oldest aliases above a number.
    pub(super) fn keep(&mut self, limit: usize) {
        while self.order.len() > limit {
            self.forget_oldest();
            self.evicted += 1;
        }
    }

    /// Forgets the aliases that were made before a moment.
    pub(super) fn forget_before(&mut self, unix_ns: u64) {
        while self.order.front().is_some_and(|(_, joined_unix_ns)| *joined_unix_ns < unix_ns) {
            self.forget_oldest();
        }
    }

    /// Returns all aliases, oldest first.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.order.iter().map(|(alias, joined_unix_ns)| Entry {
            alias: *alias,
            canonical: self.canonical(*alias),
            joined_unix_ns: *joined_unix_ns,
        })
    }

    fn set(&self, trace_id: TraceId) -> Option<&Set> {
        self.sets.get(self.place_of.get(&trace_id)?)
    }

    /// Returns the place of the id's set, made if there is none.
    fn place(&mut self, trace_id: TraceId) -> u32 {
        if let Some(place) = self.place_of.get(&trace_id) {
            return *place;
        }
        // Fewer sets than numbers exist at any time, so one is free.
        while self.sets.contains_key(&self.next_place) {
            self.next_place = self.next_place.wrapping_add(1);
        }
        let place = self.next_place;
        self.next_place = place.wrapping_add(1);
        self.sets.insert(place, Set { canonical: trace_id, ids: vec![trace_id] });
        self.place_of.insert(trace_id, place);
        place
    }

    fn forget_oldest(&mut self) {
        let Some((alias, _)) = self.order.pop_front() else { return };
        let Some(place) = self.place_of.remove(&alias) else { return };
        let Some(set) = self.sets.get_mut(&place) else { return };
        set.ids.retain(|id| *id != alias);
        if let [last] = *set.ids.as_slice() {
            self.sets.remove(&place);
            self.place_of.remove(&last);
        }
    }
}

#[cfg(test)]
mod tests;
