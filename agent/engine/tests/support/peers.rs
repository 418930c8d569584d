//! Two processes that talk over TCP, both observed: what they say becomes events, and the engine's spans one line each.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::event::{
    Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role, Scheduling,
};
use remora_engine::protocol::Side;
use remora_engine::semconv::Value;
use remora_engine::span::{Span, SpanKind, Status};
use remora_engine::{Engine, Settings};

const CLIENT_TGID: u32 = 1;
const SERVER_TGID: u32 = 2;
/// Time between two events.
const STEP_NS: u64 = 1_000_000;

/// One end of a connection.
#[derive(Clone, Debug)]
struct End {
    connection: ConnectionId,
    executor: Executor,
    /// Position of the next byte that it writes, and of the next that it reads.
    egress: u32,
    ingress: u32,
}

/// A connection, seen from both ends.
#[derive(Clone, Debug)]
pub struct Link {
    client: End,
    server: End,
}

/// An engine that observes both processes, with a clock that moves with each event.
pub struct Peers {
    pub engine: Engine,
    now_ns: u64,
    sockets: u32,
}

impl Peers {
    pub fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        for tgid in [CLIENT_TGID, SERVER_TGID] {
            engine.handle_process(tgid, Scheduling::Threads);
        }
        Self { engine, now_ns: 0, sockets: 0 }
    }

    /// Opens a connection from a port of the client to one of the server. `is_seen` says that its opening is seen.
    pub fn open(&mut self, from: u16, to: u16, is_seen: bool) -> Link {
        let addresses = [from, to].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let first = 1_000_000 * (1 + self.sockets);
        let roles = if is_seen { [Role::Connected, Role::Accepted] } else { [Role::Unknown; 2] };
        let client = self.end(CLIENT_TGID, roles[0], addresses, [first, first + 500_000]);
        let server = self.end(SERVER_TGID, roles[1], [addresses[1], addresses[0]], [first + 500_000, first]);
        Link { client, server }
    }

    fn end(&mut self, tgid: u32, role: Role, [local, peer]: [SocketAddr; 2], positions: [u32; 2]) -> End {
        self.sockets += 1;
        let connection = ConnectionId { sock: u64::from(self.sockets), inode: self.sockets };
        let executor = Executor { tgid, tid: tgid, task: None, token: None, turn: 0 };
        self.tell(
            connection,
            EventKind::Opened(Opened {
                executor,
                local: Endpoint::Ip(local),
                peer: Endpoint::Ip(peer),
                role,
                is_datagram: false,
                peer_sock: None,
                first: None,
            }),
        );
        End { connection, executor, egress: positions[0], ingress: positions[1] }
    }

    fn tell(&mut self, connection: ConnectionId, kind: EventKind) {
        self.now_ns += STEP_NS;
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
    }

    /// One side writes and the other reads, each by one call of which all is captured.
    pub fn say(&mut self, link: &mut Link, side: Side, bytes: impl AsRef<[u8]>) {
        self.say_captured(link, side, bytes, usize::MAX);
    }

    /// Likewise, with as many bytes of each call captured.
    pub fn say_captured(&mut self, link: &mut Link, side: Side, bytes: impl AsRef<[u8]>, captured: usize) {
        let (writer, reader) = match side {
            Side::Client => (&mut link.client, &mut link.server),
            Side::Server => (&mut link.server, &mut link.client),
        };
        self.moved(writer, Direction::Egress, bytes.as_ref(), captured);
        self.moved(reader, Direction::Ingress, bytes.as_ref(), captured);
    }

    /// One side writes all at once, and the other reads the first `cut` bytes and then the rest.
    pub fn say_and_hear_cut(&mut self, link: &mut Link, side: Side, bytes: &[u8], cut: usize) {
        let (writer, reader) = match side {
            Side::Client => (&mut link.client, &mut link.server),
            Side::Server => (&mut link.server, &mut link.client),
        };
        self.moved(writer, Direction::Egress, bytes, usize::MAX);
        self.moved(reader, Direction::Ingress, &bytes[..cut], usize::MAX);
        self.moved(reader, Direction::Ingress, &bytes[cut..], usize::MAX);
    }

    /// Likewise, byte by byte.
    pub fn say_bytewise(&mut self, link: &mut Link, side: Side, bytes: impl AsRef<[u8]>) {
        bytes.as_ref().chunks(1).for_each(|byte| self.say(link, side, byte));
    }

    /// The server answers, and nobody is there to read it.
    pub fn say_to_nobody(&mut self, link: &mut Link, bytes: impl AsRef<[u8]>) {
        self.moved(&mut link.server, Direction::Egress, bytes.as_ref(), usize::MAX);
    }

    /// The server answers, and the client's agent is told of the answer before the request, whose call returns late.
    pub fn ask_and_return_late(&mut self, link: &mut Link, request: &[u8], response: &[u8]) {
        self.moved(&mut link.server, Direction::Ingress, request, usize::MAX);
        self.moved(&mut link.server, Direction::Egress, response, usize::MAX);
        let mut writing = link.client.clone();
        self.moved(&mut link.client, Direction::Ingress, response, usize::MAX);
        self.moved(&mut writing, Direction::Egress, request, usize::MAX);
        link.client.egress = writing.egress;
    }

    fn moved(&mut self, end: &mut End, direction: Direction, bytes: &[u8], captured: usize) {
        let length = bytes.len() as u32;
        let (position, reverse_position) = match direction {
            Direction::Egress => (end.egress, end.ingress),
            Direction::Ingress => (end.ingress, end.egress),
        };
        match direction {
            Direction::Egress => end.egress += length,
            Direction::Ingress => end.ingress += length,
        }
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: true,
            length,
            bytes: Bytes::copy_from_slice(bytes.get(..captured).unwrap_or(bytes)),
            peer: None,
            inserted: None,
            executor: end.executor,
        };
        self.tell(end.connection, EventKind::Data(data));
    }

    /// One side closes its end.
    pub fn close(&mut self, link: &Link, side: Side) {
        let end = if side == Side::Client { &link.client } else { &link.server };
        let closed = Closed { executor: Some(end.executor), ..Closed::default() };
        self.tell(end.connection, EventKind::Closed(closed));
    }

    pub fn close_both(&mut self, link: &Link) {
        self.close(link, Side::Client);
        self.close(link, Side::Server);
    }

    /// Ends everything and returns the spans, ordered by their beginnings.
    pub fn finish(mut self) -> Vec<Span> {
        self.engine.finish(self.now_ns);
        let mut spans: Vec<Span> = std::iter::from_fn(|| self.engine.poll_span()).collect();
        spans.sort_by_key(|span| span.started_at_ns);
        spans
    }
}

