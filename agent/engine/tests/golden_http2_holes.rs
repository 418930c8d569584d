//! Recorded sessions of HTTP/2 and gRPC, replayed with holes of all sizes and from the middle: what is told of a request is
//! what was told without a hole, or is left out.

#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;

use std::collections::HashMap;
use std::thread;

use remora_engine::protocol::http2::Http2;
use remora_engine::protocol::{Conversation, MessageKind, Pairing, ParserSettings, Protocol as _, Side};
use replay::{Replay, SIDES, Said, attribute};
use session::Session;

/// What must be right, if it is told.
const KEYS: [&str; 14] = [
    "rpc.system.name",
    "rpc.method",
    "rpc.method_original",
    "rpc.response.status_code",
    "http.request.method",
    "http.response.status_code",
    "url.path",
    "graphql.operation.name",
    "graphql.operation.type",
    "error",
    "remora.sse.events",
    "remora.websocket.client_messages",
    "remora.websocket.server_messages",
    INCOMPLETE,
];
const INCOMPLETE: &str = "remora.incomplete";

fn sessions() -> Vec<Session> {
    session::all().into_iter().filter(|session| session.name.starts_with("http2/")).collect()
}

fn parse(session: &Session, is_start: bool, from: usize, hole: impl Fn(Side) -> (u64, u64)) -> Replay {
    let mut replay = Replay::new(Http2.parser(&Conversation::new(&ParserSettings::default(), is_start)));
    let mut positions = [0u64; 2];
    for (side, bytes) in &session.pieces[..from] {
        positions[*side as usize] += bytes.len() as u64;
    }
    replay = replay.starting_at(positions);
    for (side, bytes) in &session.pieces[from..] {
        let first = positions[*side as usize];
        let last = first + bytes.len() as u64;
        positions[*side as usize] = last;
        let (start, end) = hole(*side);
        let index = |position: u64| usize::try_from(position.clamp(first, last) - first).expect("fits");
        let (start, end) = (index(start), index(end));
        replay.feed(*side, &bytes[..start]);
        replay.lose(*side, (end - start) as u64);
        replay.feed(*side, &bytes[end..]);
    }
    replay.end();
    replay
}

/// The number of a message's stream.
fn number(said: &Said) -> u64 {
    match said.pairing {
        Pairing::Id(number) => number,
        Pairing::InOrder => 1,
    }
}

/// What was told of each request, by the place where it began: the last word on each attribute.
type Told = HashMap<u64, HashMap<&'static str, String>>;

fn told(replay: &Replay) -> Told {
    let mut told = Told::new();
    let mut begun = HashMap::new();
    for said in &replay.said {
        let (attributes, error) = match &said.kind {
            MessageKind::Request(request) => {
                begun.insert(number(said), said.start);
                (&request.attributes, None)
            }
            MessageKind::Response(response) => (&response.attributes, response.outcome.error_type.clone()),
            MessageKind::ResponseEnd(Some(ending)) => {
                let outcome = ending.outcome.as_ref();
                (&ending.attributes, outcome.and_then(|outcome| outcome.error_type.clone()))
            }
            _ => continue,
        };
        let Some(start) = begun.get(&number(said)) else { continue };
        let of_request = told.entry(*start).or_default();
        for key in KEYS {
            let value = if key == "error" { error.clone() } else { attribute(attributes, key) };
            value.map(|value| of_request.insert(key, value));
        }
    }
    for of_request in told.values_mut() {
        // An empty text takes back what was told.
        of_request.retain(|_, value| !value.is_empty());
    }
    told
}

/// Checks that nothing wrong was told.
fn check(expected: &Told, found: &Told, place: &str) {
    for (start, of_request) in found {
        let truth = expected.get(start).unwrap_or_else(|| panic!("{place}: no request at {start}"));
        // What was not seen to be of gRPC is told as HTTP, which it is too.
        let is_below = truth.contains_key("rpc.system.name") && !of_request.contains_key("rpc.system.name");
        // A client has given it up, which was not seen, and what its server said meanwhile was.
        let is_given_up = truth.get("error").is_some_and(|error| error == "CANCELLED");
        let counts_less = |key: &str, value: &str| {
            let count = |text: &str| text.parse::<u64>().ok();
            let is_less = count(value) < truth.get(key).and_then(|truth| count(truth));
            is_less && of_request.contains_key(INCOMPLETE)
        };
        for (key, value) in of_request.iter().filter(|(key, _)| **key != INCOMPLETE) {
            let is_right = truth.get(key) == Some(value)
                || is_below && (*key != "error" || truth.contains_key(key))
                // That the server does not know the method is said by the end of its answer.
                || *key == "rpc.method" && truth.get("rpc.method_original") == Some(value)
                || counts_less(key, value)
                || is_given_up && matches!(*key, "error" | "rpc.response.status_code");
            assert!(is_right, "{place}: {key} of {start}: {value}, not {truth:?}");
        }
    }
}

