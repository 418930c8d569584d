//! Events of simulated connections become the expected spans.

use std::net::SocketAddr;

use bytes::Bytes;
use expect_test::{Expect, expect};
use remora_engine::command::Command;
use remora_engine::event::{
    Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, FirstPositions, Insertion,
    Opened, Role, Scheduling, Task,
};
use remora_engine::semconv::Value;
use remora_engine::span::{Span, SpanKind, Status};
use remora_engine::{Engine, Settings};

/// One end of a simulated TCP connection.
#[derive(Clone)]
struct End {
    connection: ConnectionId,
    executor: Executor,
    role: Role,
    local: SocketAddr,
    peer: SocketAddr,
    egress: u32,
    ingress: u32,
}

impl End {
    fn on(mut self, tid: u32, turn: u32) -> Self {
        self.executor = Executor { tid, turn, ..self.executor };
        self
    }
}

/// An engine with a clock that moves a millisecond with each event.
struct World {
    engine: Engine,
    now_ns: u64,
    sockets: u64,
    /// Turn of the thread that opens connections.
    turn: u32,
    /// Commands that were looked at.
    told: Vec<Command>,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        (0..100).for_each(|tgid| engine.handle_process(tgid, Scheduling::Threads));
        Self { engine, now_ns: 0, sockets: 0, turn: 0, told: Vec::new() }
    }

    fn tick(&mut self) -> u64 {
        self.now_ns += 1_000_000;
        self.now_ns
    }

    fn send(&mut self, connection: ConnectionId, kind: EventKind) {
        let at_ns = self.tick();
        self.engine.handle_event(Event { connection, at_ns, kind });
    }

    /// Opens a connection between two processes; both ends are observed.
    fn connect(&mut self, client: u32, server: u32, port: u16) -> (End, End) {
        let client_address = SocketAddr::from(([127, 0, 0, 1], 40_000 + self.sockets as u16));
        let server_address = SocketAddr::from(([127, 0, 0, 1], port));
        let number = self.sockets as u32 + 1;
        let (one, other) = (number.wrapping_mul(1_000_000), number.wrapping_mul(5_000_000));
        let mut end = |tgid, role, local, peer, egress, ingress| {
            self.sockets += 1;
            let executor = Executor { tgid, tid: tgid, task: None, token: None, turn: self.turn };
            let connection = ConnectionId { sock: self.sockets, inode: self.sockets as u32 };
            End { connection, executor, role, local, peer, egress, ingress }
        };
        let from = end(client, Role::Connected, client_address, server_address, one, other);
        let to = end(server, Role::Accepted, server_address, client_address, other, one);
        self.open(&from);
        self.open(&to);
        (from, to)
    }

    fn open(&mut self, end: &End) {
        let opened = Opened {
            executor: end.executor,
            local: Endpoint::Ip(end.local),
            peer: Endpoint::Ip(end.peer),
            role: end.role,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        self.send(end.connection, EventKind::Opened(opened));
    }

    fn moved(&mut self, end: &mut End, direction: Direction, bytes: &[u8], length: usize) {
        self.moved_with(end, direction, bytes, length, None);
    }

    /// Moves bytes, among which the agent may have written some of its own.
    fn moved_with(
        &mut self,
        end: &mut End,
        direction: Direction,
        bytes: &[u8],
        length: usize,
        inserted: Option<Insertion>,
    ) {
        let (position, reverse_position) = match direction {
            Direction::Egress => (end.egress, end.ingress),
            Direction::Ingress => (end.ingress, end.egress),
        };
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: true,
            length: length as u32,
            bytes: Bytes::copy_from_slice(bytes),
            peer: None,
            inserted,
            executor: end.executor,
        };
        match direction {
            Direction::Egress => end.egress += length as u32 + inserted.map_or(0, |own| own.length),
            Direction::Ingress => end.ingress += length as u32,
        }
        self.send(end.connection, EventKind::Data(data));
    }

    fn write(&mut self, end: &mut End, text: &str) {
        self.moved(end, Direction::Egress, text.as_bytes(), text.len());
    }

    fn read(&mut self, end: &mut End, text: &str) {
        self.moved(end, Direction::Ingress, text.as_bytes(), text.len());
    }

    /// The client writes, the server reads.
    fn pass(&mut self, from: &mut End, to: &mut End, text: &str) {
        self.write(from, text);
        self.read(to, text);
    }

    fn close(&mut self, end: &End) {
        let closed = Closed { executor: Some(end.executor), ..Closed::default() };
        self.send(end.connection, EventKind::Closed(closed));
    }

    fn spans(&mut self) -> Vec<Span> {
        self.engine.handle_timeout(self.now_ns);
        std::iter::from_fn(|| self.engine.poll_span()).collect()
    }

    fn commands(&mut self) -> Vec<Command> {
        std::iter::from_fn(|| self.engine.poll_command()).collect()
    }

    /// Returns the commands about a connection; the others stay.
    fn commands_of(&mut self, connection: ConnectionId) -> Vec<Command> {
        self.told.extend(std::iter::from_fn(|| self.engine.poll_command()));
        let is_about = |command: &&Command| match command {
            Command::Ignore(about) | Command::Reannounce(about) | Command::Forget(about) => {
                *about == connection
            }
            Command::Capture { connection: about, .. } | Command::SkipUntil { connection: about, .. } => {
                *about == connection
            }
        };
        self.told.iter().filter(is_about).copied().collect()
    }

    fn loss(&self, label: &str) -> u64 {
        let counters = self.engine.counters();
        counters.iter().filter(|counter| counter.label == label).map(|counter| counter.value).sum()
    }
}

