//! MongoDB on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use std::io::Write as _;

use remora_engine::protocol::mongodb::Mongodb;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol, Side};
use replay::{Replay, attribute, tell};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

const CHECKSUM: u32 = 1;
const MORE_TO_COME: u32 = 2;
const EXHAUST_ALLOWED: u32 = 1 << 16;

/// A value of a field.
enum Value {
    Int(i32),
    Double(f64),
    Text(String),
    Document(Vec<u8>),
    Array(Vec<u8>),
}
use Value::{Array, Document, Double, Int};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn document(fields: &[(&str, Value)]) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for (name, value) in fields {
        let (kind, value) = match value {
            Int(number) => (0x10, number.to_le_bytes().to_vec()),
            Double(number) => (0x01, number.to_le_bytes().to_vec()),
            Value::Text(text) => (0x02, [&length(text.len() + 1), text.as_bytes(), &[0]].concat()),
            Document(bytes) => (0x03, bytes.clone()),
            Array(bytes) => (0x04, bytes.clone()),
        };
        bytes.push(kind);
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(value);
    }
    bytes.push(0);
    let whole = length(bytes.len());
    bytes[..4].copy_from_slice(&whole);
    bytes
}

fn array(documents: &[Vec<u8>]) -> Value {
    let names: Vec<String> = (0..documents.len()).map(|index| index.to_string()).collect();
    let fields: Vec<(&str, Value)> =
        names.iter().zip(documents).map(|(name, bytes)| (name.as_str(), Document(bytes.clone()))).collect();
    Array(document(&fields))
}

fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).expect("short").to_le_bytes()
}

/// Returns a message: its number, what it answers, its kind, and what follows the header.
fn message(id: i32, response_to: i32, op_code: i32, rest: &[u8]) -> Vec<u8> {
    let words = [id, response_to, op_code].map(i32::to_le_bytes).concat();
    [&length(16 + rest.len()), words.as_slice(), rest].concat()
}

fn body(document: &[u8]) -> Vec<u8> {
    [&[0], document].concat()
}

fn sequence(name: &str, documents: &[Vec<u8>]) -> Vec<u8> {
    let documents = documents.concat();
    [&[1], &length(4 + name.len() + 1 + documents.len())[..], name.as_bytes(), &[0], &documents].concat()
}

fn payload(flags: u32, sections: &[Vec<u8>]) -> Vec<u8> {
    let checksum: &[u8] = if flags & CHECKSUM != 0 { &[0xaa; 4] } else { &[] };
    [&flags.to_le_bytes(), sections.concat().as_slice(), checksum].concat()
}

fn msg(id: i32, response_to: i32, flags: u32, sections: &[Vec<u8>]) -> Vec<u8> {
    message(id, response_to, 2013, &payload(flags, sections))
}

fn compressed(id: i32, response_to: i32, compressor: u8, payload: &[u8]) -> Vec<u8> {
    let packed = match compressor {
        2 => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(payload).expect("compresses");
            encoder.finish().expect("compresses")
        }
        3 => zstd::encode_all(payload, 3).expect("compresses"),
        _ => payload.to_vec(),
    };
    let head = [&2013i32.to_le_bytes()[..], &length(payload.len()), &[compressor]].concat();
    message(id, response_to, 2012, &[head, packed].concat())
}

fn find(id: i32) -> Vec<u8> {
    let filter = document(&[("price", Document(document(&[("$gt", Int(7))])))]);
    let command = [("find", text("orders")), ("filter", Document(filter)), ("$db", text("shop"))];
    msg(id, 0, 0, &[body(&document(&command))])
}

fn found(rows: usize, bytes: usize) -> Vec<u8> {
    let row = document(&[("name", text(&"x".repeat(bytes)))]);
    let batch = array(&vec![row; rows]);
    let cursor = document(&[("firstBatch", batch), ("ns", text("shop.orders"))]);
    body(&document(&[("cursor", Document(cursor)), ("ok", Double(1.0))]))
}

