//! A process that answers requests and makes calls for them, simulated event by event: the truth is known.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, LazyLock};

use crate::infer::random::Random;
use crate::infer::sighting::{Role, Sighting, SpanAt};
use crate::model::{Resource, SpanId, TraceId};

const MICROSECOND: f64 = 1e3;
const MILLISECOND: f64 = 1e6;
/// 2026-01-01.
const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

static RESOURCE: LazyLock<Arc<Resource>> = LazyLock::new(Arc::default);

/// A time that is drawn, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Time {
    /// Anything between two times, in milliseconds.
    Between(f64, f64),
    /// Never shorter than the first time, in milliseconds; the second one is the mean of what is added.
    AtLeast(f64, f64),
}

impl Time {
    fn draw(self, random: &mut Random) -> u64 {
        let milliseconds = match self {
            Time::Between(from, to) => from + (to - from) * random.fraction(),
            Time::AtLeast(least, mean) => least - mean * (1.0 - random.fraction()).ln(),
        };
        (milliseconds * MILLISECOND) as u64
    }
}

/// What a request does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// It thinks, waits or computes.
    Pause(Time),
    /// It calls.
    Call(&'static str, Time),
    /// It calls, but for this share of the requests, which find the answer in a cache.
    Cached(f64, &'static str, Time),
    /// It makes these calls at the same time, in any order, and waits for all.
    Fan(&'static [(&'static str, Time)]),
    /// It calls, and again after a pause for this share of the requests.
    Retried(f64, &'static str, Time),
    /// It calls once for each of up to so many rows.
    Each(usize, &'static str, Time),
    /// It calls and does not wait, nor does it live until the call ends.
    Detached(&'static str, Time),
}

/// A process and its load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    /// What kinds of requests do, each as likely as the others.
    pub(crate) programs: &'static [&'static [Act]],
    /// Requests that are under way at once…
    pub(crate) in_flight: usize,
    /// …each begun so long after another one ended.
    pub(crate) idle: Time,
    pub(crate) requests: usize,
    /// Workers that calls share: a call waits for a free one…
    pub(crate) workers: usize,
    /// …if it is of one of these kinds; of any, where none are named.
    pub(crate) shared: &'static [&'static str],
    /// Time from the decision to call to the call, and between anything else that follows at once.
    pub(crate) jitter: Time,
    /// A call for nobody, every so often.
    pub(crate) background: Option<(&'static str, Time)>,
    /// Share of the calls whose request is known by evidence.
    pub(crate) known: f64,
}

/// The usual one.
pub(crate) const WORLD: World = World {
    programs: &[],
    in_flight: 4,
    idle: Time::AtLeast(0.2, 1.0),
    requests: 400,
    workers: 1000,
    shared: &[],
    jitter: Time::AtLeast(0.03, 0.05),
    background: None,
    known: 0.0,
};

/// What was seen, and for whom each call was made.
pub(crate) struct Seen {
    pub(crate) sightings: Vec<Sighting>,
    /// By call: its request, or none.
    pub(crate) truth: HashMap<SpanId, Option<SpanId>>,
}

impl World {
    /// Returns what is seen of a run.
    pub(crate) fn run(&self, seed: u64) -> Seen {
        let mut run = Run {
            world: self,
            random: Random::new(seed),
            events: BinaryHeap::new(),
            free_at: (0..self.workers).map(|_| Reverse(0)).collect(),
            requests: Vec::new(),
            seen: Seen { sightings: Vec::new(), truth: HashMap::new() },
            next_id: 1,
        };
        run.all();
        run.seen
    }
}

struct Run<'a> {
    world: &'a World,
    random: Random,
    /// When, which request, which of its acts.
    events: BinaryHeap<Reverse<(u64, usize, usize)>>,
    free_at: BinaryHeap<Reverse<u64>>,
    requests: Vec<(u64, u64, &'static [Act])>,
    seen: Seen,
    next_id: u64,
}

