//! Conversations over TLS: their messages are those of the plaintext, both ends find the same ids, and where something is
//! missing they find none rather than others.

#[path = "support/peers.rs"]
mod peers;
#[path = "support/session.rs"]
mod session;
#[path = "support/tls.rs"]
mod tls;

use std::collections::BTreeSet;

use bytes::Bytes;
use peers::Peers;
use remora_engine::command::Command;
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role,
};
use remora_engine::protocol::Side;
use remora_engine::semconv::Value;
use remora_engine::span::{Span, SpanKind};
use remora_engine::{Engine, Settings};
use tls::{Chaos, Dice, Losses, Manner, World};

const MANNERS: [Manner; 4] = [Manner::Nested, Manner::ReadAhead, Manner::Memory, Manner::OneWay];

/// Bytes of the paths that are asked for.
const PATH_BYTES: usize = 7;

fn text(span: &Span, key: &str) -> Option<String> {
    let (_, value) = span.attributes.iter().find(|(found, _)| found == key)?;
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

fn all_manners() -> impl Iterator<Item = [Manner; 2]> {
    MANNERS.into_iter().flat_map(|client| MANNERS.map(|server| [client, server]))
}

fn request(number: usize, body: usize) -> Vec<u8> {
    let head = format!("POST /r{number:05} HTTP/1.1\r\nHost: api.example\r\nContent-Length: {body}\r\n\r\n");
    [head.as_bytes(), &vec![b'x'; body]].concat()
}

fn response(body: usize) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n");
    [head.as_bytes(), &vec![b'y'; body]].concat()
}

/// The path of a request, at the end of the URL at its client; a part of it where the rest is missing.
fn path(span: &Span) -> String {
    let path = text(span, "url.path").or_else(|| text(span, "url.full")).unwrap_or_default();
    let begin = path.find("/r").unwrap_or(path.len());
    path[begin..path.len().min(begin + PATH_BYTES)].to_owned()
}

/// Returns how many requests both ends have told with one id; none may have that of another.
fn joined(spans: &[Vec<Span>; 2]) -> usize {
    let [client, server] = spans;
    let mut joined = 0;
    for called in server.iter().filter(|span| span.kind == SpanKind::Server) {
        let Some(expected) = text(called, "remora.parent.expected") else { continue };
        let is_caller = |span: &&Span| span.span_id.to_string() == expected;
        if let Some(caller) = client.iter().find(is_caller) {
            let (asked, served) = (path(caller), path(called));
            assert!(asked.starts_with(&served) || served.starts_with(&asked), "{asked} is not {served}");
            joined += 1;
        }
    }
    joined
}

#[test]
fn both_ends_find_the_same_ids() {
    for (seed, manners) in all_manners().enumerate() {
        let mut world = World::new(seed as u64 + 1, manners, Losses::default());
        world.shake_hands();
        for number in 0..40 {
            world.record_bytes = [16_384, 16_384, 1_400, 100][number % 4];
            world.say(Side::Client, &request(number, [0, 3_000, 1_500, 900][number % 4]));
            world.say(Side::Server, &response(number * 700));
        }
        let spans = world.finish();
        assert_eq!(spans.each_ref().map(Vec::len), [40, 40], "{manners:?}");
        assert_eq!(joined(&spans), 40, "{manners:?}");
    }
}

#[test]
fn large_writes_are_found_by_their_first_record() {
    for (seed, manners) in all_manners().enumerate() {
        let mut world = World::new(seed as u64 + 1, manners, Losses::default());
        world.shake_hands();
        for number in 0..30 {
            // Agents do not copy the headers of the other records of a call.
            world.say(Side::Client, &request(number, [0, 40_000, 100][number % 3]));
            world.say(Side::Server, &response(number * 3_000));
            world.pause(110_000_000);
        }
        let spans = world.finish();
        assert_eq!(spans.each_ref().map(Vec::len), [30, 30], "{manners:?}");
        let joined = joined(&spans);
        assert!(joined >= 8, "{manners:?}: only {joined}");
    }
}

#[test]
fn pipelined_requests_have_ids_of_their_own() {
    for (seed, manners) in all_manners().enumerate() {
        let mut world = World::new(seed as u64 + 1, manners, Losses::default());
        world.shake_hands();
        for round in 0..10 {
            let requests: Vec<_> = (0..5).map(|number| request(round * 5 + number, 0)).collect();
            let calls: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
            world.say_all(Side::Client, &calls);
            (0..5).for_each(|_| world.say(Side::Server, &response(0)));
        }
        let spans = world.finish();
        assert_eq!(spans.each_ref().map(Vec::len), [50, 50], "{manners:?}");
        assert_eq!(joined(&spans), 50, "{manners:?}");
    }
}

