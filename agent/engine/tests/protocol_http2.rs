//! HTTP/2 and gRPC: frames and header blocks made by hand, whole, in pieces and with holes.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/replay.rs"]
mod replay;

use frames::*;
use remora_engine::protocol::http1::Http1;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol as _, Side};
use replay::{Replay, attribute, tell};

fn told(replay: &Replay) -> Vec<String> {
    replay.said.iter().map(|said| tell(&said.kind).split('\n').next().expect("a line").to_owned()).collect()
}

/// Plays both sides byte by byte and whole, and checks the first lines of what is said.
fn check(play: &[(Side, Vec<u8>)], expected: &[&str]) -> Replay {
    let mut last = None;
    for window in [1, 5, usize::MAX] {
        let mut replay = replay(true);
        begin(&mut replay);
        for (side, bytes) in play {
            bytes.chunks(window).for_each(|part| replay.feed(*side, part));
        }
        replay.end();
        assert_eq!(told(&replay), expected, "window {window}");
        assert_eq!(replay.broken, [""; 0]);
        assert_eq!(replay.unread(), [0, 0]);
        last = Some(replay);
    }
    last.expect("several windows")
}

/// Returns an attribute of what was said.
fn said(replay: &Replay, at: usize, key: &str) -> Option<String> {
    match &replay.said[at].kind {
        MessageKind::Request(request) => attribute(&request.attributes, key),
        MessageKind::Response(response) => attribute(&response.attributes, key),
        MessageKind::ResponseEnd(Some(ending)) => attribute(&ending.attributes, key),
        _ => None,
    }
}

#[test]
fn h2_continuation_padding_priority_and_table_size_updates() {
    let block = [&b"\x3f\xe1\x1f"[..], &get("/a"), &indexed("x-long", &"y".repeat(300))].concat();
    let (first, rest) = block.split_at(7);
    let (second, third) = rest.split_at(100);
    let opening = [
        // Two bytes of padding, and a priority.
        frame(1, END_STREAM | PADDED | PRIORITY, 1, &[&[2, 0, 0, 0, 0, 16], first, &[0, 0]].concat()),
        frame(9, 0, 1, second),
        frame(9, 0, 1, b""),
        frame(9, END_HEADERS, 1, third),
        frame(2, 0, 1, &[0, 0, 0, 0, 8]),
        // The table's newest entry is known.
        headers(END_STREAM, 3, &[get("/b"), vec![0xbe]].concat()),
    ];
    let answers = [
        headers(0, 3, OK),
        data(PADDED, 3, &[&[3][..], b"hello", &[0; 3]].concat()),
        headers(0, 1, OK),
        data(END_STREAM, 1, b"hello"),
        data(END_STREAM | PADDED, 3, &[0]),
    ];
    check(
        &[(CLIENT, opening.concat()), (SERVER, answers.concat())],
        &[
            "request GET | /a @shop",
            "request GET | /b @shop",
            "response (open)",
            "response (open)",
            "response end",
            "response end",
        ],
    );
}

#[test]
fn h2_rst_before_response_and_during_it() {
    let requests = [headers(END_STREAM, 1, &get("/a")), headers(END_STREAM, 3, &get("/b"))];
    let replay = check(
        &[
            (CLIENT, requests.concat()),
            (SERVER, [reset(1, 0x2), headers(0, 3, OK)].concat()),
            (CLIENT, reset(3, 0x8)),
            // What is still under way is of no interest.
            (SERVER, data(END_STREAM, 3, b"late")),
        ],
        &[
            "request GET | /a @shop",
            "request GET | /b @shop",
            "response end error INTERNAL_ERROR \"\"",
            "response (open)",
            "response end error of the client CANCEL \"\"",
        ],
    );
    assert_eq!(replay.pairs.iter().filter(|pair| pair.is_given_up).count(), 1);
}

