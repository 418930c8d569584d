//! What one process was asked and what it asked of others in a stretch of time, in numbers: the problem to solve.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt as _};

use super::sighting::{Role, Sighting};
use crate::model::SpanId;

/// Kinds of calls, and of requests, that are told apart in a scene; all others count as one more.
const MAX_LABELS: usize = 48;

/// Requests that may have made a call, at most: where more are open, time tells little and costs much.
const MAX_CANDIDATES: usize = 64;

/// So long is looked at at least, though spans may fill less.
const SHORTEST_SPAN_NS: u64 = 1_000_000_000;

/// Share of the calls that find all places taken, above which calls are believed to wait for each other.
const QUEUE_SHARE: f64 = 0.15;

/// A request that the process answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) class: usize,
    /// Place in the sightings.
    pub(super) sighting: usize,
}

/// A call that it made.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) kind: usize,
    pub(super) origin: Origin,
    /// Requests that were under way when it began.
    pub(super) under_way: usize,
    /// Place in the sightings.
    pub(super) sighting: usize,
}

/// What is known of who made a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This request, by evidence.
    Known(usize),
    /// One of these requests, all that lie around it in time; or none of them. In order; never empty.
    Open(Vec<usize>),
    /// No request lies around it.
    Nobody,
    /// Too many requests lie around it.
    Crowded,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Scene {
    /// By start.
    pub(super) requests: Vec<Request>,
    /// By start.
    pub(super) calls: Vec<Call>,
    pub(super) classes: usize,
    pub(super) kinds: usize,
    /// From the first start to the last end, at least [`SHORTEST_SPAN_NS`].
    pub(super) span_ns: u64,
}

impl Scene {
    /// Returns the scene of these sightings of one process, which are sorted and without duplicates.
    pub(super) fn new(sightings: &[&Sighting]) -> Self {
        let (mut classes, mut kinds) = (Labels::default(), Labels::default());
        let mut requests: Vec<Request> = Vec::new();
        let mut request_at: HashMap<SpanId, usize> = HashMap::new();
        for (index, sighting) in sightings.iter().enumerate() {
            if sighting.role == Role::Request {
                request_at.insert(sighting.at.span_id, requests.len());
                requests.push(Request {
                    start_ns: sighting.start_unix_ns,
                    end_ns: sighting.end_unix_ns,
                    class: classes.number(&sighting.label),
                    sighting: index,
                });
            }
        }
        let mut open = Open { requests: &requests, next: 0, active: Vec::new() };
        let mut calls = Vec::new();
        for (index, sighting) in sightings.iter().enumerate() {
            let Role::Call { parent } = sighting.role else { continue };
            open.advance(sighting.start_unix_ns);
            let origin = match parent {
                // A parent that is no request of this process: what it means for the others cannot be told.
                Some(parent) => match request_at.get(&parent) {
                    Some(request) => Origin::Known(*request),
                    None => continue,
                },
                None => open.around(sighting.end_unix_ns),
            };
            calls.push(Call {
                start_ns: sighting.start_unix_ns,
                end_ns: sighting.end_unix_ns,
                kind: kinds.number(&sighting.label),
                origin,
                under_way: open.active.len(),
                sighting: index,
            });
        }
        let first = sightings.iter().map(|sighting| sighting.start_unix_ns).min().unwrap_or(0);
        let last = sightings.iter().map(|sighting| sighting.end_unix_ns).max().unwrap_or(0);
        let span_ns = last.saturating_sub(first).max(SHORTEST_SPAN_NS);
        Self { requests, calls, classes: classes.len(), kinds: kinds.len(), span_ns }
    }
}

impl Scene {
    /// Returns whether calls wait for each other: many begin when as many are under way as never are exceeded, though
    /// more requests are. One call's end is then another one's beginning, of whatever request, and looks like a habit.
    pub(super) fn has_queue(&self) -> bool {
        let mut ends: BinaryHeap<Reverse<u64>> = BinaryHeap::new();
        let mut under_way: Vec<(usize, usize)> = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            while ends.peek().is_some_and(|Reverse(end_ns)| *end_ns < call.start_ns) {
                ends.pop();
            }
            ends.push(Reverse(call.end_ns));
            under_way.push((ends.len(), call.under_way));
        }
        let most = under_way.iter().map(|(calls, _)| *calls).max().unwrap_or(0);
        let waiting = under_way.iter().filter(|(calls, requests)| *calls == most && *requests > most).count();
        waiting as f64 > QUEUE_SHARE * under_way.len() as f64
    }
}

/// Names as small numbers.
#[derive(Default)]
struct Labels<'a>(HashMap<&'a str, usize>);

impl<'a> Labels<'a> {
    /// Returns the number of a label; all that come after the limit share one.
    fn number(&mut self, label: &'a str) -> usize {
        let next = self.0.len();
        match self.0.entry(label) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(next.min(MAX_LABELS)),
        }
    }

    fn len(&self) -> usize {
        self.0.len().min(MAX_LABELS + 1)
    }
}

/// The requests that are open, while one goes through the calls by their start.
struct Open<'a> {
    requests: &'a [Request],
    next: usize,
    active: Vec<usize>,
}

impl Open<'_> {
    /// Goes on to the requests that are under way at that moment.
    fn advance(&mut self, to_ns: u64) {
        while let Some(request) = self.requests.get(self.next)
            && request.start_ns <= to_ns
        {
            self.active.push(self.next);
            self.next += 1;
        }
        self.active.retain(|index| end_of(self.requests, *index) >= to_ns);
    }

    /// Returns the requests that lie around a call which begins at that moment.
    fn around(&self, end_ns: u64) -> Origin {
        let ends_later = |index: &usize| end_of(self.requests, *index) >= end_ns;
        let around: Vec<usize> = self.active.iter().copied().filter(ends_later).collect();
        match around.len() {
            0 => Origin::Nobody,
            1..=MAX_CANDIDATES => Origin::Open(around),
            _ => Origin::Crowded,
        }
    }
}

fn end_of(requests: &[Request], index: usize) -> u64 {
    requests.get(index).map_or(0, |request| request.end_ns)
}
