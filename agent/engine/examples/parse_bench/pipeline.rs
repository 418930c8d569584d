//! Sessions, played to the whole engine: from the event of a system call to the span.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use remora_engine::event::{
    Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor, FirstPositions, Opened,
    Role, Scheduling,
};
use remora_engine::protocol::{Protocol, Side};
use remora_engine::{Engine, Settings};

use crate::allocations::Allocations;
use crate::clock::Clock;
use crate::figure;
use crate::session::Session;

/// Least time of a round.
const ROUND: Duration = Duration::from_millis(200);
/// Time between two system calls, as the engine sees it.
const STEP_NS: u64 = 20_000;
const SERVER: Executor = Executor { tgid: 10, tid: 10, task: None, token: None, turn: 0 };

/// Measures a protocol whose sessions make as many messages.
pub(crate) fn run(protocol: &'static dyn Protocol, sessions: &[Session], messages: u64, rounds: usize) {
    let tracks: Vec<Vec<(Side, Bytes)>> = sessions.iter().map(track).collect();
    let mut bench = Player::new();
    let (mut times, mut counts, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (began, before, mut told) = (Clock::now(), Allocations::now(), 0);
        while began.elapsed() < ROUND {
            tracks.iter().for_each(|track| bench.play(track));
            told += messages;
        }
        let (spent, allocated) = (began.elapsed(), Allocations::since(before));
        times.push(spent.as_secs_f64() * 1e9 / told as f64);
        counts.push(allocated.count as f64 / told as f64);
        bytes.push(allocated.bytes as f64 / told as f64);
    }
    let name = protocol.name();
    figure::print(&format!("engine, time per message: {name}"), "ns", &times);
    figure::print(&format!("engine, allocations per message: {name}"), "", &counts);
    figure::print(&format!("engine, allocated per message: {name}"), "B", &bytes);
}

fn track(session: &Session) -> Vec<(Side, Bytes)> {
    session.pieces.iter().map(|(side, bytes)| (*side, Bytes::copy_from_slice(bytes))).collect()
}

/// An engine, and what it needs to know of the next event.
pub(crate) struct Player {
    engine: Engine,
    now_ns: u64,
    connections: u64,
    positions: [u32; 2],
    spans: u64,
}

impl Player {
    pub(crate) fn new() -> Self {
        let mut engine = Engine::new(Settings::default());
        engine.handle_process(SERVER.tgid, Scheduling::Threads);
        Self { engine, now_ns: 1_000_000_000, connections: 0, positions: [0; 2], spans: 0 }
    }

    /// Opens a connection on the server's side, plays all pieces and closes it.
    pub(crate) fn play(&mut self, pieces: &[(Side, Bytes)]) {
        self.open();
        for (side, bytes) in pieces {
            match bytes.is_empty() {
                true if *side == Side::Client => self.tell(EventKind::Eof(SERVER)),
                true => {}
                false => self.data(*side, bytes),
            }
        }
        self.close();
    }

    /// Closes the connection; returns how many spans there were since it was opened.
    pub(crate) fn close(&mut self) -> u64 {
        self.tell(EventKind::Closed(Closed { executor: Some(SERVER), ..Closed::default() }));
        self.spans
    }

    pub(crate) fn open(&mut self) {
        self.connections += 1;
        self.positions = [1, 1];
        self.spans = 0;
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000 + (self.connections % 40_000) as u16));
        self.tell(EventKind::Opened(Opened {
            is_datagram: false,
            executor: SERVER,
            local: Endpoint::Ip(SocketAddr::from((Ipv4Addr::LOCALHOST, 80))),
            peer: Endpoint::Ip(peer),
            role: Role::Accepted,
            peer_sock: None,
            first: Some(FirstPositions { egress: 1, ingress: 1 }),
        }));
    }

    pub(crate) fn data(&mut self, side: Side, bytes: &Bytes) {
        let position = self.positions[side as usize];
        let length = u32::try_from(bytes.len()).expect("a piece is short");
        self.positions[side as usize] = position.wrapping_add(length);
        self.tell(EventKind::Data(Data {
            direction: if side == Side::Client { Direction::Ingress } else { Direction::Egress },
            position,
            reverse_position: self.positions[side.reverse() as usize],
            is_absolute: true,
            length,
            bytes: bytes.clone(),
            peer: None,
            inserted: None,
            executor: SERVER,
        }));
    }

    fn tell(&mut self, kind: EventKind) {
        self.now_ns += STEP_NS;
        let connection = ConnectionId { sock: self.connections, inode: 1 };
        self.engine.handle_event(Event { connection, at_ns: self.now_ns, kind });
        if self.engine.poll_timeout().is_some_and(|due| due <= self.now_ns) {
            self.engine.handle_timeout(self.now_ns);
        }
        while self.engine.poll_command().is_some() {}
        while self.engine.poll_span().is_some() {
            self.spans += 1;
        }
    }
}
