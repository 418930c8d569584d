//! Recorded sessions of real clients and servers, replayed whole, in pieces and with holes.
//!
//! `UPDATE_EXPECT=1 cargo test -p remora-engine --test golden` writes what is expected anew.

#[path = "support/replay.rs"]
mod replay;
#[path = "support/session.rs"]
mod session;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use remora_engine::protocol::{
    Conversation, Detection, MessageKind, Parser, ParserSettings, Protocol, REGISTRY, Side,
};
use replay::{Pair, Replay, SIDES, Said, attribute, tell};
use session::Session;

/// Bytes that one test replays of one session, so that large sessions do not take minutes: sessions of up to some
/// kilobytes are replayed for every byte, of larger ones places are chosen, spread evenly.
const MAX_REPLAYED_BYTES: usize = 16 << 20;
/// Replays of the largest sessions all the same.
const MIN_REPLAYS: usize = 64;

fn protocol(session: &Session) -> &'static dyn Protocol {
    *REGISTRY.iter().find(|protocol| protocol.name() == session.protocol).expect("a protocol of this name")
}

fn parser(session: &Session, is_start: bool) -> Box<dyn Parser> {
    protocol(session).parser(&Conversation::new(&ParserSettings::default(), is_start))
}

fn play(replay: &mut Replay, pieces: &[(Side, Vec<u8>)]) {
    for (side, bytes) in pieces {
        replay.feed(*side, bytes);
    }
    replay.end();
}

fn whole(session: &Session) -> Replay {
    let mut replay = Replay::new(parser(session, true));
    play(&mut replay, &session.pieces);
    replay
}

fn told(replay: &Replay) -> String {
    let mut text: String = replay.said.iter().map(|said| tell(&said.kind) + "\n").collect();
    if replay.is_opaque {
        text.push_str("opaque\n");
    }
    text
}

/// Returns those of `pairs` that are none of `expected`. A request is told by its first byte, a response by its last;
/// of a response that was cut only the first byte is known, which lies behind the response before.
fn wrong(pairs: &[Pair], expected: &[Pair]) -> Vec<(u64, u64)> {
    let before = |end: u64| {
        expected.iter().map(|pair| pair.response.end).filter(|&other| other < end).max().unwrap_or(0)
    };
    let is_same = |found: &Pair, pair: &Pair| match (found.response.is_cut, pair.response.end) {
        (true, end) => (before(end)..end).contains(&found.response.start),
        // Where its beginning is missing, a response is told at its end.
        (false, end) => {
            found.response.end == end || pair.ended == Some(found.response.end) || pair.is_given_up
        }
    };
    let is_expected = |found: &&Pair| {
        expected.iter().any(|pair| pair.request.start == found.request.start && is_same(found, pair))
    };
    pairs
        .iter()
        .filter(|found| !is_expected(found))
        .map(|pair| (pair.request.start, pair.response.end))
        .collect()
}

/// Returns those of `all` replays that are affordable, spread evenly.
fn affordable<T>(session: &Session, all: Vec<T>) -> impl Iterator<Item = T> {
    let length: usize = session.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
    let replays = (MAX_REPLAYED_BYTES / length.max(1)).max(MIN_REPLAYS);
    let step = all.len().div_ceil(replays).max(1);
    all.into_iter().step_by(step)
}

/// Returns all places at which a piece can be cut in two.
fn cuts(session: &Session) -> Vec<(usize, usize)> {
    let of_piece = |(at, (_, bytes)): (usize, &(Side, Vec<u8>))| (1..bytes.len()).map(move |cut| (at, cut));
    session.pieces.iter().enumerate().flat_map(of_piece).collect()
}

