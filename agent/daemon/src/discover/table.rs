//! The shared table of processes: written by discovery, read by everyone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::process::Process;

/// Processes that are remembered, dead ones included. When it is reached, the longest dead one goes first; a living
/// one beyond it is refused and counted.
pub const MAX_PROCESSES: usize = 32_768;

/// How long a process can be looked up after its end: spans come late.
pub const LINGER: Duration = Duration::from_secs(60);

/// The table. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub struct Processes(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: RwLock<HashMap<u32, Entry>>,
    is_complete: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    process: Arc<Process>,
    ended_at: Option<Instant>,
}

impl Processes {
    /// Returns what is known of a process that lives or ended less than [`LINGER`] ago.
    #[must_use]
    pub fn get(&self, tgid: u32) -> Option<Arc<Process>> {
        self.read().get(&tgid).map(|entry| entry.process.clone())
    }

    /// Returns whether every process that ran before discovery began has been looked at and judged.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.0.is_complete.load(Ordering::Acquire)
    }

    pub(super) fn complete(&self) {
        self.0.is_complete.store(true, Ordering::Release);
    }

    /// Returns the number of processes, those that ended included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read().len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns every process that has not ended.
    #[must_use]
    pub fn living(&self) -> Vec<Arc<Process>> {
        let table = self.read();
        table.values().filter(|entry| entry.ended_at.is_none()).map(|entry| entry.process.clone()).collect()
    }

    /// Adds or replaces a process. Returns whether there was room.
    pub fn insert(&self, process: Process) -> bool {
        let mut table = self.write();
        if table.len() >= MAX_PROCESSES && !table.contains_key(&process.tgid) {
            let longest_dead = table
                .iter()
                .filter_map(|(tgid, entry)| Some((entry.ended_at?, *tgid)))
                .min()
                .map(|(_, tgid)| tgid);
            let Some(tgid) = longest_dead else {
                return false;
            };
            table.remove(&tgid);
        }
        table.insert(process.tgid, Entry { process: Arc::new(process), ended_at: None });
        true
    }

    /// Marks a process as ended.
    pub fn end(&self, tgid: u32, now: Instant) {
        if let Some(entry) = self.write().get_mut(&tgid) {
            entry.ended_at.get_or_insert(now);
        }
    }

    /// Forgets what ended [`LINGER`] ago.
    pub fn expire(&self, now: Instant) {
        let is_fresh = |entry: &Entry| {
            entry.ended_at.is_none_or(|ended_at| now.saturating_duration_since(ended_at) < LINGER)
        };
        self.write().retain(|_, entry| is_fresh(entry));
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<u32, Entry>> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<u32, Entry>> {
        self.0.entries.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(tgid: u32) -> Process {
        Process { tgid, ..Process::default() }
    }

    #[test]
    fn an_ended_process_lingers() {
        let (table, start) = (Processes::default(), Instant::now());
        table.insert(process(7));
        table.end(7, start);
        table.expire(start + LINGER - Duration::from_secs(1));
        assert!(table.get(7).is_some());
        assert!(table.living().is_empty());
        table.expire(start + LINGER);
        assert!(table.get(7).is_none());
    }

    #[test]
    fn a_reused_id_is_the_new_process() {
        let (table, start) = (Processes::default(), Instant::now());
        table.insert(process(7));
        table.end(7, start);
        table.insert(Process { comm: "new".to_owned(), ..process(7) });
        table.expire(start + LINGER);
        assert_eq!(table.get(7).unwrap().comm, "new");
    }

    #[test]
    fn a_full_table_gives_up_the_longest_dead_and_never_the_living() {
        let (table, start) = (Processes::default(), Instant::now());
        for tgid in 0..u32::try_from(MAX_PROCESSES).unwrap() {
            assert!(table.insert(process(tgid)));
        }
        assert!(!table.insert(process(1_000_000)));
        table.end(4, start + Duration::from_secs(1));
        table.end(5, start);
        assert!(table.insert(process(1_000_000)));
        assert!(table.get(5).is_none());
        assert!(table.get(4).is_some());
    }
}
