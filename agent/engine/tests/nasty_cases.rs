//! The cases that break agents, through the whole engine; `docs/nasty-cases.md` lists all of them.

#[path = "support/peers.rs"]
mod peers;

use std::path::Path;

use peers::{Link, Peers, check_pairs, served, text};
use remora_engine::protocol::Side::{Client, Server};
use remora_engine::span::SpanKind;

fn http() -> (Peers, Link) {
    let mut peers = Peers::new();
    let link = peers.open(40_000, 80, true);
    (peers, link)
}

#[test]
fn http_pipelining_pairs_in_order_however_responses_are_cut() {
    let (mut peers, mut link) = http();
    let requests: String = (0..100).map(|at| format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let status = |at: usize| 200 + at % 3;
    let responses: String =
        (0..100).map(|at| format!("HTTP/1.1 {} X\r\nContent-Length: 3\r\n\r\n{at:03}", status(at))).collect();
    peers.say(&mut link, Client, requests);
    responses.as_bytes().chunks(17).for_each(|part| peers.say(&mut link, Server, part));
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    let expected: Vec<_> = (0..100).map(|at| format!("GET /{at} {}", status(at))).collect();
    assert_eq!(served(&spans), expected);
}

#[test]
fn http_early_responses_belong_to_the_request_that_is_still_sent() {
    let (mut peers, mut link) = http();
    peers.say(&mut link, Client, "POST /large HTTP/1.1\r\nContent-Length: 30\r\n\r\n0123456789");
    peers.say(&mut link, Server, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    peers.say(&mut link, Client, "0123456789");
    peers.say(&mut link, Client, "0123456789GET /next HTTP/1.1\r\n\r\n");
    peers.say(&mut link, Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["POST /large 413", "GET /next 200"]);
}

#[test]
fn request_line_split_over_one_byte_writes() {
    let (mut peers, mut link) = http();
    peers.say_bytewise(&mut link, Client, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    peers.say_bytewise(&mut link, Server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    peers.say(&mut link, Client, "GET /fast HTTP/1.1\r\n\r\n");
    peers.say(&mut link, Server, "HTTP/1.1 204 No Content\r\n\r\n");
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["GET /slow 200", "GET /fast 204"]);
}

#[test]
fn headers_over_4_kib_with_traceparent_after_the_captured_window() {
    const CAPTURED: usize = 4096;
    let (mut peers, mut link) = http();
    let context = |id: u8| format!("traceparent: 00-{:032x}-{:016x}-01\r\n", id, id);
    let long = format!("Cookie: {}\r\n", "x".repeat(5000));
    let head = |path: &str, fields: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    peers.say_captured(&mut link, Client, head("/behind", &(long.clone() + &context(1))), CAPTURED);
    peers.say(&mut link, Server, ok);
    peers.say_captured(&mut link, Client, head("/before", &(context(2) + &long)), CAPTURED);
    peers.say(&mut link, Server, ok);
    peers.say(&mut link, Client, head("/short", &context(3)));
    peers.say(&mut link, Server, ok);
    peers.close_both(&link);
    let spans = peers.finish();
    assert_eq!(served(&spans), ["GET /behind 200", "GET /before 200", "GET /short 200"]);
    let trace = |path: &str| {
        let of_path = spans.iter().filter(|span| text(span, "url.path").as_deref() == Some(path));
        let mut traces: Vec<_> = of_path.map(|span| span.trace_id.to_string()).collect();
        traces.dedup();
        traces
    };
    // What was not seen is no context, and not another request's either; the two sides agree all the same.
    assert_eq!(trace("/behind").len(), 1);
    assert!(!trace("/behind").iter().any(|trace| trace.starts_with("00000000")));
    assert_eq!(trace("/before"), [format!("{:032x}", 2)]);
    assert_eq!(trace("/short"), [format!("{:032x}", 3)]);
}

#[test]
fn keep_alive_with_a_client_that_times_out_and_reuses_the_port() {
    let mut peers = Peers::new();
    let mut first = peers.open(40_000, 80, true);
    peers.say(&mut first, Client, "GET /slow HTTP/1.1\r\n\r\n");
    peers.close(&first, Client);
    let mut second = peers.open(40_000, 80, true);
    peers.say(&mut second, Client, "GET /again HTTP/1.1\r\n\r\n");
    // The server answers the first, and nobody is there any more.
    peers.say_to_nobody(&mut first, "HTTP/1.1 500 Slow\r\nContent-Length: 0\r\n\r\n");
    peers.say(&mut second, Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    peers.close(&first, Server);
    peers.close_both(&second);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["GET /slow 500 failed", "GET /again 200"]);
    let client = spans.iter().find(|span| span.kind == SpanKind::Client).expect("the first");
    assert_eq!(text(client, "http.response.status_code"), None, "it has read no answer");
    assert!(text(client, "error.type").is_some(), "{client:#?}");
}

#[test]
fn continue_and_other_1xx_204_304_and_head_without_body_and_chunked_trailers() {
    let (mut peers, mut link) = http();
    for (request, response) in [
        (
            "PUT /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
        ),
        ("ok", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        (
            "GET /b HTTP/1.1\r\n\r\n",
            "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1",
        ),
        ("DELETE /c HTTP/1.1\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET /d HTTP/1.1\r\n\r\n", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        ("HEAD /e HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (
            "POST /f HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nDigest: y\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: T\r\n\r\n4\r\nHTTP\r\n0\r\nT: GET / HTTP/1.1\r\n\r\n",
        ),
        ("GET /g HTTP/1.1\r\n\r\n", "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"),
    ] {
        peers.say(&mut link, Client, request);
        peers.say(&mut link, Server, response);
    }
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(
        served(&spans),
        [
            "PUT /a 201",
            "GET /b 200",
            "DELETE /c 204",
            "GET /d 304",
            "HEAD /e 200",
            "POST /f 200",
            "GET /g 404"
        ]
    );
}

#[test]
fn connect_tunnels_carry_opaque_bytes_that_look_like_requests() {
    let (mut peers, mut link) = http();
    peers.say(&mut link, Client, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n");
    peers.say(&mut link, Server, "HTTP/1.1 200 Connection established\r\n\r\n");
    for _ in 0..3 {
        peers.say(&mut link, Client, "GET /inside HTTP/1.1\r\nHost: a\r\n\r\n");
        peers.say(&mut link, Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["CONNECT 200"]);
}

#[test]
fn a_connect_that_is_refused_is_no_tunnel() {
    let (mut peers, mut link) = http();
    peers.say(&mut link, Client, "CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n");
    peers.say(&mut link, Server, "HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n");
    peers.say(&mut link, Client, "GET /outside HTTP/1.1\r\nHost: a\r\n\r\n");
    peers.say(&mut link, Server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    peers.close_both(&link);
    assert_eq!(served(&peers.finish()), ["CONNECT 407", "GET /outside 200"]);
}

#[test]
fn attach_mid_connection_within_a_body_that_holds_a_request() {
    let mut peers = Peers::new();
    let mut link = peers.open(40_000, 80, false);
    // The end of an upload that began before the agent did, with what looks like a request in it.
    peers.say(&mut link, Client, "log line\nGET /logged HTTP/1.1\nmore of the log\n");
    peers.say(&mut link, Server, "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
    for at in 0..3 {
        peers.say(&mut link, Client, format!("GET /{at} HTTP/1.1\r\nHost: a\r\n\r\n"));
        peers.say(&mut link, Server, format!("HTTP/1.1 20{at} OK\r\nContent-Length: 0\r\n\r\n"));
    }
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["GET /0 200", "GET /1 201", "GET /2 202"]);
}

/// Returns a PostgreSQL message.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("short");
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

#[test]
fn attach_mid_connection_with_a_prepared_statement_handle_only() {
    let mut peers = Peers::new();
    let mut link = peers.open(40_000, 5432, false);
    let execute =
        [message(b'B', b"\0s1\0\0\0\0\0\0\0"), message(b'E', b"\0\0\0\0\0"), message(b'S', b"")].concat();
    let answer = [
        message(b'2', b""),
        message(b'D', b"\0\x01\0\0\0\x011"),
        message(b'C', b"SELECT 1\0"),
        message(b'Z', b"I"),
    ]
    .concat();
    for _ in 0..3 {
        peers.say(&mut link, Client, &execute);
        peers.say(&mut link, Server, &answer);
    }
    peers.close_both(&link);
    let spans = peers.finish();
    check_pairs(&spans);
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Server).collect();
    assert!(servers.len() >= 2, "{:?}", served(&spans));
    for span in servers {
        assert_eq!(text(span, "db.query.text"), None, "what it says is not known");
        assert_eq!(text(span, "remora.incomplete").as_deref(), Some("statement_unknown"));
    }
}

#[test]
fn redis_pipelines_multi_pubsub_resp3_and_cluster_moved() {
    let mut peers = Peers::new();
    let mut link = peers.open(40_000, 6379, true);
    let mut exchange = |commands: &[&str], replies: &str| {
        let wire = |command: &&str| {
            let words: Vec<&str> = command.split(' ').collect();
            let strings: String = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
            format!("*{}\r\n{strings}", words.len())
        };
        peers.say(&mut link, Client, commands.iter().map(wire).collect::<String>());
        peers.say(&mut link, Server, replies);
    };
    exchange(&["SET a 1", "GET a", "GET b"], "+OK\r\n$1\r\n1\r\n-MOVED 3999 127.0.0.1:6381\r\n");
    exchange(&["MULTI", "INCR a", "INCR b", "EXEC"], "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n:1\r\n");
    exchange(&["HELLO 3"], "%1\r\n$5\r\nproto\r\n:3\r\n");
    exchange(&["SUBSCRIBE news"], ">3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    // A push between a command and its reply answers nothing.
    exchange(&["GET c"], ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$2\r\nhi\r\n_\r\n");
    exchange(&["LPUSH a x"], "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n");
    peers.close_both(&link);
    let spans = peers.finish();
    let found = served(&spans);
    let expected = [
        "SET SET ? ?",
        "GET GET ?",
        "GET GET ? MOVED",
        "MULTI MULTI",
        "INCR INCR ?",
        "INCR INCR ?",
        "EXEC EXEC",
        "HELLO HELLO ?",
        "SUBSCRIBE SUBSCRIBE ?",
        "GET GET ?",
        "LPUSH LPUSH ? ? WRONGTYPE failed",
    ];
    assert_eq!(found, expected);
}

#[test]
fn sides_of_a_hairpin_are_one_chain_and_no_more() {
    // A client, a sidecar and a service on one host: the same bytes are seen four times.
    let mut peers = Peers::new();
    let mut outer = peers.open(40_000, 15_001, true);
    let mut inner = peers.open(40_001, 80, true);
    let (request, response) =
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    peers.say(&mut outer, Client, request);
    peers.say(&mut inner, Client, request);
    peers.say(&mut inner, Server, response);
    peers.say(&mut outer, Server, response);
    peers.close_both(&outer);
    peers.close_both(&inner);
    let spans = peers.finish();
    check_pairs(&spans);
    assert_eq!(served(&spans), ["GET /a 200", "GET /a 200"]);
    assert_eq!(spans.len(), 4);
}

/// Rows of `docs/nasty-cases.md` name tests as `path::name`, in code.
#[test]
fn every_test_that_the_list_of_nasty_cases_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| {
        std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let list = read("docs/nasty-cases.md");
    let mut named = 0;
    for reference in list.split('`').skip(1).step_by(2).filter(|code| code.contains(".rs::")) {
        let (path, test) = reference.split_once("::").expect("it has two colons");
        let source = read(path);
        let is_there = [format!("fn {test}("), format!("    {test}: ")];
        assert!(is_there.iter().any(|text| source.contains(text)), "{reference}");
        named += 1;
    }
    let is_numbered = |line: &&str| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit();
    let rows: Vec<&str> = list.lines().filter(is_numbered).collect();
    assert_eq!(rows.len(), 20);
    let missing: Vec<_> = rows.iter().filter(|row| !row.contains(".rs::")).collect();
    assert!(missing.iter().all(|row| row.contains("none yet")), "{missing:#?}");
    assert!(named + missing.len() >= rows.len());
}
