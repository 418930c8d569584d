//! HTTP/1.x on hand-written connections.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::http1::Http1;
use remora_engine::protocol::{
    Answer, Conversation, MessageKind, Parser, ParserSettings, Protocol, Request, Response, Side,
};
use replay::{Replay, attribute};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

/// Plays `play`, each piece cut into parts of at most `window` bytes, and returns what was said.
fn said(parser: Box<dyn Parser>, play: &[(Side, &str)], window: usize) -> Vec<String> {
    let mut replay = Replay::new(parser);
    feed(&mut replay, play, window);
    replay.end();
    told(&replay)
}

fn feed(replay: &mut Replay, play: &[(Side, &str)], window: usize) {
    for (side, piece) in play {
        for part in piece.as_bytes().chunks(window) {
            replay.feed(*side, part);
        }
    }
}

fn told(replay: &Replay) -> Vec<String> {
    let messages = replay.said.iter().map(|said| tell(&said.kind));
    let broken = replay.broken.iter().map(|reason| format!("broken: {reason}"));
    messages.chain(broken).chain(replay.is_opaque.then(|| "opaque".to_owned())).collect()
}

fn tell(kind: &MessageKind) -> String {
    match kind {
        MessageKind::Request(request) => {
            format!("{}{}", if request.is_open { "[" } else { "" }, tell_request(request))
        }
        MessageKind::RequestEnd => "]".to_owned(),
        MessageKind::Interim => "interim".to_owned(),
        MessageKind::Response(response) => {
            format!("{}{}", if response.is_open { "<" } else { "" }, tell_response(response))
        }
        MessageKind::ResponseEnd(_) => ">".to_owned(),
        MessageKind::Lost => "lost".to_owned(),
        MessageKind::OneWay => "one way".to_owned(),
        MessageKind::Missed | MessageKind::MissedDelivery => "missed".to_owned(),
        MessageKind::Delivered(_) | MessageKind::Settled(_) => panic!("no queues here"),
    }
}

fn tell_request(request: &Request) -> String {
    format!("{} {}", request.name.verb, request.name.path.as_deref().unwrap_or("-"))
}

fn tell_response(response: &Response) -> String {
    attribute(&response.attributes, "http.response.status_code").expect("status")
}

/// Checks that the connection says `expected`, however it is split.
fn check(play: &[(Side, &str)], expected: &[&str]) {
    for window in [1, 2, 3, 7, 64, 100_000] {
        let parser = Http1.parser(&Conversation::new(&ParserSettings::default(), true));
        assert_eq!(said(parser, play, window), expected, "window {window}");
    }
}