const GET: &str = "GET /users/42 HTTP/1.1\r\nHost: shop\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Lists the spans as a forest: indentation is parenthood.
fn tree(spans: &[Span]) -> String {
    fn add(text: &mut String, spans: &[Span], span: &Span, depth: usize) {
        let kind = match span.kind {
            SpanKind::Client | SpanKind::Producer => "->",
            SpanKind::Server => "<-",
            SpanKind::Consumer => "*",
        };
        let evidence = span.parent.map_or("root", |parent| parent.evidence.label());
        let status = match &span.status {
            Status::Unset => String::new(),
            Status::Error(message) => format!(" ERROR {message}"),
        };
        text.push_str(&format!(
            "{}{} {kind} {} ({evidence}){status}\n",
            "  ".repeat(depth),
            span.tgid,
            span.name
        ));
        for child in spans {
            if child.parent.is_some_and(|parent| parent.span_id == span.span_id) {
                assert_eq!(child.trace_id, span.trace_id);
                assert!(child.started_at_ns >= span.started_at_ns && child.ended_at_ns <= span.ended_at_ns);
                add(text, spans, child, depth + 1);
            }
        }
    }
    let mut text = String::new();
    for span in spans {
        let is_known = |parent| spans.iter().any(|other| other.span_id == parent);
        if !span.parent.is_some_and(|parent| is_known(parent.span_id)) {
            add(&mut text, spans, span, 0);
        }
    }
    text
}

fn check(world: &mut World, expected: &Expect) {
    expected.assert_eq(&tree(&world.spans()));
}

#[test]
fn both_ends_of_an_exchange_are_one_trace() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.pass(&mut server, &mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn a_call_belongs_to_the_request_on_its_thread() {
    let mut world = World::new();
    let (mut client, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 81);
    world.pass(&mut client, &mut front, GET);
    world.pass(&mut call, &mut back, GET);
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front, &mut client, OK);
    world.pass(&mut call, &mut back, GET);
    world.pass(&mut back, &mut call, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
            2 -> GET (thread)
              3 <- GET /users/{id} (position)
        2 -> GET (root)
          3 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn interleaved_requests_on_one_thread_have_no_calls() {
    let mut world = World::new();
    let (mut one, mut front_one) = world.connect(1, 2, 80);
    let (mut two, mut front_two) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 81);
    world.write(&mut one, GET);
    world.write(&mut two, GET);
    let mut front_one = {
        world.read(&mut front_one, GET);
        front_one.on(2, 1)
    };
    let mut front_two = {
        world.read(&mut front_two, GET);
        front_two.on(2, 2)
    };
    call = call.on(2, 3);
    world.pass(&mut call, &mut back, GET);
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front_one, &mut one, OK);
    world.pass(&mut front_two, &mut two, OK);
    let spans = world.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.tgid == 2 && span.kind == SpanKind::Client).collect();
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].parent, None);
}

