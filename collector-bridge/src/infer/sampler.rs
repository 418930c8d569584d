//! Beliefs about all calls of a scene, drawn again and again: how often a call is made for a request among them is how
//! likely that is.
//!
//! It is Gibbs sampling: each call in turn is decided anew, with the odds that all others leave it. Where each request
//! makes one call of a kind, no call can move alone, so pairs of calls try to change places as well (Metropolis and
//! Hastings). At first nothing is believed strongly (annealing), for the habits are found where beliefs can change.
//! Several beliefs are drawn independently: one that has gone astray is outvoted.

use super::assignment::{Assignment, Owner};
use super::random::Random;
use super::scene::{Origin, Scene};

/// Beliefs that are drawn independently.
const CHAINS: u64 = 3;
/// Rounds in which beliefs become stronger, from the first coldness to the last. The last one is below 1: the model is
/// simpler than any process, so what it finds unlikely is not quite as unlikely.
const ROUNDS_COOLING: usize = 16;
const FIRST_COLDNESS: f64 = 0.3;
const LAST_COLDNESS: f64 = 0.7;
/// In these rounds that a call is for nobody counts so much less: else all calls of a kind leave at once, and do not come
/// back.
const FIRST_DOUBT: f64 = 0.001;
/// Rounds in which they settle.
const ROUNDS_SETTLING: usize = 8;
/// Rounds that count.
const ROUNDS_COUNTED: usize = 24;

/// Candidates of a call that had a smaller share of the odds while beliefs settled are not looked at any more…
const LEAST_SHARE: f64 = 0.002;
/// …nor are all but so many.
const MAX_KEPT: usize = 12;

/// How likely each of a call's candidates is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Odds {
    /// The call.
    pub(super) call: usize,
    /// As many as the call has candidates; what is missing from 1 is for nobody.
    pub(super) of_candidates: Vec<f64>,
}

/// Returns the odds of all calls whose request is open.
pub(super) fn odds(scene: &Scene, seed: u64) -> Vec<Odds> {
    let mut odds = even_odds(scene);
    for chain in 0..CHAINS {
        let mut chain = Chain::new(scene, seed.wrapping_add(chain));
        for round in 0..ROUNDS_COOLING {
            let share = round as f64 / ROUNDS_COOLING as f64;
            chain.assignment.set_coldness(FIRST_COLDNESS + (LAST_COLDNESS - FIRST_COLDNESS) * share);
            chain.round(&mut []);
        }
        chain.assignment.set_coldness(LAST_COLDNESS);
        chain.doubt = 1.0;
        let mut settling = even_odds(scene);
        (0..ROUNDS_SETTLING).for_each(|_| chain.round(&mut settling));
        chain.keep_likely(&settling);
        (0..ROUNDS_COUNTED).for_each(|_| chain.round(&mut odds));
    }
    let rounds = (CHAINS as usize * ROUNDS_COUNTED) as f64;
    odds.iter_mut().flat_map(|odds| &mut odds.of_candidates).for_each(|share| *share /= rounds);
    odds
}

/// Returns those before the first round: zero for all.
fn even_odds(scene: &Scene) -> Vec<Odds> {
    open_calls(scene)
        .map(|(call, candidates)| Odds { call, of_candidates: vec![0.0; candidates.len()] })
        .collect()
}

fn open_calls(scene: &Scene) -> impl Iterator<Item = (usize, &[usize])> {
    scene.calls.iter().enumerate().filter_map(|(call, seen)| match &seen.origin {
        Origin::Open(candidates) => Some((call, candidates.as_slice())),
        _ => None,
    })
}

/// A call, and the requests that are looked at: number among its candidates, and place in the scene.
struct Question {
    call: usize,
    requests: Vec<(usize, usize)>,
}

struct Chain<'a> {
    scene: &'a Scene,
    questions: Vec<Question>,
    assignment: Assignment<'a>,
    random: Random,
    /// How much counts that a call is for nobody.
    doubt: f64,
    /// Room for the weights of a call's candidates.
    weights: Vec<f64>,
}

impl<'a> Chain<'a> {
    /// Returns one in which each open call is given to one of its candidates, whichever.
    fn new(scene: &'a Scene, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut assignment = Assignment::new(scene);
        for (call, candidates) in open_calls(scene) {
            let request = candidates.get(random.below(candidates.len()));
            assignment.attach(call, request.map_or(Owner::Nobody, |request| Owner::Request(*request)));
        }
        let questions = open_calls(scene).map(|(call, candidates)| Question {
            call,
            requests: candidates.iter().copied().enumerate().collect(),
        });
        let questions = questions.collect();
        Self { scene, questions, assignment, random, doubt: FIRST_DOUBT, weights: Vec::new() }
    }

