//! Threads that a request starts for itself, and waits for.
//!
//! A pool that grows starts threads during requests, too, which then work for others. So a process is believed only after
//! some of its threads have ended within the requests that had started them; one that lived on costs the belief, and four
//! times as many must be seen.

use std::collections::VecDeque;

use foldhash::HashMap;

use crate::pairing::ExchangeId;

/// Threads that are remembered. One more is not: its calls have no parent.
const MAX_THREADS: usize = 16_384;
/// Threads that must end within their requests before their process is believed.
const PROVEN_THREADS: u32 = 3;
/// A thread has done its work a little before it is gone.
const GRACE_NS: u64 = 100_000_000;
/// Where processors are scarce it is gone later. That proves nothing, and only what takes longer costs the belief.
const PATIENCE_NS: u64 = 2_000_000_000;

/// A thread of a process.
type Place = (u32, u32);

#[derive(Debug)]
struct Trust {
    came_true: u32,
    required: u32,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    request: ExchangeId,
    /// When the request had ended, if the thread has outlived it.
    outlived_at_ns: Option<u64>,
}

/// The threads of all processes that requests have started.
#[derive(Debug, Default)]
pub(super) struct Threads {
    started: HashMap<Place, Begun>,
    by_request: HashMap<ExchangeId, Vec<Place>>,
    /// Threads whose request has ended, and when they should be gone.
    leaving: VecDeque<(u64, Place, ExchangeId)>,
    trust: HashMap<u32, Trust>,
}

impl Threads {
    /// Notes a thread that a request has started.
    pub(super) fn start(&mut self, tgid: u32, tid: u32, request: ExchangeId, at_ns: u64) {
        self.settle(at_ns);
        // The number may be that of a thread whose end was not told.
        self.take((tgid, tid));
        if self.started.len() < MAX_THREADS {
            self.started.insert((tgid, tid), Begun { request, outlived_at_ns: None });
            self.by_request.entry(request).or_default().push((tgid, tid));
        }
    }

    /// Returns the request that a thread was started for, if its process is believed.
    pub(super) fn request(&self, tgid: u32, tid: u32) -> Option<ExchangeId> {
        let trust = self.trust.get(&tgid)?;
        (trust.came_true >= trust.required).then_some(self.started.get(&(tgid, tid))?.request)
    }

    /// Notes that a thread has ended.
    pub(super) fn end(&mut self, tgid: u32, tid: u32, at_ns: u64) {
        self.settle(at_ns);
        let Some(begun) = self.take((tgid, tid)) else { return };
        if begun.outlived_at_ns.is_none_or(|ended_at_ns| at_ns.saturating_sub(ended_at_ns) <= GRACE_NS) {
            let trust = self.trust(tgid);
            trust.came_true = trust.came_true.saturating_add(1);
        }
    }

    /// Notes that a request has ended: soon, its threads should have, too.
    pub(super) fn end_request(&mut self, request: ExchangeId, at_ns: u64) {
        self.settle(at_ns);
        let until_ns = at_ns.saturating_add(PATIENCE_NS);
        for place in self.by_request.remove(&request).unwrap_or_default() {
            if let Some(begun) = self.started.get_mut(&place).filter(|begun| begun.request == request) {
                begun.outlived_at_ns = Some(at_ns);
                self.leaving.push_back((until_ns, place, request));
            }
        }
    }

    /// Notes that a thread works for others than the request that had started it.
    pub(super) fn disappoint(&mut self, tgid: u32, tid: u32) {
        if self.take((tgid, tid)).is_some() {
            let trust = self.trust(tgid);
            trust.came_true = 0;
            trust.required = trust.required.saturating_mul(4);
        }
    }