fn ok() -> Vec<u8> {
    body(&document(&[("ok", Double(1.0))]))
}

fn rows(bytes: &[u8]) -> Vec<Vec<u8>> {
    vec![document(&[("_id", text(str::from_utf8(bytes).expect("text")))]); 3]
}

fn insert(bytes: usize) -> (Vec<u8>, Vec<u8>) {
    let command = document(&[("insert", text("orders")), ("$db", text("shop"))]);
    (body(&command), sequence("documents", &rows(&vec![b'x'; bytes])))
}

fn new(is_start: bool) -> Replay {
    Replay::new(Mongodb.parser(&Conversation::new(&ParserSettings::default(), is_start)))
}

/// Plays a connection in pieces of several sizes; returns what was said, without what all commands have.
fn told(play: &[(Side, Vec<u8>)]) -> Vec<String> {
    let mut expected = None;
    for window in [1, 3, 16, 5000, usize::MAX] {
        let mut replay = new(true);
        for (side, bytes) in play {
            bytes.chunks(window).for_each(|part| replay.feed(*side, part));
        }
        assert_eq!(replay.broken, [""; 0], "window {window}");
        assert_eq!(replay.unread(), [0, 0], "window {window}");
        let said: Vec<String> = replay.said.iter().map(|said| short(&said.kind)).collect();
        assert_eq!(*expected.get_or_insert_with(|| said.clone()), said, "window {window}");
    }
    expected.expect("played")
}

fn short(kind: &MessageKind) -> String {
    let lines = tell(kind);
    let is_telling = |line: &&str| {
        ["batch.size", "returned_rows", "status_code", "namespace"].iter().any(|word| line.contains(word))
            || !line.starts_with(' ')
    };
    let shown: Vec<&str> =
        lines.lines().filter(is_telling).map(|line| line.trim().trim_start_matches("db.")).collect();
    shown.join(", ")
}

fn text_of(replay: &Replay, at: usize) -> String {
    let MessageKind::Request(request) = &replay.said[at].kind else { panic!("no request") };
    attribute(&request.attributes, "db.query.text").expect("text")
}

const FIND: &str = "request find orders, namespace = shop";
const OPEN_INSERT: &str = "request insert orders (open), namespace = shop";

#[test]
fn responses_find_their_requests_by_number() {
    // No driver sends so, but a proxy may.
    let play = [
        (CLIENT, [find(5), find(6)].concat()),
        (SERVER, [msg(1, 6, 0, &[found(2, 5)]), msg(2, 5, 0, &[found(0, 0)])].concat()),
    ];
    told(&play);
    let mut replay = new(true);
    play.iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
    let starts: Vec<(u64, u64)> =
        replay.pairs.iter().map(|pair| (pair.request.start, pair.response.start)).collect();
    assert_eq!(starts, [(find(5).len() as u64, 0), (0, msg(1, 6, 0, &[found(2, 5)]).len() as u64)]);
}

#[test]
fn checksums_are_no_section() {
    let command = document(&[("find", text("orders")), ("$db", text("shop"))]);
    let play = [
        (CLIENT, msg(1, 0, CHECKSUM, &[body(&command)])),
        (SERVER, msg(2, 1, CHECKSUM, &[found(1, 6000)])),
        (CLIENT, msg(3, 0, CHECKSUM, &[insert(2000).0, insert(2000).1])),
        (SERVER, msg(4, 3, CHECKSUM, &[ok()])),
    ];
    assert_eq!(
        told(&play),
        [
            FIND,
            "response (open)",
            "response end, response.returned_rows = 1",
            OPEN_INSERT,
            "request end",
            "response, operation.batch.size = 3",
        ]
    );
}