#[test]
fn the_first_records_are_found_among_many_of_one_call() {
    let mut world = World::new(1, [Manner::Nested, Manner::OneWay], Losses::default());
    world.hide(Side::Server);
    world.shake_hands();
    world.show_new(Side::Server);
    let requests: Vec<_> = (0..45).map(|number| request(number, 0)).collect();
    let calls: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
    world.say_all(Side::Client, &calls);
    (0..45).for_each(|_| world.say(Side::Server, &response(0)));
    let spans = world.finish();
    assert_eq!(spans.each_ref().map(Vec::len), [45, 45]);
    assert_eq!(joined(&spans), 45);
}

#[test]
fn spans_say_what_is_known_of_the_encryption() {
    let mut world = World::new(1, [Manner::Nested; 2], Losses::default());
    world.shake_hands();
    world.say(Side::Client, &request(1, 0));
    world.say(Side::Server, &response(0));
    let [client, server] = world.finish();
    for span in [&client[0], &server[0]] {
        let known = ["protocol.name", "protocol.version", "cipher", "client.server_name", "established"]
            .map(|key| text(span, &format!("tls.{key}")).unwrap_or_default());
        assert_eq!(known, ["tls", "1.3", "TLS_AES_256_GCM_SHA384", "api.example", "Bool(true)"]);
    }
    assert_eq!(text(&server[0], "url.scheme").as_deref(), Some("https"));
    assert_eq!(text(&client[0], "url.full").as_deref(), Some("https://api.example/r00001"));
}

#[test]
fn what_is_missing_makes_no_wrong_pair() {
    let mut told = 0;
    for seed in 0..100 {
        for manners in all_manners() {
            let losses = [(30, 0), (0, 30), (30, 30)][seed % 3];
            let losses = Losses { ciphertext: losses.0, plaintext: losses.1 };
            let mut world = World::new(seed as u64 * 77 + 5, manners, losses);
            world.shake_hands();
            for round in 0..12 {
                // Requests of one length are most easily taken for one another.
                let requests: Vec<_> = (0..=round % 3).map(|at| request(round * 3 + at, 0)).collect();
                let calls: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
                world.say_all(Side::Client, &calls);
                calls.iter().for_each(|_| world.say(Side::Server, &response(round % 2)));
                world.pause([0, 300_000_000][round % 2]);
            }
            told += joined(&world.finish());
        }
    }
    assert!(told > 8_000, "only {told} are joined");
}

#[test]
fn connections_without_plaintext_have_no_spans_and_are_counted() {
    let mut world = World::new(1, [Manner::Nested; 2], Losses::default());
    world.hide(Side::Server);
    world.shake_hands();
    world.say(Side::Client, &request(1, 0));
    world.say(Side::Server, &response(0));
    let counted = |label| [Side::Client, Side::Server].map(|side| world.counter(side, label));
    assert_eq!(counted("tls_connections_visible"), [1, 0]);
    assert_eq!(counted("tls_connections_unseen"), [0, 1]);
    let unseen = |world: &World, side| {
        let all = world.unseen(side);
        all.into_iter()
            .map(|(kind, counts)| {
                (kind.server, kind.version, kind.protocols, kind.reason, counts.connections)
            })
            .collect::<Vec<_>>()
    };
    let expected = vec![("api.example".to_owned(), "1.3", "h2,http/1.1".to_owned(), "library_not_seen", 1)];
    assert_eq!((unseen(&world, Side::Client), unseen(&world, Side::Server)), (vec![], expected.clone()));
    assert!(world.unseen(Side::Server)[0].1.bytes.iter().all(|bytes| *bytes > 0));
    let connections = |world: &World| {
        [Side::Client, Side::Server].map(|side| {
            let all = world.connections(side);
            all.into_iter()
                .map(|(kind, counts)| (kind.server, kind.reason, counts.connections))
                .collect::<Vec<_>>()
        })
    };
    let both = ["", "library_not_seen"].map(|reason| vec![("api.example".to_owned(), reason, 1)]);
    assert_eq!(connections(&world), both);
    world.close();
    assert_eq!(unseen(&world, Side::Server), expected, "it is still told once it has ended");
    assert_eq!(connections(&world), both);
    let [client, server] = world.finish();
    let names = |spans: &[Span]| spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&client), names(&server)), (vec!["POST".to_owned()], vec!["connection".to_owned()]));
    assert_eq!(text(&server[0], "tls.client.server_name").as_deref(), Some("api.example"));
    assert_eq!(text(&server[0], "tls.protocol.version").as_deref(), Some("1.3"));
}

