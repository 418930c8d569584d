//! AMQP 0-9-1 made by hand: channels that interleave, what brokers refuse, and what no broker would send.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::amqp::Amqp;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol as _, Side};
use replay::Replay;

const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
const BODY: &str = "5f3a9e70-12cd-4e8b-9a61-3b1c8f0d7e21";

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short");
    [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), payload, b"\xce"].concat()
}

fn method(channel: u16, class: u16, number: u16, arguments: &[u8]) -> Vec<u8> {
    frame(1, channel, &[&class.to_be_bytes()[..], &number.to_be_bytes(), arguments].concat())
}

fn short_string(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
}

fn header(channel: u16, size: u64) -> Vec<u8> {
    frame(2, channel, &[&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat())
}

fn body(channel: u16, bytes: &[u8]) -> Vec<u8> {
    frame(3, channel, bytes)
}

fn open(channel: u16) -> Vec<u8> {
    method(channel, 20, 10, &[0])
}

fn open_ok(channel: u16) -> Vec<u8> {
    method(channel, 20, 11, &[0; 4])
}

fn declare(channel: u16, queue: &str) -> Vec<u8> {
    method(channel, 50, 10, &[&[0, 0][..], &short_string(queue), &[0, 0, 0, 0, 0]].concat())
}

fn declare_ok(channel: u16, queue: &str) -> Vec<u8> {
    method(channel, 50, 11, &[short_string(queue), vec![0; 8]].concat())
}

fn publish(channel: u16, key: &str, is_mandatory: bool) -> Vec<u8> {
    method(channel, 60, 40, &[&[0, 0, 0][..], &short_string(key), &[u8::from(is_mandatory)]].concat())
}

fn message(channel: u16, key: &str, is_mandatory: bool) -> Vec<u8> {
    [publish(channel, key, is_mandatory), header(channel, BODY.len() as u64), body(channel, BODY.as_bytes())]
        .concat()
}

fn confirm_select(channel: u16) -> Vec<u8> {
    method(channel, 85, 10, &[0])
}

/// `basic.ack` (80) or `basic.nack` (120) of either side.
fn word(channel: u16, number: u16, tag: u64, is_multiple: bool) -> Vec<u8> {
    method(channel, 60, number, &[&tag.to_be_bytes()[..], &[u8::from(is_multiple)]].concat())
}

fn channel_close(channel: u16, code: u16, text: &str) -> Vec<u8> {
    method(channel, 20, 40, &[&code.to_be_bytes()[..], &short_string(text), &[0; 4]].concat())
}

fn replay(is_start: bool) -> Replay {
    Replay::new(Amqp.parser(&Conversation::new(&ParserSettings::default(), is_start)))
}

/// Returns what is said of a connection that begins with the protocol's header.
fn said(steps: &[(Side, Vec<u8>)]) -> Vec<String> {
    let mut replay = replay(true);
    replay.feed(Side::Client, HEADER);
    steps.iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
    assert_eq!(replay.broken, [""; 0]);
    told(&replay)
}

fn told(replay: &Replay) -> Vec<String> {
    replay.said.iter().map(|said| tell(&said.kind)).collect()
}

/// Returns what a message is, and about which of all requests it is.
fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            format!("{}{}", request.name.verb, if request.is_one_way { " (one-way)" } else { "" })
        }
        MessageKind::Response(response) => {
            response.outcome.error_type.clone().unwrap_or_else(|| "ok".to_owned())
        }
        MessageKind::Delivered(delivery) => delivery.name.clone().unwrap_or_default(),
        MessageKind::Settled(settled) => format!("settled {}", settled.number),
        other => format!("{other:?}"),
    }
}

/// Returns the names of requests with how they were answered, in the order of the answers.
fn pairs(replay: &Replay) -> Vec<(String, String)> {
    replay.pairs.iter().map(|pair| (tell(&pair.request.kind), tell(&pair.response.kind))).collect()
}

use Side::{Client, Server};

#[test]
fn channels_interleave_frame_by_frame() {
    let half = BODY.len() / 2;
    let (first, second) = BODY.as_bytes().split_at(half);
    let told = said(&[
        (Client, publish(1, "a", false)),
        (Client, publish(2, "b", false)),
        (Client, header(2, BODY.len() as u64)),
        (Client, header(1, BODY.len() as u64)),
        (Client, body(1, first)),
        (Client, body(2, first)),
        (Client, body(1, second)),
        (Client, frame(8, 0, &[])),
        (Client, body(2, second)),
        (Client, message(1, "c", false)),
    ]);
    assert_eq!(told, ["send a (one-way)", "send b (one-way)", "send c (one-way)"]);
}

#[test]
fn answers_of_channels_come_in_any_order() {
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), open(1), open(2), declare(1, "a"), declare(2, "b")].concat());
    for bytes in [open_ok(2), declare_ok(2, "b"), open_ok(1), declare_ok(1, "a")] {
        replay.feed(Server, &bytes);
    }
    let names: Vec<_> = pairs(&replay).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["channel.open", "queue.declare b", "channel.open", "queue.declare a"]);
}

