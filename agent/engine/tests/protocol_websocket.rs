//! WebSocket, which begins as HTTP/1.1, on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::http1::Http1;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol, Side};
use replay::{Replay, tell};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;
const GET: &[u8] = b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: WebSocket\r\n\r\n";

/// Returns a client's frame, masked.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    let mask = [1, 2, 3, 4];
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first, 0x80 | length].into_iter().chain(mask).chain(payload).collect()
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    [&[first, length], payload].concat()
}

fn opened() -> Replay {
    let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
    replay.feed(CLIENT, GET);
    replay.feed(SERVER, SWITCH);
    replay
}

/// Returns what the end of the exchange tells, on one line.
fn ending(mut replay: Replay) -> String {
    replay.end();
    assert_eq!(replay.broken, [""; 0]);
    let said = replay.said.last().expect("an end");
    assert!(matches!(said.kind, MessageKind::ResponseEnd(_)), "{said:?}");
    assert_eq!(replay.pairs.len(), 1);
    tell(&said.kind).lines().map(str::trim).collect::<Vec<_>>().join(", ")
}

#[track_caller]
fn check(play: &[(Side, Vec<u8>)], expected: &str) {
    for window in [1, 2, 3, 7, 64, 100_000] {
        let mut replay = opened();
        for (side, piece) in play {
            piece.chunks(window).for_each(|part| replay.feed(*side, part));
        }
        let told = ending(replay);
        assert!(told.ends_with(expected), "window {window}: {told}");
    }
}

fn counts(client: u64, server: u64) -> String {
    format!("remora.websocket.client_messages = {client}, remora.websocket.server_messages = {server}")
}

#[test]
fn upgrade_to_websocket_lasts_until_both_sides_have_closed() {
    let play = [
        (CLIENT, masked(0x81, b"hello")),
        (SERVER, frame(0x81, b"hello, too")),
        (CLIENT, masked(0x88, b"\x03\xe8bye")),
        (SERVER, frame(0x88, b"\x03\xe8")),
        (SERVER, b"what follows is nobody's".to_vec()),
    ];
    check(&play, &(counts(1, 1) + ", remora.websocket.close_code = 1000"));
}

#[test]
fn fragments_are_one_message_with_control_frames_between() {
    let play = [
        (CLIENT, masked(0x01, b"a mess")),
        (CLIENT, masked(0x89, b"ping")),
        (SERVER, frame(0x8a, b"ping")),
        (CLIENT, masked(0x00, b"age in ")),
        (CLIENT, masked(0x80, b"parts")),
        (SERVER, frame(0x02, b"")),
        (SERVER, frame(0x80, b"")),
        (CLIENT, masked(0x88, b"\x03\xe9")),
    ];
    check(&play, &(counts(1, 1) + ", remora.websocket.close_code = 1001"));
}

#[test]
fn a_connection_that_nobody_closes_ends_abnormally() {
    let mut replay = opened();
    replay.feed(SERVER, &frame(0x81, b"x"));
    assert!(ending(replay).contains("error 1006"));
    let mut replay = opened();
    replay.feed(SERVER, &frame(0x88, b"\x03\xf3broken"));
    assert!(ending(replay).contains("error 1011"));
    let mut replay = opened();
    replay.feed(SERVER, &frame(0x88, b"\x03\xf0policy"));
    assert!(ending(replay).contains("error of the client 1008"));
}

#[test]
fn long_payloads_need_not_be_seen() {
    let mut replay = opened();
    replay.feed(SERVER, b"\x82\x7f\0\0\0\x01\0\0\0\0beginning");
    replay.lose(SERVER, (1 << 32) - 9);
    replay.feed(SERVER, &frame(0x88, b""));
    assert!(ending(replay).ends_with(&counts(0, 1)));
}

#[test]
fn counting_goes_on_behind_missing_bytes_and_says_so() {
    let message = frame(0x81, b"seen");
    let check = |behind: &[u8], messages| {
        for window in [1, 2, 5, 100] {
            let mut replay = opened();
            replay.feed(SERVER, &message);
            replay.lose(SERVER, 500);
            behind.chunks(window).for_each(|part| replay.feed(SERVER, part));
            let expected = counts(0, messages) + ", remora.incomplete = messages_missing";
            assert!(ending(replay).ends_with(&expected), "window {window}: {}", behind.escape_ascii());
        }
    };
    check(&message, 2);
    check(&[&message[..], &message].concat(), 3);
    // No frame begins there: which of what follows are some is not known.
    check(&[&b"the rest of a frame"[..], &message].concat(), 1);
    check(&masked(0x81, b"not of a server"), 1);
}

#[test]
fn hostile_frames_end_no_span_and_hold_no_bytes() {
    for hostile in
        [&b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"[..], b"\x83\x00", b"\x88\x7e\xff\xff", b"\x08\x00"]
    {
        let mut replay = opened();
        replay.feed(CLIENT, &[hostile, &[0x55; 300]].concat());
        assert_eq!(replay.unread(), [0, 0], "{}", hostile.escape_ascii());
        assert!(ending(replay).contains("messages_missing"));
    }
    // The longest length that is allowed.
    let mut replay = opened();
    replay.feed(CLIENT, b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04x");
    assert_eq!(replay.unread(), [0, 0]);
}

#[test]
fn other_upgrades_and_unasked_ones_stay_opaque() {
    for (get, switch) in [
        (GET, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: raw\r\n\r\n".as_slice()),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\n\r\n"),
        (b"GET / HTTP/1.1\r\n\r\n", SWITCH),
    ] {
        let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
        replay.feed(CLIENT, get);
        replay.feed(SERVER, switch);
        replay.feed(SERVER, &frame(0x81, b"x"));
        assert!(replay.is_opaque, "{}", switch.escape_ascii());
        assert_eq!(replay.pairs.len(), 1);
    }
}