/// Checks all sessions, several at a time.
fn check_all(check: impl Fn(&Session) + Sync) {
    let sessions = session::all();
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(session) = sessions.get(next.fetch_add(1, Ordering::Relaxed)) {
            check(session);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
}

#[test]
fn messages_are_as_expected() {
    for session in session::all() {
        let replay = whole(&session);
        assert_eq!(replay.broken, [""; 0], "{}", session.name);
        assert!(replay.is_opaque || replay.unread() == [0, 0], "{} is not read to its end", session.name);
        let path = session::folder().join(format!("{}.expected", session.name));
        expect_test::expect_file![path].assert_eq(&told(&replay));
    }
}

#[test]
fn messages_do_not_depend_on_pieces() {
    check_all(|session| {
        let expected = told(&whole(session));
        for window in [1, 2, 3, 7, 61] {
            let mut replay = Replay::new(parser(session, true));
            for (side, bytes) in &session.pieces {
                bytes.chunks(window).for_each(|part| replay.feed(*side, part));
            }
            replay.end();
            assert_eq!(told(&replay), expected, "{} by {window}", session.name);
        }
        for (at, cut) in affordable(session, cuts(session)) {
            let (side, bytes) = &session.pieces[at];
            let mut replay = Replay::new(parser(session, true));
            session.pieces[..at].iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
            replay.feed(*side, &bytes[..cut]);
            replay.feed(*side, &bytes[cut..]);
            play(&mut replay, &session.pieces[at + 1..]);
            assert_eq!(told(&replay), expected, "{} piece {at} cut at {cut}", session.name);
        }
    });
}

/// Replays a session without the bytes of `side` from `start` to `end`, and checks that all pairs are right.
fn check_hole(session: &Session, expected: &[Pair], side: Side, start: u64, end: u64) {
    for resyncs_both in [true, false] {
        let mut replay = Replay::new(parser(session, true));
        if !resyncs_both {
            replay = replay.resyncing_one();
        }
        let mut positions = [0u64; 2];
        for (from, bytes) in &session.pieces {
            let first = positions[*from as usize];
            let last = first + bytes.len() as u64;
            positions[*from as usize] = last;
            if *from != side || last <= start || first >= end {
                replay.feed(*from, bytes);
                continue;
            }
            let index = |position: u64| usize::try_from(position.clamp(first, last) - first).expect("fits");
            replay.feed(*from, &bytes[..index(start)]);
            replay.lose(*from, (index(end) - index(start)) as u64);
            replay.feed(*from, &bytes[index(end)..]);
        }
        replay.end();
        assert_eq!(
            wrong(&replay.pairs, expected),
            [],
            "{} without {side:?} {start}..{end} (both: {resyncs_both})",
            session.name
        );
    }
}

/// Returns holes of one side: each message alone, each with the next, and some anywhere by a fixed sequence of numbers.
fn holes(session: &Session, full: &Replay, side: Side) -> Vec<(u64, u64)> {
    let length = session.bytes(side).len() as u64;
    let mut ends: Vec<u64> = full.said.iter().filter(|said| said.side == side).map(|said| said.end).collect();
    ends.insert(0, 0);
    let of_messages = |count: usize| ends.windows(count + 1).map(move |pair| (pair[0], pair[count]));
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let anywhere = (0..40).map(|_| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = (random >> 33) % length.max(1);
        (start, (start + 1 + (random >> 17) % 200).min(length))
    });
    of_messages(1).chain(of_messages(2)).chain(anywhere).collect()
}

#[test]
fn holes_never_make_wrong_pairs() {
    check_all(|session| {
        let full = whole(session);
        for side in SIDES {
            for (start, end) in affordable(session, holes(session, &full, side)) {
                check_hole(session, &full.pairs, side, start, end);
            }
        }
    });
}

#[test]
fn connections_met_in_the_middle_make_no_wrong_pairs() {
    check_all(|session| {
        let expected = whole(session).pairs;
        for at in affordable(session, (0..session.pieces.len()).collect()) {
            let mut positions = [0u64; 2];
            for (side, bytes) in &session.pieces[..at] {
                positions[*side as usize] += bytes.len() as u64;
            }
            let mut replay = Replay::new(parser(session, false)).starting_at(positions);
            play(&mut replay, &session.pieces[at..]);
            assert_eq!(wrong(&replay.pairs, &expected), [], "{} from piece {at}", session.name);
        }
    });
}

#[test]
fn connections_met_in_the_middle_are_read_soon() {
    for name in [
        "dns/dig-tcp",
        "http1/curl-nginx",
        "http2/grpc-go-go",
        "http2/node-node",
        "mysql/connector-c",
        "mysql/connector-c-compressed",
        "mysql/mariadb-connector-j",
        "mysql/pymysql-1",
        "mongodb/node-2",
        "postgresql/psycopg",
        "redis/redis-py-2-1",
        "kafka/confluent-4",
        "amqp/pika-1",
        "nats/nats-py-3",
    ] {
        let session = session::all().into_iter().find(|session| session.name == name).expect(name);
        let all = whole(&session).pairs.len();
        let mut replay = Replay::new(parser(&session, false)).starting_at([0, 0]);
        play(&mut replay, &session.pieces);
        assert!(replay.pairs.len() + 3 >= all, "{name}: {} of {all}", replay.pairs.len());
    }
}

/// Returns what a protocol says of growing beginnings of `bytes`, once it has made up its mind.
fn claim(protocol: &dyn Protocol, bytes: &[u8]) -> Detection {
    let said = (1..=bytes.len().min(300)).map(|end| protocol.detect(&bytes[..end]));
    said.into_iter().find(|&said| said != Detection::Unsure).unwrap_or(Detection::Unsure)
}

