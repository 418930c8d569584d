//! Two processes that talk over TLS, each observed by an agent of its own: what they say becomes records, calls of their
//! libraries and system calls, in the orders in which agents see them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::SocketAddr;

use bytes::Bytes;
use remora_engine::command::Command;
use remora_engine::event::{
    Ciphertext, Claim, Claimed, Closed, ConnectionId, Data, Direction, Endpoint, Event, EventKind, Executor,
    Opened, Plaintext, Role, Scheduling, TlsId,
};
use remora_engine::protocol::Side;
use remora_engine::span::Span;
use remora_engine::{Engine, Settings, TlsCounts, TlsKind};

/// Longest plaintext of a record, and by how much a record of TLS 1.3 is longer.
const MAX_PLAINTEXT_BYTES: usize = 1 << 14;
const OVERHEAD: usize = 17;
const HEADER_BYTES: usize = 5;
/// How often ciphertext is told where all that is told at once has been.
const FINGERPRINT_PERIOD_NS: u64 = 100_000_000;
/// What agents copy of a call on a socket.
const CAPTURED_BYTES: usize = 4096;
/// Time between two events.
const STEP_NS: u64 = 10_000;

/// Numbers that look random, the same in each run.
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides.max(1)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.roll(256) as u8).collect()
    }
}

/// How a side's library moves ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// By system calls within its own calls.
    Nested,
    /// Likewise, and it reads as much as there is.
    ReadAhead,
    /// Through memory: the program makes the system calls.
    Memory,
    /// Likewise, with an object for each direction, as rustls has.
    OneWay,
}

impl Manner {
    fn is_memory(self) -> bool {
        matches!(self, Manner::Memory | Manner::OneWay)
    }
}

/// What of a conversation the agents miss, in a thousand events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Losses {
    pub ciphertext: usize,
    pub plaintext: usize,
}

/// A record on its way.
#[derive(Clone, Debug)]
struct Record {
    bytes: Vec<u8>,
    /// None for what is not the application's.
    plaintext: Option<Vec<u8>>,
}

struct End {
    engine: Engine,
    connection: ConnectionId,
    executor: Executor,
    tls: TlsId,
    manner: Manner,
    /// Positions on the wire, and counts of the library: written, read.
    wire: [u32; 2],
    counts: [u32; 2],
    /// Pieces of ciphertext that were told: written, read.
    fingerprints: [usize; 2],
    told_ns: [u64; 2],
    /// The library gives itself away.
    is_visible: bool,
    /// Nothing of the connection is copied.
    is_ignored: bool,
}

impl End {
    /// Returns what moves bytes in a direction.
    fn object(&self, direction: Direction) -> TlsId {
        match (self.manner, direction) {
            (Manner::OneWay, Direction::Egress) => TlsId { way: Some(direction), ..self.tls },
            (Manner::OneWay, Direction::Ingress) => {
                TlsId { way: Some(direction), object: self.tls.object + 64, ..self.tls }
            }
            _ => self.tls,
        }
    }
}

/// Both ends.
pub struct World {
    ends: [End; 2],
    dice: Dice,
    losses: Losses,
    now_ns: u64,
    /// Largest plaintext of a record.
    pub record_bytes: usize,
    /// Pieces of ciphertext in memory of which a side tells at once, by direction; then it tells one now and then.
    pub fingerprints: usize,
}

impl World {
    pub fn new(seed: u64, manners: [Manner; 2], losses: Losses) -> Self {
        Self::with_roles(seed, manners, losses, [Role::Connected, Role::Accepted], Scheduling::Threads)
    }

    /// Returns ends of a connection whose beginning nobody has seen.
    pub fn midway(seed: u64, manners: [Manner; 2]) -> Self {
        let roles = [Role::Unknown; 2];
        let mut world = Self::with_roles(seed, manners, Losses::default(), roles, Scheduling::Threads);
        world.ends.iter_mut().for_each(|end| end.counts = [1; 2]);
        world
    }

