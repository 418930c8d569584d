//! Clocks of hosts that differ, told by the requests between them: none is read before it is written, and no answer before
//! it is given.
//!
//! A request from one host to another bounds the difference of their clocks from both sides: by how long it was on its
//! way, and by how long its answer was. Where no difference is needed to explain the times, there is none.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use crate::model::{ClockSkew, Span, SpanKind, find};

/// What tells hosts apart: the first that a resource has.
const HOSTS: [&str; 3] = ["host.id", "k8s.node.name", "host.name"];

/// How far one clock is ahead of another, in nanoseconds: between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    low: i64,
    high: i64,
}

/// What all requests between two hosts say.
#[derive(Clone, Copy, Debug)]
struct Evidence {
    /// What agrees with all.
    all: Bounds,
    /// What the one says that was on its way for the shortest time.
    best: Bounds,
}

/// A host's clock against that of the host on which the trace begins.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    ahead_ns: i64,
    uncertainty_ns: u64,
}

/// Tells the times of all spans by the clock of the host on which the trace begins, as far as the spans show how. Returns
/// the clocks that were off.
pub(super) fn correct(spans: &mut [Span], parents: &[Option<usize>]) -> Vec<ClockSkew> {
    let (names, hosts) = hosts(spans);
    if names.len() < 2 {
        return Vec::new();
    }
    let mut between: BTreeMap<(usize, usize), Evidence> = BTreeMap::new();
    for (child, parent) in parents.iter().enumerate() {
        let Some(parent) = *parent else { continue };
        let place = |index: usize| Some((hosts.get(index).copied().flatten()?, spans.get(index)?));
        let (Some((asking, call)), Some((asked, request))) = (place(parent), place(child)) else { continue };
        let is_exchange = call.kind == SpanKind::Client && request.kind == SpanKind::Server;
        if asking == asked || !is_exchange {
            continue;
        }
        let Some(bounds) = Bounds::of(call, request) else { continue };
        let (pair, bounds) = match asking < asked {
            true => ((asking, asked), bounds),
            false => ((asked, asking), bounds.reversed()),
        };
        between
            .entry(pair)
            .and_modify(|evidence| evidence.add(bounds))
            .or_insert(Evidence { all: bounds, best: bounds });
    }
    let clocks = clocks(first_host(spans, parents, &hosts), &between);
    for (span, host) in spans.iter_mut().zip(&hosts) {
        if let Some(clock) = host.and_then(|host| clocks.get(&host)) {
            shift(span, clock.ahead_ns);
        }
    }
    let is_off = |(host, clock): (&usize, &Clock)| {
        let host = names.get(*host)?.clone();
        let Clock { ahead_ns, uncertainty_ns } = *clock;
        (ahead_ns != 0).then_some(ClockSkew { host, ahead_ns, uncertainty_ns })
    };
    clocks.iter().filter_map(is_off).collect()
}

/// Returns the names of all hosts, and the place among them of each span's.
fn hosts(spans: &[Span]) -> (Vec<String>, Vec<Option<usize>>) {
    let mut names: Vec<String> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let places = spans.iter().map(|span| {
        let attributes = &span.resource.attributes;
        let name = HOSTS.iter().find_map(|key| find(attributes, key)?.as_str())?;
        if let Some(place) = known.get(name) {
            return Some(*place);
        }
        known.insert(name.to_owned(), names.len());
        names.push(name.to_owned());
        Some(names.len() - 1)
    });
    let places = places.collect();
    (names, places)
}

/// Returns the host of the first span that has no parent.
fn first_host(spans: &[Span], parents: &[Option<usize>], hosts: &[Option<usize>]) -> Option<usize> {
    let roots = spans.iter().zip(parents).zip(hosts).filter(|((_, parent), _)| parent.is_none());
    let of_host = roots.filter_map(|((span, _), host)| Some((span.start_unix_ns, (*host)?)));
    of_host.min().map(|(_, host)| host)
}

/// Goes from host to host, by the requests between them: to each by the way that is the surest.
fn clocks(first: Option<usize>, between: &BTreeMap<(usize, usize), Evidence>) -> BTreeMap<usize, Clock> {
    let mut ways: HashMap<usize, Vec<(usize, Clock)>> = HashMap::new();
    for ((one, other), evidence) in between {
        ways.entry(*one).or_default().push((*other, evidence.estimate()));
        ways.entry(*other).or_default().push((*one, evidence.reversed().estimate()));
    }
    let mut clocks = BTreeMap::new();
    let mut waiting: BinaryHeap<_> = first.into_iter().map(|host| Reverse((0u64, host, 0i64))).collect();
    while let Some(Reverse((uncertainty_ns, host, ahead_ns))) = waiting.pop() {
        if clocks.contains_key(&host) {
            continue;
        }
        clocks.insert(host, Clock { ahead_ns, uncertainty_ns });
        for (next, step) in ways.get(&host).into_iter().flatten() {
            let uncertainty_ns = uncertainty_ns.saturating_add(step.uncertainty_ns);
            waiting.push(Reverse((uncertainty_ns, *next, ahead_ns.saturating_add(step.ahead_ns))));
        }
    }
    clocks
}

impl Bounds {
    /// Returns how far the clock of who is asked may be ahead of that of who asks; none where the request took longer than
    /// the call: a client that has given up says nothing of clocks.
    fn of(call: &Span, request: &Span) -> Option<Self> {
        let ahead = |asked: u64, asking: u64| i64::try_from(i128::from(asked) - i128::from(asking)).ok();
        let high = ahead(request.start_unix_ns, call.start_unix_ns)?;
        let low = ahead(request.end_unix_ns, call.end_unix_ns)?;
        (low <= high).then_some(Self { low, high })
    }

    /// Returns the same from the other's point of view.
    fn reversed(self) -> Self {
        Self { low: self.high.saturating_neg(), high: self.low.saturating_neg() }
    }

    fn width(self) -> u64 {
        self.high.abs_diff(self.low)
    }

    fn clock(self) -> Clock {
        if (self.low..=self.high).contains(&0) {
            return Clock::default();
        }
        Clock { ahead_ns: self.low.midpoint(self.high), uncertainty_ns: self.width().div_ceil(2) }
    }
}

impl Evidence {
    fn add(&mut self, bounds: Bounds) {
        let Bounds { low, high } = self.all;
        self.all = Bounds { low: low.max(bounds.low), high: high.min(bounds.high) };
        if bounds.width() < self.best.width() {
            self.best = bounds;
        }
    }

    fn reversed(self) -> Self {
        Self { all: self.all.reversed(), best: self.best.reversed() }
    }

    /// A clock that was set in between agrees with none: the shortest way is worth most then.
    fn estimate(self) -> Clock {
        if self.all.low <= self.all.high { self.all.clock() } else { self.best.clock() }
    }
}

fn shift(span: &mut Span, ahead_ns: i64) {
    let corrected = |at_ns: u64| at_ns.saturating_add_signed(ahead_ns.saturating_neg());
    span.start_unix_ns = corrected(span.start_unix_ns);
    span.end_unix_ns = corrected(span.end_unix_ns);
    for event in &mut span.events {
        event.time_unix_ns = corrected(event.time_unix_ns);
    }
}

#[cfg(test)]
mod tests;
