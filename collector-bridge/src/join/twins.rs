//! Requests of which an SDK without a parent tells as well as the agent: the SDK's trace is part of the agent's.
//!
//! Either comes first. The two are joined if nothing else can be meant on either side, of what is known when both are.

use std::hash::BuildHasher;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::JoinCounters;
use super::aging::Aging;
use crate::model::{Answered, Join, Received, Span, Teller};

/// Spans are kept by when they began, in steps of 67 ms.
const STEP_BITS: u32 = 26;
/// Steps that an SDK's span may begin after the agent's, which begins with the first byte: some 0.8 s.
const MAX_STEPS: u64 = 12;
/// Spans of one step that tell of the same request, at most.
const MAX_EQUAL: usize = 256;
/// Spans that are looked at for one: more than one is one too many.
const MAX_FOUND: usize = 4;
/// Spans of the agent that are kept while no SDK has sent any.
const ASLEEP: usize = 16_384;

/// What the request is, in short, and when it began.
type Key = (u64, u64);

/// A server span, of the agent or of an SDK.
#[derive(Clone, Debug)]
pub(super) struct Sighted {
    teller: Teller,
    request: u64,
    answered: Answered,
}

impl Sighted {
    pub(super) fn of(span: &Span) -> Option<Self> {
        let (teller, received) = span.received()?;
        Some(Self { teller, request: short(&received), answered: span.answered() })
    }
}

/// The same for all threads.
fn short(received: &Received<'_>) -> u64 {
    static STATE: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    STATE.hash_one(received)
}

fn step_of(answered: &Answered) -> u64 {
    answered.start_unix_ns >> STEP_BITS
}

#[derive(Debug)]
pub(super) struct Twins {
    agents: Aging<Key, Vec<Answered>>,
    sdks: Aging<Key, Vec<Answered>>,
    limit: usize,
    /// An SDK has sent a span that begins a trace.
    is_awake: bool,
}

impl Twins {
    pub(super) fn new(limit: usize, hold: Duration, now: Instant) -> Self {
        let agents = Aging::new(limit.min(ASLEEP), hold, now);
        Self { agents, sdks: Aging::new(limit, hold, now), limit, is_awake: false }
    }

    pub(super) fn observe(&mut self, seen: &[Sighted], now: Instant, counters: &JoinCounters) -> Vec<Join> {
        self.expire(now);
        for sighted in seen {
            self.add(sighted, now, counters);
        }
        seen.iter().flat_map(|sighted| self.joins_of(sighted, counters)).collect()
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.agents.expire(now);
        self.sdks.expire(now);
    }

    fn add(&mut self, sighted: &Sighted, now: Instant, counters: &JoinCounters) {
        let Sighted { teller, request, answered } = sighted;
        if *teller == Teller::Sdk && !self.is_awake {
            self.is_awake = true;
            self.agents.hold_up_to(self.limit);
        }
        let spans = match teller {
            Teller::Agent => &mut self.agents,
            Teller::Sdk => &mut self.sdks,
        };
        let mut is_lost = false;
        let key = (*request, step_of(answered));
        let forgotten = spans.add(key, vec![answered.clone()], now, |known| {
            if known.iter().any(|known| known.is_same_span(answered)) {
                return;
            }
            is_lost = known.len() >= MAX_EQUAL;
            if !is_lost {
                known.push(answered.clone());
            }
        });
        // Nobody misses what is forgotten where no SDK is.
        if self.is_awake {
            JoinCounters::add(&counters.evicted_requests, forgotten.evicted + usize::from(is_lost));
        }
    }

    fn joins_of(&self, sighted: &Sighted, counters: &JoinCounters) -> Vec<Join> {
        let Sighted { teller, request, answered } = sighted;
        let begun = match teller {
            Teller::Sdk => vec![answered],
            Teller::Agent => self.held_by(*request, answered),
        };
        begun.into_iter().filter_map(|sdk| self.join_of(*request, sdk, counters)).collect()
    }

    fn join_of(&self, request: u64, sdk: &Answered, counters: &JoinCounters) -> Option<Join> {
        match self.holders_of(request, sdk)[..] {
            [] => None,
            [agent] if self.held_by(request, agent).len() == 1 => {
                Some(Join { server_trace: sdk.trace_id, client_trace: agent.trace_id, begins_trace: true })
            }
            _ => {
                JoinCounters::add(&counters.ambiguous_requests, 1);
                None
            }
        }
    }

    /// Returns the agent's spans that an SDK's may be of.
    fn holders_of(&self, request: u64, sdk: &Answered) -> Vec<&Answered> {
        // Its own clock may be a little behind.
        let step = step_of(sdk);
        let steps = step.saturating_sub(MAX_STEPS)..=step.saturating_add(1);
        within(&self.agents, request, steps, |agent| agent.holds(sdk))
    }

    /// Returns the spans of SDKs that may be of one of the agent's.
    fn held_by(&self, request: u64, agent: &Answered) -> Vec<&Answered> {
        if self.sdks.len() == 0 {
            return Vec::new();
        }
        let step = step_of(agent);
        let steps = step.saturating_sub(1)..=step.saturating_add(MAX_STEPS);
        within(&self.sdks, request, steps, |sdk| agent.holds(sdk))
    }
}

/// Returns the spans of these steps that are wanted, each once, or some of them.
fn within(
    spans: &Aging<Key, Vec<Answered>>,
    request: u64,
    steps: std::ops::RangeInclusive<u64>,
    is_wanted: impl Fn(&Answered) -> bool,
) -> Vec<&Answered> {
    let mut found: Vec<&Answered> = Vec::new();
    let all = steps.flat_map(|step| spans.find_both(&(request, step))).flatten().flatten();
    for answered in all.filter(|answered| is_wanted(answered)) {
        if !found.iter().any(|known| known.is_same_span(answered)) {
            found.push(answered);
        }
        if found.len() == MAX_FOUND {
            break;
        }
    }
    found
}

#[cfg(test)]
mod tests;