/// Places and lengths of holes: a fixed sequence of numbers, lengths from one byte to whole calls.
fn holes(length: u64, count: usize) -> impl Iterator<Item = (u64, u64)> {
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random >> 33
    };
    (0..count).map(move |_| {
        let start = next() % length.max(1);
        (start, start + 1 + next() % (1 << (4 + next() % 9)))
    })
}

fn check_sessions(check: impl Fn(&Session, &Told) + Sync) {
    let check = &check;
    thread::scope(|scope| {
        for session in sessions() {
            scope.spawn(move || check(&session, &told(&parse(&session, true, 0, |_| (0, 0)))));
        }
    });
}

#[test]
fn nothing_wrong_is_told_behind_holes() {
    check_sessions(|session, expected| {
        for side in SIDES {
            for (start, end) in holes(session.bytes(side).len() as u64, 150) {
                let hole = |other| if other == side { (start, end) } else { (0, 0) };
                let found = told(&parse(session, true, 0, hole));
                check(expected, &found, &format!("{} without {side:?} {start}..{end}", session.name));
            }
        }
    });
}

#[test]
fn nothing_wrong_is_told_behind_holes_on_both_sides() {
    check_sessions(|session, expected| {
        let lengths = SIDES.map(|side| session.bytes(side).len() as u64);
        let pairs = holes(lengths[0], 150).zip(holes(lengths[1], 151).skip(1));
        for holes in pairs {
            let hole = |side: Side| if side == Side::Client { holes.0 } else { holes.1 };
            let found = told(&parse(session, true, 0, hole));
            check(expected, &found, &format!("{} without {holes:?}", session.name));
        }
    });
}

#[test]
fn nothing_wrong_is_told_of_connections_met_in_the_middle() {
    check_sessions(|session, expected| {
        let step = session.pieces.len().div_ceil(60).max(1);
        for from in (0..session.pieces.len()).step_by(step) {
            let found = told(&parse(session, false, from, |_| (0, 0)));
            check(expected, &found, &format!("{} from piece {from}", session.name));
        }
    });
}

/// Frames of data, by where they stand.
fn data_frames(bytes: &[u8]) -> Vec<(u64, u64)> {
    const PREFACE_BYTES: usize = 24;
    let mut at = if bytes.starts_with(b"PRI") { PREFACE_BYTES } else { 0 };
    let mut found = Vec::new();
    while let Some(&[a, b, c, kind, ..]) = bytes.get(at..at + 9) {
        let end = at + 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        if kind == 0 {
            found.push((at as u64, end as u64));
        }
        at = end;
    }
    found
}

#[test]
fn holes_in_data_cost_no_fields() {
    check_sessions(|session, expected| {
        let is_whole = |told: &Told| {
            told.values().filter(|told| KEYS[1..3].iter().all(|key| told.contains_key(key))).count()
        };
        let (mut worst, mut calls) = (0, 0);
        for side in SIDES {
            let frames = data_frames(&session.bytes(side));
            for &(start, end) in frames.iter().step_by(frames.len().div_ceil(60).max(1)) {
                // From within a frame to its end; what follows is found at once.
                let inside = |other| if other == side { (start + 9, end) } else { (0, 0) };
                let found = told(&parse(session, true, 0, inside));
                check(expected, &found, &format!("{} without {side:?} {start}..{end}", session.name));
                assert_eq!(is_whole(&found), is_whole(expected), "{} without {start}..{end}", session.name);
                // All of it: the frame is not known to have been there.
                let all = |other| if other == side { (start, end) } else { (0, 0) };
                let found = told(&parse(session, true, 0, all));
                check(expected, &found, &format!("{} without {side:?} {start}..{end}", session.name));
                worst = worst.max(is_whole(expected) - is_whole(&found));
                calls = calls.max(is_whole(expected));
            }
        }
        println!("{}: of {calls} calls at most {worst} lose fields", session.name);
    });
}