#[test]
fn a_command_may_stand_behind_its_documents() {
    for bytes in [5, 3000] {
        let (command, documents) = insert(bytes);
        let empty = sequence("other", &rows(b"y"));
        let play = [
            (CLIENT, msg(1, 0, 0, &[documents, empty, command])),
            (SERVER, msg(2, 1, 0, &[ok()])),
            (CLIENT, find(3)),
            (SERVER, msg(4, 3, 0, &[found(1, 1)])),
        ];
        let told = told(&play);
        assert!(told[0].starts_with("request insert orders, namespace = shop"), "{told:?}");
        assert_eq!(told.last().unwrap(), "response, response.returned_rows = 1");
    }
}

#[test]
fn a_database_behind_a_long_command_is_told_with_the_response() {
    let filter = document(&[("note", text(&"x".repeat(9000)))]);
    let fields = [("find", text("orders")), ("filter", Document(filter)), ("$db", text("shop"))];
    let play = [(CLIENT, msg(1, 0, 0, &[body(&document(&fields))])), (SERVER, msg(2, 1, 0, &[found(1, 1)]))];
    assert_eq!(
        told(&play),
        [
            "request find orders (open)",
            "request end",
            "response, response.returned_rows = 1, namespace = shop"
        ]
    );
}

#[test]
fn the_last_response_of_several_ends_the_exchange() {
    let more = document(&[("getMore", Int(7)), ("collection", text("orders")), ("$db", text("shop"))]);
    for large in [1, 5000] {
        let play = [
            (CLIENT, msg(1, 0, EXHAUST_ALLOWED, &[body(&more)])),
            (SERVER, msg(10, 1, MORE_TO_COME, &[found(2, large)])),
            (SERVER, msg(11, 10, MORE_TO_COME, &[found(3, large)])),
            (SERVER, msg(12, 11, 0, &[found(1, large)])),
            (CLIENT, find(2)),
            (SERVER, msg(13, 2, 0, &[found(0, 0)])),
        ];
        assert_eq!(
            told(&play),
            [
                "request getMore orders, namespace = shop",
                "response (open)",
                "response end, response.returned_rows = 6",
                FIND,
                "response, response.returned_rows = 0",
            ]
        );
    }
}

#[test]
fn a_watch_that_is_answered_again_and_again_is_silent() {
    let hello = document(&[("hello", Int(1)), ("maxAwaitTimeMS", Int(10_000)), ("$db", text("admin"))]);
    let play = [
        (CLIENT, msg(1, 0, EXHAUST_ALLOWED, &[body(&hello)])),
        (SERVER, msg(10, 1, MORE_TO_COME, &[ok()])),
        (SERVER, msg(11, 10, MORE_TO_COME, &[ok()])),
        (SERVER, msg(12, 11, 0, &[ok()])),
        (CLIENT, find(2)),
        (SERVER, msg(13, 2, 0, &[found(0, 0)])),
    ];
    assert_eq!(told(&play), [FIND, "response, response.returned_rows = 0"]);
}

#[test]
fn what_nobody_answers_is_one_way() {
    let (command, documents) = insert(5000);
    let play = [
        (CLIENT, msg(1, 0, MORE_TO_COME, &[command, documents])),
        (CLIENT, find(2)),
        (SERVER, msg(3, 2, 0, &[found(0, 0)])),
    ];
    let one_way = "request insert orders (one-way), namespace = shop";
    assert_eq!(told(&play), [one_way, FIND, "response, response.returned_rows = 0"]);
}