#[test]
fn h2_goaway_refuses_what_the_server_has_not_looked_at() {
    let requests: Vec<u8> =
        [1, 3, 5].into_iter().flat_map(|stream| headers(END_STREAM, stream, &get("/a"))).collect();
    let go_away = frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0, b'b', b'y', b'e']);
    check(
        &[(CLIENT, requests), (SERVER, [go_away, headers(END_STREAM, 1, OK)].concat())],
        &[
            "request GET | /a @shop",
            "request GET | /a @shop",
            "request GET | /a @shop",
            "response end error REFUSED_STREAM \"\"",
            "response end error REFUSED_STREAM \"\"",
            "response",
        ],
    );
}

#[test]
fn h2_100_streams_in_one_send_pair_in_any_order() {
    let streams = || (0..100u32).map(|number| 2 * number + 1);
    let requests: Vec<u8> =
        streams().flat_map(|stream| headers(END_STREAM, stream, &get(&format!("/{stream}")))).collect();
    let responses: Vec<u8> = streams().rev().flat_map(|stream| headers(END_STREAM, stream, OK)).collect();
    let mut replay = replay(true);
    begin(&mut replay);
    replay.feed(CLIENT, &requests);
    replay.feed(SERVER, &responses);
    let numbers: Vec<_> = replay.pairs.iter().map(|pair| pair.number.unwrap()).collect();
    assert_eq!(numbers, streams().rev().map(u64::from).collect::<Vec<_>>());
    for pair in &replay.pairs {
        let MessageKind::Request(request) = &pair.request.kind else { panic!("no request") };
        assert_eq!(request.name.path, pair.number.map(|number| format!("/{number}")));
    }
}

#[test]
fn h2_an_answer_that_is_told_before_its_request_waits_for_it() {
    let asked = |stream| (CLIENT, headers(END_STREAM, stream, &get("/a")));
    let answered = |stream| (SERVER, headers(END_STREAM, stream, OK));
    let requests = ["request GET | /a @shop"; 2];
    let (first, second) = (asked(1), asked(3));
    let answers = [&requests[..], &["response", "response"]].concat();
    check(&[first.clone(), answered(3), answered(1), second.clone()], &answers);
    let refusal = [&requests[..], &["response end error REFUSED_STREAM \"\"", "response"]].concat();
    check(&[first, (SERVER, reset(3, 7)), answered(1), second], &refusal);
}

#[test]
fn h2_an_answer_whose_request_is_missing_is_not_waited_for() {
    let mut replay = replay(true);
    begin(&mut replay);
    replay.lose(CLIENT, 40);
    replay.feed(SERVER, &headers(END_STREAM, 5, OK));
    assert_eq!(replay.unread(), [0, 0]);
    replay.feed(CLIENT, &[headers(END_STREAM, 7, &get("/b")), window()].concat());
    replay.feed(SERVER, &headers(END_STREAM, 9, OK));
    assert_ne!(replay.unread(), [0, 0], "all requests since are known");
    replay.feed(CLIENT, &headers(END_STREAM, 9, &get("/c")));
    assert_eq!(told(&replay), ["request GET | /b @shop", "request GET | /c @shop", "response"]);
}

#[test]
fn h2_interim_pushed_and_unknown_frames_do_not_disturb() {
    let push = frame(5, END_HEADERS, 1, &[&[0, 0, 0, 2], &get("/pushed")[..]].concat());
    check(
        &[
            (CLIENT, [headers(END_STREAM, 1, &get("/a")), frame(0xfe, 0xff, 9, b"extension")].concat()),
            (SERVER, [headers(0, 1, &field(":status", "103")), push, headers(END_STREAM, 2, OK)].concat()),
            (SERVER, [frame(6, 0, 0, &[0; 8]), frame(8, 0, 0, &[0, 0, 1, 0])].concat()),
            (
                SERVER,
                [headers(0, 1, OK), data(0, 1, b"body"), headers(END_STREAM, 1, &field("a", "b"))].concat(),
            ),
        ],
        &["request GET | /a @shop", "interim", "response (open)", "response end"],
    );
}