#[test]
fn a_handshake_that_asks_nothing_is_told_as_that() {
    let mut world = World::new(1, [Manner::Nested; 2], Losses::default());
    world.shake_hands();
    let reasons = |world: &World| {
        [Side::Client, Side::Server]
            .map(|side| world.unseen(side).iter().map(|(kind, _)| kind.reason).collect::<Vec<_>>())
    };
    let expected: [Vec<&str>; 2] = [vec!["nothing_asked"], vec!["nothing_asked"]];
    assert_eq!(reasons(&world), expected);
    world.close();
    assert_eq!(reasons(&world), expected);
}

/// Has 5,000 processes say hello, which are answered or not; returns how many hellos were forgotten too soon.
fn hellos_forgotten(is_answered: bool) -> u64 {
    let mut engine = Engine::new(Settings::default());
    for sock in 1..=5000_u64 {
        let executor = Executor { tgid: sock as u32, tid: sock as u32, ..Executor::default() };
        let connection = ConnectionId { sock, inode: 1 };
        let mut tell = |kind| engine.handle_event(Event { connection, at_ns: sock * 1_000_000, kind });
        let [local, peer] = [40_000, 443].map(|port| Endpoint::Ip(([127, 0, 0, 1], port).into()));
        let (is_datagram, peer_sock, first) = (false, None, None);
        let role = Role::Connected;
        tell(EventKind::Opened(Opened { executor, local, peer, role, is_datagram, peer_sock, first }));
        let client = include_bytes!("../fixtures/tls/tls13.client").as_slice();
        let server = include_bytes!("../fixtures/tls/tls13.server").as_slice();
        let said = [(Direction::Egress, client), (Direction::Ingress, server)];
        for (direction, bytes) in said.into_iter().take(if is_answered { 2 } else { 1 }) {
            tell(moved(direction, bytes, executor));
        }
    }
    let counters = engine.counters();
    counters.iter().find(|counter| counter.label == "tls_hello_not_remembered").expect("the counter").value
}

#[test]
fn hellos_that_wait_for_being_passed_on_are_bounded_and_counted_when_forgotten() {
    assert_eq!((hellos_forgotten(true), hellos_forgotten(false)), (0, 4096));
}

/// The first bytes of one direction of a connection.
fn moved(direction: Direction, bytes: &'static [u8], executor: Executor) -> EventKind {
    EventKind::Data(Data {
        direction,
        position: 1000,
        reverse_position: 1000,
        is_absolute: true,
        length: bytes.len() as u32,
        bytes: Bytes::from_static(bytes),
        inserted: None,
        executor,
        peer: None,
    })
}

/// One process with two connections between these ports, on each of which it moves what the others say. What it writes to
/// one it has read from the other.
fn reasons_of_two_ends(ports: [[u16; 2]; 2]) -> Vec<&'static str> {
    let mut engine = Engine::new(Settings::default());
    let executor = Executor { tgid: 5, tid: 5, ..Executor::default() };
    let connections = [1, 2].map(|sock| ConnectionId { sock, inode: 1 });
    let mut at_ns = 0;
    let mut tell = |engine: &mut Engine, connection, kind| {
        at_ns += 1_000_000;
        engine.handle_event(Event { connection, at_ns, kind });
    };
    for ((connection, [local, peer]), role) in
        connections.into_iter().zip(ports).zip([Role::Accepted, Role::Connected])
    {
        let [local, peer] = [local, peer].map(|port| Endpoint::Ip(([127, 0, 0, 1], port).into()));
        let (is_datagram, peer_sock, first) = (false, None, None);
        let opened = Opened { executor, local, peer, role, is_datagram, peer_sock, first };
        tell(&mut engine, connection, EventKind::Opened(opened));
    }
    let client = include_bytes!("../fixtures/tls/tls13.client");
    let server = include_bytes!("../fixtures/tls/tls13.server");
    let [accepted, connected] = connections;
    let (inwards, outwards) = (Direction::Ingress, Direction::Egress);
    for (connection, direction, bytes) in [
        (accepted, inwards, &client[..]),
        (connected, outwards, client),
        (connected, inwards, server),
        (accepted, outwards, server),
    ] {
        tell(&mut engine, connection, moved(direction, bytes, executor));
    }
    engine
        .unseen_tls()
        .iter()
        .flat_map(|(kind, counts)| vec![kind.reason; counts.connections as usize])
        .collect()
}