#[test]
fn compressed_messages_are_read_as_far_as_they_are_needed() {
    for compressor in [0, 2, 3] {
        let filter = document(&[("note", text(&"x".repeat(20_000)))]);
        let fields = [("find", text("orders")), ("filter", Document(filter)), ("$db", text("shop"))];
        let command = payload(0, &[body(&document(&fields))]);
        let play = [
            (CLIENT, compressed(1, 0, compressor, &payload(0, &[body(&document(&[("ping", Int(1))]))]))),
            (SERVER, compressed(2, 1, compressor, &payload(0, &[ok()]))),
            (CLIENT, compressed(3, 0, compressor, &command)),
            (SERVER, compressed(4, 3, compressor, &payload(0, &[found(20, 100)]))),
            (CLIENT, find(5)),
            (SERVER, compressed(6, 5, compressor, &payload(0, &[found(300, 1000)]))),
        ];
        let told = told(&play);
        assert_eq!(told[..2], ["request ping", "response"]);
        assert!(told[2].starts_with("request find orders"), "{told:?}");
        assert_eq!(
            told.iter().filter(|line| line.starts_with("request")).count(),
            3 + usize::from(compressor == 0)
        );
        assert!(told.contains(&"response, response.returned_rows = 20".to_owned()), "{told:?}");
    }
}

#[test]
fn a_bomb_is_not_unpacked() {
    // A gigabyte of zeros would be a megabyte; the wire says it is small.
    let bomb = vec![0; 16 << 20];
    for compressor in [2, 3] {
        let play = [(CLIENT, compressed(1, 0, compressor, &bomb)), (CLIENT, find(2))];
        assert_eq!(told(&play)[0], FIND);
    }
}

#[test]
fn what_cannot_be_unpacked_is_answered_nevertheless() {
    let play = [
        (CLIENT, find(1)),
        (SERVER, message(2, 1, 2012, &[&2013i32.to_le_bytes()[..], &length(50), &[3], b"no frame"].concat())),
        (CLIENT, find(3)),
        (SERVER, msg(4, 3, 0, &[found(1, 1)])),
    ];
    assert_eq!(told(&play), [FIND, "response", FIND, "response, response.returned_rows = 1"]);
}

#[test]
fn queries_of_old_drivers_are_read() {
    let query = |target: &str, document: Vec<u8>| {
        message(1, 0, 2004, &[&[0; 4], target.as_bytes(), &[0; 9], &document].concat())
    };
    let reply = |flags: u8, fields: &[(&str, Value)]| {
        let head = [&[flags, 0, 0, 0][..], &[0; 12], &length(1)].concat();
        message(2, 1, 1, &[head, document(fields)].concat())
    };
    let play = [
        (CLIENT, query("admin.$cmd", document(&[("isMaster", Int(1))]))),
        (SERVER, reply(8, &[("ismaster", Int(1)), ("ok", Int(1))])),
        (CLIENT, query("shop.$cmd", document(&[("count", text("orders"))]))),
        (SERVER, reply(8, &[("n", Int(4)), ("ok", Int(1))])),
        (CLIENT, query("shop.orders", document(&[("price", Int(7))]))),
        (SERVER, reply(8, &[("price", Int(7))])),
        (CLIENT, query("shop.orders", document(&[("price", Int(7))]))),
        (SERVER, reply(2, &[("$err", text("not primary: 'x'")), ("code", Int(13435))])),
    ];
    assert_eq!(
        told(&play),
        [
            "request count orders, namespace = shop",
            "response",
            FIND,
            "response, response.returned_rows = 1",
            FIND,
            "response error 13435 \"not primary\", response.status_code = 13435",
        ]
    );
}

#[test]
fn a_response_before_its_request_waits() {
    let play = [(SERVER, msg(2, 1, 0, &[found(1, 1)])), (CLIENT, find(1))];
    assert_eq!(told(&play), [FIND, "response, response.returned_rows = 1"]);
}

#[test]
fn responses_to_nobody_are_passed_over() {
    let play = [
        (CLIENT, find(1)),
        (SERVER, [msg(2, 99, 0, &[found(1, 9000)]), msg(3, 1, 0, &[found(2, 1)])].concat()),
    ];
    assert_eq!(told(&play), [FIND, "response, response.returned_rows = 2"]);
}