    /// Returns ends whose requests tasks serve that move between threads.
    pub fn of_tasks(seed: u64, manners: [Manner; 2]) -> Self {
        let roles = [Role::Connected, Role::Accepted];
        Self::with_roles(seed, manners, Losses::default(), roles, Scheduling::Tasks)
    }

    fn with_roles(
        seed: u64,
        manners: [Manner; 2],
        losses: Losses,
        roles: [Role; 2],
        scheduling: Scheduling,
    ) -> Self {
        let addresses = [40_000, 443].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let first = [1_000_000u32, 900_000_000];
        let end = |at: usize| End {
            engine: Engine::new(Settings {
                id_seed: seed + at as u64,
                tells_unknown: true,
                ..Settings::default()
            }),
            connection: ConnectionId { sock: 1 + at as u64, inode: 1 },
            executor: Executor { tgid: 1 + at as u32, tid: 1 + at as u32, ..Executor::default() },
            tls: TlsId { tgid: 1 + at as u32, object: 4096, way: None },
            manner: manners[at],
            wire: [first[at], first[1 - at]],
            counts: [0; 2],
            fingerprints: [0; 2],
            told_ns: [0; 2],
            is_visible: true,
            is_ignored: false,
        };
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut world = Self {
            ends: [end(0), end(1)],
            dice,
            losses,
            now_ns: 1,
            record_bytes: MAX_PLAINTEXT_BYTES,
            fingerprints: 16,
        };
        for at in 0..2 {
            let role = roles[at];
            let executor = world.ends[at].executor;
            world.ends[at].engine.handle_process(executor.tgid, scheduling);
            let (local, peer) = (Endpoint::Ip(addresses[at]), Endpoint::Ip(addresses[1 - at]));
            let (is_datagram, peer_sock, first) = (false, None, None);
            world.event(
                at,
                EventKind::Opened(Opened { executor, local, peer, role, is_datagram, peer_sock, first }),
            );
        }
        world
    }

    /// What a side has not seen.
    pub fn unseen(&self, side: Side) -> Vec<(TlsKind, TlsCounts)> {
        self.ends[side as usize].engine.unseen_tls()
    }

    /// All that a side knows of its connections.
    pub fn connections(&self, side: Side) -> Vec<(TlsKind, TlsCounts)> {
        self.ends[side as usize].engine.tls_of(1 + side as u32)
    }

    /// What a side says from now on is encrypted by another object, while the one before is still there: something between
    /// the two and the socket mixes them.
    pub fn mix(&mut self, side: Side) {
        let end = &mut self.ends[side as usize];
        end.tls.object += 4096;
        (end.counts, end.fingerprints) = ([0; 2], [0; 2]);
    }

    /// The library of a side is not known.
    pub fn hide(&mut self, side: Side) {
        self.ends[side as usize].is_visible = false;
    }

    fn tick(&mut self) -> u64 {
        self.now_ns += STEP_NS;
        self.now_ns
    }

    fn event(&mut self, at: usize, kind: EventKind) {
        let at_ns = self.tick();
        let End { engine, connection, .. } = &mut self.ends[at];
        engine.handle_event(Event { connection: *connection, at_ns, kind });
    }

    /// A system call that moves these bytes.
    fn moved(&mut self, at: usize, direction: Direction, bytes: &[u8], may_be_lost: bool) {
        let is_lost = may_be_lost && self.dice.roll(1000) < self.losses.ciphertext;
        let end = &mut self.ends[at];
        let is_lost = is_lost || end.is_ignored;
        let [own, other] = if direction == Direction::Egress { [0, 1] } else { [1, 0] };
        let data = Data {
            direction,
            position: end.wire[own],
            reverse_position: end.wire[other],
            is_absolute: true,
            length: bytes.len() as u32,
            bytes: Bytes::copy_from_slice(&bytes[..bytes.len().min(CAPTURED_BYTES)]),
            inserted: None,
            executor: end.executor,
            peer: None,
        };
        end.wire[own] = end.wire[own].wrapping_add(bytes.len() as u32);
        if is_lost {
            self.tick();
        } else {
            self.event(at, EventKind::Data(data));
        }
    }

