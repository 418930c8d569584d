//! Bodies of HTTP/1.x that are looked at: events and GraphQL.

#[path = "support/replay.rs"]
mod replay;

use remora_engine::protocol::http1::Http1;
use remora_engine::protocol::{Conversation, MessageKind, ParserSettings, Protocol, Side};
use replay::{Replay, tell};

const CLIENT: Side = Side::Client;
const SERVER: Side = Side::Server;

/// Returns what was said behind the first request, each message on one line.
fn told(replay: &Replay) -> Vec<String> {
    let lines = replay.said.iter().skip(1).map(|said| tell(&said.kind));
    lines.map(|text| text.lines().map(str::trim).collect::<Vec<_>>().join(", ")).collect()
}

fn new() -> Replay {
    Replay::new(Http1.parser(&Conversation::new(&ParserSettings::default(), true)))
}

#[track_caller]
fn check(play: &[(Side, &str)], expected: &[&str]) {
    for window in [1, 2, 3, 7, 64, 100_000] {
        let mut replay = new();
        for (side, piece) in play {
            piece.as_bytes().chunks(window).for_each(|part| replay.feed(*side, part));
        }
        replay.end();
        assert_eq!(replay.broken, [""; 0]);
        assert_eq!(told(&replay), expected, "window {window}");
    }
}