#[test]
fn grpc_messages_are_counted_wherever_frames_end() {
    let messages: Vec<u8> = [0, 1, 3, 200, 0].into_iter().flat_map(message).collect();
    for size in [1, 2, 3, 7, 50, messages.len()] {
        let frames: Vec<u8> = messages.chunks(size).flat_map(|part| data(0, 1, part)).collect();
        let replay = check(
            &[
                (CLIENT, [headers(0, 1, &call("/pkg.Shop/Fill")), frames, data(END_STREAM, 1, b"")].concat()),
                (SERVER, [headers(0, 1, &grpc_ok()), data(0, 1, &message(2))].concat()),
                (SERVER, headers(END_STREAM, 1, &status("0"))),
            ],
            &["request pkg.Shop/Fill (open)", "request end", "response (open)", "response end"],
        );
        let counts = ["remora.rpc.request.messages", "remora.rpc.response.messages"];
        assert_eq!(counts.map(|key| said(&replay, 3, key)), [Some("5".to_owned()), Some("1".to_owned())]);
        assert_eq!(said(&replay, 3, "rpc.response.status_code").as_deref(), Some("OK"));
    }
}

#[test]
fn grpc_trailers_only_errors_and_missing_trailers() {
    let only = [grpc_ok(), status("5"), field("grpc-message", "no%20such%20thing")].concat();
    let requests: Vec<u8> = [1, 3, 5]
        .into_iter()
        .flat_map(|stream| headers(END_STREAM, stream, &call("/pkg.Shop/Get")))
        .collect();
    let replay = check(
        &[
            (CLIENT, requests),
            (SERVER, headers(END_STREAM, 1, &only)),
            (SERVER, [headers(0, 3, &grpc_ok()), data(END_STREAM, 3, &message(1))].concat()),
            (SERVER, headers(END_STREAM, 5, &field(":status", "503"))),
        ],
        &[
            "request pkg.Shop/Get",
            "request pkg.Shop/Get",
            "request pkg.Shop/Get",
            "response error of the client NOT_FOUND \"no such thing\"",
            "response (open)",
            "response end error UNKNOWN \"\"",
            "response error UNAVAILABLE \"\"",
        ],
    );
    assert_eq!(said(&replay, 6, "http.response.status_code").as_deref(), Some("503"));
}

#[test]
fn grpc_ends_with_the_response_even_if_the_request_goes_on() {
    check(
        &[
            (CLIENT, [headers(0, 1, &call("/pkg.Shop/Chat")), data(0, 1, &message(3))].concat()),
            (SERVER, [headers(0, 1, &grpc_ok()), headers(END_STREAM, 1, &status("8"))].concat()),
            (CLIENT, [data(0, 1, &message(3)), data(END_STREAM, 1, b"")].concat()),
        ],
        &[
            "request pkg.Shop/Chat (open)",
            "response (open)",
            "response end error of the client RESOURCE_EXHAUSTED \"\"",
        ],
    );
}

#[test]
fn grpc_large_messages_need_not_be_seen() {
    let mut replay = replay(true);
    begin(&mut replay);
    replay.feed(CLIENT, &headers(0, 1, &call("/pkg.Shop/Put")));
    // One message in frames of which only the headers are captured.
    let whole = message(40_000);
    for (at, part) in whole.chunks(16_384).enumerate() {
        let frame = data(if at == 2 { END_STREAM } else { 0 }, 1, part);
        replay.feed(CLIENT, &frame[..30]);
        replay.lose(CLIENT, frame.len() as u64 - 30);
    }
    replay.feed(SERVER, &[headers(0, 1, &grpc_ok()), headers(END_STREAM, 1, &status("0"))].concat());
    assert_eq!(
        told(&replay),
        ["request pkg.Shop/Put (open)", "request end", "response (open)", "response end"]
    );
    assert_eq!(said(&replay, 3, "remora.rpc.request.messages").as_deref(), Some("1"));
}

