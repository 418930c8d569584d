//! Which call is made for which request, as it is believed for the moment; the habits that follow from it are kept with
//! it.

use super::habits::Habits;
use super::scene::{Call, Origin, Scene};

/// Calls of one request, at most; one more has no request.
const MAX_CALLS: usize = 1024;

/// For whom a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Not decided.
    Undecided,
    /// No request.
    Nobody,
    /// This request.
    Request(usize),
}

/// A belief about all calls of a scene.
#[derive(Clone, Debug)]
pub(super) struct Assignment<'a> {
    scene: &'a Scene,
    owners: Vec<Owner>,
    /// Calls of each request, by start.
    walks: Vec<Vec<usize>>,
    habits: Habits,
    /// Likelihoods count with this power.
    coldness: f64,
}

impl<'a> Assignment<'a> {
    /// Returns the one in which only what is certain is decided.
    pub(super) fn new(scene: &'a Scene) -> Self {
        let mut habits = Habits::new(scene);
        for request in &scene.requests {
            habits.add(habits.step(request, None, None));
        }
        let mut assignment = Self {
            scene,
            owners: vec![Owner::Undecided; scene.calls.len()],
            walks: vec![Vec::new(); scene.requests.len()],
            habits,
            coldness: 1.0,
        };
        for (call, seen) in scene.calls.iter().enumerate() {
            match seen.origin {
                Origin::Known(request) => assignment.attach(call, Owner::Request(request)),
                Origin::Nobody => assignment.attach(call, Owner::Nobody),
                Origin::Open(_) | Origin::Crowded => {}
            }
        }
        assignment
    }

    /// Makes unlikely beliefs less unlikely than they are, so that they are tried; 1 takes them as they are.
    pub(super) fn set_coldness(&mut self, coldness: f64) {
        self.coldness = coldness;
    }

    pub(super) fn owner(&self, call: usize) -> Owner {
        self.owners.get(call).copied().unwrap_or(Owner::Undecided)
    }

    /// Returns the calls of a request, by start.
    pub(super) fn walk(&self, request: usize) -> &[usize] {
        self.walks.get(request).map_or(&[], Vec::as_slice)
    }

    /// Returns how likely it is that an undecided call is made for this one, against others, per nanosecond.
    pub(super) fn likelihood(&self, call: usize, owner: Owner) -> f64 {
        let Some(seen) = self.scene.calls.get(call) else { return 0.0 };
        match owner {
            Owner::Undecided => 0.0,
            Owner::Nobody => self.habits.background(seen.kind).powf(self.coldness),
            Owner::Request(request) => self.of_request(call, seen, request).unwrap_or(0.0),
        }
    }

    fn of_request(&self, call: usize, seen: &Call, at: usize) -> Option<f64> {
        let request = self.scene.requests.get(at)?;
        if self.walk(at).len() >= MAX_CALLS {
            return None;
        }
        let (before, after) = self.neighbours(call, at);
        // The step that is taken without the call is no evidence for itself.
        let without = self.habits.step(request, before, after);
        let instead_of = self.habits.likelihood(without, without);
        let into = self.habits.likelihood(self.habits.step(request, before, Some(seen)), without);
        let onward = self.habits.likelihood(self.habits.step(request, Some(seen), after), without);
        let count = self.count(at, seen.kind);
        let likelihood = into * onward / instead_of * self.habits.one_more(request.class, seen.kind, count);
        Some(if self.coldness < 1.0 { likelihood.powf(self.coldness) } else { likelihood })
    }

    /// Decides for whom an undecided call is made.
    pub(super) fn attach(&mut self, call: usize, owner: Owner) {
        let Some(seen) = self.scene.calls.get(call) else { return };
        match owner {
            Owner::Undecided => return,
            Owner::Nobody => self.habits.add_background(seen.kind),
            Owner::Request(at) => {
                let Some(request) = self.scene.requests.get(at) else { return };
                let (before, after) = self.neighbours(call, at);
                self.habits.remove(self.habits.step(request, before, after));
                self.habits.add(self.habits.step(request, before, Some(seen)));
                self.habits.add(self.habits.step(request, Some(seen), after));
                let count = self.count(at, seen.kind);
                self.habits.recount(request.class, seen.kind, count, count + 1);
                if let Some(walk) = self.walks.get_mut(at) {
                    let place = walk.partition_point(|other| *other < call);
                    walk.insert(place, call);
                }
            }
        }
        if let Some(place) = self.owners.get_mut(call) {
            *place = owner;
        }
    }

    /// Makes a call undecided.
    pub(super) fn detach(&mut self, call: usize) {
        let Some(seen) = self.scene.calls.get(call) else { return };
        match self.owner(call) {
            Owner::Undecided => {}
            Owner::Nobody => self.habits.remove_background(seen.kind),
            Owner::Request(at) => {
                let Some(request) = self.scene.requests.get(at) else { return };
                if let Some(walk) = self.walks.get_mut(at) {
                    walk.retain(|other| *other != call);
                }
                let (before, after) = self.neighbours(call, at);
                let count = self.count(at, seen.kind);
                self.habits.recount(request.class, seen.kind, count + 1, count);
                self.habits.remove(self.habits.step(request, before, Some(seen)));
                self.habits.remove(self.habits.step(request, Some(seen), after));
                self.habits.add(self.habits.step(request, before, after));
            }
        }
        if let Some(place) = self.owners.get_mut(call) {
            *place = Owner::Undecided;
        }
    }

    /// Returns the calls of a request between which another one would come.
    fn neighbours(&self, call: usize, request: usize) -> (Option<&'a Call>, Option<&'a Call>) {
        let walk = self.walk(request);
        let place = walk.partition_point(|other| *other < call);
        let seen = |call: Option<&usize>| call.and_then(|call| self.scene.calls.get(*call));
        (seen(place.checked_sub(1).and_then(|place| walk.get(place))), seen(walk.get(place)))
    }

    fn count(&self, request: usize, kind: usize) -> usize {
        let is_alike = |call: &&usize| self.scene.calls.get(**call).is_some_and(|call| call.kind == kind);
        self.walk(request).iter().filter(is_alike).count()
    }
}
