//! How often timing is right, and whether it knows.

use super::simulator::{Act, Time, WORLD, World};
use crate::infer::infer;
use crate::model::TimeRange;

/// From here on, a link is called sure: at least nine of ten must be right.
const SURE: f64 = 0.9;

const HTTP: Time = Time::AtLeast(2.0, 3.0);
const SQL: Time = Time::AtLeast(0.5, 1.0);
const REDIS: Time = Time::AtLeast(0.1, 0.1);
const SOMETIMES: Option<(&str, Time)> = Some(("get", Time::AtLeast(1.0, 6.0)));

const CHAIN: &[Act] = &[Act::Call("GET", HTTP), Act::Call("SELECT", SQL), Act::Call("get", REDIS)];
const PACED: &[Act] = &[
    Act::Call("GET", HTTP),
    Act::Pause(Time::Between(1.0, 5.0)),
    Act::Call("SELECT", SQL),
    Act::Pause(Time::Between(1.0, 5.0)),
    Act::Call("get", REDIS),
];
const FAN: &[Act] = &[Act::Fan(&[("GET", HTTP), ("SELECT", SQL), ("get", REDIS)])];
const CACHED: &[Act] =
    &[Act::Call("get", REDIS), Act::Cached(0.6, "SELECT", SQL), Act::Pause(Time::Between(0.5, 3.0))];
const RETRIED: &[Act] = &[Act::Retried(0.2, "GET", HTTP), Act::Call("SELECT", SQL)];
const ROWS: &[Act] = &[Act::Call("SELECT", SQL), Act::Each(8, "get", REDIS)];
const DETACHED: &[Act] = &[Act::Call("SELECT", SQL), Act::Detached("PUBLISH", HTTP), Act::Call("get", REDIS)];
const NOTHING: &[Act] = &[Act::Pause(Time::AtLeast(1.0, 8.0))];

/// What a world is called, how it is, and the share of its calls that get sure links at four in flight, at least.
const WORLDS: [(&str, World, f64); 15] = [
    ("chain", World { programs: &[CHAIN], ..WORLD }, 0.9),
    ("chain, noisy", World { programs: &[CHAIN], jitter: Time::AtLeast(0.05, 0.6), ..WORLD }, 0.4),
    ("paced", World { programs: &[PACED], ..WORLD }, 0.7),
    ("fan", World { programs: &[FAN], ..WORLD }, 0.3),
    ("cached", World { programs: &[CACHED], ..WORLD }, 0.7),
    ("retried", World { programs: &[RETRIED], ..WORLD }, 0.9),
    ("rows", World { programs: &[ROWS], ..WORLD }, 0.3),
    ("detached", World { programs: &[DETACHED], ..WORLD }, 0.5),
    ("three programs", World { programs: &[CHAIN, CACHED, FAN], ..WORLD }, 0.5),
    ("queue", World { programs: &[CHAIN], workers: 2, ..WORLD }, 0.0),
    ("database pool", World { programs: &[CHAIN], workers: 2, shared: &["SELECT"], ..WORLD }, 0.9),
    ("half known", World { programs: &[CHAIN], known: 0.5, ..WORLD }, 0.4),
    ("background too", World { programs: &[CHAIN], background: SOMETIMES, ..WORLD }, 0.8),
    ("background", World { programs: &[NOTHING], background: SOMETIMES, ..WORLD }, 0.0),
    ("known, background", World { programs: &[CHAIN], known: 1.0, background: SOMETIMES, ..WORLD }, 0.0),
];

/// How many links are right, of how many.
#[derive(Clone, Copy, Default)]
struct Links {
    right: usize,
    all: usize,
}

impl Links {
    fn share(self) -> f64 {
        if self.all == 0 { 1.0 } else { self.right as f64 / self.all as f64 }
    }

    fn add(&mut self, other: Self) {
        self.right += other.right;
        self.all += other.all;
    }
}

/// Lower bounds of confidence of what is told apart.
const BOUNDS: [f64; 4] = [0.5, 0.7, SURE, 0.96];

#[derive(Default)]
struct Tally {
    /// Calls without parent that were made for a request.
    calls: usize,
    links: [Links; BOUNDS.len()],
}

impl Tally {
    fn of(world: &World, seed: u64) -> Self {
        let seen = world.run(seed);
        let calls = seen.sightings.iter().filter(|sighting| sighting.is_orphan());
        let calls = calls.filter(|call| seen.truth[&call.at.span_id].is_some()).count();
        let mut tally = Self { calls, ..Self::default() };
        for link in infer(&seen.sightings, TimeRange::ALL).inferred {
            let is_right = seen.truth[&link.call.at.span_id] == Some(link.request.at.span_id);
            let bucket = BOUNDS.iter().rposition(|bound| link.confidence >= *bound);
            if let Some(links) = bucket.and_then(|bucket| tally.links.get_mut(bucket)) {
                links.add(Links { right: usize::from(is_right), all: 1 });
            }
        }
        tally
    }

    fn sure(&self) -> Links {
        let mut sure = self.links[2];
        sure.add(self.links[3]);
        sure
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        for (links, more) in self.links.iter_mut().zip(other.links) {
            links.add(more);
        }
    }

    fn line(&self) -> String {
        let column = |links: &Links| match links.all {
            0 => "–".to_owned(),
            all => format!("{:.1} % of {all}", 100.0 * links.share()),
        };
        let columns: Vec<String> = self.links.iter().map(column).collect();
        let found = 100.0 * self.sure().right as f64 / self.calls.max(1) as f64;
        format!("{} | {} | {found:.0} %", self.calls, columns.join(" | "))
    }
}

#[test]
fn sure_links_are_right_and_plenty_where_times_tell() {
    let mut whole = Tally::default();
    for (name, world, floor) in WORLDS {
        let tally = Tally::of(&World { requests: 120, ..world }, 1);
        let sure = tally.sure();
        assert!(sure.share() >= 0.9, "{name}: {}", tally.line());
        let found = sure.right as f64 / tally.calls.max(1) as f64;
        assert!(found >= floor, "{name}: {}", tally.line());
        whole.add(&tally);
    }
    assert!(whole.sure().share() >= 0.97, "{}", whole.line());
}

#[test]
fn one_request_at_a_time_tells_nearly_everything() {
    for (name, world, _) in WORLDS.iter().filter(|(_, world, _)| world.background.is_none()) {
        let is_lost = *name == "detached";
        let tally = Tally::of(&World { in_flight: 1, requests: 60, ..*world }, 2);
        let found = tally.sure().right as f64 / tally.calls.max(1) as f64;
        assert!(tally.sure().share() >= 0.98 && (is_lost || found >= 0.7), "{name}: {}", tally.line());
    }
}

/// Prints what `ARCHITECTURE.md` says in one line. It takes a while, and wants an optimised build.
#[test]
#[ignore = "takes minutes without optimisation"]
fn confidence_is_what_it_says() {
    println!("| world | in flight | calls | 0.5–0.7 | 0.7–0.9 | 0.9–0.96 | 0.96 and more | found |");
    let mut whole = Tally::default();
    for (name, world, _) in WORLDS {
        for in_flight in [1, 4, 16, 64] {
            let tally = Tally::of(&World { in_flight, requests: 300.max(in_flight * 20), ..world }, 3);
            println!("| {name} | {in_flight} | {} |", tally.line());
            whole.add(&tally);
        }
    }
    println!("| all | | {} |", whole.line());
    for (links, bound) in whole.links.iter().zip(BOUNDS) {
        assert!(links.share() >= bound - 0.05, "{bound}: {}", whole.line());
    }
}