fn request(head: &str) -> Request {
    let settings = ParserSettings {
        captured_request_headers: vec!["x-id".to_owned(), "cookie".to_owned()].into(),
        ..ParserSettings::default()
    };
    let mut parser = Http1.parser(&Conversation::new(&settings, true));
    match parser.parse(CLIENT, head.as_bytes()) {
        Answer::Message { message, .. } => match message.kind {
            MessageKind::Request(request) => *request,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn keep_alive_with_bodies_of_all_kinds() {
    check(
        &[
            (CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"),
            (SERVER, "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"),
            (
                CLIENT,
                "\r\nPUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nT: 1\r\n\r\n",
            ),
            (SERVER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            (CLIENT, "GET /c HTTP/1.0\nHost: a\n\n"),
            (SERVER, "HTTP/1.0 200 OK\n\nall until the end\r\n\r\n"),
        ],
        &["[POST /a", "]", "<201", ">", "[PUT /b", "]", "<200", ">", "GET /c", "<200", ">"],
    );
}

#[test]
fn responses_without_bodies() {
    check(
        &[
            (CLIENT, "HEAD /a HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"),
            (CLIENT, "DELETE /c HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 204 No Content\r\n\r\n"),
            (CLIENT, "GET /d HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["HEAD /a", "200", "GET /b", "304", "DELETE /c", "204", "GET /d", "503"],
    );
}

#[test]
fn pipelined_requests_find_their_responses() {
    check(
        &[
            (CLIENT, "GET /a HTTP/1.1\r\n\r\nHEAD /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
            (
                SERVER,
                "HTTP/1.1 200 A\r\nContent-Length: 1\r\n\r\naHTTP/1.1 201 B\r\nContent-Length: 9\r\n\r\n",
            ),
            (SERVER, "HTTP/1.1 202 C\r\nContent-Length: 1\r\n\r\nc"),
        ],
        &["GET /a", "HEAD /b", "GET /c", "<200", ">", "201", "<202", ">"],
    );
}

#[test]
fn a_response_before_its_request_waits() {
    check(
        &[(SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (CLIENT, "GET /a HTTP/1.1\r\n\r\n")],
        &["GET /a", "200"],
    );
}

#[test]
fn a_response_before_the_end_of_its_request() {
    check(
        &[
            (CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 10\r\n\r\n01234"),
            (SERVER, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"),
            (CLIENT, "56789GET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["[POST /a", "413", "]", "GET /b", "200"],
    );
}

#[test]
fn continuing_and_not() {
    let post = "POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
    check(
        &[
            (CLIENT, post),
            (SERVER, "HTTP/1.1 100 Continue\r\n\r\n"),
            (CLIENT, "hello"),
            (
                SERVER,
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
        &["[POST /a", "interim", "]", "interim", "200"],
    );
    check(
        &[
            (CLIENT, post),
            (SERVER, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
            (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["[POST /a", "417", "]", "GET /b", "200"],
    );
    check(
        &[
            (CLIENT, post),
            (SERVER, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n"),
            (CLIENT, "helloGET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["[POST /a", "417", "]", "GET /b", "200"],
    );
}

#[test]
fn upgrades_end_the_protocol_only_where_they_succeed() {
    let upgrade = "GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    check(
        &[(CLIENT, upgrade), (SERVER, "HTTP/1.1 101 Switching Protocols\r\n\r\n\x01\x02"), (CLIENT, "\x03")],
        &["GET /a", "101", "opaque"],
    );
    check(
        &[
            (CLIENT, upgrade),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["GET /a", "200", "GET /b", "200"],
    );
}

#[test]
fn connect_opens_a_tunnel_only_where_it_succeeds() {
    let connect = "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n";
    check(
        &[
            (CLIENT, connect),
            (CLIENT, "\x16\x03"),
            (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x16"),
        ],
        &["CONNECT -", "200", "opaque"],
    );
    check(
        &[
            (CLIENT, connect),
            (SERVER, "HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nx"),
            (CLIENT, connect),
            (SERVER, "HTTP/1.1 502 No\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["CONNECT -", "<407", ">", "CONNECT -", "502"],
    );
}

#[test]
fn rubbish_behind_a_request_takes_nothing_from_it() {
    let play = [
        (CLIENT, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n\x01\x02 rubbish\r\n\r\n"),
        (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"),
        (SERVER, "lloHTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    ];
    for window in [1, 7, 100_000] {
        let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, &play, window);
        assert_eq!(told(&replay), ["GET /a", "<200", ">", "broken: not a request line"], "window {window}");
    }
}

#[test]
fn broken_bytes_are_said_to_be() {
    check(
        &[(CLIENT, "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n")],
        &["broken: content-length is no number"],
    );
    let mut parser = Http1.parser(&Conversation::new(&ParserSettings::default(), true));
    let long = format!("GET / HTTP/1.1\r\nA: {}", "x".repeat(70_000));
    assert_eq!(parser.parse(CLIENT, long.as_bytes()), Answer::Broken { reason: "head too long" });
    let mut parser = Http1.parser(&Conversation::new(&ParserSettings::default(), true));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: x\r\n".repeat(300));
    assert_eq!(parser.parse(CLIENT, many.as_bytes()), Answer::Broken { reason: "too many fields" });
}

#[test]
fn a_response_of_the_time_before_is_never_paired() {
    let parser = Http1.parser(&Conversation::new(&ParserSettings::default(), false));
    let play = [
        (SERVER, "end of a body HTTP/1.1 500 Old\r\nContent-Length: 3\r\n\r\nold"),
        (CLIENT, "GET /a HTTP/1.1\r\n\r\n"),
        (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ];
    assert_eq!(said(parser, &play, 1000), ["GET /a", "200"]);
}

#[test]
fn after_a_loss_pairs_begin_with_a_new_turn() {
    let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
    let before = [(CLIENT, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n")];
    feed(&mut replay, &before, 1000);
    replay.lose(CLIENT, 100);
    let after = [
        (CLIENT, "GET /d HTTP/1.1\r\n\r\n"),
        (SERVER, "HTTP/1.1 200 A\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 B\r\nContent-Length: 0\r\n\r\n"),
        (SERVER, "HTTP/1.1 200 C\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 D\r\nContent-Length: 0\r\n\r\n"),
        (CLIENT, "GET /e HTTP/1.1\r\n\r\n"),
        (SERVER, "HTTP/1.1 204 E\r\n\r\n"),
    ];
    feed(&mut replay, &after, 1000);
    assert_eq!(told(&replay), ["GET /a", "GET /b", "GET /e", "204"]);
}

#[test]
fn a_cut_head_makes_a_request_and_a_response() {
    let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(&mut replay, &[(CLIENT, "GET /a HTTP/1.1\r\nHost: a\r\nContent-Length: 55")], 1000);
    replay.lose(CLIENT, 1000);
    feed(&mut replay, &[(SERVER, "HTTP/1.1 200 OK\r\nSet-Cookie: ")], 1000);
    replay.lose(SERVER, 1000);
    let play = [
        (SERVER, "rest of a body"),
        (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
        (SERVER, "HTTP/1.1 204 No\r\n\r\n"),
    ];
    feed(&mut replay, &play, 1000);
    assert_eq!(told(&replay), ["GET /a", "200", "GET /b", "204"]);
}

#[test]
fn a_body_ends_when_it_has_passed_unseen() {
    let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
    let play =
        [(CLIENT, "GET /a HTTP/1.1\r\n\r\n"), (SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")];
    feed(&mut replay, &play, 1000);
    replay.lose(SERVER, 997);
    assert_eq!(told(&replay), ["GET /a", "<200", ">"]);
}

#[test]
fn attributes_of_a_request() {
    let request = request(concat!(
        "FROB /users/42?token=x&a=b HTTP/1.1\r\nHost: a.example:8080\r\nUser-Agent: me/1\r\nX-Id: 1\r\nx-id: 2\r\n",
        "Cookie: secret\r\nContent-Length: 7\r\nX-Forwarded-For: 203.0.113.7\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: a=1\r\ntracestate: b=2\r\n\r\n",
    ));
    let attributes: Vec<String> = request
        .attributes
        .iter()
        .map(|(key, _)| format!("{key}={}", attribute(&request.attributes, key).expect("there")))
        .collect();
    let expected = [
        "http.request.method=_OTHER",
        "http.request.method_original=FROB",
        "url.path=/users/42",
        "url.query=token=REDACTED&a=b",
        "url.scheme=http",
        "network.protocol.version=1.1",
        "user_agent.original=me/1",
        "client.address=203.0.113.7",
        "http.request.body.size=7",
        "http.request.header.x-id=Texts([\"1\", \"2\"])",
        "http.request.header.cookie=Texts([\"REDACTED\"])",
    ];
    assert_eq!(attributes, expected);
    assert_eq!(request.name.verb, "HTTP");
    assert_eq!(request.authority, Some(("a.example".to_owned(), Some(8080))));
    let context = request.context.expect("context");
    assert_eq!((context.flags, context.state.as_str()), (1, "a=1,b=2"));
}

#[test]
fn outcomes_tell_whose_fault_it_is() {
    let outcome = |status: &str| {
        let mut parser = Http1.parser(&Conversation::new(&ParserSettings::default(), true));
        parser.parse(CLIENT, b"GET / HTTP/1.1\r\n\r\n");
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        match parser.parse(SERVER, head.as_bytes()) {
            Answer::Message { message, .. } => match message.kind {
                MessageKind::Response(response) => {
                    (response.outcome.error_type, response.outcome.is_client_fault)
                }
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome("302"), (None, false));
    assert_eq!(outcome("404"), (Some("404".to_owned()), true));
    assert_eq!(outcome("503"), (Some("503".to_owned()), false));
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nff\r\nabc";

/// Plays `before`, leaves out `missing` bytes of the last piece's side, and plays `after` in parts of any length.
fn check_missing(before: &[(Side, &str)], missing: u64, after: &[(Side, &str)], expected: &[&str]) {
    for window in [1, 2, 3, 5, 1000] {
        let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
        feed(&mut replay, before, 1000);
        replay.lose(before.last().expect("a piece").0, missing);
        feed(&mut replay, after, window);
        assert_eq!(told(&replay), expected, "{missing} bytes missing, window {window}");
    }
}

#[test]
fn a_response_ends_with_its_last_chunk_behind_missing_bytes() {
    let get = (CLIENT, "GET /a HTTP/1.1\r\n\r\n");
    let after = [
        (SERVER, "of some chunk\r\n0\r\n\r\n"),
        (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
        (SERVER, "HTTP/1.1 204 No\r\n\r\n"),
    ];
    let expected = ["GET /a", "<200", ">", "GET /b", "204"];
    // Behind a chunk that is being passed over, within one, and within the line with a chunk's size.
    for shown in [CHUNKED, CHUNKED.strip_suffix("\r\nff\r\nabc").expect("there"), &CHUNKED[..47]] {
        check_missing(&[get, (SERVER, shown)], 5000, &after, &expected);
    }
    // Again and again.
    let mut replay = Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)));
    feed(&mut replay, &[get, (SERVER, CHUNKED)], 1000);
    for _ in 0..3 {
        replay.lose(SERVER, 5000);
        feed(&mut replay, &[(SERVER, "data\r\n0\r\n")], 1000);
    }
    feed(&mut replay, &[(SERVER, "\r\n")], 1000);
    assert_eq!(told(&replay), expected[..3]);
}

#[test]
fn a_chunked_request_ends_behind_missing_bytes() {
    let post = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nff\r\nabc";
    let answer = (SERVER, "HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n");
    check_missing(
        &[(CLIENT, post)],
        5000,
        &[(CLIENT, "end\r\n0\r\n\r\n"), answer],
        &["[POST /a", "]", "201"],
    );
    // An answer before the end may be to another request.
    check_missing(
        &[(CLIENT, post)],
        5000,
        &[(CLIENT, "end"), answer, (CLIENT, "GET /b HTTP/1.1\r\n\r\n"), answer],
        &["[POST /a", "GET /b", "201"],
    );
}

#[test]
fn a_new_request_ends_the_search_for_the_last_chunk() {
    check_missing(
        &[(CLIENT, "GET /a HTTP/1.1\r\n\r\n"), (SERVER, CHUNKED)],
        5000,
        &[
            (SERVER, "of some chunk\r\n0\r\nTrailer: x\r\n\r\n"),
            (CLIENT, "GET /b HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 204 No\r\n\r\n"),
        ],
        &["GET /a", "<200", "GET /b", "204"],
    );
}

#[test]
fn pipelined_responses_are_lost_with_missing_bytes() {
    check_missing(
        &[(CLIENT, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\n"), (SERVER, CHUNKED)],
        5000,
        &[
            (SERVER, "maybe of the second\r\n0\r\n\r\n"),
            (CLIENT, "GET /c HTTP/1.1\r\n\r\n"),
            (SERVER, "HTTP/1.1 204 No\r\n\r\n"),
        ],
        &["GET /a", "GET /b", "<200", "GET /c", "204"],
    );
}