    fn plaintext(
        &mut self,
        at: usize,
        direction: Direction,
        bytes: &[u8],
        nested: bool,
        ends: bool,
    ) -> Plaintext {
        let end = &mut self.ends[at];
        let [own, other] = if direction == Direction::Egress { [0, 1] } else { [1, 0] };
        let plaintext = Plaintext {
            tls: end.object(direction),
            connection: (nested && !end.is_ignored).then_some(end.connection),
            direction,
            position: end.counts[own],
            reverse_position: end.counts[other],
            length: bytes.len() as u32,
            bytes: Bytes::copy_from_slice(bytes),
            ends_record: ends,
            is_received: nested && direction == Direction::Ingress,
            continues: false,
            executor: end.executor,
            shares: Vec::new(),
        };
        end.counts[own] = end.counts[own].wrapping_add(bytes.len() as u32);
        plaintext
    }

    fn tell(&mut self, at: usize, plaintext: Plaintext, at_ns: u64) {
        let is_lost = self.dice.roll(1000) < self.losses.plaintext;
        if self.ends[at].is_visible && !is_lost {
            self.ends[at].engine.handle_plaintext(plaintext, at_ns);
        }
    }

    fn memory(&mut self, at: usize, direction: Direction, bytes: &[u8], at_ns: u64) {
        let tls = self.ends[at].object(direction);
        let End { engine, is_visible, fingerprints, told_ns, .. } = &mut self.ends[at];
        let way = usize::from(direction == Direction::Ingress);
        let (told, told_ns) = (&mut fingerprints[way], &mut told_ns[way]);
        let is_due = *told < self.fingerprints || self.now_ns >= *told_ns + FINGERPRINT_PERIOD_NS;
        let length = bytes.len() as u32;
        let bytes = Bytes::copy_from_slice(&bytes[..bytes.len().min(64)]);
        if *is_visible && is_due {
            *told += 1;
            *told_ns = self.now_ns;
            engine.handle_ciphertext(Ciphertext { tls, direction, length, bytes }, at_ns);
        }
    }

    /// The handshake of TLS 1.3 that OpenSSL and Python have made, with the tickets behind it.
    pub fn shake_hands(&mut self) {
        let client = records(include_bytes!("../../fixtures/tls/tls13.client"));
        let server = records(include_bytes!("../../fixtures/tls/tls13.server"));
        let wrap = |bytes: &[Vec<u8>]| -> Vec<Record> {
            bytes.iter().map(|bytes| Record { bytes: bytes.clone(), plaintext: None }).collect()
        };
        // The last record of each is a request and its response.
        let (hello, rest) = client[..client.len() - 1].split_at(1);
        let tickets = server.len() - 3;
        for (at, records) in
            [(0, hello), (1, &server[..tickets]), (0, rest), (1, &server[tickets..server.len() - 1])]
        {
            let records = wrap(records);
            self.send(at, &records, None);
            self.receive(1 - at, &records);
        }
    }

    /// A side says something in the clear.
    pub fn say_clear(&mut self, side: Side, bytes: &[u8]) {
        let at = side as usize;
        self.moved(at, Direction::Egress, bytes, false);
        self.moved(1 - at, Direction::Ingress, bytes, false);
    }

    /// A side says something with one call, and the other one reads it.
    pub fn say(&mut self, side: Side, bytes: &[u8]) {
        self.say_all(side, &[bytes]);
    }

    /// Likewise, with several calls before anything of them is read.
    pub fn say_all(&mut self, side: Side, calls: &[&[u8]]) {
        let at = side as usize;
        let mut sent = Vec::new();
        for bytes in calls {
            let records = self.encrypt(bytes);
            self.send(at, &records, Some(bytes));
            sent.extend(records);
        }
        if self.ends[at].manner.is_memory() {
            self.flush(at, &sent);
        }
        self.receive(1 - at, &sent);
    }