    /// Decides each call anew and adds the odds to `odds`, if there are any; then lets calls change places.
    fn round(&mut self, odds: &mut [Odds]) {
        for (index, question) in self.questions.iter().enumerate() {
            self.assignment.detach(question.call);
            self.weights.clear();
            for (_, request) in &question.requests {
                self.weights.push(self.assignment.likelihood(question.call, Owner::Request(*request)));
            }
            let nobody = self.doubt * self.assignment.likelihood(question.call, Owner::Nobody);
            let whole = nobody + self.weights.iter().sum::<f64>();
            if let Some(odds) = odds.get_mut(index) {
                for ((number, _), weight) in question.requests.iter().zip(&self.weights) {
                    if let Some(share) = odds.of_candidates.get_mut(*number) {
                        *share += weight / whole;
                    }
                }
            }
            let chosen = chosen(&self.weights, self.random.fraction() * whole);
            let request = chosen.and_then(|chosen| question.requests.get(chosen));
            let owner = request.map_or(Owner::Nobody, |(_, request)| Owner::Request(*request));
            self.assignment.attach(question.call, owner);
        }
        for index in 0..self.questions.len() {
            self.exchange(index);
        }
    }

    /// Forgets the candidates that had next to no share of the odds.
    fn keep_likely(&mut self, odds: &[Odds]) {
        for (question, odds) in self.questions.iter_mut().zip(odds) {
            let share = |number: usize| odds.of_candidates.get(number).copied().unwrap_or(0.0);
            let least = LEAST_SHARE * ROUNDS_SETTLING as f64;
            question.requests.retain(|(number, _)| share(*number) >= least);
            question.requests.sort_by(|one, other| share(other.0).total_cmp(&share(one.0)));
            question.requests.truncate(MAX_KEPT);
        }
    }

    /// Lets a call try to change places with one of its kind.
    fn exchange(&mut self, index: usize) {
        let Some(Question { call, requests }) = self.questions.get(index) else { return };
        let call = *call;
        let Owner::Request(own) = self.assignment.owner(call) else { return };
        let Some((_, other)) = requests.get(self.random.below(requests.len())).copied() else { return };
        let there = self.alike(other, call);
        let here = self.alike(own, call).len();
        let Some(twin) = there.get(self.random.below(there.len())).copied() else { return };
        if other == own || !self.may_be_of(twin, own) {
            return;
        }
        let kept = self.together((call, own), (twin, other));
        let exchanged = self.together((call, other), (twin, own));
        // The other way round, the twin would have chosen this call among as many as there are here.
        let odds = exchanged / kept * there.len() as f64 / here.max(1) as f64;
        let (call_to, twin_to) = if self.random.fraction() < odds { (other, own) } else { (own, other) };
        self.assignment.attach(call, Owner::Request(call_to));
        self.assignment.attach(twin, Owner::Request(twin_to));
    }

    fn may_be_of(&self, call: usize, request: usize) -> bool {
        let origin = self.scene.calls.get(call).map(|call| &call.origin);
        matches!(origin, Some(Origin::Open(candidates)) if candidates.binary_search(&request).is_ok())
    }

    /// Returns how likely two calls are in these two places together; both are undecided afterwards.
    fn together(&mut self, first: (usize, usize), second: (usize, usize)) -> f64 {
        self.assignment.detach(first.0);
        self.assignment.detach(second.0);
        let alone = self.assignment.likelihood(first.0, Owner::Request(first.1));
        self.assignment.attach(first.0, Owner::Request(first.1));
        let both = alone * self.assignment.likelihood(second.0, Owner::Request(second.1));
        self.assignment.detach(first.0);
        both
    }

    /// Returns the calls of a request that are of the same kind as this one and whose request is open.
    fn alike(&self, request: usize, call: usize) -> Vec<usize> {
        let kind = self.scene.calls.get(call).map(|call| call.kind);
        let is_alike = |other: &&usize| {
            let other = self.scene.calls.get(**other);
            other.is_some_and(|other| Some(other.kind) == kind && matches!(other.origin, Origin::Open(_)))
        };
        self.assignment.walk(request).iter().filter(is_alike).copied().collect()
    }
}

/// Returns the place of the weight in which a sum of weights lies; none where it lies behind all.
fn chosen(weights: &[f64], mut sum: f64) -> Option<usize> {
    weights.iter().position(|weight| {
        sum -= weight;
        sum < 0.0
    })
}
