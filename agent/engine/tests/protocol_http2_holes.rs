//! HTTP/2 and gRPC behind bytes that were not captured: what is known of later requests, and what is not.

#[path = "support/frames.rs"]
mod frames;
#[path = "support/replay.rs"]
mod replay;

use frames::*;
use remora_engine::protocol::MessageKind;
use replay::{Replay, attribute};

/// What the spans of the connection would say: path or method, status, and what they leave out.
fn spans(replay: &Replay) -> Vec<String> {
    let merged = |pair: &replay::Pair, key: &str| {
        let ends = replay.said.iter().filter(|said| said.pairing == pair.request.pairing);
        let values = ends.filter_map(|said| match &said.kind {
            MessageKind::Request(request) => attribute(&request.attributes, key),
            MessageKind::Response(response) => attribute(&response.attributes, key),
            MessageKind::ResponseEnd(Some(ending)) => attribute(&ending.attributes, key),
            _ => None,
        });
        values.fold(String::new(), |_, last| last)
    };
    let keys = [
        "rpc.system.name",
        "rpc.method",
        "rpc.response.status_code",
        "http.request.method",
        "http.response.status_code",
        "remora.incomplete",
    ];
    let line = |pair: &replay::Pair| {
        let values = keys.iter().map(|key| merged(pair, key)).filter(|value| !value.is_empty());
        values.collect::<Vec<_>>().join(" ")
    };
    replay.pairs.iter().map(line).collect()
}

/// The first call of a connection puts all its fields into the tables.
fn first_call(replay: &mut Replay) {
    begin(replay);
    let fields = [
        &b"\x83\x86"[..],
        &indexed(":path", "/pkg.Shop/Get"),
        &indexed("te", "trailers"),
        &indexed("content-type", "application/grpc"),
    ];
    replay.feed(CLIENT, &[headers(0, 1, &fields.concat()), data(END_STREAM, 1, &message(2))].concat());
    replay.feed(SERVER, &headers(0, 1, &[OK, &indexed("content-type", "application/grpc")].concat()));
    replay.feed(SERVER, &data(0, 1, &message(1)));
    replay.feed(SERVER, &headers(END_STREAM, 1, &indexed("grpc-status", "0")));
}

/// The fields of a later call: path, `te` and type are the three entries of the table.
const CALL: &[u8] = b"\x83\x86\xc0\xbf\xbe";
/// Those of its response: the type is the second entry, the status the newest.
const HEAD: &[u8] = b"\x88\xbf";
const TRAILERS: &[u8] = b"\xbe";

const WHOLE: &str = "grpc pkg.Shop/Get OK";

fn ask(stream: u32) -> Vec<u8> {
    [headers(0, stream, CALL), data(END_STREAM, stream, &message(2))].concat()
}

fn answer(stream: u32) -> Vec<u8> {
    [headers(0, stream, HEAD), data(0, stream, &message(1)), headers(END_STREAM, stream, TRAILERS)].concat()
}

/// Frames of data that hold one long message.
fn long(stream: u32, flags: u8) -> Vec<u8> {
    let whole = message(60_000);
    let parts: Vec<_> = whole.chunks(16_384).collect();
    let last = parts.len() - 1;
    let frames = parts.iter().enumerate();
    frames.flat_map(|(at, part)| data(if at == last { flags } else { 0 }, stream, part)).collect()
}

/// Shows the first and the last bytes of `bytes`.
fn feed_around(
    replay: &mut Replay,
    side: remora_engine::protocol::Side,
    bytes: &[u8],
    shown: usize,
    end: usize,
) {
    replay.feed(side, &bytes[..shown]);
    replay.lose(side, (bytes.len() - shown - end) as u64);
    replay.feed(side, &bytes[bytes.len() - end..]);
}

#[test]
fn later_calls_are_whole_behind_a_long_message_either_way() {
    for (shown, end) in [(4096, 184), (30_000, 0), (9, 20_000), (40, 3)] {
        let mut replay = replay(true);
        first_call(&mut replay);
        replay.feed(CLIENT, &headers(0, 3, CALL));
        feed_around(&mut replay, CLIENT, &long(3, END_STREAM), shown, end);
        replay.feed(SERVER, &answer(3));
        replay.feed(CLIENT, &ask(5));
        replay.feed(SERVER, &headers(0, 5, HEAD));
        feed_around(&mut replay, SERVER, &long(5, 0), shown, end);
        // The next frame is found together with the one after it.
        replay.feed(SERVER, &[headers(END_STREAM, 5, TRAILERS), window()].concat());
        for stream in [7, 9] {
            replay.feed(CLIENT, &ask(stream));
            replay.feed(SERVER, &answer(stream));
        }
        replay.end();
        assert_eq!(spans(&replay), [WHOLE; 5], "{shown} bytes before the hole, {end} behind");
    }
}

