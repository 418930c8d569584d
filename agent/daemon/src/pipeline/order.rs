//! Observations in the order of their times.
//!
//! The ring is in the order in which calls ended, on all processors. A request is told when the call that wrote it
//! returns, which may be after its reader was already told; and times, at entry of writes and exit of reads, show
//! which came first. So observations rest a little, and leave sorted.

use std::collections::VecDeque;

use remora_engine::event::{EventKind, Role};

use crate::capture::Observation;

/// How long an observation rests: longer than a system call that does not block takes to return, with time to spare
/// for being scheduled away.
const REST_NS: u64 = 15_000_000;
/// Observations that may rest. More leave at once, counted on to be in order.
const MAX_RESTING: usize = 262_144;

/// Observations that rest.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// In the order in which they came, those that left as gaps.
    resting: VecDeque<Option<Observation>>,
    /// Number of the first of them.
    first: u64,
    /// Time and number of each, the earliest first where `is_sorted`.
    times: VecDeque<(u64, u64)>,
    is_sorted: bool,
    last_ns: u64,
}

impl Order {
    /// Takes in an observation.
    pub(super) fn push(&mut self, observation: Observation) {
        let at_ns = key(&observation).unwrap_or(self.last_ns);
        self.last_ns = at_ns;
        self.times.push_back((at_ns, self.first + self.resting.len() as u64));
        self.resting.push_back(Some(observation));
        self.is_sorted = false;
    }

    /// Returns the time up to which observations have rested.
    pub(super) fn settled_ns(&self, now_ns: u64) -> u64 {
        if self.times.len() > MAX_RESTING { now_ns } else { now_ns.saturating_sub(REST_NS) }
    }

    /// Returns the earliest observation, if it is not later than `until_ns`.
    pub(super) fn pop(&mut self, until_ns: u64) -> Option<Observation> {
        if !self.is_sorted {
            // What rested before is sorted and what came since nearly so: the stable sort merges such runs.
            self.times.make_contiguous().sort();
            self.is_sorted = true;
        }
        let (_, number) = self.times.pop_front_if(|(at_ns, _)| *at_ns <= until_ns)?;
        let index = usize::try_from(number - self.first).ok()?;
        let observation = self.resting.get_mut(index)?.take();
        while let Some(None) = self.resting.front() {
            self.resting.pop_front();
            self.first += 1;
        }
        observation
    }
}

/// A connection that was met midway is told by whichever call ends first, before all bytes of other calls.
fn key(observation: &Observation) -> Option<u64> {
    match observation {
        Observation::Socket { event, .. } => match &event.kind {
            EventKind::Opened(opened) if opened.role == Role::Unknown => Some(0),
            _ => Some(event.at_ns),
        },
        other => other.at_ns(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use remora_engine::event::{Direction, Executor, Plaintext, TlsId};

    use super::*;

    /// Plaintext of a call that began at `at_ns`, whose ciphertext was moved at `moved_ns`.
    fn plaintext(direction: Direction, at_ns: u64, moved_ns: u64) -> Observation {
        let plaintext = Plaintext {
            tls: TlsId { tgid: 1, object: 1, way: None },
            connection: None,
            direction,
            position: 0,
            reverse_position: 0,
            length: 1,
            bytes: Bytes::new(),
            ends_record: false,
            is_received: false,
            continues: false,
            executor: Executor::default(),
            shares: Vec::new(),
        };
        Observation::Plaintext { plaintext, at_ns, moved_ns }
    }

    #[test]
    fn an_answer_inside_tls_that_is_read_before_the_write_returns_comes_behind_it() {
        let mut order = Order::default();
        order.push(plaintext(Direction::Ingress, 30, 30));
        order.push(plaintext(Direction::Egress, 10, 20));
        let directions: Vec<_> = std::iter::from_fn(|| order.pop(u64::MAX))
            .map(|observation| match observation {
                Observation::Plaintext { plaintext, .. } => plaintext.direction,
                _ => unreachable!(),
            })
            .collect();
        assert_eq!(directions, [Direction::Egress, Direction::Ingress]);
    }

    fn exit(tgid: u32, at_ns: u64) -> Observation {
        Observation::Exit { tgid, at_ns }
    }

    fn drain(order: &mut Order, until_ns: u64) -> Vec<u32> {
        std::iter::from_fn(|| order.pop(until_ns))
            .map(|observation| match observation {
                Observation::Exit { tgid, .. } => tgid,
                _ => unreachable!(),
            })
            .collect()
    }

    #[test]
    fn observations_leave_sorted_and_equal_times_keep_their_order() {
        let mut order = Order::default();
        for (tgid, at_ns) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            order.push(exit(tgid, at_ns));
        }
        assert_eq!(drain(&mut order, 10), [2, 4]);
        order.push(exit(5, 15));
        order.push(exit(6, 20));
        order.push(exit(7, 30));
        assert_eq!(drain(&mut order, 20), [5, 3, 6]);
        for tgid in 8..12 {
            order.push(exit(tgid, 30));
        }
        assert_eq!(drain(&mut order, u64::MAX), [1, 7, 8, 9, 10, 11]);
    }
}