const GET: (Side, &str) = (CLIENT, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
const OPEN: &str = "response (open), http.response.status_code = 200";

fn stream(more: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=utf-8\r\n{more}\r\n")
}

#[test]
fn sse_lasting_hours_is_one_span_with_its_events() {
    let whole = stream("") + "data: a\n\n: ping\n\ndata: b\r\n\r\nevent: x\ndata: c\n\n";
    check(&[GET, (SERVER, &whole)], &[OPEN, "response end, remora.sse.events = 3"]);
    let chunked =
        stream("Transfer-Encoding: chunked\r\n") + "9\r\ndata: a\n\n\r\n6\r\ndata: \r\n3\r\nb\n\n\r\n";
    let ended = chunked.clone() + "0\r\n\r\n";
    check(&[GET, (SERVER, &ended)], &[OPEN, "response end, remora.sse.events = 2"]);
    // The client goes away.
    check(&[GET, (SERVER, &chunked)], &[OPEN, "response end, remora.sse.events = 2"]);
}

#[test]
fn events_that_cannot_be_seen_are_not_counted() {
    let gzip = stream("Content-Encoding: gzip\r\n") + "data: a\n\n";
    check(&[GET, (SERVER, &gzip)], &[OPEN, "response end"]);
    let mut replay = new();
    replay.feed(CLIENT, GET.1.as_bytes());
    replay.feed(SERVER, (stream("") + "data: a\n\ndata: ").as_bytes());
    replay.lose(SERVER, 5000);
    replay.feed(SERVER, b"of an event\n\ndata: b\n\n");
    replay.end();
    let expected = "response end, remora.sse.events = 2, remora.incomplete = events_missing";
    assert_eq!(told(&replay), [OPEN, expected]);
}

#[test]
fn events_in_chunks_end_behind_missing_bytes_too() {
    let mut replay = new();
    replay.feed(CLIENT, GET.1.as_bytes());
    replay.feed(
        SERVER,
        (stream("Transfer-Encoding: chunked\r\n") + "9\r\ndata: a\n\n\r\n2000\r\ndata: ").as_bytes(),
    );
    replay.lose(SERVER, 0x2000);
    replay.feed(SERVER, b"x\n\n\r\n0\r\n\r\n");
    let expected = "response end, remora.sse.events = 1, remora.incomplete = events_missing";
    assert_eq!(told(&replay), [OPEN, expected]);
}

fn post(path: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn json(body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

/// Returns the name of the span, and how it ended.
fn graphql(request: &str, response: &str) -> String {
    let mut told = Vec::new();
    for window in [1, 2, 3, 7, 64, 100_000] {
        let mut replay = new();
        request.as_bytes().chunks(window).for_each(|part| replay.feed(CLIENT, part));
        response.as_bytes().chunks(window).for_each(|part| replay.feed(SERVER, part));
        assert_eq!((replay.broken.len(), replay.unread()), (0, [0, 0]));
        let texts = replay.said.iter().filter_map(|said| match &said.kind {
            MessageKind::Response(response) => {
                let (verb, path) = match &response.name {
                    Some(name) => (&*name.verb, name.path.as_deref().unwrap_or("-")),
                    None => ("-", "-"),
                };
                let name = replay::attribute(&response.attributes, "graphql.operation.name");
                Some(format!("{verb} {path} {}", name.as_deref().unwrap_or("-")))
            }
            MessageKind::ResponseEnd(Some(ending)) => {
                Some(format!("{:?}", ending.outcome.as_ref()?.error_type.as_ref()?))
            }
            _ => None,
        });
        told.push(texts.collect::<Vec<_>>().join(", "));
    }
    told.dedup();
    told.join(" or ")
}

#[test]
fn graphql_requests_have_the_name_of_their_type() {
    let body = r#"{"query":"query GetUser($id: ID!) { user(id: $id) { name } }","variables":{"id":7}}"#;
    let ok = json(r#"{"data":{"user":null}}"#);
    for (path, kind) in
        [("/graphql", "application/json"), ("/api", "application/json"), ("/", "application/graphql+json")]
    {
        assert_eq!(graphql(&post(path, kind, body), &ok), format!("query {path} GetUser"));
    }
    assert_eq!(graphql(&post("/g", "application/graphql", "mutation A { a }"), &ok), "mutation /g A");
    assert_eq!(graphql("GET /graphql?query=%7Bme%7D HTTP/1.1\r\n\r\n", &ok), "query /graphql -");
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let chunked = format!(
        "POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"
    );
    assert_eq!(graphql(&chunked, &ok), "query /graphql GetUser");
}

#[test]
fn requests_that_only_look_like_graphql_stay_what_they_are() {
    let ok = json(r#"{"errors":[{"message":"of the application"}]}"#);
    for (path, kind, body) in [
        ("/search", "application/json", r#"{"query":{"match_all":{}}}"#),
        ("/search", "application/json", r#"{"query":"shoes"}"#),
        ("/graphql", "text/plain", r#"{"query":"{a}"}"#),
        ("/users", "application/json", r#"{"user":"{a}"}"#),
    ] {
        assert_eq!(graphql(&post(path, kind, body), &ok), "- - -", "{path} {body}");
    }
    let encoded = post("/graphql", "application/json\r\nContent-Encoding: gzip", r#"{"query":"{a}"}"#);
    assert_eq!(graphql(&encoded, &ok), "- - -");
}

#[test]
fn errors_in_a_200_are_errors() {
    let request = post("/graphql", "application/json", r#"{"query":"{a}"}"#);
    let refused = json(r#"{"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}]}"#);
    assert_eq!(graphql(&request, &refused), "query /graphql -, \"UNAUTHENTICATED\"");
    let failed = refused.replace("200 OK", "401 No");
    assert_eq!(graphql(&request, &failed), "query /graphql -");
}

#[test]
fn the_operation_is_known_from_the_beginning_of_a_large_body() {
    let query = format!("query Long {{ a(b: \\\"{}\\\") }}", "x".repeat(100_000));
    let body = format!(r#"{{"query":"{query}","variables":{{}}}}"#);
    let ok = json(r#"{"data":{}}"#);
    assert_eq!(graphql(&post("/graphql", "application/json", &body), &ok), "query /graphql Long");
    // Only the first of it was captured.
    let mut replay = new();
    let request = post("/graphql", "application/json", &body);
    let (shown, missing) = request.split_at(1000);
    replay.feed(CLIENT, shown.as_bytes());
    replay.lose(CLIENT, missing.len() as u64);
    replay.feed(SERVER, ok.as_bytes());
    assert!(told(&replay)[1].contains("named query"), "{:?}", told(&replay));
}

#[test]
fn a_response_before_the_body_waits_for_its_beginning() {
    let head = "POST /graphql HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n";
    let refused = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
    let expected = "response named query error of the client 413 \"\", http.response.status_code = 413, \
                    graphql.operation.type = query";
    let mut replay = new();
    replay.feed(CLIENT, format!("{head}\r\n{{\"query\":\"").as_bytes());
    replay.feed(SERVER, refused.as_bytes());
    assert_eq!(told(&replay), [""; 0]);
    replay.feed(CLIENT, format!("{{ a(b: \\\"{} ", "x".repeat(2000)).as_bytes());
    replay.feed(CLIENT, "x".repeat(100).as_bytes());
    assert_eq!(told(&replay), [expected]);
    // A client that has asked whether to send the body does not send it.
    let mut replay = new();
    replay.feed(CLIENT, format!("{head}Expect: 100-continue\r\n\r\n").as_bytes());
    replay.feed(SERVER, refused.as_bytes());
    assert_eq!(told(&replay), ["response error of the client 413 \"\", http.response.status_code = 413"]);
}