    fn encrypt(&mut self, bytes: &[u8]) -> Vec<Record> {
        let mut records = Vec::new();
        for whole in bytes.chunks(self.record_bytes) {
            let length = whole.len() + OVERHEAD;
            let mut bytes = vec![23, 3, 3, (length >> 8) as u8, length as u8];
            bytes.extend(self.dice.bytes(length));
            records.push(Record { bytes, plaintext: Some(whole.to_vec()) });
        }
        records
    }

    fn send(&mut self, at: usize, records: &[Record], said: Option<&[u8]>) {
        let is_memory = self.ends[at].manner.is_memory();
        let began_ns = self.tick();
        let plaintext = said.map(|said| self.plaintext(at, Direction::Egress, said, !is_memory, false));
        // Sorted by time, what was written comes before its records; else when the call returns.
        let is_sorted = self.dice.roll(2) == 0;
        if let Some(plaintext) = plaintext.clone().filter(|_| is_sorted) {
            self.tell(at, plaintext, began_ns);
        }
        let wire: Vec<u8> = records.iter().flat_map(|record| record.bytes.clone()).collect();
        if is_memory {
            self.memory(at, Direction::Egress, &wire, began_ns);
        } else if self.dice.roll(2) == 0 {
            self.moved(at, Direction::Egress, &wire, said.is_some());
        } else {
            for record in records {
                self.moved(at, Direction::Egress, &record.bytes, said.is_some());
            }
        }
        if is_memory && said.is_none() {
            self.moved(at, Direction::Egress, &wire, false);
        }
        if let Some(plaintext) = plaintext.filter(|_| !is_sorted) {
            self.tell(at, plaintext, began_ns);
        }
    }

    /// The program sends what its library has put into memory.
    fn flush(&mut self, at: usize, records: &[Record]) {
        let wire: Vec<u8> = records.iter().flat_map(|record| record.bytes.clone()).collect();
        let cut = self.dice.roll(wire.len() + 1);
        for part in [&wire[..cut], &wire[cut..]] {
            if !part.is_empty() {
                self.moved(at, Direction::Egress, part, true);
            }
        }
    }

    fn receive(&mut self, at: usize, records: &[Record]) {
        let manner = self.ends[at].manner;
        let may_be_lost = records.iter().any(|record| record.plaintext.is_some());
        let wire: Vec<u8> = records.iter().flat_map(|record| record.bytes.clone()).collect();
        if manner != Manner::Nested {
            self.moved(at, Direction::Ingress, &wire, may_be_lost);
        }
        for (index, record) in records.iter().enumerate() {
            match manner {
                Manner::Nested => {
                    let (header, body) = record.bytes.split_at(HEADER_BYTES);
                    self.moved(at, Direction::Ingress, header, may_be_lost);
                    self.moved(at, Direction::Ingress, body, may_be_lost);
                }
                Manner::ReadAhead => {}
                Manner::Memory | Manner::OneWay => {
                    let at_ns = self.tick();
                    self.memory(at, Direction::Ingress, &record.bytes, at_ns);
                }
            }
            let is_nested = manner == Manner::Nested || (manner == Manner::ReadAhead && index == 0);
            if let Some(plaintext) = &record.plaintext {
                self.read(at, plaintext, is_nested);
            }
        }
    }

    /// Reads a record by calls with room for some of it.
    fn read(&mut self, at: usize, plaintext: &[u8], is_nested: bool) {
        let room = if self.dice.roll(3) == 0 { 1 + self.dice.roll(plaintext.len() * 2) } else { 1 << 20 };
        for (index, part) in plaintext.chunks(room).enumerate() {
            let ends = part.len() < room;
            let read = self.plaintext(at, Direction::Ingress, part, is_nested && index == 0, ends);
            let at_ns = self.tick();
            self.tell(at, read, at_ns);
        }
    }

    /// Both sides close the connection.
    /// The connection ends, which the kernel tells at each end, and then the process.
    pub fn close(&mut self) {
        for at in 0..2 {
            for executor in [None, Some(self.ends[at].executor)] {
                self.event(at, EventKind::Closed(Closed { executor, ..Closed::default() }));
            }
        }
    }