#[test]
fn a_hole_that_may_hold_a_request_costs_what_was_indexed_before() {
    let mut replay = replay(true);
    first_call(&mut replay);
    let upload = [headers(0, 3, CALL), long(3, END_STREAM), ask(5)].concat();
    feed_around(&mut replay, CLIENT, &upload, 4000, 0);
    replay.feed(SERVER, &answer(3));
    replay.feed(SERVER, &answer(5));
    replay.feed(CLIENT, &[ask(7), window()].concat());
    replay.feed(SERVER, &answer(7));
    // What is sent anew is known again.
    let anew = [&b"\x83\x86"[..], &indexed(":path", "/pkg.Shop/Put"), b"\xc0\xbf"].concat();
    replay.feed(CLIENT, &headers(END_STREAM, 9, &anew));
    replay.feed(SERVER, &answer(9));
    replay.feed(CLIENT, &headers(END_STREAM, 11, b"\x83\x86\xbe\xc0\xbf"));
    replay.feed(SERVER, &answer(11));
    replay.end();
    assert_eq!(
        spans(&replay),
        [
            WHOLE,
            WHOLE,
            "grpc OK fields_unknown",
            "grpc pkg.Shop/Put OK fields_unknown",
            "grpc pkg.Shop/Put OK fields_unknown"
        ]
    );
}

#[test]
fn a_status_that_may_be_another_is_left_out() {
    let mut replay = replay(true);
    first_call(&mut replay);
    // Two calls at once; the response to the second may be in the hole of the first.
    replay.feed(CLIENT, &[ask(3), ask(5)].concat());
    replay.feed(SERVER, &headers(0, 3, HEAD));
    let failed = [
        headers(0, 5, HEAD),
        headers(END_STREAM, 5, &[indexed("grpc-status", "8"), indexed("grpc-message", "x")].concat()),
    ];
    feed_around(&mut replay, SERVER, &[long(3, 0), failed.concat()].concat(), 4000, 0);
    replay.feed(SERVER, &[headers(END_STREAM, 3, b"\xc0"), window()].concat());
    replay.feed(CLIENT, &ask(7));
    replay.feed(SERVER, &[headers(0, 7, b"\x88\xc1"), headers(END_STREAM, 7, b"\xc0")].concat());
    // A literal tells.
    replay.feed(CLIENT, &ask(9));
    replay.feed(SERVER, &[headers(0, 9, b"\x88\xc1"), headers(END_STREAM, 9, &status("13"))].concat());
    replay.end();
    let unknown = "grpc pkg.Shop/Get fields_unknown";
    assert_eq!(spans(&replay), [WHOLE, unknown, unknown, "grpc pkg.Shop/Get INTERNAL fields_unknown"]);
}

#[test]
fn calls_at_once_prove_together_that_nothing_is_missing() {
    let mut replay = replay(true);
    first_call(&mut replay);
    replay.feed(CLIENT, &[ask(3), ask(5), ask(7)].concat());
    replay.feed(SERVER, &[headers(0, 3, HEAD), headers(0, 5, HEAD)].concat());
    feed_around(&mut replay, SERVER, &long(3, 0), 4000, 0);
    // The first two go on where they were; the third begins.
    replay.feed(SERVER, &[data(0, 5, &message(1)), headers(END_STREAM, 3, TRAILERS)].concat());
    replay.feed(SERVER, &answer(7));
    replay.feed(SERVER, &headers(END_STREAM, 5, TRAILERS));
    replay.end();
    let mut spans = spans(&replay);
    // The one that came while another might have been missing.
    assert_eq!(spans.remove(1), "grpc pkg.Shop/Get fields_unknown");
    assert_eq!(spans, [WHOLE; 3]);
}

#[test]
fn trailers_of_a_call_that_was_given_up_may_be_in_the_hole() {
    let mut replay = replay(true);
    first_call(&mut replay);
    replay.feed(CLIENT, &[ask(3), ask(5)].concat());
    replay.feed(SERVER, &[headers(0, 3, HEAD), headers(0, 5, HEAD)].concat());
    replay.feed(CLIENT, &reset(5, 8));
    feed_around(&mut replay, SERVER, &long(3, 0), 4000, 0);
    replay.feed(SERVER, &[headers(END_STREAM, 3, TRAILERS), window()].concat());
    replay.end();
    assert_eq!(spans(&replay)[1], "grpc pkg.Shop/Get fields_unknown");
}