#[test]
fn a_proxy_is_followed_through_its_turns() {
    let mut world = World::new();
    world.engine.handle_process(2, Scheduling::Turns);
    let (mut client, front) = world.connect(1, 2, 80);
    let mut front = front.on(2, 7);
    world.pass(&mut client, &mut front, GET);
    world.turn = 7;
    let (mut call, mut back) = world.connect(2, 3, 81);
    world.pass(&mut call, &mut back, GET);
    call = call.on(2, 8);
    world.pass(&mut back, &mut call, OK);
    front = front.on(2, 8);
    world.pass(&mut front, &mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
            2 -> GET (turn)
              3 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn a_goroutine_that_the_handler_started_belongs_to_the_request() {
    let mut world = World::new();
    let goroutine = |end: &mut End, id, parent| end.executor.task = Some(Task::Goroutine { id, parent });
    let (mut client, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 81);
    goroutine(&mut front, 10, 1);
    goroutine(&mut call, 11, 10);
    world.pass(&mut client, &mut front, GET);
    world.pass(&mut call, &mut back, GET);
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front, &mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
            2 -> GET (goroutine)
              3 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn a_received_context_is_continued_and_a_forwarded_one_recognised() {
    const TRACED: &str = "GET /a HTTP/1.1\r\nHost: shop\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: vendor=1\r\n\r\n";
    let mut world = World::new();
    let (_, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 81);
    // The first client is not observed.
    world.read(&mut front, TRACED);
    world.pass(&mut call, &mut back, TRACED);
    world.pass(&mut back, &mut call, OK);
    world.write(&mut front, OK);
    let spans = world.spans();
    assert_eq!(spans.len(), 3);
    for span in &spans {
        assert_eq!(span.trace_id.0[..4], [0x0a, 0xf7, 0x65, 0x19]);
        assert_eq!(span.trace_state, "vendor=1");
        assert_eq!(span.flags, 1);
    }
    expect![[r#"
        2 <- GET /a (wire)
          2 -> GET (thread)
            3 <- GET /a (position)
    "#]]
    .assert_eq(&tree(&spans));
}

#[test]
fn a_context_of_the_applications_own_is_the_parent() {
    const TRACED: &str = "GET /a HTTP/1.1\r\nHost: shop\r\n\
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n";
    let mut world = World::new();
    let (mut client, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 81);
    world.pass(&mut client, &mut front, GET);
    world.pass(&mut call, &mut back, TRACED);
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front, &mut client, OK);
    let spans = world.spans();
    let call = spans.iter().find(|span| span.tgid == 2 && span.kind == SpanKind::Client).unwrap();
    let front = spans.iter().find(|span| span.tgid == 2 && span.kind == SpanKind::Server).unwrap();
    assert_eq!(call.parent.unwrap().evidence.label(), "wire");
    assert_eq!(call.links.len(), 1, "what we believe to be the cause stays as a link");
    assert_eq!(call.links[0].span_id, front.span_id);
}

#[test]
fn a_server_that_is_told_first_still_finds_its_caller() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.read(&mut server, GET);
    world.write(&mut client, GET);
    world.pass(&mut server, &mut client, OK);
    let spans = world.spans();
    let server = spans.iter().find(|span| span.kind == SpanKind::Server).unwrap();
    let client = spans.iter().find(|span| span.kind == SpanKind::Client).unwrap();
    assert_eq!(server.parent.map(|parent| parent.span_id), Some(client.span_id));
    assert_eq!(server.trace_id, client.trace_id);
}

#[test]
fn pipelined_requests_pair_across_the_connection() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    let many = GET.repeat(3);
    world.write(&mut client, &many);
    world.read(&mut server, GET);
    world.pass(&mut server, &mut client, OK);
    world.read(&mut server, &GET.repeat(2));
    world.pass(&mut server, &mut client, &OK.repeat(2));
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
        1 -> GET (root)
          2 <- GET /users/{id} (position)
        1 -> GET (root)
          2 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn a_response_that_came_before_the_request_answers_nothing() {
    let empty = |status: &str| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.pass(&mut server, &mut client, OK);
    // The server gives up on an idle connection, just before it is used again.
    world.pass(&mut server, &mut client, &empty("408 Request Timeout"));
    for response in [OK, &empty("503 Service Unavailable")] {
        world.pass(&mut client, &mut server, GET);
        world.pass(&mut server, &mut client, response);
    }
    let spans = world.spans();
    let statuses: Vec<_> =
        spans.iter().filter_map(|span| number_of(span, "http.response.status_code")).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 503, 503]);
    assert_eq!(world.loss("response_without_request"), 2);
}

#[test]
fn a_response_that_is_told_before_its_request_is_its_answer() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.pass(&mut server, &mut client, OK);
    // The thread that reads is faster than the one that has written.
    let written_at = client.egress;
    client.egress += GET.len() as u32;
    world.read(&mut server, GET);
    world.pass(&mut server, &mut client, OK);
    client.egress = written_at;
    world.write(&mut client, GET);
    assert_eq!(world.spans().len(), 4);
    assert_eq!(world.loss("response_without_request"), 0);
}

#[test]
fn a_connection_that_ends_before_the_response_is_an_error() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.close(&server);
    world.close(&client);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root) ERROR the connection ended before the response
          2 <- GET /users/{id} (position) ERROR the connection ended before the response
    "#]],
    );
}

#[test]
fn a_body_that_was_not_captured_is_passed_over() {
    let mut world = World::new();
    let (mut client, _) = world.connect(1, 2, 80);
    world.write(&mut client, GET);
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    world.moved(&mut client, Direction::Ingress, head.as_bytes(), head.len() + 100_000);
    let position = client.ingress + 900_000;
    let connection = client.connection;
    let skip = Command::SkipUntil { connection, direction: Direction::Ingress, position };
    assert_eq!(world.commands(), [skip]);
    for _ in 0..9 {
        assert_eq!(world.spans(), []);
        world.moved(&mut client, Direction::Ingress, b"", 100_000);
    }
    let ended_at_ns = world.now_ns;
    let spans = world.spans();
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].ended_at_ns, ended_at_ns);
    world.write(&mut client, GET);
    world.read(&mut client, OK);
    assert_eq!(world.spans().len(), 1, "the next exchange on the connection");
}

#[test]
fn lost_bytes_lose_their_exchange_and_no_other() {
    let mut world = World::new();
    let (mut client, _) = world.connect(1, 2, 80);
    for index in 0..20 {
        world.write(&mut client, GET);
        if index == 5 {
            client.ingress += OK.len() as u32;
        } else {
            world.read(&mut client, OK);
        }
        world.now_ns += 1_000_000_000;
        world.engine.handle_timeout(world.now_ns);
    }
    let spans = world.spans();
    let lost = world.loss("exchange_cut_by_gap");
    assert!(lost >= 1, "{lost}");
    assert!(spans.len() >= 15, "{}", spans.len());
    assert!(spans.iter().all(|span| span.ended_at_ns - span.started_at_ns == 1_000_000), "no wrong pair");
}

#[test]
fn what_nobody_had_told_before_it_was_missing_is_counted_once() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.pass(&mut server, &mut client, OK);
    world.moved(&mut server, Direction::Ingress, b"", 10_000);
    world.moved(&mut server, Direction::Ingress, b"", 10_000);
    assert_eq!(world.loss("exchange_cut_by_gap"), 1);
    assert_eq!(world.spans().len(), 2);
}

#[test]
fn unknown_bytes_are_ignored_and_said_so() {
    let mut world = World::new();
    let (mut client, _) = world.connect(1, 2, 80);
    for _ in 0..20 {
        world.write(&mut client, "\x16\x03\x01 this is no protocol that anybody knows");
    }
    assert_eq!(world.commands(), [Command::Ignore(client.connection)]);
    assert_eq!(world.loss("protocol_unknown"), 1);
}