    /// Returns what a side wants of the capture, and does so.
    pub fn commands(&mut self, side: Side) -> Vec<Command> {
        let End { engine, is_ignored, .. } = &mut self.ends[side as usize];
        let commands: Vec<Command> = std::iter::from_fn(|| engine.poll_command()).collect();
        for command in &commands {
            match command {
                Command::Ignore(_) => *is_ignored = true,
                Command::Reannounce(_) => *is_ignored = false,
                _ => {}
            }
        }
        commands
    }

    /// What a side does from now on, this unit of work does.
    pub fn take(&mut self, side: Side, token: Option<u64>) {
        self.ends[side as usize].executor.token = token;
    }

    /// A side is asked something in the clear, on a connection of its own, which a thread of its own reads for this unit of
    /// work.
    pub fn ask(&mut self, side: Side, token: u64) {
        let End { executor, .. } = &self.ends[side as usize];
        let executor = Executor { tid: 100 + token as u32, token: Some(token), ..*executor };
        let [local, peer] =
            [80, 50_000 + token as u16].map(|port| Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], port))));
        let (is_datagram, peer_sock, first) = (false, None, None);
        let opened = Opened { executor, local, peer, role: Role::Accepted, is_datagram, peer_sock, first };
        self.in_clear(side, token, EventKind::Opened(opened));
        let request = format!("GET /unit{token} HTTP/1.1\r\nHost: a\r\n\r\n");
        self.moved_in_clear(side, token, Direction::Ingress, executor, request);
    }

    /// It answers.
    pub fn answer(&mut self, side: Side, token: u64) {
        let End { executor, .. } = &self.ends[side as usize];
        let executor = Executor { tid: 100 + token as u32, token: Some(token), ..*executor };
        let response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned();
        self.moved_in_clear(side, token, Direction::Egress, executor, response);
    }

    fn moved_in_clear(
        &mut self,
        side: Side,
        token: u64,
        direction: Direction,
        executor: Executor,
        said: String,
    ) {
        let position = 1000 * token as u32;
        let data = Data {
            direction,
            position,
            reverse_position: position,
            is_absolute: true,
            length: said.len() as u32,
            bytes: Bytes::from(said),
            inserted: None,
            executor,
            peer: None,
        };
        self.in_clear(side, token, EventKind::Data(data));
    }

    fn in_clear(&mut self, side: Side, token: u64, kind: EventKind) {
        let at_ns = self.tick();
        let connection = ConnectionId { sock: 100 + token, inode: 1 };
        self.ends[side as usize].engine.handle_event(Event { connection, at_ns, kind });
    }

    /// What a side sends from here on is sent for a unit of work, or for nobody.
    pub fn claim(&mut self, side: Side, token: Option<u64>) {
        let End { executor, wire, .. } = &self.ends[side as usize];
        let executor = Executor { token, ..*executor };
        let claim = Claim { executor, what: Claimed::From(wire[0]) };
        self.event(side as usize, EventKind::Claimed(claim));
    }

    /// What a side does now wakes another task.
    pub fn wake(&mut self, side: Side, token: u64) {
        let at_ns = self.tick();
        let End { engine, executor, .. } = &mut self.ends[side as usize];
        engine.handle_wake(executor, token, at_ns);
    }

    /// The library of a side is found, whose objects have moved nothing yet.
    pub fn show_new(&mut self, side: Side) {
        self.ends[side as usize].is_visible = true;
    }

    /// The library of a side is found. What its objects have moved before is not known.
    pub fn show(&mut self, side: Side) {
        let end = &mut self.ends[side as usize];
        (end.is_visible, end.counts, end.fingerprints) = (true, [1; 2], [0; 2]);
    }

    /// Time passes without anything.
    pub fn pause(&mut self, ns: u64) {
        self.now_ns += ns;
        for end in &mut self.ends {
            end.engine.handle_timeout(self.now_ns);
        }
    }

    /// Returns a counter of a side.
    pub fn counter(&self, side: Side, label: &str) -> u64 {
        let counters = self.ends[side as usize].engine.counters();
        counters.iter().filter(|counter| counter.label == label).map(|counter| counter.value).sum()
    }

    /// Ends everything and returns the spans of the client and of the server, ordered by their beginnings.
    pub fn finish(mut self) -> [Vec<Span>; 2] {
        self.pause(10_000_000_000);
        let now_ns = self.now_ns;
        self.ends.map(|mut end| {
            end.engine.finish(now_ns);
            let mut spans: Vec<Span> = std::iter::from_fn(|| end.engine.poll_span()).collect();
            spans.sort_by_key(|span| span.started_at_ns);
            spans
        })
    }
}