#[test]
fn one_confirm_answers_several_messages() {
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), confirm_select(1)].concat());
    replay.feed(Server, &method(1, 85, 11, &[]));
    for key in ["a", "b", "c", "d"] {
        replay.feed(Client, &message(1, key, false));
    }
    // Out of order: the third first, then all up to the second, then the rest is refused.
    replay.feed(Server, &[word(1, 80, 3, false), word(1, 80, 2, true), word(1, 120, 0, true)].concat());
    let expected = [
        ("confirm.select", "ok"),
        ("send c", "ok"),
        ("send a", "ok"),
        ("send b", "ok"),
        ("send d", "basic.nack"),
    ];
    assert_eq!(pairs(&replay), expected.map(|(request, response)| (request.to_owned(), response.to_owned())));
}

#[test]
fn a_message_that_nobody_takes_comes_back_to_its_own_request() {
    let returned = |key: &str| {
        let method = method(
            1,
            60,
            50,
            &[&312u16.to_be_bytes()[..], &short_string("NO_ROUTE"), &[0], &short_string(key)].concat(),
        );
        [method, header(1, BODY.len() as u64), body(1, BODY.as_bytes())].concat()
    };
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), confirm_select(1)].concat());
    for (key, is_mandatory) in [("known", true), ("unknown", false), ("unknown", true), ("known", true)] {
        replay.feed(Client, &message(1, key, is_mandatory));
    }
    replay.feed(Server, &[returned("unknown"), word(1, 80, 4, true)].concat());
    let outcomes: Vec<_> = pairs(&replay).into_iter().map(|(_, outcome)| outcome).collect();
    assert_eq!(outcomes, ["ok", "ok", "no-route", "ok"]);
}

#[test]
fn a_channel_that_the_broker_closes_fails_what_waits_on_it_and_nothing_else() {
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), confirm_select(1), declare(2, "other")].concat());
    replay.feed(Server, &method(1, 85, 11, &[]));
    replay.feed(Client, &[message(1, "a", false), message(1, "b", false)].concat());
    replay.feed(Server, &channel_close(1, 404, "NOT_FOUND - no exchange"));
    // Sent before the client knew.
    replay.feed(Client, &[message(1, "late", false), method(1, 20, 41, &[]), open(1)].concat());
    replay.feed(Server, &[open_ok(1), declare_ok(2, "other")].concat());
    let expected = [
        ("confirm.select", "ok"),
        ("send a", "not-found"),
        ("send b", "not-found"),
        ("channel.open", "ok"),
        ("queue.declare other", "ok"),
    ];
    assert_eq!(pairs(&replay), expected.map(|(request, response)| (request.to_owned(), response.to_owned())));
    assert!(!told(&replay).iter().any(|said| said.starts_with("send late")), "the broker ignores it");
}

#[test]
fn who_waits_on_a_channel_is_not_blamed_for_what_another_method_did() {
    let fault = |class: u16, number: u16| {
        let method = [class.to_be_bytes(), number.to_be_bytes()].concat();
        [&404u16.to_be_bytes()[..], &short_string("NOT_FOUND - no exchange"), &method].concat()
    };
    for (closing, expected) in [
        (method(1, 20, 40, &fault(60, 40)), "channel.close"),
        (method(0, 10, 50, &fault(60, 40)), "connection.close"),
        (method(1, 20, 40, &fault(50, 10)), "not-found"),
        (method(1, 20, 40, &fault(0, 0)), "not-found"),
    ] {
        let mut replay = replay(true);
        replay.feed(Client, &[HEADER.to_vec(), message(1, "nowhere", false), declare(1, "q")].concat());
        replay.feed(Server, &closing);
        assert_eq!(pairs(&replay), [("queue.declare q".to_owned(), expected.to_owned())]);
    }
}

#[test]
fn what_needs_no_answer_waits_for_none() {
    let no_wait = method(1, 50, 10, &[&[0, 0][..], &short_string("q"), &[0b1_0000, 0, 0, 0, 0]].concat());
    let told = said(&[(Client, no_wait), (Client, declare(1, "r")), (Server, declare_ok(1, "r"))]);
    assert_eq!(told, ["queue.declare q (one-way)", "queue.declare r", "ok"]);
}

#[test]
fn an_empty_name_means_the_queue_that_was_declared_last() {
    let consume = method(1, 60, 20, &[&[0, 0, 0, 0][..], &[0, 0, 0, 0, 0]].concat());
    let consume_ok = method(1, 60, 21, &short_string("amq.ctag-1"));
    let deliver = method(
        1,
        60,
        60,
        &[
            short_string("amq.ctag-1"),
            vec![0, 0, 0, 0, 0, 0, 0, 1, 0],
            short_string("events"),
            short_string(""),
        ]
        .concat(),
    );
    let told = said(&[
        (Client, declare(1, "")),
        (Server, declare_ok(1, "audit")),
        (Client, consume),
        (Server, consume_ok),
        (Server, [deliver, header(1, 0)].concat()),
        (Client, word(1, 80, 1, false)),
    ]);
    assert_eq!(
        told,
        ["queue.declare", "ok", "basic.consume audit", "ok", "process events:audit", "settled 3"]
    );
}

