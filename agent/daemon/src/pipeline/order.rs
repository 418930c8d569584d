//! Observations in the order of their times.
//!
//! The ring is in the order in which calls ended, on all processors. A request is told when the call that wrote it
//! returns, which may be after its reader was already told; and times, at entry of writes and exit of reads, show
//! which came first. So observations rest a little, and leave sorted.

use remora_engine::event::{EventKind, Role};

use crate::capture::Observation;

/// How long an observation rests: longer than a system call that does not block takes to return, with time to spare
/// for being scheduled away.
const REST_NS: u64 = 15_000_000;
/// Observations that may rest. More leave at once, counted on to be in order.
const MAX_RESTING: usize = 262_144;

#[derive(Debug)]
struct Resting {
    at_ns: u64,
    arrival: u64,
    observation: Observation,
}

/// Observations that rest.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// From the latest to the earliest where `is_sorted`. Those of one time are told apart by when they came.
    resting: Vec<Resting>,
    is_sorted: bool,
    last_ns: u64,
    arrivals: u64,
}

impl Order {
    /// Takes in an observation.
    pub(super) fn push(&mut self, observation: Observation) {
        let at_ns = key(&observation).unwrap_or(self.last_ns);
        self.last_ns = at_ns;
        self.arrivals += 1;
        self.resting.push(Resting { at_ns, arrival: self.arrivals, observation });
        self.is_sorted = false;
    }

    /// Returns the time up to which observations have rested.
    pub(super) fn settled_ns(&self, now_ns: u64) -> u64 {
        if self.resting.len() > MAX_RESTING { now_ns } else { now_ns.saturating_sub(REST_NS) }
    }

    /// Returns the earliest observation, if it is not later than `until_ns`.
    pub(super) fn pop(&mut self, until_ns: u64) -> Option<Observation> {
        if !self.is_sorted {
            // The earliest are taken from the end.
            self.resting.sort_unstable_by_key(|resting| std::cmp::Reverse((resting.at_ns, resting.arrival)));
            self.is_sorted = true;
        }
        self.resting.pop_if(|resting| resting.at_ns <= until_ns).map(|resting| resting.observation)
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
    use super::*;

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