/// Returns the records that bytes are made of.
fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = bytes;
    let mut records = Vec::new();
    while rest.len() >= HEADER_BYTES {
        let length = HEADER_BYTES + usize::from(rest[3]) * 256 + usize::from(rest[4]);
        let (record, behind) = rest.split_at(length);
        records.push(record.to_vec());
        rest = behind;
    }
    records
}

/// One end to which anything may happen.
pub struct Chaos {
    pub engine: Engine,
    connection: ConnectionId,
    positions: [u32; 2],
    now_ns: u64,
}

impl Chaos {
    pub fn new(is_opened: bool) -> Self {
        let mut engine = Engine::new(Settings { tells_unknown: true, ..Settings::default() });
        let connection = ConnectionId { sock: 1, inode: 1 };
        let end = |port| Endpoint::Ip(SocketAddr::from(([127, 0, 0, 1], port)));
        let opened = Opened {
            executor: Executor::default(),
            local: end(1),
            peer: end(2),
            role: if is_opened { Role::Connected } else { Role::Unknown },
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        engine.handle_event(Event { connection, at_ns: 1, kind: EventKind::Opened(opened) });
        Self { engine, connection, positions: [0; 2], now_ns: 1 }
    }

    /// Something happens with these bytes.
    pub fn act(&mut self, dice: &mut Dice, bytes: Vec<u8>) {
        self.now_ns += dice.roll(100_000_000) as u64;
        let direction = [Direction::Egress, Direction::Ingress][dice.roll(2)];
        let own = usize::from(direction == Direction::Ingress);
        let length = (bytes.len() + dice.roll(2) * dice.roll(20_000)) as u32;
        let tls = TlsId { tgid: 0, object: dice.roll(3) as u64, way: None };
        let bytes = Bytes::from(bytes);
        match dice.roll(12) {
            0..5 => {
                let position = self.positions[own].wrapping_add((dice.roll(8) / 7 * dice.roll(300)) as u32);
                self.positions[own] = position.wrapping_add(length);
                let data = Data {
                    direction,
                    position,
                    reverse_position: self.positions[1 - own],
                    is_absolute: true,
                    length,
                    bytes,
                    inserted: None,
                    executor: Executor::default(),
                    peer: None,
                };
                let kind = EventKind::Data(data);
                self.engine.handle_event(Event { connection: self.connection, at_ns: self.now_ns, kind });
            }
            5..9 => {
                if dice.roll(4) == 0 {
                    self.engine.handle_share(&Executor::default(), length);
                }
                let plaintext = Plaintext {
                    tls,
                    connection: (dice.roll(2) == 0).then_some(self.connection),
                    direction,
                    position: (dice.roll(3) * dice.roll(1000)) as u32,
                    reverse_position: 0,
                    length,
                    bytes,
                    ends_record: dice.roll(2) == 0,
                    is_received: dice.roll(2) == 0,
                    continues: false,
                    executor: Executor::default(),
                    shares: Vec::new(),
                };
                self.engine.handle_plaintext(plaintext, self.now_ns);
            }
            9 => self.engine.handle_ciphertext(Ciphertext { tls, direction, length, bytes }, self.now_ns),
            10 => self.engine.handle_tls_end(tls),
            _ => self.engine.handle_timeout(self.now_ns),
        }
    }
}