    /// Forgets the threads of a process.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.started.retain(|(owner, _), _| *owner != tgid);
        self.trust.remove(&tgid);
    }

    fn trust(&mut self, tgid: u32) -> &mut Trust {
        self.trust.entry(tgid).or_insert(Trust { came_true: 0, required: PROVEN_THREADS })
    }

    /// Judges the threads that should be gone by now.
    fn settle(&mut self, now_ns: u64) {
        while let Some((_, place, request)) = self.leaving.pop_front_if(|(until_ns, ..)| *until_ns < now_ns) {
            if self.started.get(&place).is_some_and(|begun| begun.request == request) {
                self.disappoint(place.0, place.1);
            }
        }
    }

    /// Takes a thread out, if it was there.
    fn take(&mut self, place: Place) -> Option<Begun> {
        let begun = self.started.remove(&place)?;
        if let Some(threads) = self.by_request.get_mut(&begun.request) {
            threads.retain(|&other| other != place);
        }
        Some(begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: u32 = 1;
    const REQUEST: ExchangeId = ExchangeId(1);

    fn live(threads: &mut Threads, tid: u32, end_ns: u64) {
        threads.start(P, tid, REQUEST, 0);
        threads.end(P, tid, end_ns);
    }

    fn proven() -> Threads {
        let mut threads = Threads::default();
        (0..PROVEN_THREADS).for_each(|tid| live(&mut threads, tid, 1));
        threads
    }

    #[test]
    fn threads_that_end_within_their_requests_are_believed_after_some() {
        let mut threads = Threads::default();
        for tid in 0..PROVEN_THREADS {
            threads.start(P, tid, REQUEST, 0);
            assert_eq!(threads.request(P, tid), None);
            threads.end(P, tid, 1);
        }
        threads.start(P, 10, REQUEST, 2);
        assert_eq!(threads.request(P, 10), Some(REQUEST));
        assert_eq!(threads.request(P, 11), None, "nobody has started it");
        assert_eq!(threads.request(P + 1, 10), None, "another process");
    }

    #[test]
    fn a_thread_that_lives_on_costs_the_belief() {
        let mut threads = proven();
        threads.start(P, 10, REQUEST, 2);
        threads.end_request(REQUEST, 10);
        threads.start(P, 11, ExchangeId(2), 10 + PATIENCE_NS + 1);
        assert_eq!(threads.request(P, 11), None);
        for tid in 20..20 + 4 * PROVEN_THREADS {
            assert_eq!(threads.request(P, 11), None, "{tid}");
            live(&mut threads, tid, 10 + PATIENCE_NS + 2);
        }
        assert_eq!(threads.request(P, 11), Some(ExchangeId(2)));
    }

    #[test]
    fn a_thread_that_is_gone_a_little_later_has_kept_its_word() {
        let mut threads = proven();
        threads.start(P, 10, REQUEST, 2);
        threads.end_request(REQUEST, 10);
        threads.end(P, 10, 10 + GRACE_NS);
        // Its number is another thread's soon.
        threads.start(P, 10, ExchangeId(2), 11 + GRACE_NS);
        assert_eq!(threads.request(P, 10), Some(ExchangeId(2)));
        threads.forget_process(P);
        assert_eq!(threads.request(P, 10), None);
    }

    #[test]
    fn a_thread_that_ends_late_proves_nothing_and_costs_nothing() {
        let mut threads = Threads::default();
        for tid in 0..2 * PROVEN_THREADS {
            threads.start(P, tid, REQUEST, 2);
            threads.end_request(REQUEST, 10);
            threads.end(P, tid, 11 + GRACE_NS);
        }
        threads.start(P, 50, ExchangeId(2), 12 + GRACE_NS);
        assert_eq!(threads.request(P, 50), None);
        (60..60 + PROVEN_THREADS).for_each(|tid| live(&mut threads, tid, 13 + GRACE_NS));
        assert_eq!(threads.request(P, 50), Some(ExchangeId(2)), "no more than usual is asked");
    }

    #[test]
    fn threads_are_bounded() {
        let mut threads = Threads::default();
        for tid in 0..2 * MAX_THREADS as u32 {
            threads.start(P, tid, REQUEST, 0);
        }
        assert_eq!(threads.started.len(), MAX_THREADS);
    }
}