#[test]
fn a_hole_with_frames_in_it_loses_what_it_holds_and_no_more() {
    let mut replay = replay(true);
    begin(&mut replay);
    replay.feed(CLIENT, &[headers(END_STREAM, 1, &get("/a")), headers(END_STREAM, 3, &get("/b"))].concat());
    replay.feed(SERVER, &headers(0, 1, &[OK, &indexed("x", "y")].concat()));
    let body = data(0, 1, &[b'z'; 100]);
    // The end of the first response's body and the beginning of the second are missing.
    replay.feed(SERVER, &body[..50]);
    replay.lose(SERVER, 300);
    replay.feed(SERVER, &[&b"zzz"[..], &headers(END_STREAM, 1, &field("a", "b"))].concat());
    replay.feed(CLIENT, &headers(END_STREAM, 5, &get("/c")));
    replay.feed(SERVER, &headers(END_STREAM, 5, &[OK, &[0xbe]].concat()));
    replay.end();
    assert_eq!(
        told(&replay),
        [
            "request GET | /a @shop",
            "request GET | /b @shop",
            "response (open)",
            "request GET | /c @shop",
            // One frame behind other bytes proves nothing.
            "response end",
            "response",
            // Nobody knows whether it was answered.
            "lost",
        ]
    );
    assert_eq!(said(&replay, 5, "remora.incomplete").as_deref(), Some("fields_unknown"));
    assert_eq!(replay.broken, [""; 0]);
}

#[test]
fn attach_midway_says_what_it_does_not_know() {
    let mut replay = replay(false);
    // The path is an entry that nobody saw.
    replay.feed(
        CLIENT,
        &[&b"ody of something"[..], &headers(END_STREAM, 7, b"\x82\x86\xc1\xc0"), &window()].concat(),
    );
    replay.feed(SERVER, &headers(END_STREAM, 7, &[OK, &[0xc5]].concat()));
    // One that is added now is known from here on.
    replay.feed(CLIENT, &headers(END_STREAM, 9, &[&b"\x82\x86"[..], &indexed(":path", "/known")].concat()));
    replay.feed(SERVER, &headers(END_STREAM, 9, OK));
    replay.feed(CLIENT, &headers(END_STREAM, 11, b"\x82\x86\xbe"));
    replay.feed(SERVER, &headers(END_STREAM, 11, b"\xff\x20"));
    assert_eq!(
        told(&replay),
        ["request GET", "response", "request GET | /known", "response", "request GET | /known", "response",]
    );
    let incomplete: Vec<_> = (0..6).map(|at| said(&replay, at, "remora.incomplete").is_some()).collect();
    assert_eq!(incomplete, [true, true, false, false, false, true]);
    assert_eq!(said(&replay, 5, "http.response.status_code"), None);
}