#[test]
fn what_a_process_passes_on_is_told_as_relayed() {
    assert_eq!(reasons_of_two_ends([[8080, 40_000], [40_001, 443]]), ["relayed", "relayed"]);
    let itself = reasons_of_two_ends([[443, 40_000], [40_000, 443]]);
    assert_eq!(itself, ["library_not_seen", "library_not_seen"], "it talks to itself");
}

#[test]
fn a_connection_of_several_objects_is_given_up() {
    let mut world = World::new(1, [Manner::Nested; 2], Losses::default());
    world.shake_hands();
    let talk = |world: &mut World, number| {
        world.say(Side::Client, &request(number, 0));
        world.say(Side::Server, &response(0));
    };
    talk(&mut world, 1);
    world.mix(Side::Client);
    (2..5).for_each(|number| talk(&mut world, number));
    assert_eq!(world.counter(Side::Client, "tls_mixed"), 1);
    let spans = world.finish();
    assert_eq!(spans[0].iter().map(path).collect::<Vec<_>>(), ["/r00001"]);
    assert_eq!((spans[1].len(), joined(&spans)), (4, 1));
}

/// Requests of one length look the same on the wire: those that were read before a library was found are no reason to take
/// the later ones for them.
#[test]
fn requests_before_a_library_was_found_shift_no_others() {
    for (seed, manners) in all_manners().enumerate() {
        for late in [Side::Server, Side::Client] {
            let mut world = World::new(seed as u64 + 1, manners, Losses::default());
            world.hide(late);
            world.shake_hands();
            let talk = |world: &mut World, number| {
                world.say(Side::Client, &request(number, 0));
                world.say(Side::Server, &response(0));
                world.pause(60_000_000);
            };
            (0..7).for_each(|number| talk(&mut world, number));
            world.show(late);
            (7..60).for_each(|number| talk(&mut world, number));
            let spans = world.finish();
            assert_eq!(spans[1 - late as usize].len(), 60, "{manners:?}");
            assert!(spans[late as usize].len() >= 52, "{manners:?}: {}", spans[late as usize].len());
            let joined = joined(&spans);
            assert!(joined >= 40, "{manners:?}, {late:?} late: only {joined}");
        }
    }
}

/// Whether a library does its own I/O or works in memory: that it was found shows when what it says belongs to no connection.
#[test]
fn connections_without_plaintext_are_copied_no_more_until_there_is_some() {
    for manner in MANNERS {
        let mut world = World::new(1, [Manner::Nested, manner], Losses::default());
        world.hide(Side::Server);
        world.shake_hands();
        let talk = |world: &mut World, number| {
            world.say(Side::Client, &request(number, 0));
            world.say(Side::Server, &response(0));
            world.pause(100_000_000);
            world.commands(Side::Server)
        };
        let given_up: Vec<Command> = (0..150).flat_map(|number| talk(&mut world, number)).collect();
        let is_ignored =
            |commands: &[Command]| commands.iter().any(|command| matches!(command, Command::Ignore(_)));
        assert!(is_ignored(&given_up) && !is_ignored(&world.commands(Side::Client)), "{manner:?}");
        assert_eq!(world.counter(Side::Server, "tls_unseen"), 1);
        world.show(Side::Server);
        (150..250).for_each(|number| drop(talk(&mut world, number)));
        let spans = world.finish();
        assert!(spans[1].len() >= 60, "{manner:?}: {}", spans[1].len());
        let joined = joined(&spans);
        assert!(joined >= 55, "{manner:?}: only {joined}");
    }
}

/// What a client and a server of PostgreSQL say after they have agreed on encryption.
fn postgresql() -> [(Side, Vec<u8>); 4] {
    let startup = b"\0\0\0\x1f\0\x03\0\0user\0me\0database\0shop\0\0";
    let ready = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";
    let query = b"Q\0\0\0\x0dSELECT 1\0";
    let rows = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
    let said =
        [(Side::Client, &startup[..]), (Side::Server, ready), (Side::Client, query), (Side::Server, rows)];
    said.map(|(side, bytes)| (side, bytes.to_vec()))
}

