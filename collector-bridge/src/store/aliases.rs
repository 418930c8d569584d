//! Which trace ids mean the same trace: in memory for every reader, and in a file for the next start.
//!
//! An alias is made after the spans that it rests on are on the disk. It is in the file before any reader sees it, so a
//! killed process has it again; it is fsynced every half second, and before the log that could make it again is removed.
//! Memory is bounded: the oldest aliases are forgotten first. What was sealed with an alias has the canonical id by then
//! and does not need it any more.

mod file;
mod groups;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::error::StoreError;
use crate::model::{Join, TraceId};
use file::AliasFile;
use groups::{Groups, Merged};

/// What became of some joins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinOutcome {
    /// Both sides are in one trace.
    pub joined: usize,
    /// The request named another trace than the client span's.
    pub wire_conflicts: usize,
    /// The server's trace has another place already, or the trace would have more than 1,024 ids.
    pub refused: usize,
}

/// All aliases.
pub(crate) struct Aliases {
    groups: RwLock<Groups>,
    file: Mutex<AliasFile>,
    syncing: Mutex<()>,
    /// Spares readers the lock where nothing was ever joined.
    is_used: AtomicBool,
    limit: usize,
}

impl Aliases {
    /// Returns the aliases in a directory, without those made before `oldest_unix_ns`.
    pub(crate) fn open(dir: &Path, limit: usize, oldest_unix_ns: u64) -> Result<Self, StoreError> {
        let mut groups = Groups::default();
        let file = AliasFile::open(dir, |entry| {
            if entry.joined_unix_ns >= oldest_unix_ns {
                groups.merge(entry.alias, entry.canonical, entry.joined_unix_ns);
                groups.keep(limit);
            }
        })?;
        let is_used = AtomicBool::new(groups.len() > 0);
        let aliases = Self {
            groups: RwLock::new(groups),
            file: Mutex::new(file),
            syncing: Mutex::default(),
            is_used,
            limit,
        };
        aliases.rewrite_if_long();
        Ok(aliases)
    }

    /// Takes joins; when this returns, every reader and the next start know of them.
    pub(crate) fn join(&self, joins: &[Join], now_unix_ns: u64) -> JoinOutcome {
        let mut outcome = JoinOutcome::default();
        if joins.is_empty() {
            return outcome;
        }
        // Held over both, so that the file has the aliases in the order in which they were made.
        let mut file = self.file();
        let mut made = Vec::new();
        let mut groups = self.write();
        for join in joins {
            let (server, client) = (join.server_trace, join.client_trace);
            if !join.begins_trace {
                let is_same = groups.canonical(server) == groups.canonical(client);
                outcome.joined += usize::from(is_same);
                outcome.wire_conflicts += usize::from(!is_same);
                continue;
            }
            match groups.merge(server, client, now_unix_ns) {
                Merged::Same => outcome.joined += 1,
                Merged::Made(entry) => {
                    outcome.joined += 1;
                    made.push(entry);
                }
                Merged::HasUpstream | Merged::TooLarge => outcome.refused += 1,
            }
        }
        groups.keep(self.limit);
        if !made.is_empty() {
            file.append(&made);
            self.is_used.store(true, Ordering::Release);
        }
        outcome
    }

    /// Returns the id under which the trace is known.
    pub(crate) fn canonical(&self, trace_id: TraceId) -> TraceId {
        if !self.is_used() { trace_id } else { self.read().canonical(trace_id) }
    }

    /// Returns all ids of the trace, the canonical one first.
    pub(crate) fn ids(&self, trace_id: TraceId) -> Vec<TraceId> {
        if !self.is_used() { vec![trace_id] } else { self.read().ids(trace_id) }
    }

    /// Returns the canonical ids of those traces that have another one.
    pub(crate) fn renamed(&self, trace_ids: impl Iterator<Item = TraceId>) -> HashMap<TraceId, TraceId> {
        if !self.is_used() {
            return HashMap::new();
        }
        let groups = self.read();
        let pairs = trace_ids.map(|trace_id| (trace_id, groups.canonical(trace_id)));
        pairs.filter(|(trace_id, canonical)| trace_id != canonical).collect()
    }

    /// Returns the number of aliases.
    pub(crate) fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns the aliases that were forgotten for lack of room.
    pub(crate) fn evicted(&self) -> u64 {
        self.read().evicted
    }

    /// Waits until all aliases are on the disk.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        // Nobody passes while the fsync of another caller is under way, and whoever joins waits for none.
        let _one = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = self.file().take_unsynced() else { return Ok(()) };
        file.sync_data().map_err(|error| self.file().distrust(error))
    }

    /// Forgets aliases that are too old, and shortens the file when most of it is not needed.
    pub(crate) fn tidy(&self, oldest_unix_ns: u64) {
        if !self.is_used() {
            return;
        }
        self.write().forget_before(oldest_unix_ns);
        self.rewrite_if_long();
        if let Err(error) = self.sync() {
            tracing::warn!(%error, "joined traces are not on the disk yet");
        }
    }

    fn rewrite_if_long(&self) {
        let mut file = self.file();
        let groups = self.read();
        if !file.is_long(groups.len()) {
            return;
        }
        let entries: Vec<_> = groups.entries().collect();
        drop(groups);
        if let Err(error) = file.rewrite(&entries) {
            tracing::warn!(%error, "the file of joined traces was not rewritten");
        }
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    fn file(&self) -> MutexGuard<'_, AliasFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Groups> {
        self.groups.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Groups> {
        self.groups.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