#[test]
fn grpc_met_midway_is_recognised_by_its_end() {
    let mut replay = replay(false);
    replay.feed(CLIENT, &[headers(0, 7, b"\x83\x86\xc1\xc0\xbf"), data(END_STREAM, 7, &message(2))].concat());
    replay.feed(SERVER, &[headers(0, 7, b"\x88\xc1"), data(0, 7, &message(1))].concat());
    replay.feed(SERVER, &headers(END_STREAM, 7, &status("13")));
    assert_eq!(
        told(&replay),
        [
            "request POST (open)",
            "request end",
            "response (open)",
            "response end named grpc error INTERNAL \"\""
        ]
    );
    assert_eq!(said(&replay, 3, "rpc.system.name").as_deref(), Some("grpc"));
    // The response's own fields may tell too.
    let mut replay = self::replay(false);
    replay.feed(CLIENT, &[headers(0, 7, b"\x83\x86\xc1\xc0\xbf"), data(END_STREAM, 7, &message(2))].concat());
    replay.feed(SERVER, &[headers(0, 7, &grpc_ok()), data(0, 7, &message(1))].concat());
    replay.feed(SERVER, &headers(END_STREAM, 7, &status("0")));
    assert_eq!(told(&replay)[2..], ["response (open) named grpc", "response end"]);
    let counts = ["remora.rpc.request.messages", "remora.rpc.response.messages"];
    assert_eq!(counts.map(|key| said(&replay, 3, key)), [Some("1".to_owned()), Some("1".to_owned())]);
    // A status that nobody saw is not guessed.
    let mut replay = self::replay(false);
    replay.feed(CLIENT, &headers(END_STREAM, 9, &call("/pkg.Shop/Get")));
    replay.feed(SERVER, &[headers(0, 9, b"\x88\xc1"), headers(END_STREAM, 9, b"\xc0\xbf")].concat());
    assert_eq!(told(&replay), ["request pkg.Shop/Get", "response (open)", "response end"]);
    assert_eq!(said(&replay, 2, "rpc.response.status_code"), None);
    assert_eq!(said(&replay, 2, "remora.incomplete").as_deref(), Some("fields_unknown"));
}

#[test]
fn a_header_block_that_is_cut_gives_its_beginning() {
    let mut replay = replay(true);
    begin(&mut replay);
    let block = [get("/a"), field("cookie", &"c".repeat(3000)), field("x", "y")].concat();
    let whole = headers(END_STREAM, 1, &block);
    replay.feed(CLIENT, &whole[..1000]);
    replay.lose(CLIENT, whole.len() as u64 - 1000);
    replay.feed(SERVER, &headers(END_STREAM, 1, OK));
    replay.feed(CLIENT, &headers(END_STREAM, 3, &get("/b")));
    replay.feed(SERVER, &headers(END_STREAM, 3, OK));
    assert_eq!(told(&replay), ["request GET | /a @shop", "response", "request GET | /b @shop", "response"]);
    assert_eq!(said(&replay, 0, "remora.incomplete").as_deref(), Some("fields_unknown"));
}

#[test]
fn contexts_are_read_in_each_format() {
    for (name, value) in [
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("b3", "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1"),
        ("uber-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736:00f067aa0ba902b7:0:1"),
    ] {
        for block in [get("/a"), call("/pkg.Shop/Get")] {
            let mut replay = replay(true);
            begin(&mut replay);
            replay.feed(CLIENT, &headers(END_STREAM, 1, &[block, field(name, value)].concat()));
            let MessageKind::Request(request) = &replay.said[0].kind else { panic!("no request") };
            let context = request.context.as_ref().expect(name);
            assert_eq!((context.trace_id[0], context.span_id[1], context.flags), (0x4b, 0xf0, 1), "{name}");
        }
    }
}

#[test]
fn hostile_frames_are_broken() {
    let endless = [frame(1, 0, 1, b"\x82"), frame(9, 0, 1, &[0; 16_000]).repeat(5)].concat();
    for (bytes, reason) in [
        (endless, "header block too long"),
        (frame(9, 0, 1, b"").to_vec(), "continuation of nothing"),
        ([frame(1, 0, 1, b"\x82"), data(0, 1, b"")].concat(), "header block is interrupted"),
        (headers(0, 1, b"\x80"), "index outside of the header tables"),
        (headers(0, 1, b"\xbe"), "index outside of the header tables"),
        (frame(1, END_HEADERS, 1, &[0; 70_000]), "header block too long"),
        (data(PADDED, 1, &[9, 0]), "padding longer than the frame"),
        (data(0, 0, b"x"), "frame of a wrong stream"),
        (frame(8, 0, 0, b"123"), "frame of a wrong length"),
        (frame(4, 0, 0, b"12345"), "frame of a wrong length"),
    ] {
        let mut replay = replay(true);
        begin(&mut replay);
        replay.feed(CLIENT, &bytes);
        assert_eq!(replay.broken.first(), Some(&reason));
    }
    let mut replay = replay(true);
    replay.feed(CLIENT, b"PRI * HTTP/2.0\r\n\r\nXX");
    assert_eq!(replay.broken, ["not the preface of HTTP/2"]);
}