#[test]
fn errors_of_all_kinds_are_told_by_their_numbers() {
    let write_error =
        document(&[("index", Int(0)), ("code", Int(11000)), ("errmsg", text("E11000: { _id: 1 }"))]);
    let concern = document(&[("code", Int(64)), ("codeName", text("WriteConcernTimeout"))]);
    let replies: [(Vec<(&str, Value)>, &str); 5] = [
        (
            vec![("ok", Double(0.0)), ("errmsg", text("a 'secret'")), ("code", Int(8000))],
            "response error 8000 \"a\", response.status_code = 8000",
        ),
        (
            vec![("ok", Int(0)), ("errmsg", text("x")), ("codeName", text("Unauthorized"))],
            "response error Unauthorized \"Unauthorized\"",
        ),
        (vec![("ok", Int(0))], "response error _OTHER \"\""),
        (
            vec![("n", Int(0)), ("writeErrors", array(&[write_error])), ("ok", Double(1.0))],
            "response error 11000 \"E11000\", response.status_code = 11000",
        ),
        (
            vec![("n", Int(1)), ("writeConcernError", Document(concern)), ("ok", Double(1.0))],
            "response error 64 \"WriteConcernTimeout\", response.status_code = 64",
        ),
    ];
    for (fields, expected) in replies {
        let play = [(CLIENT, find(1)), (SERVER, msg(2, 1, 0, &[body(&document(&fields))]))];
        assert_eq!(told(&play), [FIND, expected]);
    }
}

#[test]
fn an_error_behind_a_large_result_is_seen() {
    let cursor = document(&[("firstBatch", array(&vec![document(&[("a", text(&"x".repeat(3000)))]); 3]))]);
    let reply = document(&[
        ("cursor", Document(cursor)),
        ("ok", Double(0.0)),
        ("code", Int(50)),
        ("codeName", text("MaxTimeMSExpired")),
    ]);
    let play = [(CLIENT, find(1)), (SERVER, msg(2, 1, 0, &[body(&reply)]))];
    assert_eq!(
        told(&play),
        [
            FIND,
            "response (open)",
            "response end error 50 \"MaxTimeMSExpired\", response.returned_rows = 3, response.status_code = 50",
        ]
    );
}