#[test]
fn an_upgrade_is_the_last_exchange_of_its_connection() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    let upgrade = "GET /live HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n";
    world.pass(&mut client, &mut server, upgrade);
    world.pass(&mut server, &mut client, &format!("{switched}\u{81}\u{5}hello"));
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /live (position)
    "#]],
    );
    assert_eq!(world.commands(), [Command::Ignore(server.connection), Command::Ignore(client.connection)]);
    assert_eq!(world.loss("exchange_cut_by_opaque_bytes"), 0);
}

#[test]
fn upgrade_to_websocket_is_one_span_until_both_sides_have_closed() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    let upgrade = "GET /live HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    world.pass(&mut client, &mut server, upgrade);
    world.pass(&mut server, &mut client, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
    // As bytes: c2 89, the whole of a binary message with a mask and nine bytes.
    for _ in 0..3 {
        world.pass(&mut client, &mut server, "\u{89}mask123456789");
    }
    assert_eq!(world.spans().len(), 0);
    let before_ns = world.now_ns;
    world.now_ns += 5_000_000_000;
    world.close(&client);
    world.close(&server);
    let spans = world.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert_eq!(span.status, Status::Error("the connection ended without a close frame".to_owned()));
        assert!(span.attributes.contains(&("remora.websocket.client_messages".into(), 3i64.into())));
        assert!(span.ended_at_ns > before_ns + 5_000_000_000, "{}", span.ended_at_ns);
        assert!(span.attributes.contains(&("http.response.status_code".into(), 101i64.into())));
    }
    assert_eq!(world.loss("exchange_cut_by_opaque_bytes"), 0);
}

#[test]
fn ends_of_connections_are_told_to_the_kernel_side() {
    let mut world = World::new();
    let (client, _) = world.connect(1, 2, 80);
    world.close(&client);
    assert_eq!(world.commands(), [Command::Forget(client.connection)]);
}

/// Opens a connection that is older than the agent.
fn met_midway(world: &mut World, client: u32, server: u32, port: u16) -> (End, End) {
    let mut older = World::new();
    older.sockets = world.sockets;
    let (mut from, mut to) = older.connect(client, server, port);
    world.sockets = older.sockets;
    for end in [&mut from, &mut to] {
        end.role = Role::Unknown;
        world.open(end);
    }
    (from, to)
}

