//! Exchanges of datagrams: one socket has many peers, and nothing tells the place of a datagram in a stream.

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::event::{
    Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role,
};
use remora_engine::semconv::Value;
use remora_engine::span::{Evidence, Span, SpanKind};
use remora_engine::{Engine, Settings};

const SERVER: &str = "10.0.0.53:53";
const ONE: &str = "10.0.0.1:50000";
const OTHER: &str = "10.0.0.2:50000";

/// A socket for datagrams, and how many bytes went either way.
struct Socket {
    number: u32,
    egress: u32,
    ingress: u32,
}

struct World {
    engine: Engine,
    now_ns: u64,
    sockets: u32,
}

fn parsed(address: &str) -> SocketAddr {
    address.parse().expect("an address with its port")
}

/// Returns a question for `a.test`, or its answer, with its length before it.
fn message(id: u8, is_answer: bool) -> Vec<u8> {
    let flags = if is_answer { [0x81, 0x80] } else { [1, 0] };
    [&[0, 24, 0, id], &flags[..], b"\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01"].concat()
}

impl World {
    fn new() -> Self {
        Self { engine: Engine::new(Settings::default()), now_ns: 1_000_000, sockets: 0 }
    }

    fn send(&mut self, socket: u32, kind: EventKind) {
        self.now_ns += 1_000_000;
        let connection = ConnectionId { sock: socket.into(), inode: socket };
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
    }

    fn open(&mut self, role: Role, local: &str, peer: &str) -> Socket {
        self.sockets += 1;
        let number = self.sockets;
        let opened = Opened {
            executor: executor(number),
            local: Endpoint::Ip(parsed(local)),
            peer: Endpoint::Ip(parsed(peer)),
            role,
            is_datagram: true,
            peer_sock: None,
            first: None,
        };
        self.send(number, EventKind::Opened(opened));
        Socket { number, egress: 0, ingress: 0 }
    }

    /// Returns a socket that waits for anybody's questions.
    fn server(&mut self) -> Socket {
        self.open(Role::Accepted, "0.0.0.0:53", "0.0.0.0:0")
    }

    /// Returns a socket that asks one server.
    fn client(&mut self, local: &str) -> Socket {
        self.open(Role::Connected, local, SERVER)
    }

    fn moved(&mut self, socket: &mut Socket, direction: Direction, peer: Option<&str>, bytes: Vec<u8>) {
        let length = bytes.len() as u32;
        let (position, reverse_position) = match direction {
            Direction::Egress => (socket.egress, socket.ingress),
            Direction::Ingress => (socket.ingress, socket.egress),
        };
        match direction {
            Direction::Egress => socket.egress += length,
            Direction::Ingress => socket.ingress += length,
        }
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: false,
            length,
            bytes: Bytes::from(bytes),
            peer: peer.map(parsed),
            inserted: None,
            executor: executor(socket.number),
        };
        self.send(socket.number, EventKind::Data(data));
    }

    fn asks(&mut self, client: &mut Socket, id: u8) {
        self.moved(client, Direction::Egress, None, message(id, false));
    }

    fn hears(&mut self, client: &mut Socket, id: u8) {
        self.moved(client, Direction::Ingress, None, message(id, true));
    }

    fn is_asked(&mut self, server: &mut Socket, by: &str, id: u8) {
        self.moved(server, Direction::Ingress, Some(by), message(id, false));
    }

    fn answers(&mut self, server: &mut Socket, to: &str, id: u8) {
        self.moved(server, Direction::Egress, Some(to), message(id, true));
    }

    fn spans(&mut self) -> Vec<Span> {
        std::iter::from_fn(|| self.engine.poll_span()).collect()
    }

    /// Returns, for each server's span, the socket of the client whose span is its parent.
    fn parents(&mut self) -> Vec<Option<u32>> {
        let spans = self.spans();
        let parent = |span: &Span| {
            let parent = span.parent?;
            assert_eq!(parent.evidence, Evidence::Position);
            let caller = spans.iter().find(|caller| caller.span_id == parent.span_id)?;
            assert_eq!((caller.kind, caller.trace_id), (SpanKind::Client, span.trace_id));
            Some(caller.tgid)
        };
        spans.iter().filter(|span| span.kind == SpanKind::Server).map(parent).collect()
    }
}

fn executor(socket: u32) -> Executor {
    Executor { tgid: socket, tid: socket, ..Executor::default() }
}

