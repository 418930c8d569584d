//! How often timing is right, and whether it knows.

use super::simulator::{Act, Time, WORLD, World};
use crate::infer::infer;
use crate::model::TimeRange;

const HTTP: Time = Time::AtLeast(2.0, 3.0);
const SQL: Time = Time::AtLeast(0.5, 1.0);
const REDIS: Time = Time::AtLeast(0.1, 0.1);

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

const WORLDS: &[(&str, World)] = &[
    ("chain", World { programs: &[CHAIN], ..WORLD }),
    ("chain, noisy", World { programs: &[CHAIN], jitter: Time::AtLeast(0.05, 0.6), ..WORLD }),
    ("paced", World { programs: &[PACED], ..WORLD }),
    ("fan", World { programs: &[FAN], ..WORLD }),
    ("cached", World { programs: &[CACHED], ..WORLD }),
    ("retried", World { programs: &[RETRIED], ..WORLD }),
    ("rows", World { programs: &[ROWS], ..WORLD }),
    ("detached", World { programs: &[DETACHED], ..WORLD }),
    ("three programs", World { programs: &[CHAIN, CACHED, FAN], ..WORLD }),
    ("queue", World { programs: &[CHAIN], workers: 2, ..WORLD }),
    ("database pool", World { programs: &[CHAIN], workers: 2, shared: &["SELECT"], ..WORLD }),
    (
        "background",
        World { programs: &[NOTHING], background: Some(("get", Time::AtLeast(1.0, 3.0))), ..WORLD },
    ),
    (
        "background too",
        World { programs: &[CHAIN], background: Some(("get", Time::AtLeast(1.0, 6.0))), ..WORLD },
    ),
    ("half known", World { programs: &[CHAIN], known: 0.5, ..WORLD }),
    (
        "known, background",
        World { programs: &[CHAIN], known: 1.0, background: Some(("get", Time::AtLeast(1.0, 6.0))), ..WORLD },
    ),
];

#[derive(Default)]
struct Tally {
    calls: usize,
    /// Right and all, by tenth of confidence.
    tenths: [(usize, usize); 10],
}

impl Tally {
    fn add(&mut self, world: &World, seed: u64) {
        let seen = world.run(seed);
        let inference = infer(&seen.sightings, TimeRange::ALL);
        self.calls += seen.truth.values().flatten().count();
        for inferred in inference.inferred {
            let is_right = seen.truth[&inferred.call.at.span_id] == Some(inferred.request.at.span_id);
            let tenth = &mut self.tenths[(inferred.confidence * 10.0) as usize];
            tenth.0 += usize::from(is_right);
            tenth.1 += 1;
        }
    }
    fn line(&self) -> String {
        self.tenths
            .iter()
            .map(|(right, all)| {
                if *all == 0 {
                    format!("{:>12}", "-")
                } else {
                    format!("{:>5.1}%/{:<5}", 100.0 * *right as f64 / *all as f64, all)
                }
            })
            .collect()
    }
}

#[test]
fn table() {
    let mut whole = Tally::default();
    for (name, world) in WORLDS {
        if let Ok(only) = std::env::var("ONLY")
            && !only.split(',').any(|only| only == *name)
        {
            continue;
        }
        for in_flight in [1, 4, 16, 64] {
            let world = World { in_flight, requests: 300.max(in_flight * 20), ..*world };
            let began = std::time::Instant::now();
            let mut tally = Tally::default();
            tally.add(&world, 1);
            whole.add(&world, 1);
            println!("{name:18} {in_flight:3} {:5} {} {:?}", tally.calls, tally.line(), began.elapsed() / 2);
        }
    }
    println!("{}", whole.line());
}