#[test]
fn the_first_exchange_of_an_older_connection_is_told_when_it_rests() {
    const COMMAND: &str = "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    let mut world = World::new();
    let (mut client, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = met_midway(&mut world, 2, 3, 6379);
    world.pass(&mut client, &mut front, GET);
    world.pass(&mut call, &mut back, COMMAND);
    world.pass(&mut back, &mut call, "$-1\r\n");
    world.pass(&mut front, &mut client, OK);
    let mut spans = world.spans();
    assert_eq!(spans.len(), 2, "the command is in doubt");
    world.now_ns += 400_000_000;
    spans.extend(world.spans());
    expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
            2 -> GET (thread)
              3 <- GET (position)
    "#]]
    .assert_eq(&tree(&spans));
    world.pass(&mut call, &mut back, COMMAND);
    world.pass(&mut back, &mut call, "$-1\r\n");
    assert_eq!(world.spans().len(), 2, "nothing is in doubt any more");
}

#[test]
fn an_older_connection_that_was_met_before_a_response_is_not_guessed_at() {
    const COMMAND: &str = "*1\r\n$4\r\nPING\r\n";
    let mut world = World::new();
    let (mut call, _) = met_midway(&mut world, 2, 3, 6379);
    world.write(&mut call, COMMAND);
    world.read(&mut call, "+PONG\r\n+PONG\r\n");
    world.now_ns += 400_000_000;
    assert_eq!(world.spans(), []);
    assert_eq!(world.loss("connection_met_midway_unproven"), 1);
}

#[test]
fn the_first_statement_of_an_older_session_is_told_when_it_rests() {
    let message = |kind: &str, body: &str| {
        let mut text = kind.to_owned();
        let length = u32::try_from(body.len() + 4).unwrap();
        text.extend(length.to_be_bytes().iter().map(|&byte| char::from(byte)));
        text + body
    };
    let mut world = World::new();
    let (mut call, mut back) = met_midway(&mut world, 2, 3, 5432);
    let query = message("Q", "SELECT note FROM orders WHERE id = 7\0");
    let columns =
        message("T", "\0\u{1}note\0\0\0\0\0\0\0\0\0\0\u{19}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\u{7f}\0\0");
    let row = message("D", "\0\u{1}\0\0\0\u{2}ab");
    let answer = columns + &row + &message("C", "SELECT 1\0") + &message("Z", "I");
    world.pass(&mut call, &mut back, &query);
    world.pass(&mut back, &mut call, &answer);
    world.now_ns += 400_000_000;
    check(
        &mut world,
        &expect![[r#"
        2 -> SELECT orders (root)
          3 <- SELECT orders (position)
    "#]],
    );
}

#[test]
fn a_connection_that_was_idle_too_long_is_announced_again_and_not_told_as_failed() {
    const DAY_NS: u64 = 86_400_000_000_000;
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.commands();
    world.now_ns += DAY_NS;
    assert_eq!(world.spans(), []);
    assert_eq!(world.loss("exchange_open_on_forgotten_connection"), 2);
    for connection in [client.connection, server.connection] {
        assert!(world.commands_of(connection).contains(&Command::Reannounce(connection)), "{connection:?}");
    }
    // The kernel side announces them again: what follows is seen.
    (client.role, server.role) = (Role::Unknown, Role::Unknown);
    world.open(&client);
    world.open(&server);
    for _ in 0..4 {
        world.pass(&mut client, &mut server, GET);
        world.pass(&mut server, &mut client, OK);
    }
    world.now_ns += 1_000_000_000;
    assert!(world.spans().len() >= 4);
}

#[test]
fn connections_that_never_finish_a_message_hold_only_so_much_together() {
    let mut world = World::new();
    let head = format!("GET /{} HTTP/1.1\r\nHost: shop\r\n", "x".repeat(2_000));
    let filler = "a: b\r\n".repeat(8_000);
    let mut ends: Vec<End> = (0..800).map(|_| world.connect(1, 2, 80).0).collect();
    for end in &mut ends {
        world.write(end, &head);
        world.write(end, &filler);
    }
    assert!(world.loss("connection_held_too_many_bytes") > 0);
    assert!(world.loss("held_bytes") <= 64 << 20);
    for end in &ends {
        world.close(end);
    }
    assert_eq!(world.loss("held_bytes"), 0);
}

#[test]
fn a_unix_socket_ends_with_the_process_that_used_it_last() {
    let mut world = World::new();
    let (_, server) = world.connect(1, 2, 80);
    let local = |end: &End| Opened {
        executor: end.executor,
        local: Endpoint::Unix("/run/shop".to_owned()),
        peer: Endpoint::Unix(String::new()),
        role: end.role,
        is_datagram: false,
        peer_sock: Some(99),
        first: None,
    };
    // Accepted by process 2, served by its child 3.
    let mut accepted = End { connection: ConnectionId { sock: 500, inode: 500 }, ..server };
    world.send(accepted.connection, EventKind::Opened(local(&accepted)));
    accepted.executor.tgid = 3;
    world.read(&mut accepted, GET);
    world.engine.handle_process_exit(2, world.now_ns);
    assert_eq!(world.spans(), []);
    world.engine.handle_process_exit(3, world.now_ns);
    assert_eq!(world.spans().len(), 1);
}

#[test]
fn a_redis_connection_is_known_by_command_and_reply_together() {
    let mut world = World::new();
    for (command, reply) in [
        ("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n", "+OK\r\n"),
        ("*2\r\n$6\r\nexists\r\n$1\r\nk\r\n", ":1\r\n"),
    ] {
        let (mut client, mut server) = world.connect(1, 2, 6379);
        for _ in 0..2 {
            world.pass(&mut client, &mut server, command);
            world.pass(&mut server, &mut client, reply);
        }
        assert_eq!(world.spans().len(), 4, "{command}");
    }
    // POP3: the server greets, so that the word is no reply.
    let (mut client, mut server) = world.connect(1, 2, 110);
    world.pass(&mut server, &mut client, "+OK ready\r\n");
    world.pass(&mut client, &mut server, "STAT\r\n");
    world.pass(&mut server, &mut client, "+OK 2 320\r\n");
    assert_eq!(world.spans(), []);
}

/// The reply says what it is, and the command, which might be of others, came before it.
#[test]
fn a_first_redis_command_that_fails_has_its_error() {
    for (command, reply, error) in [
        ("*3\r\n$3\r\nset\r\n$1\r\nk\r\n$1\r\nv\r\n", "-NOAUTH Authentication required.\r\n", "NOAUTH"),
        ("*2\r\n$6\r\nnosuch\r\n$1\r\nx\r\n", "-ERR unknown command 'nosuch'\r\n", "ERR"),
    ] {
        let mut world = World::new();
        let (mut client, mut server) = world.connect(1, 2, 6379);
        world.pass(&mut client, &mut server, command);
        world.pass(&mut server, &mut client, reply);
        world.close(&client);
        world.close(&server);
        let spans = world.spans();
        assert_eq!(spans.len(), 2, "{spans:#?}");
        for span in &spans {
            assert_eq!(text_of(span, "db.response.status_code").as_deref(), Some(error), "{span:#?}");
            assert_eq!(text_of(span, "error.type").as_deref(), Some(error), "{span:#?}");
        }
    }
}

fn number_of(span: &Span, key: &str) -> Option<i64> {
    span.attributes.iter().find_map(|(found, value)| match value {
        Value::Int(number) if found == key => Some(*number),
        _ => None,
    })
}

fn text_of(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find_map(|(found, value)| match value {
        Value::Text(text) if found == key => Some(text.to_string()),
        _ => None,
    })
}

#[test]
fn a_request_line_that_is_longer_than_the_capture_is_told_as_far_as_it_was_seen() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    let shown = format!("GET /search?q={}", "x".repeat(4_082));
    world.moved(&mut client, Direction::Egress, shown.as_bytes(), 9_000);
    world.moved(&mut server, Direction::Ingress, shown.as_bytes(), 9_000);
    world.pass(&mut server, &mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /search (position)
    "#]],
    );
}

#[test]
fn what_had_arrived_before_a_reset_is_still_read() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    world.pass(&mut client, &mut server, GET);
    world.write(&mut server, OK);
    world.send(client.connection, EventKind::Closed(Closed::default()));
    world.read(&mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
    "#]],
    );
}

#[test]
fn a_context_that_the_agent_wrote_is_no_gap_and_names_a_trace() {
    let mut world = World::new();
    let (mut user, mut front) = world.connect(1, 2, 80);
    world.pass(&mut user, &mut front, GET);
    let (mut caller, mut back) = world.connect(2, 3, 81);
    let line = "GET /users/42 HTTP/1.1\r\n".len();
    let context = format!("traceparent: 00-{}-{}-01\r\n", "a".repeat(32), "b".repeat(16));
    let both = GET.repeat(2);
    let inserted = Some(Insertion { at: line as u32, length: context.len() as u32 });
    world.moved_with(&mut caller, Direction::Egress, both.as_bytes(), both.len(), inserted);
    let mut received = both.clone();
    received.insert_str(line, &context);
    world.read(&mut back, &received);
    for _ in 0..2 {
        world.write(&mut back, OK);
        world.read(&mut caller, OK);
    }
    // What follows is where it would be without the context, and that much further.
    world.pass(&mut caller, &mut back, GET);
    world.write(&mut back, OK);
    world.read(&mut caller, OK);
    world.write(&mut front, OK);
    world.read(&mut user, OK);
    let spans = world.spans();
    let calls: Vec<_> = spans.iter().filter(|span| span.tgid == 2 && span.kind == SpanKind::Client).collect();
    assert_eq!(calls.len(), 3);
    for call in &calls {
        let served =
            spans.iter().find(|span| span.parent.is_some_and(|parent| parent.span_id == call.span_id));
        assert_eq!(served.map(|span| (span.tgid, span.trace_id)), Some((3, call.trace_id)));
    }
    let aliases: Vec<_> = calls
        .iter()
        .filter_map(|call| call.attributes.iter().find(|(key, _)| key == "remora.trace.alias"))
        .collect();
    let [(_, Value::Text(alias))] = aliases.as_slice() else { panic!("{aliases:?}") };
    assert_eq!(alias.len(), 32);
    assert_ne!(**alias, calls[0].trace_id.to_string());
    assert_eq!(world.loss("gap"), 0);
}

/// Two requests on a connection whose positions are other ones at the server, which another agent observes; returns the
/// client's span ids, and those that the server's agent expects.
fn rewritten(is_told: bool) -> (Vec<String>, Vec<String>) {
    let (mut here, mut there) = (World::new(), World::new());
    let (mut client, _) = here.connect(1, 2, 80);
    let (_, mut server) = there.connect(1, 2, 80);
    let as_client = FirstPositions { egress: server.egress, ingress: server.ingress };
    server.egress = server.egress.wrapping_sub(7_777_777);
    server.ingress = server.ingress.wrapping_add(0xf000_0000);
    if is_told {
        let own = FirstPositions { egress: server.egress, ingress: server.ingress };
        there.engine.handle_beginning(server.connection.sock, own, as_client, 0);
    }
    for _ in 0..2 {
        here.write(&mut client, GET);
        here.read(&mut client, OK);
        there.read(&mut server, GET);
        there.write(&mut server, OK);
    }
    let calls = here.spans().iter().map(|span| span.span_id.to_string()).collect();
    let expected = |span: &Span| match span.attributes.iter().find(|(key, _)| key == "remora.parent.expected")
    {
        Some((_, Value::Text(id))) => id.to_string(),
        other => panic!("{other:?}"),
    };
    let served = there.spans();
    assert!(served.iter().all(|span| span.parent.is_none()), "{served:?}");
    (calls, served.iter().map(expected).collect())
}

#[test]
fn rewritten_positions_join_once_the_other_end_has_told_where_it_begins() {
    let (calls, expected) = rewritten(true);
    assert_eq!((calls.len(), &calls), (2, &expected));
    let (calls, expected) = rewritten(false);
    assert_eq!(expected.len(), 2);
    assert!(expected.iter().all(|id| !calls.contains(id)), "{calls:?} {expected:?}");
}

/// A request to process 2, whose threads prove nothing, and the call that it makes to process 3.
fn ask_and_call(world: &mut World, asked: &str, called: &str) -> [End; 4] {
    world.engine.handle_process(2, Scheduling::Migrating);
    let (mut client, mut front) = world.connect(1, 2, 80);
    let (mut call, mut back) = world.connect(2, 3, 6379);
    world.pass(&mut client, &mut front, asked);
    world.pass(&mut call, &mut back, called);
    [client, front, call, back]
}

fn call_of(spans: &[Span], connection: ConnectionId) -> &Span {
    let found = spans.iter().find(|span| span.connection == connection);
    found.unwrap_or_else(|| panic!("no span of {connection:?} in {spans:?}"))
}

fn order(number: u64, fields: &str) -> String {
    format!("GET /orders/{number} HTTP/1.1\r\nHost: shop\r\n{fields}\r\n")
}

fn item(number: u64) -> String {
    format!("*2\r\n$3\r\nGET\r\n$14\r\nitem:{number}\r\n")
}

const NOTHING: &str = "$-1\r\n";

#[test]
fn a_lone_request_is_the_parent_of_a_call_with_its_id() {
    let mut world = World::new();
    let [mut client, mut front, mut call, mut back] =
        ask_and_call(&mut world, &order(700_000_001, ""), &item(700_000_001));
    world.pass(&mut back, &mut call, NOTHING);
    world.pass(&mut front, &mut client, OK);
    check(
        &mut world,
        &expect![[r#"
        1 -> GET (root)
          2 <- GET /orders/{id} (position)
            2 -> GET (content)
              3 <- GET (position)
    "#]],
    );
}

#[test]
fn one_of_several_requests_is_linked_to_a_call_with_its_id() {
    let mut world = World::new();
    let (mut other, mut other_front) = world.connect(1, 2, 80);
    world.pass(&mut other, &mut other_front, &order(700_000_009, ""));
    let [mut client, mut front, mut call, mut back] =
        ask_and_call(&mut world, &order(700_000_001, ""), &item(700_000_001));
    world.pass(&mut back, &mut call, NOTHING);
    world.pass(&mut front, &mut client, OK);
    let spans = world.spans();
    let (call, server) = (call_of(&spans, call.connection), call_of(&spans, front.connection));
    assert_eq!(call.parent, None);
    let [link] = call.links.as_slice() else { panic!("{:?}", call.links) };
    assert_eq!((link.trace_id, link.span_id), (server.trace_id, server.span_id));
    let attributes = format!("{:?}", link.attributes);
    assert!(attributes.contains("content") && attributes.contains("Double(0.5)"), "{attributes}");
}

#[test]
fn an_id_that_two_requests_share_links_nothing() {
    let mut world = World::new();
    let (mut other, mut other_front) = world.connect(1, 2, 80);
    world.pass(&mut other, &mut other_front, &order(700_000_001, ""));
    let [.., mut call, mut back] = ask_and_call(&mut world, &order(700_000_001, ""), &item(700_000_001));
    world.pass(&mut back, &mut call, NOTHING);
    let spans = world.spans();
    let call = call_of(&spans, call.connection);
    assert_eq!((call.parent, call.links.as_slice()), (None, [].as_slice()));
    assert_eq!(world.loss("content_familiar"), 1);
}

#[test]
fn a_request_id_that_is_passed_on_tells_the_parent_among_many() {
    let mut world = World::new();
    let (mut other, mut other_front) = world.connect(1, 2, 80);
    world.pass(&mut other, &mut other_front, &order(700_000_009, "X-Request-Id: 9f86d081884c7d65\r\n"));
    let fields = "X-Request-Id: 60303ae22b998861\r\n";
    let [mut client, mut front, mut call, mut back] =
        ask_and_call(&mut world, &order(700_000_001, fields), &order(5, fields));
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front, &mut client, OK);
    let spans = world.spans();
    let (call, server) = (call_of(&spans, call.connection), call_of(&spans, front.connection));
    assert_eq!(call.parent.map(|parent| (parent.span_id, parent.evidence.label())), {
        Some((server.span_id, "content"))
    });
}

#[test]
fn a_context_that_is_passed_on_as_it_came_tells_the_parent() {
    let mut world = World::new();
    let (mut other, mut other_front) = world.connect(1, 2, 80);
    world.pass(&mut other, &mut other_front, GET);
    let fields = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    let [mut client, mut front, mut call, mut back] =
        ask_and_call(&mut world, &order(1, fields), &order(2, fields));
    world.pass(&mut back, &mut call, OK);
    world.pass(&mut front, &mut client, OK);
    let spans = world.spans();
    let (call, server) = (call_of(&spans, call.connection), call_of(&spans, front.connection));
    assert_eq!(call.parent.map(|parent| parent.span_id), Some(server.span_id));
    assert_eq!(call.trace_id, server.trace_id);
}

#[test]
fn content_is_no_evidence_where_it_is_switched_off() {
    let mut world = World::new();
    let content_evidence = remora_engine::ContentEvidence::Off;
    world.engine = Engine::new(Settings { content_evidence, ..Settings::default() });
    let [.., mut call, mut back] = ask_and_call(&mut world, &order(700_000_001, ""), &item(700_000_001));
    world.pass(&mut back, &mut call, NOTHING);
    let spans = world.spans();
    let call = call_of(&spans, call.connection);
    assert_eq!((call.parent, call.links.as_slice()), (None, [].as_slice()));
}

#[test]
fn what_was_open_when_its_connection_ended_is_told_at_a_shutdown() {
    for has_ended in [false, true] {
        let mut world = World::new();
        let (mut client, mut server) = world.connect(1, 2, 7000);
        world.pass(&mut client, &mut server, GET);
        if has_ended {
            // The kernel has ended it: its process may have something to read still.
            world.send(client.connection, EventKind::Closed(Closed::default()));
        }
        world.engine.finish(world.now_ns);
        let told: Vec<_> = world.spans().into_iter().map(|span| span.kind).collect();
        assert_eq!(told, if has_ended { vec![SpanKind::Client] } else { vec![] });
    }
}

#[test]
fn a_connection_that_nobody_understands_is_told_as_a_whole_on_request() {
    let strange = "\u{1}\u{2}something else\n";
    for is_wanted in [false, true] {
        let mut world = World::new();
        world.engine = Engine::new(Settings { tells_unknown: is_wanted, ..Settings::default() });
        let (mut client, mut server) = world.connect(1, 2, 7000);
        let silent = world.connect(1, 2, 7001).0;
        world.pass(&mut client, &mut server, &strange.repeat(40));
        let closed = Closed {
            executor: Some(client.executor),
            received: Some(3),
            sequence_sent: Some(1 + 640),
            ..Closed::default()
        };
        world.send(client.connection, EventKind::Closed(closed));
        world.close(&silent);
        let spans = world.spans();
        if !is_wanted {
            assert!(spans.is_empty(), "{spans:?}");
            continue;
        }
        let [span] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((span.kind, &*span.name, span.protocol), (SpanKind::Client, "connection", "unknown"));
        assert!(span.ended_at_ns > span.started_at_ns);
        let told = |key: &str| span.attributes.iter().find(|(found, _)| found == key).map(|(_, value)| value);
        assert_eq!(told("remora.connection.bytes_sent"), Some(&Value::Int(640)));
        assert_eq!(told("remora.connection.bytes_received"), Some(&Value::Int(3)));
        assert_eq!(told("server.port"), Some(&Value::Int(7000)));
        assert_eq!(told("network.transport"), Some(&Value::from("tcp")));
    }
}

#[test]
fn a_conversation_that_quotes_a_request_is_still_not_understood() {
    let mut world = World::new();
    world.engine = Engine::new(Settings { tells_unknown: true, ..Settings::default() });
    let (mut client, mut server) = world.connect(1, 2, 25);
    for (is_client, text) in [
        (false, "220 mail.test ESMTP\r\n"),
        (true, "EHLO me\r\n"),
        (false, "250 mail.test\r\n"),
        (true, "MAIL FROM:<a@test>\r\nRCPT TO:<b@test>\r\nDATA\r\n"),
        (false, "250 OK\r\n250 OK\r\n354 go on\r\n"),
        (true, "GET /users/42 HTTP/1.1\r\nHost: shop\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n\r\n.\r\n"),
        (false, "250 queued\r\n"),
        (true, "QUIT\r\n"),
        (false, "221 bye\r\n"),
    ] {
        match is_client {
            true => world.pass(&mut client, &mut server, text),
            false => world.pass(&mut server, &mut client, text),
        }
    }
    world.close(&client);
    world.close(&server);
    let mut told: Vec<_> = world.spans().into_iter().map(|span| (span.name, span.protocol)).collect();
    told.dedup();
    assert_eq!(told, [("connection".to_owned(), "unknown")]);
}

/// Returns a question about the addresses of `a.test`, or the answer that there is none, with the length before it.
fn dns(id: u8, is_answer: bool) -> Vec<u8> {
    let flags = if is_answer { [0x81, 0x83] } else { [1, 0] };
    [&[0, 24, 0, id], &flags[..], b"\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01"].concat()
}

#[test]
fn datagrams_of_dns_are_exchanges_of_the_thread_that_asks() {
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 80);
    let socket = ConnectionId { sock: 77, inode: 7 };
    let opened = Opened {
        executor: server.executor,
        local: Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], 50_000))),
        peer: Endpoint::Ip(SocketAddr::from(([127, 0, 0, 53], 53))),
        role: Role::Connected,
        is_datagram: true,
        peer_sock: None,
        first: None,
    };
    world.pass(&mut client, &mut server, GET);
    world.send(socket, EventKind::Opened(opened));
    for (direction, is_answer) in [(Direction::Egress, false), (Direction::Ingress, true)] {
        let bytes = Bytes::from(dns(9, is_answer));
        let data = Data {
            direction,
            position: 0,
            reverse_position: 0,
            is_absolute: false,
            length: bytes.len() as u32,
            bytes,
            peer: None,
            inserted: None,
            executor: server.executor,
        };
        world.send(socket, EventKind::Data(data));
    }
    world.pass(&mut server, &mut client, OK);
    let spans = world.spans();
    let lookup = spans.iter().find(|span| span.name == "DNS A").expect("a lookup");
    assert_eq!(lookup.kind, SpanKind::Client);
    let is = |key: &'static str, value: &'static str| lookup.attributes.contains(&(key.into(), value.into()));
    assert!(is("network.transport", "udp") && is("error.type", "NXDOMAIN"), "{lookup:?}");
    assert!(lookup.attributes.contains(&("dns.question.name".into(), "a.test".to_owned().into())));
    expect![[r#"
        1 -> GET (root)
          2 <- GET /users/{id} (position)
            2 -> DNS A (thread) ERROR 
    "#]]
    .assert_eq(&tree(&spans));
}

#[test]
fn more_requests_than_are_followed_are_given_up_and_shift_nothing() {
    const REQUESTS: usize = 5_000;
    let mut world = World::new();
    let (mut client, mut server) = world.connect(1, 2, 6379);
    let key = |number: usize| format!("*2\r\n$3\r\nGET\r\n$5\r\nk{number:04}\r\n");
    for number in 0..REQUESTS {
        world.pass(&mut client, &mut server, &key(number));
    }
    for number in 0..REQUESTS {
        let value = format!("$5\r\nv{number:04}\r\n");
        world.pass(&mut server, &mut client, &value);
    }
    let told = world.spans().len() as u64;
    assert_eq!((told, told + world.loss("exchange_cut_by_gap")), (2 * 4096, 2 * REQUESTS as u64));
    // From a request on that is alone, all is as ever.
    for _ in 0..10 {
        world.pass(&mut client, &mut server, "*2\r\n$3\r\nGET\r\n$7\r\nmissing\r\n");
        world.pass(&mut server, &mut client, "-WRONG kind of value\r\n");
    }
    let spans = world.spans();
    assert!(!spans.is_empty(), "the connection is read again");
    assert!(spans.iter().all(|span| matches!(span.status, Status::Error(_))), "{spans:#?}");
}