#[test]
fn after_a_loss_the_first_answer_of_a_channel_answers_nothing() {
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), open(1)].concat());
    replay.feed(Server, &open_ok(1));
    replay.lose(Client, 100);
    replay.feed(Client, &[declare(1, "a"), confirm_select(2), message(2, "m", false)].concat());
    replay.feed(Server, &[declare_ok(1, "lost"), word(2, 80, 1, false)].concat());
    replay.feed(Client, &declare(1, "b"));
    replay.feed(Server, &declare_ok(1, "b"));
    let names: Vec<_> = pairs(&replay).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["channel.open", "queue.declare b"]);
}

#[test]
fn bodies_are_passed_over_also_where_several_frames_were_not_captured() {
    let frames: Vec<u8> =
        [4000, 4000, 2000].into_iter().flat_map(|length| body(1, &vec![b'x'; length])).collect();
    let start = [HEADER.to_vec(), publish(1, "big", false), header(1, 10_000)].concat();
    for shown in [7 + 2048, 3000, 4008, 5000] {
        let mut replay = replay(true);
        replay.feed(Client, &start);
        replay.feed(Client, &frames[..shown]);
        replay.lose(Client, (frames.len() - shown - 10) as u64);
        replay.feed(Client, &frames[frames.len() - 10..]);
        replay.feed(Client, &message(1, "next", false));
        assert_eq!(told(&replay), ["send big (one-way)", "send next (one-way)"], "with {shown} bytes");
    }
}

#[test]
fn a_message_of_which_too_little_was_captured_is_still_told() {
    let mut replay = replay(true);
    let large = body(1, &[b'x'; 4000]);
    replay.feed(Client, &[HEADER.to_vec(), publish(1, "big", false), header(1, 4000)].concat());
    replay.feed(Client, &large[..100]);
    replay.lose(Client, 3000);
    replay.feed(Client, &large[3100..]);
    replay.feed(Client, &message(1, "next", false));
    assert_eq!(told(&replay), ["send big (one-way)", "send next (one-way)"]);
}

#[test]
fn hostile_lengths_are_refused() {
    for bytes in [
        b"\x01\x00\x01\xff\xff\xff\xff\x00\x3c\x00\x28".to_vec(),
        frame(1, 1, &[0, 60]),
        frame(1, 1, &[0, 60, 0, 40, 0, 0, 255, b'x']),
        frame(2, 0, &[0; 14]),
        frame(3, 0, b"x"),
        frame(9, 1, b"x"),
        frame(8, 0, b"x"),
        method(1, 10, 10, &[]),
        method(0, 60, 40, &[]),
        method(1, 60, 99, &[]),
        b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\x00".to_vec(),
        [publish(1, "a", false), header(1, 3), body(1, b"four")].concat(),
    ] {
        let mut replay = replay(true);
        replay.feed(Client, HEADER);
        replay.feed(Client, &bytes);
        assert_eq!(replay.broken.len(), 1, "{}", bytes.escape_ascii());
        assert!(replay.said.is_empty());
    }
}

#[test]
fn a_body_that_claims_to_be_endless_holds_nothing() {
    let mut replay = replay(true);
    replay.feed(Client, &[HEADER.to_vec(), publish(1, "a", false), header(1, u64::MAX)].concat());
    for _ in 0..100 {
        replay.feed(Client, &body(1, &[b'x'; 5000]));
    }
    assert_eq!((replay.said.len(), replay.unread()), (1, [0, 0]));
}

#[test]
fn more_channels_and_more_messages_than_are_followed_are_survived() {
    let mut replay = replay(true);
    replay.feed(Client, HEADER);
    for channel in 1..5000 {
        replay.feed(Client, &open(channel));
        replay.feed(Server, &open_ok(channel));
    }
    assert_eq!(replay.pairs.len(), 2048);
    replay.feed(Client, &confirm_select(1));
    for _ in 0..2000 {
        replay.feed(Client, &message(1, "a", false));
    }
    replay.feed(Server, &word(1, 80, 0, true));
    assert_eq!(replay.pairs.len(), 2048 + 1024);
}

#[test]
fn another_version_is_not_read() {
    let mut replay = replay(true);
    replay.feed(Client, b"AMQP\x00\x01\x00\x00");
    assert!(replay.is_opaque);
    let mut replay = self::replay(true);
    replay.feed(Client, HEADER);
    replay.feed(Server, HEADER);
    assert!(replay.is_opaque, "the broker names its own version and hangs up");
}
