//! Bodies of HTTP/2 that are looked at: GraphQL, events and WebSocket (RFC 8441), on hand-written connections.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/replay.rs"]
mod replay;

use frames::*;
use remora_engine::protocol::Side;
use replay::{Replay, tell};

const OPEN: &str = "response (open), http.response.status_code = 200";

/// Returns what was said behind the first request, each message on one line.
fn told(replay: &Replay) -> Vec<String> {
    let lines = replay.said.iter().skip(1).map(|said| tell(&said.kind));
    lines.map(|text| text.lines().map(str::trim).collect::<Vec<_>>().join(", ")).collect()
}

fn new() -> Replay {
    let mut replay = replay(true);
    begin(&mut replay);
    replay
}

/// Plays both sides in pieces of many lengths.
#[track_caller]
fn check(play: &[(Side, Vec<u8>)], expected: &[&str]) {
    for window in [1, 2, 3, 7, 64, 100_000] {
        let mut replay = new();
        for (side, piece) in play {
            piece.chunks(window).for_each(|part| replay.feed(*side, part));
        }
        replay.end();
        assert_eq!(replay.broken, [""; 0]);
        assert_eq!(told(&replay), expected, "window {window}");
    }
}

/// A body in frames of data of three bytes, of which the last ends the stream if `is_end`.
fn in_frames(stream: u32, body: &[u8], is_end: bool) -> Vec<u8> {
    let last = body.len().div_ceil(3).saturating_sub(1);
    let part = |(at, part)| data(if is_end && at == last { END_STREAM } else { 0 }, stream, part);
    body.chunks(3).enumerate().flat_map(part).collect()
}

fn post(path: &str, media_type: &str) -> Vec<u8> {
    [&b"\x83\x86"[..], &field(":path", path), &field("content-type", media_type)].concat()
}

fn typed(media_type: &str) -> Vec<u8> {
    [OK, &field("content-type", media_type)].concat()
}

/// A request with a body of JSON, and its response.
fn asked(path: &str, body: &str, answer: &str) -> [(Side, Vec<u8>); 2] {
    let json = "application/json";
    [
        (CLIENT, [headers(0, 1, &post(path, json)), in_frames(1, body.as_bytes(), true)].concat()),
        (SERVER, [headers(0, 1, &typed(json)), in_frames(1, answer.as_bytes(), true)].concat()),
    ]
}