#[test]
fn a_database_that_turns_to_tls_is_read_on() {
    for manners in all_manners() {
        let mut world = World::new(3, manners, Losses::default());
        world.say_clear(Side::Client, b"\0\0\0\x08\x04\xd2\x16\x2f");
        world.say_clear(Side::Server, b"S");
        world.shake_hands();
        for (side, bytes) in postgresql() {
            world.say(side, &bytes);
        }
        let spans = world.finish();
        for spans in &spans {
            let told: Vec<_> =
                spans.iter().map(|span| (text(span, "db.query.text"), text(span, "db.namespace"))).collect();
            assert_eq!(told, [(Some("SELECT ?".to_owned()), Some("shop".to_owned()))], "{manners:?}");
            assert_eq!(text(&spans[0], "tls.protocol.version").as_deref(), Some("1.3"));
        }
        assert_eq!(text(&spans[1][0], "remora.parent.expected"), Some(spans[0][0].span_id.to_string()));
    }
}

#[test]
fn mysql_goes_on_with_its_login() {
    let capabilities = (0x0008_0a08_u32 | 0x8000).to_le_bytes();
    let packet = |sequence: u8, payload: &[u8]| {
        let length = (payload.len() as u32).to_le_bytes();
        [&length[..3], &[sequence], payload].concat()
    };
    let greeting = b"\x0a8.0.15\0\x01\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xff";
    let request = [&capabilities[..], &[0; 28]].concat();
    let login = [&request[..], b"me\0\x03abcshop\0"].concat();
    let ok = b"\0\0\0\x02\0\0\0";
    for manners in all_manners() {
        let mut world = World::new(3, manners, Losses::default());
        world.say_clear(Side::Server, &packet(0, greeting));
        world.say_clear(Side::Client, &packet(1, &request));
        world.shake_hands();
        world.say(Side::Client, &packet(2, &login));
        world.say(Side::Server, &packet(3, ok));
        world.say(Side::Client, &packet(0, b"\x03DO 1"));
        world.say(Side::Server, &packet(1, ok));
        for spans in world.finish() {
            let told: Vec<_> =
                spans.iter().map(|span| (text(span, "db.query.text"), text(span, "db.namespace"))).collect();
            assert_eq!(told, [(Some("DO ?".to_owned()), Some("shop".to_owned()))], "{manners:?}");
        }
    }
}

#[test]
fn a_tunnel_through_a_proxy_is_read_at_its_client() {
    let mut world = World::new(3, [Manner::Nested; 2], Losses::default());
    world.hide(Side::Server);
    world.say_clear(Side::Client, b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n");
    world.say_clear(Side::Server, b"HTTP/1.1 200 OK\r\n\r\n");
    world.shake_hands();
    world.say(Side::Client, &request(1, 0));
    world.say(Side::Server, &response(0));
    let [client, server] = world.finish();
    let names = |spans: &[Span]| spans.iter().map(|span| span.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&client), ["CONNECT", "POST"]);
    assert_eq!(names(&server), ["CONNECT"]);
}

#[test]
fn connections_met_midway_show_how_much_longer_their_records_are() {
    for manners in all_manners() {
        let mut world = World::midway(5, manners);
        for number in 0..30 {
            world.say(Side::Client, &request(number, number));
            world.say(Side::Server, &response(number));
            world.pause(400_000_000);
        }
        let spans = world.finish();
        assert!(
            spans.iter().all(|spans| spans.len() >= 27),
            "{manners:?} {:?}",
            spans.each_ref().map(Vec::len)
        );
        let joined = joined(&spans);
        let is_alone = manners[1] != Manner::Nested;
        assert!(joined >= if is_alone { 1 } else { 15 }, "{manners:?}: only {joined}");
    }
}

/// Whoever moves the bytes: what was missed before holds up nothing.
#[test]
fn connections_met_midway_are_joined_soon() {
    for manners in all_manners() {
        let mut world = World::midway(5, manners);
        for number in 0..60 {
            world.say(Side::Client, &request(number, 0));
            world.say(Side::Server, &response(0));
            world.pause(1_000_000);
        }
        let spans = world.finish();
        let told = spans.each_ref().map(Vec::len);
        assert!(told.iter().all(|told| *told >= 57), "{manners:?}: {told:?}");
        let joined = joined(&spans);
        assert!(joined >= 50, "{manners:?}: only {joined}");
    }
}