fn attribute(span: &Span, key: &'static str) -> Option<String> {
    let (_, value) = span.attributes.iter().find(|(present, _)| *present == key)?;
    match value {
        Value::Text(text) => Some(text.to_string()),
        Value::Int(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

#[test]
fn clients_that_ask_the_same_under_the_same_id_get_their_own_answers() {
    let mut world = World::new();
    let mut server = world.server();
    world.is_asked(&mut server, ONE, 7);
    world.is_asked(&mut server, OTHER, 7);
    world.answers(&mut server, OTHER, 7);
    world.answers(&mut server, ONE, 7);
    let spans = world.spans();
    let told: Vec<_> = spans
        .iter()
        .map(|span| {
            let took_ms = (span.ended_at_ns - span.started_at_ns) / 1_000_000;
            (attribute(span, "client.address"), attribute(span, "client.port"), took_ms)
        })
        .collect();
    let of = |address: &str, took_ms| (Some(address.to_owned()), Some("50000".to_owned()), took_ms);
    assert_eq!(told, [of("10.0.0.2", 1), of("10.0.0.1", 3)]);
}

#[test]
fn an_answer_to_somebody_who_did_not_ask_answers_nobody() {
    let mut world = World::new();
    let mut server = world.server();
    world.is_asked(&mut server, ONE, 7);
    world.answers(&mut server, OTHER, 7);
    assert_eq!(world.spans(), []);
}

#[test]
fn a_server_on_the_same_host_works_for_the_call_that_asked_it() {
    let mut world = World::new();
    let mut server = world.server();
    let (mut one, mut other) = (world.client(ONE), world.client(OTHER));
    world.asks(&mut one, 7);
    world.asks(&mut other, 7);
    world.is_asked(&mut server, OTHER, 7);
    world.is_asked(&mut server, ONE, 7);
    for (client, address) in [(&mut one, ONE), (&mut other, OTHER)] {
        world.answers(&mut server, address, 7);
        world.hears(client, 7);
    }
    assert_eq!(world.parents(), [Some(one.number), Some(other.number)]);
}

#[test]
fn a_socket_without_a_peer_asks_those_that_its_datagrams_name() {
    let mut world = World::new();
    let mut server = world.server();
    let mut client = world.open(Role::Connected, "0.0.0.0:50000", "0.0.0.0:0");
    world.moved(&mut client, Direction::Egress, Some(SERVER), message(7, false));
    world.is_asked(&mut server, ONE, 7);
    world.answers(&mut server, ONE, 7);
    world.moved(&mut client, Direction::Ingress, Some(SERVER), message(7, true));
    let spans = world.spans();
    let [served, asked] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(served.parent.map(|parent| parent.span_id), Some(asked.span_id));
    assert_eq!(attribute(asked, "server.address").as_deref(), Some("10.0.0.53"));
    assert_eq!(attribute(asked, "network.peer.port").as_deref(), Some("53"));
}

#[test]
fn a_question_without_an_answer_is_told_with_whom_it_was_asked() {
    let mut world = World::new();
    let mut client = world.open(Role::Connected, "0.0.0.0:50000", "0.0.0.0:0");
    world.moved(&mut client, Direction::Egress, Some(SERVER), message(7, false));
    let closed = Closed { executor: Some(executor(client.number)), ..Closed::default() };
    world.send(client.number, EventKind::Closed(closed));
    let spans = world.spans();
    let [asked] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(attribute(asked, "error.type").as_deref(), Some("connection_closed"));
    assert_eq!(attribute(asked, "server.address").as_deref(), Some("10.0.0.53"));
}

#[test]
fn calls_that_nothing_tells_apart_are_nobodys_parents() {
    let mut world = World::new();
    let mut server = world.server();
    // In two network namespaces.
    let (mut one, mut twin) = (world.client(ONE), world.client(ONE));
    world.asks(&mut one, 7);
    world.asks(&mut twin, 7);
    world.is_asked(&mut server, ONE, 7);
    world.answers(&mut server, ONE, 7);
    world.hears(&mut one, 7);
    world.hears(&mut twin, 7);
    assert_eq!(world.parents(), [None]);
}

#[test]
fn a_call_that_is_over_is_not_the_parent_of_what_uses_its_number_again() {
    let mut world = World::new();
    let mut server = world.server();
    let mut client = world.client(ONE);
    world.asks(&mut client, 7);
    world.hears(&mut client, 7);
    world.is_asked(&mut server, ONE, 7);
    world.answers(&mut server, ONE, 7);
    assert_eq!(world.parents(), [None]);
}

#[test]
fn who_asks_from_the_port_of_servers_is_not_told_from_others() {
    let mut world = World::new();
    let mut server = world.server();
    let mut client = world.open(Role::Connected, "0.0.0.0:53", SERVER);
    world.asks(&mut client, 0);
    world.is_asked(&mut server, "10.0.0.9:53", 0);
    world.answers(&mut server, "10.0.0.9:53", 0);
    world.hears(&mut client, 0);
    assert_eq!(world.parents(), [None]);
}