#[test]
fn secrets_are_never_shown() {
    let settings = ParserSettings { redact_statements: false, ..ParserSettings::default() };
    let mut replay = Replay::new(Mongodb.parser(&Conversation::new(&settings, true)));
    for (id, name) in [(1, "saslStart"), (2, "createUser"), (3, "authenticate")] {
        let command = document(&[(name, text("secret")), ("pwd", text("secret")), ("$db", text("admin"))]);
        replay.feed(CLIENT, &msg(id, 0, 0, &[body(&command), sequence("keys", &rows(b"secret"))]));
        assert!(!tell(&replay.said.last().unwrap().kind).contains("secret\""), "{name}");
    }
    replay.feed(CLIENT, &find(4));
    assert_eq!(text_of(&replay, 3), r#"{"find": "orders", "filter": {"price": {"$gt": 7}}}"#);
}

#[test]
fn shapes_are_the_same_for_any_number_of_values() {
    let mut texts = Vec::new();
    for count in [1, 2, 50] {
        let terms: Vec<Vec<u8>> = (0..count).map(|n| document(&[("price", Int(n))])).collect();
        let filter = document(&[("$or", array(&terms)), ("say \"hi\"", text("x"))]);
        let command = [("find", text("orders")), ("filter", Document(filter)), ("$db", text("shop"))];
        let mut replay = new(true);
        replay.feed(CLIENT, &msg(1, 0, 0, &[body(&document(&command))]));
        texts.push(text_of(&replay, 0));
    }
    let expected = r#"{"find": "orders", "filter": {"$or": [{"price": "?"}], "say \"hi\"": "?"}}"#;
    assert_eq!(texts, [expected; 3]);
}

#[test]
fn documents_within_documents_are_bounded() {
    let deep = (0..300).fold(document(&[]), |inner, _| document(&[("a", Document(inner))]));
    let command = [("find", text("orders")), ("filter", Document(deep)), ("$db", text("shop"))];
    let mut replay = new(true);
    replay.feed(CLIENT, &msg(1, 0, 0, &[body(&document(&command))]));
    let text = text_of(&replay, 0);
    assert!(text.contains("...") && text.len() < 400, "{text}");
}

#[test]
fn hostile_lengths_are_broken_or_passed_over() {
    let mut replay = new(true);
    replay.feed(CLIENT, &message(1, 0, 2999, b"x"));
    assert_eq!(replay.broken, ["not a message"]);
    for length in [0, 15, i32::MAX, -1, 48_000_001] {
        let mut bytes = find(1);
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        let mut replay = new(true);
        replay.feed(CLIENT, &bytes);
        assert_eq!(replay.broken, ["not a message"], "{length}");
        replay.feed(CLIENT, &find(2));
        assert_eq!(replay.said.len(), 1, "{length}");
    }
    // What is wrong within a message costs no more than the message.
    for (at, byte) in [(20, 7), (21, 200), (24, 255), (25, 0x55), (31, 255)] {
        let mut bytes = find(1);
        bytes[at] = byte;
        let mut replay = new(true);
        replay.feed(CLIENT, &bytes);
        replay.feed(CLIENT, &find(2));
        assert_eq!(replay.broken, [""; 0], "{at}");
        assert_eq!(short(&replay.said.last().unwrap().kind), FIND, "{at}");
    }
}

#[test]
fn an_old_connection_is_read_from_the_next_message_on() {
    let mut replay = new(false);
    replay.feed(SERVER, &found(3, 100)[7..]);
    replay.feed(CLIENT, &find(1)[9..]);
    replay.feed(SERVER, &msg(2, 1, 0, &[found(1, 1)]));
    replay.feed(CLIENT, &find(3));
    replay.feed(SERVER, &msg(4, 3, 0, &[found(1, 1)]));
    let told: Vec<String> = replay.said.iter().map(|said| short(&said.kind)).collect();
    assert_eq!(told, [FIND, "response, response.returned_rows = 1"]);
    assert_eq!(replay.broken, [""; 0]);
}

#[test]
fn long_messages_need_not_be_seen() {
    let mut replay = new(true);
    let (command, documents) = insert(100_000);
    let request = msg(1, 0, 0, &[command, documents]);
    replay.feed(CLIENT, &request[..4200]);
    replay.lose(CLIENT, request.len() as u64 - 4200);
    let response = msg(2, 1, 0, &[found(1000, 100)]);
    replay.feed(SERVER, &response[..300]);
    replay.lose(SERVER, response.len() as u64 - 300);
    replay.feed(CLIENT, &find(3));
    replay.feed(SERVER, &msg(4, 3, 0, &[found(1, 1)]));
    let told: Vec<String> = replay.said.iter().map(|said| short(&said.kind)).collect();
    assert_eq!(told, [OPEN_INSERT, "request end", "response", FIND, "response, response.returned_rows = 1",]);
}

#[test]
fn a_loss_makes_no_wrong_pair() {
    let mut replay = new(true);
    replay.feed(CLIENT, &find(1));
    replay.lose(CLIENT, find(2).len() as u64);
    replay.feed(SERVER, &msg(10, 1, 0, &[found(1, 1)]));
    replay.feed(SERVER, &msg(11, 2, 0, &[found(2, 1)]));
    replay.feed(CLIENT, &find(3));
    replay.feed(SERVER, &msg(12, 3, 0, &[found(3, 1)]));
    let last = short(&replay.pairs.last().unwrap().response.kind);
    assert_eq!((replay.pairs.len(), last.as_str()), (1, "response, response.returned_rows = 3"));
}
