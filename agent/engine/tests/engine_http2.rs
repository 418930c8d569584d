//! HTTP/2 through the whole engine: what is told in another order than it was said.

#[path = "support/peers.rs"]
mod peers;

use peers::{Link, Peers, text};
use remora_engine::protocol::Side;
use remora_engine::span::{Span, SpanKind};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What tonic's server says before it has heard anything.
const SETTINGS: &[u8] =
    b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x04\x00\x10\x00\x00\x00\x05\x00\x00@\x00\x00\x06\x00\x00@\x00";
const ACKNOWLEDGMENT: &[u8] = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00";
const REQUESTS: u32 = 20;

/// `GET` of a path with three digits.
fn request(number: u32) -> Vec<u8> {
    let stream = (2 * number + 1).to_be_bytes();
    let path = format!("/{number:03}");
    [b"\x00\x00\x0e\x01\x05", &stream[..], b"\x82\x86\x04\x04", path.as_bytes(), b"\x41\x04shop"].concat()
}

/// `200`.
fn response(number: u32) -> Vec<u8> {
    [b"\x00\x00\x01\x01\x05", &(2 * number + 1).to_be_bytes()[..], b"\x88"].concat()
}

/// Plays a connection on which the server greets first and the client's first bytes come in pieces, then its requests.
fn check(play: impl Fn(&mut Peers, &mut Link, u32)) {
    for cut in [1, 9, PREFACE.len(), PREFACE.len() + SETTINGS.len()] {
        let mut peers = Peers::new();
        let mut link = peers.open(40_000, 50_051, true);
        let greeting = [PREFACE, SETTINGS].concat();
        peers.say(&mut link, Side::Server, SETTINGS);
        peers.say(&mut link, Side::Client, &greeting[..cut]);
        peers.say(&mut link, Side::Client, &greeting[cut..]);
        peers.say(&mut link, Side::Server, ACKNOWLEDGMENT);
        peers.say(&mut link, Side::Client, ACKNOWLEDGMENT);
        (0..REQUESTS).for_each(|number| play(&mut peers, &mut link, number));
        peers.close_both(&link);
        let spans = peers.finish();
        let of = |kind| spans.iter().filter(move |span| span.kind == kind && is_answered(span));
        let served: Vec<_> = of(SpanKind::Server).filter_map(caller).collect();
        let called: Vec<_> = of(SpanKind::Client).map(|span| span.span_id.to_string()).collect();
        assert_eq!(called.len(), REQUESTS as usize, "the preface is cut at {cut}");
        assert_eq!(served, called, "the preface is cut at {cut}");
    }
}

fn is_answered(span: &Span) -> bool {
    text(span, "http.response.status_code").as_deref() == Some("200")
}

/// Returns the client's side of a request, as the server's knows it.
fn caller(span: &Span) -> Option<String> {
    let parent = span.parent.map(|parent| parent.span_id.to_string());
    parent.or_else(|| text(span, "remora.parent.expected"))
}

#[test]
fn a_server_that_greets_first_is_no_client() {
    check(|peers, link, number| {
        peers.say(link, Side::Client, request(number));
        peers.say(link, Side::Server, response(number));
    });
}

#[test]
fn an_answer_that_is_told_before_its_request_is_paired_with_it() {
    check(|peers, link, number| peers.ask_and_return_late(link, &request(number), &response(number)));
}

#[test]
fn bodies_that_are_read_in_pieces_do_not_move_what_follows() {
    /// `POST` of a path with three digits, and a body of five bytes.
    fn post(number: u32) -> Vec<u8> {
        let mut request = request(number);
        // END_HEADERS only, and `:method: POST`.
        (request[4], request[9]) = (4, 0x83);
        let stream = (2 * number + 1).to_be_bytes();
        [&request, &b"\x00\x00\x05\x00\x01"[..], &stream, b"hello"].concat()
    }
    let burst: Vec<u8> = (0..3).flat_map(post).collect();
    for cut in 1..burst.len() {
        let mut peers = Peers::new();
        let mut link = peers.open(40_000, 50_051, true);
        peers.say(&mut link, Side::Client, [PREFACE, SETTINGS].concat());
        peers.say(&mut link, Side::Server, SETTINGS);
        peers.say_and_hear_cut(&mut link, Side::Client, &burst, cut);
        (0..3).for_each(|number| peers.say(&mut link, Side::Server, response(number)));
        peers.close_both(&link);
        let spans = peers.finish();
        let of = |kind| spans.iter().filter(move |span| span.kind == kind && is_answered(span));
        let served: Vec<_> = of(SpanKind::Server).filter_map(|span| span.parent).collect();
        let called: Vec<_> = of(SpanKind::Client).map(|span| span.span_id).collect();
        let parents: Vec<_> = served.iter().map(|parent| parent.span_id).collect();
        assert_eq!(called.len(), 3, "cut at {cut}");
        assert_eq!(parents, called, "cut at {cut}");
    }
}

