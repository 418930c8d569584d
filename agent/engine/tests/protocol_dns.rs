//! DNS on hand-made connections. Messages have their length before them, over TCP and UDP alike.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::dns::Dns;
use remora_engine::protocol::{Answer, Conversation, MessageKind, Parser, ParserSettings, Protocol, Side};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

const A: u16 = 1;
const AAAA: u16 = 28;
const OPT: u16 = 41;

fn parser() -> Box<dyn Parser> {
    Dns.parser(&Conversation::new(&ParserSettings::default(), true))
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).expect("a short message").to_be_bytes();
    [&length[..], message].concat()
}

fn question(name: &str, kind: u16) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| {
        let length = u8::try_from(label.len()).expect("a short label");
        std::iter::once(length).chain(label.bytes())
    });
    labels.chain([0]).chain(kind.to_be_bytes()).chain([0, 1]).collect()
}

/// Returns a message with one question, and these records behind it, all of which are answers.
fn message(id: u16, flags: u16, question: &[u8], records: &[Vec<u8>]) -> Vec<u8> {
    let count = u16::try_from(records.len()).expect("few records");
    let header: Vec<u8> =
        [id, flags, 1, count, 0, 0].iter().flat_map(|number| number.to_be_bytes()).collect();
    framed(&[&header, question, &records.concat()].concat())
}

fn ask(id: u16, name: &str, kind: u16) -> Vec<u8> {
    message(id, 0x0100, &question(name, kind), &[])
}

/// Returns a response without records, with this code.
fn answer(id: u16, name: &str, kind: u16, code: u16) -> Vec<u8> {
    message(id, 0x8180 | code, &question(name, kind), &[])
}

/// Returns a record of a name that stands elsewhere.
fn record(kind: u16, time_to_live: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("few data").to_be_bytes();
    [&[0xc0, 12][..], &kind.to_be_bytes(), &[0, 1], &time_to_live.to_be_bytes(), &length, data].concat()
}

fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            let name = attribute(&request.attributes, "dns.question.name").expect("a name");
            format!("{} {name}", request.name.verb)
        }
        MessageKind::Response(response) => {
            let outcome = response.outcome.error_type.clone();
            outcome.or(attribute(&response.attributes, "dns.answers")).unwrap_or_else(|| "ok".to_owned())
        }
        other => panic!("{other:?}"),
    }
}

/// Returns each pair of what was asked and what was answered.
fn pairs(replay: &Replay) -> Vec<String> {
    assert_eq!(replay.broken, [""; 0]);
    let told = |pair: &replay::Pair| format!("{} -> {}", tell(&pair.request.kind), tell(&pair.response.kind));
    replay.pairs.iter().map(told).collect()
}

#[track_caller]
fn check(play: &[(Side, Vec<u8>)], expected: &[&str]) {
    for window in [1, 2, 3, 7, 64, 100_000] {
        let mut replay = Replay::new(parser());
        for (side, piece) in play {
            piece.chunks(window).for_each(|part| replay.feed(*side, part));
        }
        assert_eq!(replay.unread(), [0, 0], "window {window}");
        assert_eq!(pairs(&replay), expected, "window {window}");
    }
}

#[test]
fn answers_in_any_order_find_their_questions() {
    // As glibc asks for both kinds of addresses, and the server for them in the other order.
    check(
        &[
            (CLIENT, ask(7, "a.test", A)),
            (CLIENT, ask(8, "a.test", AAAA)),
            (SERVER, answer(8, "a.test", AAAA, 3)),
            (SERVER, answer(7, "a.test", A, 0)),
        ],
        &["DNS AAAA a.test -> NXDOMAIN", "DNS A a.test -> ok"],
    );
}

#[test]
fn one_id_for_two_questions_is_no_confusion() {
    check(
        &[
            (CLIENT, ask(7, "a.test", A)),
            (CLIENT, ask(7, "b.test", A)),
            (SERVER, answer(7, "B.Test", A, 2)),
            (SERVER, answer(7, "A.TEST", A, 5)),
            (SERVER, answer(7, "a.test", A, 0)),
            (SERVER, answer(9, "c.test", A, 0)),
        ],
        &["DNS A b.test -> SERVFAIL", "DNS A a.test -> REFUSED"],
    );
}

#[test]
fn a_question_that_is_sent_again_is_one_request() {
    check(
        &[
            (CLIENT, ask(7, "a.test", A)),
            (CLIENT, ask(7, "a.test", A)),
            (SERVER, answer(7, "a.test", A, 0)),
            (SERVER, answer(7, "a.test", A, 3)),
            (CLIENT, ask(7, "a.test", A)),
            (SERVER, answer(7, "a.test", A, 3)),
        ],
        &["DNS A a.test -> ok", "DNS A a.test -> NXDOMAIN"],
    );
}