impl Run<'_> {
    fn all(&mut self) {
        for _ in 0..self.world.in_flight {
            self.begin(0);
        }
        let mut last = 0;
        while let Some(Reverse((at, request, act))) = self.events.pop() {
            last = at;
            self.act(at, request, act);
        }
        if let Some((kind, every)) = self.world.background {
            let mut at = every.draw(&mut self.random);
            while at < last {
                let end = at + Time::AtLeast(0.3, 0.3).draw(&mut self.random);
                self.call(None, kind, at, end);
                at += every.draw(&mut self.random);
            }
        }
    }

    fn begin(&mut self, at: u64) {
        if self.requests.len() < self.world.requests {
            let start = at + self.world.idle.draw(&mut self.random);
            let program = self.world.programs[self.random.below(self.world.programs.len())];
            let id = self.id();
            let first = start + self.jitter();
            self.events.push(Reverse((first, self.requests.len(), 0)));
            self.requests.push((id, start, program));
        }
    }

    fn act(&mut self, at: u64, request: usize, act: usize) {
        let (id, start, program) = self.requests[request];
        let Some(next) = program.get(act) else {
            self.note(id, start, at, Role::Request, &format!("GET /{:p}", program.as_ptr()));
            return self.begin(at);
        };
        let done = match *next {
            Act::Pause(time) => at + time.draw(&mut self.random),
            Act::Call(kind, time) => self.work(id, kind, time, at),
            Act::Cached(share, kind, time) => {
                if self.random.fraction() < share {
                    at
                } else {
                    self.work(id, kind, time, at)
                }
            }
            Act::Retried(share, kind, time) => {
                let done = self.work(id, kind, time, at);
                if self.random.fraction() < share {
                    let pause = Time::Between(1.0, 2.0).draw(&mut self.random);
                    self.work(id, kind, time, done + pause)
                } else {
                    done
                }
            }
            Act::Each(rows, kind, time) => {
                let rows = self.random.below(rows + 1);
                (0..rows).fold(at, |at, _| self.work(id, kind, time, at) + self.jitter())
            }
            Act::Fan(calls) => {
                let first = self.random.below(calls.len());
                let order = calls.iter().cycle().skip(first).take(calls.len());
                order.map(|(kind, time)| self.work(id, kind, *time, at)).max().unwrap_or(at)
            }
            Act::Detached(kind, time) => {
                self.work(id, kind, time, at);
                at
            }
        };
        let after = done + self.jitter();
        self.events.push(Reverse((after, request, act + 1)));
    }

    /// Makes a call when a worker is free; returns its end.
    fn work(&mut self, request: u64, kind: &str, time: Time, at: u64) -> u64 {
        let waits = self.world.shared.is_empty() || self.world.shared.contains(&kind);
        let free_at = if waits { self.free_at.pop().map_or(0, |Reverse(free_at)| free_at) } else { 0 };
        let start = at.max(free_at) + self.jitter();
        let end = start + time.draw(&mut self.random);
        if waits {
            self.free_at.push(Reverse(end));
        }
        self.call(Some(request), kind, start, end);
        end
    }

    fn call(&mut self, request: Option<u64>, kind: &str, start: u64, end: u64) {
        let id = self.id();
        let is_known = self.random.fraction() < self.world.known;
        let request = request.map(|id| SpanId(id.to_be_bytes()));
        self.note(id, start, end, Role::Call { parent: request.filter(|_| is_known) }, kind);
        self.seen.truth.insert(SpanId(id.to_be_bytes()), request);
    }

    fn note(&mut self, id: u64, start: u64, end: u64, role: Role, label: &str) {
        self.seen.sightings.push(Sighting {
            at: SpanAt { trace_id: TraceId(u128::from(id).to_be_bytes()), span_id: SpanId(id.to_be_bytes()) },
            start_unix_ns: EPOCH_NS + start,
            end_unix_ns: EPOCH_NS + end,
            name: label.into(),
            resource: Arc::clone(&RESOURCE),
            role,
            label: label.to_owned(),
        });
    }

    fn jitter(&mut self) -> u64 {
        self.world.jitter.draw(&mut self.random).max(MICROSECOND as u64)
    }

    /// Ids that say nothing about the order.
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        crate::infer::random::mixed(self.next_id)
    }
}