/// What a span says that does not depend on addresses and encryption.
fn tell(span: &Span) -> String {
    const LEFT_OUT: [&str; 7] = [
        "tls.",
        "remora.message.queue_time",
        "url.scheme",
        "url.full",
        "remora.parent",
        "server.",
        "client.",
    ];
    let mut told = vec![format!("{:?} {} {:?}", span.kind, span.protocol, span.status)];
    let is_told =
        |key: &str| !key.starts_with("network.peer") && !LEFT_OUT.iter().any(|out| key.starts_with(out));
    let attributes = span.attributes.iter().filter(|(key, _)| is_told(key));
    told.extend(attributes.map(|(key, value)| format!("{key}={value:?}")));
    told.sort();
    told.join(" ")
}

#[test]
fn recorded_sessions_say_over_tls_what_they_say_in_the_clear() {
    /// Longer sessions take long.
    const MAX_BYTES: usize = 24 << 10;
    let mut protocols = BTreeSet::new();
    let mut counts = [0; 2];
    for (number, session) in session::all().into_iter().enumerate() {
        let bytes: usize = session.pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        if bytes > MAX_BYTES || session.protocol == "dns" || session.name.contains("encrypted") {
            continue;
        }
        let mut clear = Peers::new();
        let mut link = clear.open(40_000, 443, true);
        let mut world = World::new(
            number as u64 + 1,
            MANNERS.map(|_| MANNERS[number % 3])[..2].try_into().unwrap(),
            Losses::default(),
        );
        world.record_bytes = [16_384, 1_000][number % 2];
        world.shake_hands();
        for (side, bytes) in session.pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            clear.say(&mut link, *side, bytes);
            world.say(*side, bytes);
        }
        let (clear, encrypted) = (clear.finish(), world.finish());
        let is_expected = |span: &Span, clients: &[Span]| {
            let expected = text(span, "remora.parent.expected");
            clients.iter().any(|client| Some(client.span_id.to_string()) == expected)
        };
        // A first request that only its answer shows is known to the server before it is to the client.
        let has_parent = |span: &&Span| span.parent.is_some() || is_expected(span, &clear);
        let with_parent = clear.iter().filter(|span| span.tgid == 2).filter(has_parent).count();
        let joined = encrypted[1].iter().filter(|span| is_expected(span, &encrypted[0])).count();
        assert!(joined <= with_parent, "{} {joined} {with_parent}", session.name);
        counts = [counts[0] + joined, counts[1] + with_parent];
        for (tgid, spans) in [1, 2].into_iter().zip(&encrypted) {
            // Pieces differ, and with them which of the spans that end at once comes first.
            let mut expected: Vec<_> = clear.iter().filter(|span| span.tgid == tgid).map(tell).collect();
            let mut found: Vec<_> = spans.iter().map(tell).collect();
            expected.sort();
            found.sort();
            assert_eq!(found, expected, "{} {tgid}", session.name);
            if !found.is_empty() {
                protocols.insert(session.protocol.clone());
            }
        }
    }
    assert!(protocols.len() >= 8, "{protocols:?}");
    // A request as short as a change of keys may be one.
    assert!(counts[0] * 100 >= counts[1] * 99 && counts[1] > 500, "{counts:?}");
}

/// Bytes of records with some of them changed, in pieces, some of them missing, among calls that fit nothing.
#[test]
fn whatever_comes_is_borne() {
    let recorded = [
        &include_bytes!("../fixtures/tls/tls13.client")[..],
        include_bytes!("../fixtures/tls/tls13.server"),
        include_bytes!("../fixtures/tls/tls12-gcm.server"),
    ];
    for seed in 1..400 {
        let mut dice = Dice(seed * 0x9e37_79b9);
        let mut chaos = Chaos::new(dice.roll(2) == 0);
        for _ in 0..60 {
            let mut bytes = recorded[dice.roll(3)].to_vec();
            let begin = if dice.roll(2) == 0 { 0 } else { dice.roll(bytes.len()) };
            bytes.drain(..begin);
            bytes.truncate(1 + dice.roll(bytes.len()));
            for _ in 0..dice.roll(4) {
                let at = dice.roll(bytes.len());
                bytes[at] = dice.roll(256) as u8;
            }
            chaos.act(&mut dice, bytes);
        }
        chaos.engine.finish(u64::MAX / 2);
        while chaos.engine.poll_span().is_some() {}
        let held = chaos.engine.counters().into_iter().find(|counter| counter.label == "connections");
        assert_eq!(held.map(|counter| counter.value), Some(0));
    }
}