#[test]
fn a_server_that_could_not_read_the_question_does_not_repeat_it() {
    let refused = framed(&[0, 7, 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    check(&[(CLIENT, ask(7, "a.test", A)), (SERVER, refused)], &["DNS A a.test -> FORMERR"]);
}

#[test]
fn addresses_are_told_and_other_records_are_not() {
    let records = [
        record(5, 60, b"\x01b\xc0\x0e"),
        record(A, 60, &[192, 0, 2, 1]),
        record(A, 60, &[192, 0, 2]),
        record(AAAA, 60, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        record(16, 60, &[4, 192, 0, 2, 2]),
    ];
    let told = message(7, 0x8180, &question("a.test", A), &records);
    check(
        &[(CLIENT, ask(7, "a.test", A)), (SERVER, told)],
        &["DNS A a.test -> Texts([\"192.0.2.1\", \"2001:db8::1\"])"],
    );
    // Sixteen of many.
    let many = vec![record(A, 60, &[192, 0, 2, 1]); 100];
    let mut replay = Replay::new(parser());
    replay.feed(CLIENT, &ask(7, "a.test", A));
    replay.feed(SERVER, &message(7, 0x8180, &question("a.test", A), &many));
    assert_eq!(pairs(&replay)[0].matches("192.0.2.1").count(), 16);
}

#[test]
fn extended_codes_are_put_together() {
    let told = message(7, 0x8180, &question("a.test", A), &[record(OPT, 1 << 24, &[])]);
    check(&[(CLIENT, ask(7, "a.test", A)), (SERVER, told)], &["DNS A a.test -> BADVERS"]);
}

#[test]
fn whose_fault_an_error_is() {
    for (code, is_client_fault) in [(1, true), (2, false), (3, true), (4, false), (5, true)] {
        let mut replay = Replay::new(parser());
        replay.feed(CLIENT, &ask(7, "a.test", A));
        replay.feed(SERVER, &answer(7, "a.test", A, code));
        let MessageKind::Response(response) = &replay.said[1].kind else { panic!("no response") };
        assert_eq!(response.outcome.is_client_fault, is_client_fault, "{code}");
    }
}

#[test]
fn long_transfers_are_passed_over() {
    let records = vec![record(16, 60, &[b'x'; 200]); 300];
    let long = message(7, 0x8180, &question("a.test", 252), &records);
    assert!(long.len() > 60_000);
    let mut replay = Replay::new(parser());
    replay.feed(CLIENT, &ask(7, "a.test", 252));
    replay.feed(SERVER, &long[..5000]);
    replay.lose(SERVER, long.len() as u64 - 5000);
    replay.feed(CLIENT, &ask(8, "a.test", A));
    replay.feed(SERVER, &answer(8, "a.test", A, 0));
    assert_eq!(pairs(&replay), ["DNS AXFR a.test -> ok", "DNS A a.test -> ok"]);
}

#[test]
fn of_a_datagram_that_was_not_captured_nothing_is_told() {
    let mut replay = Replay::new(parser());
    let asked = ask(7, "a.test", A);
    // Its length is known.
    replay.feed(CLIENT, &asked[..2]);
    replay.lose(CLIENT, asked.len() as u64 - 2);
    replay.feed(SERVER, &answer(7, "a.test", A, 0));
    replay.feed(CLIENT, &ask(8, "a.test", A));
    replay.feed(SERVER, &answer(8, "a.test", A, 3));
    assert_eq!(pairs(&replay), ["DNS A a.test -> NXDOMAIN"]);
    // Of another only the question.
    let answered = message(9, 0x8180, &question("a.test", A), &[record(A, 60, &[192, 0, 2, 1])]);
    replay.feed(CLIENT, &ask(9, "a.test", A));
    replay.feed(SERVER, &answered[..30]);
    replay.lose(SERVER, answered.len() as u64 - 30);
    assert_eq!(pairs(&replay)[1], "DNS A a.test -> ok");
}

#[test]
fn after_a_loss_the_next_message_that_can_be_told_is_read() {
    let mut replay = Replay::new(parser());
    replay.feed(CLIENT, &ask(7, "a.test", A));
    replay.lose(SERVER, 100);
    replay.feed(SERVER, b"the end of something");
    replay.feed(SERVER, &answer(7, "a.test", A, 0));
    replay.feed(CLIENT, &ask(8, "a.test", A));
    replay.feed(SERVER, &answer(8, "a.test", A, 3));
    assert_eq!(pairs(&replay), ["DNS A a.test -> NXDOMAIN"]);
}

#[test]
fn hostile_messages_are_passed_over() {
    let mut circular = ask(7, "a.test", A);
    circular[14] = 0xc0;
    circular[15] = 12;
    for hostile in [
        framed(b""),
        framed(b"short"),
        framed(&[0xff; 12]),
        framed(&[0xff; 4096]),
        circular,
        message(7, 0, &[63; 300], &[]),
        message(7, 0x8180, &question("a.test", A), &[vec![0xff; 9]]),
        // A response from the client.
        answer(7, "a.test", A, 0),
    ] {
        let play = [(CLIENT, hostile), (CLIENT, ask(8, "b.test", A)), (SERVER, answer(8, "b.test", A, 0))];
        check(&play, &["DNS A b.test -> ok"]);
    }
}

#[test]
fn questions_without_answers_are_forgotten_in_the_end() {
    let mut replay = Replay::new(parser());
    for id in 0..5000 {
        replay.feed(CLIENT, &ask(id, "a.test", A));
    }
    replay.feed(SERVER, &answer(0, "a.test", A, 0));
    replay.feed(SERVER, &answer(4999, "a.test", A, 0));
    assert_eq!(pairs(&replay).len(), 1);
    let mut parser = parser();
    assert_eq!(parser.parse(CLIENT, &[0]), Answer::Need { at_least: 2 });
}
