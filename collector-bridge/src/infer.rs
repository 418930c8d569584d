//! Calls of which nobody knows for whom they were made, and what their times say about it.
//!
//! Takes what one process was asked and what it asked of others ([`Sighting`]), and makes [`Inferred`] links with a
//! confidence. It knows no clock, no store and no other process. Its hard problem: to be as sure as it is right. The
//! method is that of TraceWeaver (Ashok et al., SIGCOMM 2024): a call lies within its request in time, requests of a kind
//! make the same calls in the same order after similar delays, and all calls of a stretch of time are decided together.
//! Other than there, the habits are learned from the very spans that are decided, calls may belong to nobody, and the
//! outcome is not the best decision but how much is for it.

mod assignment;
mod counters;
mod delays;
mod habits;
mod random;
mod sampler;
mod scene;
mod sighting;

use crate::model::TimeRange;
pub use counters::InferCounters;
pub use sighting::{Sighting, SpanAt};

use random::mixed;
use scene::{Origin, Scene};

/// Nothing is more certain than this: requests may not be what the method takes them for.
pub const MAX_CONFIDENCE: f64 = 0.97;
/// Nor than this where calls wait for each other, so that what looks like a habit may be the queue's.
const MAX_CONFIDENCE_IN_QUEUE: f64 = 0.85;
/// Each further request that is under way makes it so much less certain: whatever the method overlooks has more room.
const DOUBT_PER_REQUEST: f64 = 0.005;

/// What is shown of what is inferred; [`InferSettings::default`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct InferSettings {
    /// Anything is. Default yes.
    pub is_on: bool,
    /// Links with less confidence are not shown. Default 0.5.
    pub min_confidence: f64,
}

impl Default for InferSettings {
    fn default() -> Self {
        Self { is_on: true, min_confidence: 0.5 }
    }
}

/// A call, and the request that it was probably made for.
#[derive(Clone, Debug)]
pub struct Inferred {
    /// The call.
    pub call: Sighting,
    /// The request.
    pub request: Sighting,
    /// How likely that is, from 0 to [`MAX_CONFIDENCE`].
    pub confidence: f64,
}

/// What became of the calls without parent of a process.
#[derive(Clone, Debug, Default)]
pub struct Inference {
    /// For each call that some request may have made, the likeliest one; by start of the call.
    pub inferred: Vec<Inferred>,
    /// Calls without parent.
    pub orphans: usize,
    /// Of these, calls around which no request lies.
    pub outside: usize,
    /// Of these, calls around which too many requests lie.
    pub crowded: usize,
}

/// Returns what time says about the calls without parent of one process that start within `range`. What lies around the
/// range is looked at too, and tells of habits. Equal sightings give equal answers, in whatever order they come.
///
/// Cost: some 0.1 ms for each call where four requests are under way at once, and more where there are more.
#[must_use]
pub fn infer(sightings: &[Sighting], range: TimeRange) -> Inference {
    let mut sorted: Vec<&Sighting> = sightings.iter().collect();
    sorted.sort_by_key(|sighting| sighting.order());
    sorted.dedup_by_key(|sighting| sighting.order());
    let scene = Scene::new(&sorted);
    let is_wanted = |call: &scene::Call| range.contains(call.start_ns);
    let mut inference = Inference::default();
    for call in scene.calls.iter().filter(|call| is_wanted(call)) {
        inference.orphans += usize::from(!matches!(call.origin, Origin::Known(_)));
        inference.outside += usize::from(call.origin == Origin::Nobody);
        inference.crowded += usize::from(call.origin == Origin::Crowded);
    }
    if inference.orphans == inference.outside + inference.crowded {
        return inference;
    }
    let trust = if scene.has_queue() { MAX_CONFIDENCE_IN_QUEUE } else { MAX_CONFIDENCE };
    for odds in sampler::odds(&scene, fingerprint(sorted.iter().copied())) {
        let Some(call) = scene.calls.get(odds.call).filter(|call| is_wanted(call)) else { continue };
        inference.inferred.extend(likeliest(&scene, &sorted, call, &odds.of_candidates, trust));
    }
    inference
}

fn likeliest(
    scene: &Scene,
    sightings: &[&Sighting],
    call: &scene::Call,
    odds: &[f64],
    trust: f64,
) -> Option<Inferred> {
    let Origin::Open(candidates) = &call.origin else { return None };
    let (request, share) = candidates.iter().zip(odds).max_by(|one, other| one.1.total_cmp(other.1))?;
    let request = scene.requests.get(*request)?;
    let doubt = DOUBT_PER_REQUEST * call.under_way.saturating_sub(1) as f64;
    Some(Inferred {
        call: Sighting::clone(sightings.get(call.sighting)?),
        request: Sighting::clone(sightings.get(request.sighting)?),
        confidence: share.clamp(0.0, 1.0) * (trust - doubt).max(0.0),
    })
}

/// Returns a number that tells these sightings from others, in whatever order they come.
#[must_use]
pub fn fingerprint<'a>(sightings: impl IntoIterator<Item = &'a Sighting>) -> u64 {
    let of_one = |sighting: &Sighting| {
        let span_id = u64::from_be_bytes(sighting.at.span_id.0);
        mixed(mixed(mixed(span_id) ^ sighting.start_unix_ns) ^ sighting.end_unix_ns)
    };
    sightings.into_iter().fold(0, |sum, sighting| sum.wrapping_add(of_one(sighting)))
}

#[cfg(test)]
mod tests;
