//! Calls of tasks of which it shows only later what they are for.

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role, Scheduling, Task,
};
use remora_engine::span::{Span, SpanKind};
use remora_engine::{Engine, Settings};

const TGID: u32 = 10;
/// The context of the server itself, and those of its tasks.
const SERVER: u64 = 100;
const TASK: u64 = 101;
const NEIGHBOUR: u64 = 102;
const REQUEST: &str = "GET /items HTTP/1.1\r\nHost: a\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A process that has accepted some connections, and has opened one.
struct World {
    engine: Engine,
    now_ns: u64,
    turn: u32,
    /// Next positions of each connection, from and to the process.
    positions: Vec<[u32; 2]>,
}

impl World {
    fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        engine.handle_process(TGID, Scheduling::Threads);
        Self { engine, now_ns: 0, turn: 1, positions: Vec::new() }
    }

    fn executor(&self, context: u64) -> Executor {
        Executor { tgid: TGID, tid: TGID, task: Some(Task::Context(context)), token: None, turn: self.turn }
    }

    fn send(&mut self, connection: usize, kind: EventKind) {
        self.now_ns += 1_000_000;
        let connection = ConnectionId { sock: connection as u64 + 1, inode: 1 };
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
    }

    fn open(&mut self, role: Role) -> usize {
        let connection = self.positions.len();
        self.positions
            .push([1_000_000 * (connection as u32 + 1), 500_000_000 + 1_000_000 * connection as u32]);
        let address = |port| Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        let opened = Opened {
            executor: self.executor(SERVER),
            local: address(8000),
            peer: address(40_000 + connection as u16),
            role,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        self.send(connection, EventKind::Opened(opened));
        connection
    }

    fn moved(&mut self, connection: usize, direction: Direction, text: &str, context: u64) {
        let side = usize::from(direction == Direction::Ingress);
        let data = Data {
            direction,
            position: self.positions[connection][side],
            reverse_position: self.positions[connection][1 - side],
            is_absolute: true,
            length: text.len() as u32,
            bytes: Bytes::copy_from_slice(text.as_bytes()),
            peer: None,
            inserted: None,
            executor: self.executor(context),
        };
        self.positions[connection][side] += text.len() as u32;
        self.send(connection, EventKind::Data(data));
    }

    /// The loop reads a request, and its server makes tasks.
    fn ask(&mut self, connection: usize, tasks: &[u64]) {
        self.turn += 1;
        self.moved(connection, Direction::Ingress, REQUEST, SERVER);
        for &task in tasks {
            self.now_ns += 1_000;
            let maker = self.executor(SERVER);
            self.engine.handle_task(maker, task, self.now_ns);
        }
    }

    /// A task makes a call, which is answered.
    fn call(&mut self, connection: usize, task: u64) {
        self.turn += 1;
        self.moved(connection, Direction::Egress, REQUEST, task);
        self.turn += 1;
        self.moved(connection, Direction::Ingress, RESPONSE, SERVER);
    }

    fn answer(&mut self, connection: usize, task: u64) {
        self.turn += 1;
        self.moved(connection, Direction::Egress, RESPONSE, task);
    }

    fn counted(&self, label: &str) -> Option<u64> {
        let counters = self.engine.counters();
        counters.iter().find(|counter| counter.label == label).map(|counter| counter.value)
    }

    fn spans(&mut self) -> Vec<Span> {
        self.engine.handle_timeout(self.now_ns);
        std::iter::from_fn(|| self.engine.poll_span()).collect()
    }
}

/// Returns of each call whether a request is its parent.
fn parents(spans: &[Span]) -> Vec<bool> {
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == SpanKind::Server).collect();
    let calls = spans.iter().filter(|span| span.kind == SpanKind::Client);
    calls
        .map(|call| {
            let parent = call.parent.map(|parent| parent.span_id);
            let found = servers.iter().find(|server| Some(server.span_id) == parent);
            assert_eq!(found.map(|server| server.trace_id), parent.map(|_| call.trace_id));
            found.is_some()
        })
        .collect()
}

#[test]
fn the_first_request_of_an_asyncio_server_is_the_cause_of_its_calls() {
    let mut world = World::new();
    let (other, request) = (world.open(Role::Accepted), world.open(Role::Accepted));
    let client = world.open(Role::Connected);
    world.ask(other, &[]);
    world.ask(request, &[TASK]);
    world.call(client, TASK);
    assert_eq!(world.spans(), [], "it has not shown");
    world.answer(request, TASK);
    let spans = world.spans();
    assert_eq!(parents(&spans), [true]);
    let call = spans.iter().find(|span| span.kind == SpanKind::Client).unwrap();
    let alias = call.attributes.iter().find(|(key, _)| *key == "remora.trace.alias");
    assert!(alias.is_some(), "the trace that began with it meanwhile");
}

#[test]
fn what_another_task_has_called_has_no_cause() {
    let mut world = World::new();
    let (other, request) = (world.open(Role::Accepted), world.open(Role::Accepted));
    let client = world.open(Role::Connected);
    world.ask(other, &[]);
    world.ask(request, &[TASK, NEIGHBOUR]);
    world.call(client, NEIGHBOUR);
    world.answer(request, TASK);
    assert_eq!(parents(&world.spans()), [false]);
}

#[test]
fn a_request_with_too_many_calls_is_not_the_cause_of_more() {
    let mut world = World::new();
    let (other, request) = (world.open(Role::Accepted), world.open(Role::Accepted));
    let client = world.open(Role::Connected);
    world.ask(other, &[]);
    world.ask(request, &[TASK]);
    (0..1_002).for_each(|_| world.call(client, TASK));
    let ambiguous = world.counted("ambiguous");
    world.answer(request, TASK);
    let caused = parents(&world.spans());
    assert_eq!((caused.len(), caused.iter().filter(|&&is_caused| is_caused).count()), (1_002, 1_000));
    assert_eq!(world.counted("too_many_calls"), Some(2));
    assert_eq!(world.counted("ambiguous"), ambiguous, "each is counted once");
}

#[test]
fn a_call_does_not_wait_for_a_request_for_ever() {
    let mut world = World::new();
    let (other, request) = (world.open(Role::Accepted), world.open(Role::Accepted));
    let client = world.open(Role::Connected);
    world.ask(other, &[]);
    world.ask(request, &[TASK]);
    world.call(client, TASK);
    world.now_ns += 11_000_000_000;
    assert_eq!(parents(&world.spans()), [false]);
    world.answer(request, TASK);
    assert_eq!(parents(&world.spans()), [] as [bool; 0]);
}