#[test]
fn endless_continuations_without_bytes_are_broken() {
    let mut replay = replay(true);
    begin(&mut replay);
    replay.feed(CLIENT, &frame(1, 0, 1, b"\x82"));
    let mut fed = 0;
    while replay.broken.is_empty() {
        replay.feed(CLIENT, &frame(9, 0, 1, b"").repeat(100));
        fed += 900;
        assert!(fed < 100_000, "what waits grows without bound");
    }
    assert_eq!(replay.broken, ["header block in too many frames"]);
}

/// A body with frames in it, sent by somebody who knows which numbers come next, and what follows it.
fn forge(body: impl Fn(Vec<u8>) -> Vec<u8>) -> Replay {
    let mut replay = replay(true);
    begin(&mut replay);
    replay.feed(CLIENT, &headers(0, 1, &[&b"\x83\x86"[..], &field(":path", "/upload")].concat()));
    let forged = [headers(END_STREAM, 3, &get("/forged")), headers(END_STREAM, 5, &get("/forged")), window()];
    replay.lose(CLIENT, 60);
    replay.feed(CLIENT, &body(forged.concat()));
    for stream in [3, 5] {
        replay.feed(CLIENT, &headers(END_STREAM, stream, &get("/real")));
        replay.feed(CLIENT, &window());
        replay.feed(SERVER, &headers(END_STREAM, stream, OK));
    }
    replay.feed(SERVER, &headers(END_STREAM, 1, OK));
    replay.end();
    for pair in &replay.pairs {
        let MessageKind::Request(request) = &pair.request.kind else { continue };
        assert_ne!(request.name.path.as_deref(), Some("/forged"));
    }
    replay
}

#[test]
fn frames_in_a_body_behind_a_hole_make_no_wrong_pair() {
    let padded = |forged: Vec<u8>| [vec![b'x'; 100], forged, vec![b'x'; 100]].concat();
    // The hole ends before the frame that holds them: they are not even looked at.
    let replay = forge(|forged| data(0, 1, &padded(forged)));
    assert!(!told(&replay).iter().any(|told| told.contains("forged")), "{:?}", told(&replay));
    assert_eq!(replay.pairs.len(), 3);
    // It ends in the frame, and the chain of frames in it breaks.
    let replay = forge(padded);
    assert!(!told(&replay).iter().any(|told| told.contains("forged")), "{:?}", told(&replay));
    // The chain goes on with what follows: both requests of a number are lost.
    let replay = forge(|forged| [vec![b'x'; 100], forged].concat());
    let lost = told(&replay).iter().filter(|told| *told == "lost").count();
    assert!(lost >= 2, "{:?}", told(&replay));
}

#[test]
fn what_was_asked_before_an_upgrade_is_answered_once_or_lost() {
    let asked = b"GET /a HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    let answered = [settings(), headers(END_STREAM, 1, OK)].concat();
    for (missing, expected) in [
        (0, vec!["request GET | /a @shop", "interim", "response"]),
        (9, vec!["request GET | /a @shop", "interim"]),
    ] {
        let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
        replay.feed(CLIENT, asked);
        replay.feed(SERVER, switch);
        replay.lose(SERVER, missing);
        replay.feed(CLIENT, &[PREFACE, &settings()].concat());
        replay.feed(SERVER, &answered[usize::try_from(missing).expect("short")..]);
        assert_eq!(told(&replay), expected, "{missing} bytes are missing");
    }
}
