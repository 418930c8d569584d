//! Bytes of one write that belong to several units of work.
//!
//! A program queues what several requests write to a connection, and hands all of it over at once. Who knows whose each part
//! is tells it before: first the shares, in order, then the write by the same thread, then that no more is shared. Only a
//! write of as many bytes as are shared is divided.

use foldhash::HashMap;

use crate::event::{Data, Executor, Share};

/// Shares of one write. Of a write with more nothing is known.
const MAX_SHARES: usize = 1024;
/// Threads that have told shares and not yet written. At one more, all are forgotten.
const MAX_THREADS: usize = 1024;

/// The shares of the write that each thread is about to make.
#[derive(Debug, Default)]
pub(super) struct Shares {
    of_threads: HashMap<u32, Vec<Share>>,
    /// Writes that were not divided although shares were told.
    unmatched: u64,
}

impl Shares {
    /// So many bytes of what the thread writes next, behind those that were told before, are written for its unit of work. None
    /// means that it writes nothing shared any more.
    pub(super) fn note(&mut self, executor: &Executor, length: u32) {
        if length == 0 {
            self.unmatched += u64::from(self.of_threads.remove(&executor.tid).is_some());
            return;
        }
        if self.of_threads.len() >= MAX_THREADS && !self.of_threads.contains_key(&executor.tid) {
            self.unmatched += self.of_threads.len() as u64;
            self.of_threads.clear();
        }
        let shares = self.of_threads.entry(executor.tid).or_default();
        if shares.len() < MAX_SHARES {
            shares.push(Share { length, token: executor.token });
        }
    }

    /// Returns the shares of a write; none if it is all the executor's own.
    pub(super) fn take(&mut self, executor: &Executor, length: u32) -> Vec<Share> {
        let Some(shares) = self.of_threads.remove(&executor.tid) else { return Vec::new() };
        let sum: u64 = shares.iter().map(|share| u64::from(share.length)).sum();
        if sum == u64::from(length) {
            return shares;
        }
        self.unmatched += 1;
        Vec::new()
    }

    /// Returns how many writes were not divided although shares of them were told.
    pub(super) fn unmatched(&self) -> u64 {
        self.unmatched
    }
}

/// Returns the parts of a write, each by whom it is for.
pub(super) fn divide(data: Data, shares: &[Share]) -> Vec<Data> {
    if shares.is_empty() || data.inserted.is_some() {
        return vec![data];
    }
    let mut begun = 0;
    let part = |share: &Share| {
        let at = |offset: u32| (offset as usize).min(data.bytes.len());
        let (start, end) = (begun, begun + share.length);
        begun = end;
        Data {
            position: data.position.wrapping_add(start),
            length: share.length,
            bytes: data.bytes.slice(at(start)..at(end)),
            executor: Executor { token: share.token, ..data.executor },
            ..data.clone()
        }
    };
    shares.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Direction;

    fn executor(tid: u32, token: Option<u64>) -> Executor {
        Executor { tgid: 1, tid, token, ..Executor::default() }
    }

    fn data(bytes: &'static [u8], length: u32) -> Data {
        Data {
            direction: Direction::Egress,
            position: u32::MAX,
            reverse_position: 7,
            is_absolute: true,
            length,
            bytes: Bytes::from_static(bytes),
            peer: None,
            inserted: None,
            executor: executor(1, None),
        }
    }

    fn shared(tokens: &[(Option<u64>, u32)]) -> Shares {
        let mut shares = Shares::default();
        tokens.iter().for_each(|(token, length)| shares.note(&executor(1, *token), *length));
        shares
    }

    #[test]
    fn a_write_is_divided_among_those_it_is_for() {
        let mut shares = shared(&[(Some(5), 2), (None, 3), (Some(6), 4)]);
        let shares = shares.take(&executor(1, None), 9);
        let parts = divide(data(b"aabbb", 9), &shares);
        let told: Vec<_> = parts
            .iter()
            .map(|part| (part.executor.token, part.position, &part.bytes[..], part.length))
            .collect();
        assert_eq!(told, [(Some(5), u32::MAX, &b"aa"[..], 2), (None, 1, b"bbb", 3), (Some(6), 4, b"", 4)]);
    }

    #[test]
    fn another_write_is_not_divided() {
        for (tid, length) in [(1, 8), (1, 10), (2, 9)] {
            let mut shares = shared(&[(Some(5), 2), (Some(6), 7)]);
            assert_eq!(shares.take(&executor(tid, None), length), []);
            shares.note(&executor(1, None), 0);
            assert_eq!(shares.take(&executor(1, None), 9), [], "it is over");
            assert_eq!(shares.unmatched(), 1);
        }
        assert_eq!(divide(data(b"abc", 3), &[]), [data(b"abc", 3)]);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut shares = Shares::default();
        (0..5000).for_each(|tid| shares.note(&executor(tid, Some(1)), 1));
        (0..5000).for_each(|_| shares.note(&executor(5000, Some(1)), 1));
        assert!(shares.of_threads.len() <= MAX_THREADS);
        assert!(shares.of_threads.values().all(|shares| shares.len() <= MAX_SHARES));
    }
}
