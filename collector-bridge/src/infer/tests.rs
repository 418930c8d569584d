#![allow(clippy::indexing_slicing, reason = "a test may panic")]

mod accuracy;
mod simulator;

use std::sync::Arc;

use super::sighting::Role;
use super::*;
use crate::model::{Resource, SpanId, TraceId};
use simulator::{Act, Time, WORLD, World};

const MILLISECOND: u64 = 1_000_000;

fn sighting(id: u64, role: Role, start_ms: u64, took_ms: u64) -> Sighting {
    let label = format!("{}", matches!(role, Role::Request));
    Sighting {
        at: SpanAt { trace_id: TraceId(u128::from(id).to_be_bytes()), span_id: SpanId(id.to_be_bytes()) },
        start_unix_ns: start_ms * MILLISECOND,
        end_unix_ns: (start_ms + took_ms) * MILLISECOND,
        name: "name".into(),
        resource: Arc::new(Resource::default()),
        role,
        label,
    }
}

fn request(id: u64, start_ms: u64, took_ms: u64) -> Sighting {
    sighting(id, Role::Request, start_ms, took_ms)
}

fn orphan(id: u64, start_ms: u64, took_ms: u64) -> Sighting {
    sighting(id, Role::Call { parent: None }, start_ms, took_ms)
}

/// Writes links as `call>request`, with a `!` behind those that are sure.
fn drawn(inference: &Inference) -> String {
    let id = |sighting: &Sighting| u64::from_be_bytes(sighting.at.span_id.0);
    let links = inference.inferred.iter().map(|link| {
        let sure = if link.confidence >= 0.9 { "!" } else { "" };
        format!("{}>{}{sure}", id(&link.call), id(&link.request))
    });
    links.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_lone_call_in_a_lone_request_is_likely_its_own() {
    let inference = infer(&[request(1, 1000, 20), orphan(2, 1005, 5)], TimeRange::ALL);
    assert_eq!(inference.inferred.len(), 1);
    assert!(inference.inferred[0].confidence > 0.7, "{}", inference.inferred[0].confidence);
}

#[test]
fn two_requests_around_a_call_leave_it_open() {
    let inference = infer(&[request(1, 1000, 20), request(3, 1001, 21), orphan(2, 1005, 5)], TimeRange::ALL);
    assert!(inference.inferred[0].confidence < 0.9, "{inference:?}");
}

#[test]
fn what_no_request_lies_around_gets_no_link() {
    let seen = [
        request(1, 1000, 20),
        // Before, across the end, after.
        orphan(2, 900, 5),
        orphan(3, 1015, 6),
        orphan(4, 1021, 1),
    ];
    let inference = infer(&seen, TimeRange::ALL);
    assert_eq!((inference.orphans, inference.outside, inference.inferred.len()), (3, 3, 0));
}

#[test]
fn only_calls_within_the_range_are_linked_and_all_tell_of_habits() {
    let scene: Vec<Sighting> = (0..40)
        .flat_map(|number| [request(1 + number, 100 * number, 20), orphan(100 + number, 100 * number + 2, 5)])
        .collect();
    let range = TimeRange { from_unix_ns: 3000 * MILLISECOND, until_unix_ns: 3200 * MILLISECOND };
    assert_eq!(drawn(&infer(&scene, range)), "130>31! 131>32!");
}

#[test]
fn a_known_parent_leaves_no_room_for_a_second_call() {
    let mut scene = Vec::new();
    for number in 0..40_u64 {
        let known = Role::Call { parent: Some(SpanId((1 + number).to_be_bytes())) };
        scene.extend([
            request(1 + number, 100 * number, 20),
            sighting(100 + number, known, 100 * number + 2, 5),
        ]);
    }
    scene.extend([orphan(200, 510, 2), orphan(201, 1250, 2), orphan(202, 3370, 2)]);
    let inference = infer(&scene, TimeRange::ALL);
    let sure = inference.inferred.iter().filter(|link| link.confidence >= 0.5).count();
    assert_eq!((inference.orphans, inference.outside, sure), (3, 2, 0), "{}", drawn(&inference));
}

#[test]
fn the_order_of_arrival_and_repeats_change_nothing() {
    const PROGRAM: &[Act] =
        &[Act::Call("GET", Time::AtLeast(1.0, 2.0)), Act::Call("SELECT", Time::AtLeast(1.0, 1.0))];
    let seen = World { programs: &[PROGRAM], requests: 60, ..WORLD }.run(5).sightings;
    let expected = infer(&seen, TimeRange::ALL);
    assert!(expected.inferred.len() > 100);
    let mut other: Vec<Sighting> = seen.iter().rev().chain(&seen[..7]).cloned().collect();
    other.rotate_left(31);
    let found = infer(&other, TimeRange::ALL);
    let facts = |inference: &Inference| -> Vec<(SpanAt, SpanAt, u64)> {
        let links = inference.inferred.iter();
        links.map(|link| (link.call.at, link.request.at, link.confidence.to_bits())).collect()
    };
    assert_eq!(facts(&found), facts(&expected));
}

#[test]
fn hostile_spans_do_no_harm() {
    let mut scene: Vec<Sighting> = (0..200).map(|id| request(1 + id, id / 100, 1000 + id % 100)).collect();
    // More kinds than are told apart, and times that cannot be.
    for number in 0..100 {
        let mut call = orphan(1000 + number, 500 + number, number % 7);
        call.label = format!("kind {number}");
        scene.push(call);
    }
    let mut endless = orphan(3000, 0, 0);
    (endless.start_unix_ns, endless.end_unix_ns) = (0, u64::MAX);
    let mut last = request(3001, 0, 0);
    (last.start_unix_ns, last.end_unix_ns) = (u64::MAX, u64::MAX);
    scene.extend([endless, last]);
    let inference = infer(&scene, TimeRange::ALL);
    assert_eq!((inference.orphans, inference.outside, inference.crowded), (101, 1, 100));
    let few: Vec<Sighting> = scene.into_iter().skip(150).collect();
    let inference = infer(&few, TimeRange::ALL);
    assert!(inference.inferred.iter().all(|link| (0.0..=MAX_CONFIDENCE).contains(&link.confidence)));
}