/// A frame of fields or data with short content.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    [&[0, 0, payload.len() as u8, kind, flags, 0, 0, 0, stream][..], payload].concat()
}

#[test]
fn what_turns_out_to_be_a_call_is_no_request_of_http_any_more() {
    let mut peers = Peers::new();
    let mut link = peers.open(40_000, 50_051, false);
    // A path that is told, and a type and a status by entries that nobody saw.
    let ask = [frame(1, 4, 7, b"\x83\x86\x04\x04/a/b\xc0\xbf"), frame(0, 1, 7, b"\0\0\0\0\x02hi")].concat();
    let answer = [frame(1, 4, 7, b"\x88\xc1"), frame(0, 0, 7, b"\0\0\0\0\x01x")].concat();
    peers.say(&mut link, Side::Client, ask);
    peers.say(&mut link, Side::Server, [answer, frame(1, 5, 7, b"\xc2\xc3")].concat());
    peers.close_both(&link);
    let spans = peers.finish();
    assert_eq!(spans.len(), 2, "{spans:#?}");
    for span in &spans {
        assert_eq!(span.name, "a/b");
        assert_eq!(text(span, "rpc.system.name").as_deref(), Some("grpc"));
        assert_eq!(text(span, "rpc.method").as_deref(), Some("a/b"));
        assert_eq!(text(span, "remora.incomplete").as_deref(), Some("fields_unknown"));
        let of_http = |key: &str| key.starts_with("http.") || key.starts_with("url.");
        assert!(!span.attributes.iter().any(|(key, _)| of_http(key)), "{span:#?}");
        assert_eq!(text(span, "rpc.response.status_code"), None);
    }
}

/// Clients and servers of gRPC reset a call by one code, whether its deadline has passed or nobody wants the answer.
#[test]
fn a_call_that_is_given_up_when_its_deadline_has_passed_says_so() {
    // `:method: POST`, `:scheme: http`, `:path`, `:authority`, `content-type: application/grpc`, `grpc-timeout`.
    let call = |timeout: &str| {
        let mut fields =
            b"\x83\x86\x04\x09/shop/Get\x41\x04shop\x0f\x10\x10application/grpc\x00\x0cgrpc-timeout".to_vec();
        fields.push(timeout.len() as u8);
        fields.extend(timeout.as_bytes());
        frame(1, 4, 1, &fields)
    };
    let late = "DEADLINE_EXCEEDED";
    for (timeout, side, expected) in
        [("1n", Side::Client, late), ("1n", Side::Server, late), ("9H", Side::Client, "CANCELLED")]
    {
        let mut peers = Peers::new();
        let mut link = peers.open(40_000, 50_051, true);
        peers.say(&mut link, Side::Client, [PREFACE, SETTINGS, &call(timeout)].concat());
        peers.say(&mut link, Side::Server, SETTINGS);
        peers.say(&mut link, side, frame(3, 0, 1, &8u32.to_be_bytes()));
        peers.close_both(&link);
        let spans = peers.finish();
        assert_eq!(spans.len(), 2, "{spans:?}");
        for span in &spans {
            let said = ["rpc.response.status_code", "error.type"].map(|key| text(span, key));
            let is_told = span.kind == SpanKind::Client || expected == late;
            assert_eq!(said[0].as_deref(), Some(expected), "{span:?}");
            assert_eq!(said[1].as_deref(), is_told.then_some(expected), "{span:?}");
        }
    }
}
