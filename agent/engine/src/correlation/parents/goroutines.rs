//! Which goroutines there are, who started them, and before what.
//!
//! A goroutine works for the request that its parent served when it started it, and its parent may serve many requests
//! one after the other. Nothing tells when a goroutine was started, only when it was first seen at work, on whatever
//! connection. Ids do not help: a processor takes 16 at a time (`runtime.newproc1`) and uses them up at its own pace, and
//! where a batch begins is not known either, since threads that call from C take single ids (`oneNewExtraM`).

use foldhash::HashMap;

/// Goroutines that are remembered before the older half is forgotten: nothing tells their end.
const MAX_SEEN: usize = 65_536;

/// A goroutine, by process and id.
pub(super) type Goroutine = (u32, u64);

#[derive(Clone, Copy, Debug)]
struct Seen {
    first_ns: u64,
    parent: u64,
}

/// The goroutines of one process.
#[derive(Debug, Default)]
struct Process {
    seen: HashMap<u64, Seen>,
    /// The largest id that is forgotten: of the smaller ones, nobody knows how old they are.
    forgotten: u64,
}

/// The goroutines of all processes.
#[derive(Debug, Default)]
pub(super) struct Goroutines {
    processes: HashMap<u32, Process>,
}

impl Goroutines {
    /// Notes that a goroutine was seen.
    pub(super) fn see(&mut self, (tgid, id): Goroutine, parent: u64, at_ns: u64) {
        let Process { seen, forgotten } = self.processes.entry(tgid).or_default();
        let first_ns = if id <= *forgotten { 0 } else { at_ns };
        seen.entry(id).or_insert(Seen { first_ns, parent });
    }

    /// Returns which goroutine started another; none where that was never seen.
    pub(super) fn parent(&self, (tgid, id): Goroutine) -> Option<u64> {
        self.processes.get(&tgid)?.seen.get(&id).map(|seen| seen.parent)
    }

    /// Returns whether a goroutine was seen by then, or is one of those that were forgotten.
    pub(super) fn is_older(&self, (tgid, id): Goroutine, than_ns: u64) -> bool {
        let seen = self.processes.get(&tgid).and_then(|process| process.seen.get(&id));
        seen.is_some_and(|seen| seen.first_ns <= than_ns)
    }

    /// Forgets the older half where there are too many.
    pub(super) fn sweep(&mut self) {
        let all = || self.processes.values().flat_map(|process| process.seen.values());
        if all().count() <= MAX_SEEN {
            return;
        }
        let mut times: Vec<u64> = all().map(|seen| seen.first_ns).collect();
        let middle = times.len() / 2;
        let (_, &mut median, _) = times.select_nth_unstable(middle);
        for Process { seen, forgotten } in self.processes.values_mut() {
            let old = seen.iter().filter(|(_, seen)| seen.first_ns <= median).map(|(&id, _)| id);
            *forgotten = old.max().unwrap_or(0).max(*forgotten);
            seen.retain(|_, seen| seen.first_ns > median);
        }
    }

    /// Forgets the goroutines of a process that is gone.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.processes.remove(&tgid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u32 = 1;

    #[test]
    fn who_was_seen_is_no_younger() {
        let mut goroutines = Goroutines::default();
        goroutines.see((P, 22), 5, 10);
        goroutines.see((P, 22), 5, 20);
        assert!(goroutines.is_older((P, 22), 10) && !goroutines.is_older((P, 22), 9));
        assert!(!goroutines.is_older((P, 23), 10) && !goroutines.is_older((P + 1, 22), 10));
    }

    #[test]
    fn who_was_forgotten_is_old() {
        let mut goroutines = Goroutines::default();
        for id in 0..=MAX_SEEN as u64 {
            goroutines.see((P, 16 * id + 1), 5, id + 1);
        }
        goroutines.sweep();
        assert_eq!(goroutines.parent((P, 1)), None);
        let long_after = 10 * MAX_SEEN as u64;
        goroutines.see((P, 1), 5, long_after);
        assert!(goroutines.is_older((P, 1), 0));
        let unknown = 32 * MAX_SEEN as u64 + 1;
        goroutines.see((P, unknown), 5, long_after);
        assert!(!goroutines.is_older((P, unknown), long_after - 1));
        goroutines.forget_process(P);
        assert!(goroutines.processes.is_empty());
    }
}
