//! How requests of a process usually go: which call follows which, after how long, and how often in one request.
//!
//! A request is a walk: from its start to its first call, from each call to the next one in order of their starts, and
//! from the last one to its end. Counts of the steps of all walks are the model; a step is as likely as it is frequent
//! among the others. There is nothing to fit: when a call moves from one request to another, the counts follow.

use super::delays::{Bucket, Delays, prior_density};
use super::scene::{Call, Request, Scene};

/// Before a step was seen, all steps together count as one that was.
const STEP_PRIOR: f64 = 1.0;
/// Before a number of calls was seen, it counts as half a request that had it.
const REPEAT_PRIOR: f64 = 0.5;
/// Numbers of calls of one kind in one request that are told apart.
const MAX_REPEATS: usize = 8;
/// Before a call without request was seen, it counts as half a one.
const BACKGROUND_PRIOR: f64 = 0.5;

/// From one moment of a request to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    context: usize,
    next: usize,
    bucket: Bucket,
}

/// Counts over all walks.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    kinds: usize,
    /// By class of the request and kind of the call before, or none.
    contexts: Vec<u32>,
    /// Delays by context and what comes next; made where the first one is seen.
    delays: Vec<Option<Box<Delays>>>,
    /// Requests by class, kind and number of such calls.
    repeats: Vec<[u32; MAX_REPEATS]>,
    /// Calls without request, by kind.
    background: Vec<u32>,
    span_ns: f64,
}

impl Habits {
    /// Returns those of a scene in which no call has a request.
    pub(super) fn new(scene: &Scene) -> Self {
        let contexts = scene.classes * (scene.kinds + 1);
        let mut repeats = vec![[0; MAX_REPEATS]; scene.classes * scene.kinds];
        for request in &scene.requests {
            for kind in 0..scene.kinds {
                if let Some([none, ..]) = repeats.get_mut(request.class * scene.kinds + kind) {
                    *none += 1;
                }
            }
        }
        Self {
            kinds: scene.kinds,
            contexts: vec![0; contexts],
            delays: vec![None; contexts * Self::nexts(scene.kinds)],
            repeats,
            background: vec![0; scene.kinds],
            span_ns: scene.span_ns as f64,
        }
    }

    /// What may come next: a call of each kind after the one before ended, or while it runs; or the end.
    fn nexts(kinds: usize) -> usize {
        2 * kinds + 1
    }

    /// Returns the step from one call of a request, or its start, to another one, or its end.
    pub(super) fn step(&self, request: &Request, from: Option<&Call>, to: Option<&Call>) -> Step {
        let context = request.class * (self.kinds + 1) + from.map_or(self.kinds, |call| call.kind);
        let since_ns = from.map_or(request.start_ns, |call| call.end_ns);
        let (next, delay_ns) = match (from, to) {
            (_, None) => (2 * self.kinds, request.end_ns.saturating_sub(since_ns)),
            (Some(from), Some(to)) if to.start_ns < from.end_ns => {
                (self.kinds + to.kind, to.start_ns.saturating_sub(from.start_ns))
            }
            (_, Some(to)) => (to.kind, to.start_ns.saturating_sub(since_ns)),
        };
        Step { context, next, bucket: Bucket::of(delay_ns) }
    }

    fn place(&self, step: Step) -> usize {
        step.context * Self::nexts(self.kinds) + step.next
    }

    /// Returns how likely a step is among those that may be taken, per nanosecond; as if one of those that were added
    /// were not.
    pub(super) fn likelihood(&self, step: Step, without: Step) -> f64 {
        let is_context = without.context == step.context;
        let is_alike = is_context && without.next == step.next;
        let all = self.contexts.get(step.context).copied().unwrap_or(0).saturating_sub(u32::from(is_context));
        let share = |seen: u32| {
            let prior = STEP_PRIOR / Self::nexts(self.kinds) as f64;
            (f64::from(seen) + prior) / (f64::from(all) + STEP_PRIOR)
        };
        match self.delays.get(self.place(step)).and_then(Option::as_ref) {
            Some(delays) => {
                let seen = delays.seen().saturating_sub(u32::from(is_alike));
                share(seen) * delays.density(step.bucket, is_alike.then_some(without.bucket))
            }
            None => share(0) * prior_density(step.bucket),
        }
    }

    pub(super) fn add(&mut self, step: Step) {
        let place = self.place(step);
        if let Some(context) = self.contexts.get_mut(step.context) {
            *context += 1;
        }
        if let Some(delays) = self.delays.get_mut(place) {
            delays.get_or_insert_with(|| Box::new(Delays::new())).add(step.bucket);
        }
    }

    /// Takes back what was added.
    pub(super) fn remove(&mut self, step: Step) {
        let place = self.place(step);
        if let Some(context) = self.contexts.get_mut(step.context) {
            *context = context.saturating_sub(1);
        }
        if let Some(Some(delays)) = self.delays.get_mut(place) {
            delays.remove(step.bucket);
        }
    }

    /// Returns how much likelier a request with one call more of a kind is than it is with `count` of them.
    pub(super) fn one_more(&self, class: usize, kind: usize, count: usize) -> f64 {
        if count + 1 >= MAX_REPEATS {
            return 1.0;
        }
        let seen = self.repeats.get(class * self.kinds + kind);
        let requests = |count: usize| seen.and_then(|seen| seen.get(count)).copied().unwrap_or(0);
        // The request itself is counted below `count`, and is no evidence for it.
        let without_itself = requests(count).saturating_sub(1);
        (f64::from(requests(count + 1)) + REPEAT_PRIOR) / (f64::from(without_itself) + REPEAT_PRIOR)
    }

    /// Notes that a request has another number of calls of a kind.
    pub(super) fn recount(&mut self, class: usize, kind: usize, before: usize, after: usize) {
        if let Some(seen) = self.repeats.get_mut(class * self.kinds + kind) {
            let [before, after] = [before, after].map(|count| count.min(MAX_REPEATS - 1));
            if let Some(count) = seen.get_mut(before) {
                *count = count.saturating_sub(1);
            }
            if let Some(count) = seen.get_mut(after) {
                *count += 1;
            }
        }
    }

    /// Returns how likely a call without request is at any moment, per nanosecond.
    pub(super) fn background(&self, kind: usize) -> f64 {
        let seen = self.background.get(kind).copied().unwrap_or(0);
        (f64::from(seen) + BACKGROUND_PRIOR) / self.span_ns
    }

    /// Notes a call without request.
    pub(super) fn add_background(&mut self, kind: usize) {
        if let Some(seen) = self.background.get_mut(kind) {
            *seen += 1;
        }
    }

    /// Takes it back.
    pub(super) fn remove_background(&mut self, kind: usize) {
        if let Some(seen) = self.background.get_mut(kind) {
            *seen = seen.saturating_sub(1);
        }
    }
}
