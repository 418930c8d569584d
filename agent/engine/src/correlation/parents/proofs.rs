//! Whether the threads of a native program serve one request at a time, by what they were seen to do.

use foldhash::HashMap;

/// Telling answers after which the threads of a process are believed. Where tasks move between two threads, each such
/// answer is as good as a coin that was tossed.
const REQUIRED: u32 = 12;

/// What the answers of one process have shown.
#[derive(Clone, Copy, Debug, Default)]
struct Proof {
    telling: u32,
    /// The thread that gave the first of them.
    first: Option<u32>,
    is_from_several: bool,
    has_moved: bool,
}

/// What was shown by all processes.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    processes: HashMap<u32, Proof>,
}

impl Proofs {
    /// Notes that a request was answered by the thread that had read it. `is_telling` says that the thread had to wait
    /// for something meanwhile, and that other requests were under way.
    pub(super) fn stayed(&mut self, tgid: u32, tid: u32, is_telling: bool) {
        if !is_telling {
            return;
        }
        let proof = self.processes.entry(tgid).or_default();
        proof.telling = proof.telling.saturating_add(1);
        proof.is_from_several |= *proof.first.get_or_insert(tid) != tid;
    }

    /// Notes that a request was answered by another thread.
    pub(super) fn moved(&mut self, tgid: u32) {
        self.processes.entry(tgid).or_default().has_moved = true;
    }

    /// Returns whether requests were never seen to move between threads.
    pub(super) fn is_possible(&self, tgid: u32) -> bool {
        !self.processes.get(&tgid).is_some_and(|proof| proof.has_moved)
    }

    /// Returns whether they are known not to.
    pub(super) fn is_proven(&self, tgid: u32) -> bool {
        let is_enough =
            |proof: &Proof| proof.telling >= REQUIRED && proof.is_from_several && !proof.has_moved;
        self.processes.get(&tgid).is_some_and(is_enough)
    }

    /// Forgets a process that is gone.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.processes.remove(&tgid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u32 = 1;

    #[test]
    fn many_telling_answers_of_several_threads_are_asked_for() {
        let mut proofs = Proofs::default();
        (0..2 * REQUIRED).for_each(|tid| proofs.stayed(P, tid, false));
        assert!(!proofs.is_proven(P), "they told nothing");
        (0..2 * REQUIRED).for_each(|_| proofs.stayed(P, 7, true));
        assert!(!proofs.is_proven(P), "one thread");
        proofs.stayed(P, 8, true);
        assert!(proofs.is_proven(P) && proofs.is_possible(P));
        proofs.moved(P);
        assert!(!proofs.is_proven(P) && !proofs.is_possible(P));
        proofs.forget_process(P);
        (0..REQUIRED - 1).for_each(|tid| proofs.stayed(P, tid, true));
        assert!(!proofs.is_proven(P));
    }
}