/// Returns the text of an attribute.
pub fn text(span: &Span, key: &str) -> Option<String> {
    let (_, value) = span.attributes.iter().find(|(found, _)| found == key)?;
    Some(match value {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    })
}

/// Returns the spans of the server's side: name, path or statement, status code or error.
pub fn served(spans: &[Span]) -> Vec<String> {
    let servers = spans.iter().filter(|span| span.kind == SpanKind::Server);
    servers.map(tell).collect()
}

fn tell(span: &Span) -> String {
    let what = text(span, "url.path").or_else(|| text(span, "db.query.text"));
    let verb = text(span, "http.request.method").unwrap_or_else(|| span.name.clone());
    let code = text(span, "http.response.status_code").or_else(|| text(span, "db.response.status_code"));
    let error = text(span, "error.type").filter(|error| code.as_ref() != Some(error));
    let failed = matches!(span.status, Status::Error(_)).then(|| "failed".to_owned());
    let words = [Some(verb), what, code, error, failed];
    words.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Checks that each request is two spans, the server's below the client's, and that nothing else has a parent.
pub fn check_pairs(spans: &[Span]) {
    for client in spans.iter().filter(|span| span.kind == SpanKind::Client) {
        assert_eq!(client.parent, None, "{}", tell(client));
        let below = spans.iter().filter(|span| {
            span.parent.is_some_and(|parent| parent.span_id == client.span_id)
                && span.trace_id == client.trace_id
        });
        let below: Vec<_> = below.map(tell).collect();
        let is_same =
            |found: &String| text(client, "url.path").is_none_or(|_| found.starts_with(&client.name));
        assert!(below.len() == 1 && below.iter().all(is_same), "{} has {below:?}", tell(client));
    }
}
