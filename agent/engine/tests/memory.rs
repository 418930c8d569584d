//! What hostile peers make the engine remember is bounded, for each connection and for all, by bytes that were counted
//! where they are allocated; and what is given up for it is told.

#[path = "support/allocations.rs"]
mod allocations;
#[path = "support/hostile.rs"]
mod hostile;
#[path = "support/session.rs"]
mod session;

use std::sync::LazyLock;

use allocations::live_bytes;
use bytes::Bytes;
use hostile::{FLOODS, Flood};
use remora_engine::event::{
    ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, Opened, Role,
};
use remora_engine::protocol::Side;
use remora_engine::{Engine, Settings};

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

const MIB: isize = 1 << 20;
/// What one connection may hold, what was not weighed yet, and what is about it elsewhere in the engine.
const MAX_CONNECTION_BYTES: isize = 16 * MIB;
/// What all may hold, with the same.
const MAX_BYTES: isize = 110 * MIB;

static SESSIONS: LazyLock<Vec<session::Session>> = LazyLock::new(session::all);

/// Servers that are flooded.
struct World {
    engine: Engine,
    now_ns: u64,
    before: isize,
    most: isize,
}

/// One server's end of a connection.
#[derive(Default)]
struct End {
    number: u32,
    sent: u32,
    received: u32,
}

impl World {
    fn new() -> Self {
        let mut world = Self { engine: Engine::new(Settings::default()), now_ns: 1, before: 0, most: 0 };
        world.before = live_bytes();
        world
    }

    fn send(&mut self, number: u32, kind: EventKind) {
        self.now_ns += 1000;
        let connection = ConnectionId { sock: number.into(), inode: number };
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
        while self.engine.poll_span().is_some() {}
        while self.engine.poll_command().is_some() {}
        self.most = self.most.max(live_bytes() - self.before);
    }

    fn accept(&mut self, number: u32) -> End {
        let address = |port: u16| Endpoint::Ip(([127, 0, 0, 1], port).into());
        let opened = Opened {
            executor: executor(),
            local: address(80),
            peer: address(40_000),
            role: Role::Accepted,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        self.send(number, EventKind::Opened(opened));
        End { number, ..End::default() }
    }

    fn pass(&mut self, end: &mut End, side: Side, bytes: &[u8]) {
        let (direction, position, reverse_position) = match side {
            Side::Client => (Direction::Ingress, end.received, end.sent),
            Side::Server => (Direction::Egress, end.sent, end.received),
        };
        let length = u32::try_from(bytes.len()).expect("short");
        let data = Data {
            direction,
            position,
            reverse_position,
            is_absolute: true,
            length,
            bytes: Bytes::copy_from_slice(bytes),
            peer: None,
            inserted: None,
            executor: executor(),
        };
        match side {
            Side::Client => end.received += length,
            Side::Server => end.sent += length,
        }
        self.send(end.number, EventKind::Data(data));
    }

    /// Opens a connection and brings it to where the flood goes on.
    fn begin(&mut self, number: u32, flood: &Flood) -> End {
        let mut end = self.accept(number);
        let recorded = flood.session.map(|name| {
            SESSIONS.iter().find(|session| session.name == name).unwrap_or_else(|| panic!("no {name}"))
        });
        for (side, bytes) in
            recorded.iter().flat_map(|session| &session.pieces).filter(|(_, bytes)| !bytes.is_empty())
        {
            self.pass(&mut end, *side, bytes);
        }
        end
    }

    fn counter(&self, family: &str, name: &str) -> u64 {
        let is_wanted = |counter: &&remora_engine::Counter| {
            counter.family == family && (counter.label == name || counter.protocol == name)
        };
        self.engine.counters().iter().filter(is_wanted).map(|counter| counter.value).sum()
    }
}

fn executor() -> Executor {
    Executor { tgid: 1, tid: 1, task: None, token: None, turn: 1 }
}

#[test]
fn a_hostile_connection_holds_no_more_than_it_may() {
    assert!(!SESSIONS.is_empty());
    for flood in FLOODS {
        let mut world = World::new();
        let mut end = world.begin(1, flood);
        let told = world.counter("messages", flood.protocol);
        world.before = live_bytes();
        world.most = 0;
        for number in 0..flood.count {
            world.pass(&mut end, Side::Client, &(flood.piece)(number));
        }
        let told = world.counter("messages", flood.protocol) - told;
        let given_up = world.counter("loss", "connection_held_too_many_bytes");
        let (protocol, most) = (flood.protocol, world.most);
        println!("{protocol}: {told} messages, {given_up} times given up, {most} bytes at most");
        assert!(told > 100 || most > MIB, "{protocol} takes the flood for something else");
        assert!(most <= MAX_CONNECTION_BYTES, "{protocol} held {most} bytes");
    }
}

#[test]
fn where_all_hold_too_much_those_that_hold_most_give_up() {
    let flood = FLOODS.iter().find(|flood| flood.protocol == "http2").expect("a flood");
    let mut world = World::new();
    let mut light = world.accept(1);
    world.pass(&mut light, Side::Client, b"GET /light HTTP/1.1\r\nHost: h\r\n\r\n");
    for number in 2..62 {
        let mut end = world.accept(number);
        // Less than one connection may hold.
        (0..900).for_each(|piece| world.pass(&mut end, Side::Client, &(flood.piece)(piece)));
    }
    let given_up = world.counter("loss", "connection_held_too_many_bytes");
    let exchanges = world.counter("loss", "exchange_given_up_for_memory");
    println!("{given_up} times given up, {exchanges} exchanges, {} bytes at most", world.most);
    assert!(given_up > 5 && given_up <= 60 && exchanges >= given_up);
    assert!(world.counter("state", "held_bytes") <= 64 << 20);
    assert!(world.most <= MAX_BYTES, "{} bytes", world.most);
    world.pass(&mut light, Side::Server, b"HTTP/1.1 204 No Content\r\n\r\n");
    assert_eq!(world.counter("exchanges", "http1"), 1, "the lightest has kept what it had");
}