#[test]
fn each_protocol_claims_only_its_own() {
    for session in session::all() {
        let mut is_recognised = false;
        for side in SIDES {
            let bytes = session.bytes(side);
            for protocol in REGISTRY {
                if let Detection::Yes(claimed) = claim(*protocol, &bytes) {
                    assert_eq!(protocol.name(), session.protocol, "{} {side:?}", session.name);
                    assert_eq!(claimed, side, "{}", session.name);
                    is_recognised = true;
                }
            }
        }
        assert!(is_recognised, "{}", session.name);
    }
}

#[test]
fn pieces_in_the_middle_are_claimed_by_no_other() {
    for session in session::all() {
        for (side, bytes) in session.pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            for protocol in REGISTRY.iter().filter(|protocol| !session.speaks(protocol.name())) {
                let detection = protocol.detect(bytes);
                assert!(
                    !matches!(detection, Detection::Yes(_)),
                    "{} {side:?}: {} claims {}",
                    session.name,
                    protocol.name(),
                    bytes.escape_ascii()
                );
            }
        }
    }
}

/// Bytes at the end of a long call that are captured besides its beginning.
const TAIL_BYTES: usize = 184;

/// Replays a session of which the kernel captured only the beginning and the end of each piece.
fn captured(session: &Session, capture: usize) -> Replay {
    let mut replay = Replay::new(parser(session, true));
    for (side, bytes) in &session.pieces {
        let missing = bytes.len().saturating_sub(capture + TAIL_BYTES);
        if missing == 0 {
            replay.feed(*side, bytes);
            continue;
        }
        replay.feed(*side, &bytes[..capture]);
        replay.lose(*side, missing as u64);
        replay.feed(*side, &bytes[capture + missing..]);
    }
    replay.end();
    replay
}

/// Returns what must be right about a response, whatever is missing of it.
fn outcome(said: &Said) -> (Option<String>, Option<String>) {
    let MessageKind::Response(response) = &said.kind else { panic!("{:?}", said.kind) };
    let status = attribute(&response.attributes, "http.response.status_code");
    (status, response.outcome.error_type.clone())
}

fn attribute_of(said: &Said, key: &str) -> Option<String> {
    let MessageKind::Response(response) = &said.kind else { return None };
    attribute(&response.attributes, key)
}

fn rows(said: &Said) -> Option<String> {
    attribute_of(said, "db.response.returned_rows")
}

/// Returns how many exchanges there are, and how many survive.
fn survivors(protocol: &str, capture: usize) -> (usize, usize) {
    let (mut all, mut surviving) = (0, 0);
    for session in session::all().into_iter().filter(|session| session.protocol == protocol) {
        let full = whole(&session).pairs;
        let replay = captured(&session, capture);
        assert_eq!(replay.broken, [""; 0], "{} with {capture}", session.name);
        for pair in &replay.pairs {
            let place = format!("{} with {capture}: {:?}", session.name, pair.request);
            let is_same = |whole: &&Pair| whole.request.start == pair.request.start;
            let whole = full.iter().find(is_same).unwrap_or_else(|| panic!("{place} is no request"));
            let is_incomplete = attribute_of(&pair.response, "remora.incomplete").is_some();
            let is_given_up = pair.is_given_up || whole.is_given_up;
            assert!(
                is_incomplete || is_given_up || outcome(&pair.response) == outcome(&whole.response),
                "{place}"
            );
            assert!(
                rows(&pair.response).is_none_or(|rows| Some(rows) == self::rows(&whole.response)),
                "{place}"
            );
        }
        assert_eq!(wrong(&replay.pairs, &full).len(), 0, "{} with {capture}", session.name);
        all += full.len();
        surviving += replay.pairs.len();
    }
    println!("{protocol} with {capture}: {surviving} of {all}");
    (all, surviving)
}

#[test]
fn long_calls_keep_their_exchanges() {
    // Of all exchanges, those that may be lost with each capture.
    for (protocol, lost) in [
        ("dns", [7, 7, 0]),
        ("http1", [12, 0, 0]),
        ("http2", [520, 258, 0]),
        ("mysql", [3, 0, 0]),
        ("mongodb", [0, 0, 0]),
        ("postgresql", [1, 0, 0]),
        ("redis", [96, 0, 0]),
        ("kafka", [0, 0, 0]),
        ("amqp", [11, 0, 0]),
        ("nats", [9, 0, 0]),
    ] {
        for (capture, lost) in [256, 1024, 4096].into_iter().zip(lost) {
            let (all, surviving) = survivors(protocol, capture);
            assert!(surviving + lost >= all, "{protocol} with {capture}: {surviving} of {all}");
        }
    }
}