#[test]
fn a_connection_of_other_requests_too_presumes_nothing() {
    let get = || [&b"\x82\x86"[..], &field(":path", "/"), &field("accept", "*/*")].concat();
    for (others, expected) in [(0, "grpc OK fields_unknown"), (1, "POST 200 fields_unknown")] {
        let mut replay = replay(true);
        first_call(&mut replay);
        for number in 0..others {
            replay.feed(CLIENT, &headers(END_STREAM, 3 + 2 * number, &get()));
            replay.feed(SERVER, &headers(END_STREAM, 3 + 2 * number, OK));
        }
        replay.lose(CLIENT, 200);
        replay.feed(CLIENT, &[headers(END_STREAM, 21, CALL), window()].concat());
        let trailers = if others == 0 { status("0") } else { field("x", "y") };
        replay.feed(SERVER, &[headers(0, 21, OK), headers(END_STREAM, 21, &trailers)].concat());
        assert_eq!(spans(&replay).pop().as_deref(), Some(expected));
    }
}

#[test]
fn what_was_presumed_is_taken_back_where_the_response_says_otherwise() {
    let mut replay = replay(true);
    first_call(&mut replay);
    replay.lose(CLIENT, 200);
    replay.feed(CLIENT, &[headers(END_STREAM, 21, CALL), window()].concat());
    replay.feed(SERVER, &headers(END_STREAM, 21, &[OK, &field("content-type", "text/plain")].concat()));
    replay.feed(CLIENT, &headers(END_STREAM, 23, CALL));
    replay.feed(SERVER, &headers(END_STREAM, 23, OK));
    assert_eq!(spans(&replay)[1..], ["200 fields_unknown", "POST 200 fields_unknown"]);
}

#[test]
fn calls_met_midway_are_known_by_their_messages_and_trailers() {
    let mut replay = replay(false);
    // Nothing that tells is known: not the type, not the status.
    replay.feed(CLIENT, &[ask(7), window()].concat());
    replay.feed(SERVER, &answer(7));
    // From now on the connection is known to be one of gRPC.
    replay.feed(CLIENT, &ask(9));
    replay.feed(SERVER, &answer(9));
    // A form is no message, whatever follows it.
    let mut other = self::replay(false);
    other.feed(CLIENT, &[headers(0, 7, CALL), data(END_STREAM, 7, b"a=b&c=d"), window()].concat());
    other.feed(SERVER, &answer(7));
    assert_eq!(spans(&replay), ["grpc fields_unknown"; 2]);
    assert_eq!(spans(&other), ["POST 200 fields_unknown"]);
}

#[test]
fn trailers_of_a_client_shift_its_table() {
    let upload = |stream| [headers(0, stream, b"\x83\x86\xbe"), data(0, stream, b"a=b")].concat();
    let mut replay = replay(true);
    begin(&mut replay);
    let first = [&b"\x83\x86"[..], &indexed(":path", "/form")].concat();
    replay.feed(CLIENT, &headers(END_STREAM, 1, &first));
    replay.feed(SERVER, &headers(END_STREAM, 1, OK));
    replay.feed(CLIENT, &upload(3));
    replay.lose(CLIENT, 40);
    replay.feed(CLIENT, &[headers(END_STREAM, 5, b"\x83\x86\xbe"), window()].concat());
    replay.feed(SERVER, &headers(END_STREAM, 5, OK));
    assert_eq!(spans(&replay)[1], "POST 200 fields_unknown");
}

#[test]
fn a_request_that_is_told_behind_its_response_proves_nothing() {
    let mut replay = replay(true);
    first_call(&mut replay);
    replay.feed(CLIENT, &ask(3));
    replay.feed(SERVER, &headers(0, 3, HEAD));
    // The hole holds a whole response, which adds an entry: all others are one farther away from then on.
    let fields = [HEAD, &indexed("x-served-by", "blue")].concat();
    let other = [headers(0, 5, &fields), data(0, 5, &message(1)), headers(END_STREAM, 5, b"\xbf")].concat();
    feed_around(&mut replay, SERVER, &[long(3, 0), other].concat(), 4096, 0);
    replay.feed(CLIENT, &ask(5));
    replay.feed(SERVER, &[headers(END_STREAM, 3, b"\xbf"), window()].concat());
    replay.feed(CLIENT, &ask(7));
    replay.feed(SERVER, &[headers(0, 7, b"\x88\xc0"), data(0, 7, &message(1))].concat());
    replay.feed(SERVER, &headers(END_STREAM, 7, b"\xbf"));
    replay.end();
    let spans = spans(&replay);
    let is_true = |span: &String| span == WHOLE || span.contains("fields_unknown");
    assert!(spans.len() >= 3 && spans.iter().all(is_true), "{spans:?}");
}