#[test]
fn graphql_is_told_at_the_end_of_the_response() {
    let query = r#"{"query":"query A { a }"}"#;
    let operation = "graphql.operation.type = query, graphql.operation.name = A";
    let check = |path, body, answer, end: &str| {
        check(&asked(path, body, answer), &["request end", OPEN, end]);
    };
    check("/graphql", query, r#"{"data":{"a":1}}"#, &format!("response end named query, {operation}"));
    check(
        "/graphql",
        query,
        r#"{"errors":[{"message":"m"}]}"#,
        &format!("response end named query error graphql_error \"\", {operation}"),
    );
    check("/rpc", r#"{"id":7}"#, r#"{"errors":[{"message":"m"}]}"#, "response end");
    check("/search", r#"{"query":{"match_all":{}}}"#, r#"{"errors":[{"message":"m"}]}"#, "response end");
}

#[test]
fn graphql_in_a_url_is_told_without_bodies() {
    let path = "/graphql?query=query%20A%7Ba%7D";
    let play = [(CLIENT, headers(END_STREAM, 1, &get(path))), (SERVER, headers(END_STREAM, 1, OK))];
    let named = "named query, http.response.status_code = 200, graphql.operation.type = query";
    check(&play, &[&format!("response {named}, graphql.operation.name = A")]);
}

#[test]
fn graphql_is_told_where_the_server_answers_before_it_has_read() {
    let json = "application/json";
    let body = r#"{"query":"mutation { a }"}"#;
    let play = [
        (CLIENT, headers(0, 1, &post("/graphql", json))),
        (SERVER, headers(0, 1, &typed(json))),
        (CLIENT, in_frames(1, body.as_bytes(), true)),
        (SERVER, data(END_STREAM, 1, br#"{"errors":[{"message":"m"}]}"#)),
    ];
    let end = "response end named mutation error graphql_error \"\", graphql.operation.type = mutation";
    check(&play, &[OPEN, "request end", end]);
}

#[test]
fn requests_of_many_streams_are_told_apart() {
    let json = "application/json";
    let body = |name: &str| format!(r#"{{"query":"query {name} {{ a }}"}}"#);
    let frames = |stream, name: &str| in_frames(stream, body(name).as_bytes(), true);
    let [first, second] = [frames(1, "A"), frames(3, "B")];
    let interleaved: Vec<u8> = first
        .chunks(12)
        .zip(second.chunks(12))
        .flat_map(|(first, second)| [first, second].concat())
        .collect();
    let mut replay = new();
    let begun = [headers(0, 1, &post("/graphql", json)), headers(0, 3, &post("/graphql", json))].concat();
    replay.feed(CLIENT, &[begun, interleaved].concat());
    for stream in [3, 1] {
        replay.feed(SERVER, &headers(END_STREAM, stream, OK));
    }
    let told = told(&replay);
    let names: Vec<&str> = told.iter().filter_map(|line| line.split("operation.name = ").nth(1)).collect();
    assert_eq!(names, ["B", "A"], "{told:?}");
}

#[test]
fn events_are_counted_to_the_end_of_stream_client_or_connection() {
    let begun = [
        (CLIENT, headers(END_STREAM, 1, &get("/events"))),
        (SERVER, headers(0, 1, &typed("text/event-stream;charset=utf-8"))),
    ];
    let events = b"data: a\n\n: ping\n\ndata: b\r\n\r\nevent: x\ndata: c\n\n";
    let play = |last: (Side, Vec<u8>)| [&begun[..], &[(SERVER, in_frames(1, events, false)), last]].concat();
    let end = "response end, remora.sse.events = 3";
    check(&play((SERVER, data(END_STREAM, 1, b""))), &[OPEN, end]);
    check(&play((CLIENT, reset(1, 0x8))), &[OPEN, end]);
    check(&play((CLIENT, window())), &[OPEN, end]);
    check(&play((SERVER, reset(1, 0x0))), &[OPEN, end]);
    let broken = "response end error INTERNAL_ERROR \"\", remora.sse.events = 3";
    check(&play((SERVER, reset(1, 0x2))), &[OPEN, broken]);
}

#[test]
fn events_of_which_some_are_missing_say_so() {
    let mut replay = new();
    replay.feed(CLIENT, &headers(END_STREAM, 1, &get("/events")));
    replay.feed(SERVER, &headers(0, 1, &typed("text/event-stream")));
    let hidden = data(0, 1, b"data: a\n\ndata: b\n\ndata: c");
    replay.feed(SERVER, &hidden[..18]);
    replay.lose(SERVER, (hidden.len() - 18) as u64);
    replay.feed(SERVER, &data(END_STREAM, 1, b"\n\ndata: d\n\n"));
    assert_eq!(
        told(&replay)[1..],
        ["response end, remora.sse.events = 2, remora.incomplete = events_missing"]
    );
}

#[test]
fn a_hole_beyond_the_end_of_a_stream_takes_no_end() {
    let json = "application/json";
    for body in
        [&br#"{"query":"query A { a }"}"#[..], br#"{"query":"query A { a }", "variables": {"a": "bcdefg"}}"#]
    {
        let mut replay = new();
        let asked = data(END_STREAM, 1, body);
        replay.feed(CLIENT, &[headers(0, 1, &post("/graphql", json)), asked[..9 + 20].to_vec()].concat());
        // A part of another frame is missing too.
        replay.lose(CLIENT, (asked.len() - 29 + 5) as u64);
        replay.feed(CLIENT, &[&window()[5..], &window(), &window()].concat());
        let answered = data(END_STREAM, 1, br#"{"data":{"a":1}}"#);
        replay.feed(SERVER, &[headers(0, 1, &typed(json)), answered[..12].to_vec()].concat());
        replay.lose(SERVER, (answered.len() - 12 + 5) as u64);
        replay.feed(SERVER, &[&window()[5..], &window(), &window()].concat());
        let told = told(&replay);
        assert_eq!(told[..2], ["request end".to_owned(), OPEN.to_owned()], "{told:?}");
        assert!(told[2].starts_with("response end") && told.len() == 3, "{told:?}");
    }
}

#[test]
fn silent_events_outlive_missing_bytes_of_other_streams() {
    let mut replay = new();
    replay.feed(CLIENT, &headers(END_STREAM, 1, &get("/events")));
    replay.feed(SERVER, &[headers(0, 1, &typed("text/event-stream")), data(0, 1, b"data: a\n\n")].concat());
    replay.lose(SERVER, 100);
    for number in 1..400 {
        let stream = 2 * number + 1;
        replay.feed(CLIENT, &headers(END_STREAM, stream, &get("/page")));
        replay.feed(SERVER, &headers(END_STREAM, stream, OK));
    }
    replay.feed(CLIENT, &reset(1, 0x8));
    let told = told(&replay);
    let end = told.last().expect("an end");
    assert_eq!(end, "response end, remora.sse.events = 1, remora.incomplete = events_missing");
}

#[test]
fn what_is_graphql_does_not_depend_on_pieces() {
    let body = format!(r#"{{"a":1,"query":"{{ me }}","pad":"{}"}}"#, "x".repeat(3_000));
    check(&asked_whole("/api", &body), &["request end", OPEN, "response end"]);
    let body = format!(r#"{{"query":"{{ me }}","pad":"{}"}}"#, "x".repeat(3_000));
    let end = "response end named query, graphql.operation.type = query";
    check(&asked_whole("/api", &body), &["request end", OPEN, end]);
}

/// A request whose body is one frame of data.
fn asked_whole(path: &str, body: &str) -> [(Side, Vec<u8>); 2] {
    let json = "application/json";
    let asked = [headers(0, 1, &post(path, json)), data(END_STREAM, 1, body.as_bytes())];
    [(CLIENT, asked.concat()), (SERVER, [headers(0, 1, &typed(json)), data(END_STREAM, 1, b"{}")].concat())]
}

/// What a client gives up before it was answered is told, whatever the code.
#[test]
fn a_request_that_its_client_gives_up_is_told() {
    let asked = headers(0, 1, &post("/a", "text/plain"));
    check(&[(CLIENT, [asked, reset(1, 0x0)].concat())], &["response end error of the client NO_ERROR \"\""]);
}

/// The end of a call may be among what is missing, though more of its request was seen since.
#[test]
fn a_call_that_may_have_ended_well_is_not_told_to_have_failed() {
    let mut replay = new();
    replay.feed(CLIENT, &headers(0, 1, &call("/shop.Items/Fill")));
    replay.feed(SERVER, &[headers(0, 1, &grpc_ok()), data(0, 1, &message(1))].concat());
    replay.lose(SERVER, 40);
    replay.feed(CLIENT, &data(0, 1, &message(2)));
    replay.feed(SERVER, &[reset(1, 0x0), window(), window()].concat());
    assert_eq!(told(&replay).last().map(String::as_str), Some("lost"));
}

/// Where fields are unknown, one of them may be `content-encoding`.
#[test]
fn a_body_that_may_be_compressed_is_not_looked_at() {
    let mut replay = replay(false);
    replay.feed(CLIENT, &[window(), headers(END_STREAM, 1, &get("/events"))].concat());
    let unknown = b"\xbf";
    let head = [OK, &field("content-type", "text/event-stream"), unknown].concat();
    replay.feed(SERVER, &[window(), headers(0, 1, &head), data(END_STREAM, 1, b"data: a\n\n")].concat());
    let told = told(&replay);
    assert!(told.iter().any(|line| line.contains("fields_unknown")), "{told:?}");
    assert!(!told.iter().any(|line| line.contains("sse.events")), "{told:?}");
}

/// A frame of a WebSocket; masked by zeros where a client sends it.
fn piece(side: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    match side {
        CLIENT => [&[first, length | 0x80, 0, 0, 0, 0], payload].concat(),
        SERVER => [&[first, length], payload].concat(),
    }
}

fn chat(answer: &[u8]) -> Vec<(Side, Vec<u8>)> {
    let connect =
        [&field(":method", "CONNECT")[..], &field(":protocol", "websocket"), &get("/chat")[1..]].concat();
    vec![(CLIENT, headers(0, 1, &connect)), (SERVER, answer.to_vec())]
}

fn messages() -> [(Side, Vec<u8>); 2] {
    let both =
        |side| [piece(side, 0x81, b"hello"), piece(side, 0x89, b""), piece(side, 0x82, b"hi")].concat();
    [(CLIENT, in_frames(1, &both(CLIENT), false)), (SERVER, in_frames(1, &both(SERVER), false))]
}

#[test]
fn a_websocket_is_one_span_with_its_messages() {
    let closed = |side| in_frames(1, &piece(side, 0x88, b"\x03\xe8bye"), true);
    let mut play = chat(&headers(0, 1, OK));
    play.extend(messages());
    play.extend([(CLIENT, closed(CLIENT)), (SERVER, closed(SERVER))]);
    let counts = "remora.websocket.client_messages = 2, remora.websocket.server_messages = 2";
    let end = format!("response end, {counts}, remora.websocket.close_code = 1000");
    check(&play, &[OPEN, "request end", &end]);
    // Its server resets the stream behind both closing frames.
    let frames = |side| in_frames(1, &piece(side, 0x88, b"\x03\xe8bye"), false);
    let mut play = chat(&headers(0, 1, OK));
    play.extend(messages());
    play.extend([(CLIENT, frames(CLIENT)), (SERVER, [frames(SERVER), reset(1, 0x0)].concat())]);
    check(&play, &[OPEN, &end]);
    // Its client goes away.
    for last in [reset(1, 0x8), window()] {
        let mut play = chat(&headers(0, 1, OK));
        play.extend(messages());
        play.push((CLIENT, last));
        let end = format!("response end error 1006 \"the connection ended without a close frame\", {counts}");
        check(&play, &[OPEN, &end]);
    }
}

#[test]
fn a_websocket_that_is_refused_or_broken_says_why() {
    let broken = "response end error INTERNAL_ERROR \"\"";
    check(&[&chat(&reset(1, 0x2))[..]].concat(), &[broken]);
    // The status of a connection that was met later may not be known.
    let mut replay = replay(false);
    replay.feed(CLIENT, &window());
    replay.feed(SERVER, &window());
    chat(&headers(0, 1, b"\xbf")).iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
    replay.feed(SERVER, &data(END_STREAM, 1, b""));
    let end = told(&replay).pop();
    assert_eq!(end.as_deref(), Some("response end"));
    let mut play = chat(&headers(0, 1, OK));
    play.push((SERVER, reset(1, 0x2)));
    let counts = "remora.websocket.client_messages = 0, remora.websocket.server_messages = 0";
    check(&play, &[OPEN, &format!("{broken}, {counts}")]);
    let refused = headers(END_STREAM, 1, &field(":status", "403"));
    check(&chat(&refused), &["response error of the client 403 \"\", http.response.status_code = 403"]);
}

/// Behind missing bytes, a frame that is all of a frame of data is believed; zeros within a payload are none.
#[test]
fn a_websocket_is_found_again_whatever_the_pieces() {
    for window in [1, 3, 100_000] {
        let mut replay = new();
        chat(&headers(0, 1, OK)).iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
        let hidden = data(0, 1, &[&b"\x82\x7e\x01\x00"[..], &[0; 256]].concat());
        replay.feed(SERVER, &hidden[..10]);
        replay.lose(SERVER, (hidden.len() - 10) as u64);
        let later = [
            data(0, 1, &[0; 64]),
            data(0, 1, &piece(CLIENT, 0x81, b"masked")),
            data(0, 1, &[&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat()),
            data(0, 1, &piece(SERVER, 0x81, b"hello")),
            data(END_STREAM, 1, &piece(SERVER, 0x88, b"\x03\xe8")),
        ];
        later.concat().chunks(window).for_each(|part| replay.feed(SERVER, part));
        let told = told(&replay);
        let end = told.last().expect("an end");
        assert!(end.contains("server_messages = 2,"), "{window}: {end}");
        assert!(end.contains("messages_missing"), "{window}: {end}");
    }
}

#[test]
fn padding_that_is_missing_is_not_taken_for_a_payload() {
    let mut replay = new();
    chat(&headers(0, 1, OK)).iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
    // The beginning of a message of which more is to come.
    replay.feed(SERVER, &data(0, 1, &[&b"\x82\x7e\x01\x00"[..], &[7; 100]].concat()));
    let padded = data(PADDED, 1, &[9; 10]);
    replay.feed(SERVER, &padded[..9]);
    replay.lose(SERVER, 10);
    replay.feed(SERVER, &data(0, 1, &piece(SERVER, 0x81, b"hello")));
    replay.feed(SERVER, &data(END_STREAM, 1, &piece(SERVER, 0x88, b"\x03\xe8")));
    let told = told(&replay);
    let end = told.last().expect("an end");
    assert!(end.contains("server_messages = 2") && end.contains("messages_missing"), "{end}");
}

#[test]
fn a_payload_that_is_missing_takes_no_message_from_a_websocket() {
    let long = [&b"\x82\x7e\x01\x00"[..], &[7; 256]].concat();
    let frame = data(0, 1, &long);
    for (shown, incomplete) in [(13, false), (11, true)] {
        let mut replay = new();
        chat(&headers(0, 1, OK)).iter().for_each(|(side, bytes)| replay.feed(*side, bytes));
        replay.feed(SERVER, &frame[..shown]);
        replay.lose(SERVER, (frame.len() - shown) as u64);
        replay.feed(SERVER, &data(0, 1, &piece(SERVER, 0x81, b"hello")));
        replay.feed(SERVER, &data(END_STREAM, 1, &piece(SERVER, 0x88, b"\x03\xe8")));
        let told = told(&replay);
        let end = told.last().expect("an end");
        let messages = if incomplete { 1 } else { 2 };
        assert!(end.contains(&format!("server_messages = {messages}")), "{shown}: {end}");
        assert_eq!(end.contains("messages_missing"), incomplete, "{shown}: {end}");
    }
}
