//! One connection that carries TLS: its records, the object of the library that makes them, and what joins the two.

use super::cipher;
use super::handshake::Handshake;
use super::hello::Hello;
use super::places::Places;
use super::reads::Reads;
use super::records::{BEGINNING_BYTES, Beginning, Found, HEADER_BYTES, Header, Records, is_chain, kind};
use super::unseen::{TlsCounts, TlsKind, reason};
use super::version;
use super::writes::{Measure, PADDING_BYTES, Writes, Written};
use crate::connection::{Chunk, Stream};
use crate::event::{Ciphertext, Data, Direction, Plaintext, TlsId};
use crate::semconv::{self, Attributes, Value};

/// By how much records can be longer than their plaintext, where that is always as many bytes.
const OVERHEADS: [u16; 4] = [16, 17, PADDED_OVERHEAD, 24];
/// By how much padded records of TLS 1.3 are longer.
const PADDED_OVERHEAD: u16 = 17 + PADDING_BYTES;
/// Beginnings of records that are kept until the next call: all that one can hold. Which of them its object tells is not
/// known.
const MAX_BEGINNINGS: usize = 4096;
/// How long, and for how many calls, a connection without plaintext is followed.
const MAX_UNSEEN_NS: u64 = 10_000_000_000;
const MAX_UNSEEN_CALLS: u32 = 256;
/// How long after it was given up it is looked at again, if its process has plaintext of no connection; each time twice as
/// long.
const LOOK_AGAIN_NS: u64 = 10_000_000_000;
const MAX_LOOKS: u32 = 10;

/// How a connection turns out to carry TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begins {
    /// With its first bytes.
    Here,
    /// Some time ago.
    Earlier,
}

/// Returns whether the bytes of a call, of which `length` were moved, are records of TLS.
pub(crate) fn begins(bytes: &[u8], length: u32) -> Option<Begins> {
    const HELLOS: [u8; 2] = [1, 2];
    let header = Header::of(bytes)?;
    if header.kind == kind::HANDSHAKE && bytes.get(HEADER_BYTES).is_none_or(|kind| HELLOS.contains(kind)) {
        return Some(Begins::Here);
    }
    is_chain(bytes, length as usize).then_some(Begins::Earlier)
}

/// Plaintext that is ready to be told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) plaintext: Plaintext,
    pub(crate) at_ns: u64,
    /// It is the first plaintext that was seen, but there was some before.
    pub(crate) is_midway: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Half {
    ciphertext: Stream,
    records: Records,
    places: Places,
    /// Where the handshake is, if a client's.
    handshake: Handshake,
    /// How much padding its records have, once that is known.
    padding: Option<u16>,
    /// By how much its records are longer, as calls have shown: how often.
    learned: Option<(u16, u32)>,
    /// Where the counts of the object begin, and the position behind what was told last.
    base: u32,
    end: u32,
    /// The next count is that of another object.
    is_counted_anew: bool,
    /// What encrypts it, or decrypts it, once that is known.
    object: Option<TlsId>,
}

impl Half {
    /// Moves a count of the object to its position among what was told. Between two objects, a byte is missing.
    fn position(&mut self, count: u32, length: u32) -> u32 {
        if std::mem::take(&mut self.is_counted_anew) {
            self.base = self.end.wrapping_add(1).wrapping_sub(count);
        }
        let position = self.base.wrapping_add(count);
        self.end = position.wrapping_add(length);
        position
    }
}

/// The state of one connection.
#[derive(Debug)]
pub(crate) struct Conversation {
    egress: Half,
    ingress: Half,
    writes: Writes,
    reads: Reads,
    client: Option<Hello>,
    server: Option<Hello>,
    /// Where the client's bytes go, once it has said hello.
    client_direction: Option<Direction>,
    /// Beginnings of records, while it has no object.
    beginnings: Vec<(Direction, Beginning)>,
    /// What the client's hello is known by, until that was asked for.
    greeting: Option<(u64, Direction)>,
    has_plaintext: bool,
    is_from_start: bool,
    is_mixed: bool,
    /// The process has the same conversation on another connection.
    is_relayed: bool,
    /// Writes of early data that the server did not take.
    refused: u64,
    /// Bytes of those.
    unsaid: u32,
    began_at_ns: u64,
    calls: u32,
    /// How often it was looked at again, and since when it may be.
    looks: u32,
    look_again_ns: u64,
    /// Bytes on the wire that were sent, and received.
    moved: [u64; 2],
    found: Vec<Found>,
}

impl Conversation {
    /// Returns the state of a connection whose bytes from now on are ciphertext. `streams` put them in order; `private` is a
    /// number that the other end does not use.
    pub(crate) fn new(streams: [Stream; 2], begins: Begins, private: u32, now_ns: u64) -> Self {
        let is_from_start = begins == Begins::Here;
        let half = |ciphertext| Half {
            ciphertext,
            records: if is_from_start { Records::default() } else { Records::lost() },
            places: Places::new(private),
            ..Half::default()
        };
        let [egress, ingress] = streams.map(half);
        Self {
            egress,
            ingress,
            writes: Writes::default(),
            reads: if is_from_start { Reads::from_start() } else { Reads::default() },
            client: None,
            server: None,
            client_direction: None,
            beginnings: Vec::new(),
            greeting: None,
            has_plaintext: false,
            is_from_start,
            is_mixed: false,
            is_relayed: false,
            refused: 0,
            unsaid: 0,
            began_at_ns: now_ns,
            calls: 0,
            looks: 0,
            look_again_ns: 0,
            moved: [0; 2],
            found: Vec::new(),
        }
    }

    fn half(&mut self, direction: Direction) -> &mut Half {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }

    /// Returns the objects that encrypt and decrypt it, as far as they are known; mostly one does both.
    pub(crate) fn objects(&self) -> impl Iterator<Item = TlsId> + use<> {
        let (egress, ingress) = (self.egress.object, self.ingress.object);
        egress.into_iter().chain(ingress.filter(|_| ingress != egress))
    }

    /// Notes an object. Another one than one before that has ended has counts of its own.
    pub(crate) fn join(&mut self, object: TlsId) {
        for direction in ways(object) {
            let is_other = self.half(direction).object.is_some_and(|known| known != object);
            // Keys that change have an object of their own, where objects are for one direction.
            if is_other && object.way.is_some() {
                self.lose(direction);
            }
            self.is_mixed |= is_other && object.way.is_none();
            self.half(direction).object = Some(object);
        }
    }

    /// Returns whether several objects use it at once: something between them and the socket, such as a multiplexer, mixes
    /// what they carry.
    pub(crate) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    /// An object is gone: what is left to be written will not be.
    pub(crate) fn part(&mut self, object: TlsId) {
        for direction in ways(object) {
            self.half(direction).object = None;
            self.lose(direction);
        }
    }

    fn lose(&mut self, direction: Direction) {
        match direction {
            Direction::Egress => self.writes.lose(),
            Direction::Ingress => self.reads = Reads::default(),
        }
        let has_plaintext = self.has_plaintext;
        self.half(direction).is_counted_anew = has_plaintext;
    }

    /// Returns whether nothing was ever seen of what it carries, for so long that nothing will be.
    pub(crate) fn is_unseen(&self, now_ns: u64) -> bool {
        !self.has_plaintext
            && self.calls > MAX_UNSEEN_CALLS
            && now_ns.saturating_sub(self.began_at_ns) > MAX_UNSEEN_NS
    }

    /// Follows it once more from now on, if it is time for that. Returns whether it is.
    pub(crate) fn look_again(&mut self, now_ns: u64) -> bool {
        let may_look = !self.has_plaintext && !self.is_mixed && self.look_again_ns <= now_ns;
        if may_look {
            (self.calls, self.began_at_ns) = (0, now_ns);
            self.look_again_ns = now_ns.saturating_add(LOOK_AGAIN_NS << self.looks.min(MAX_LOOKS));
            self.looks = self.looks.saturating_add(1);
        }
        may_look
    }

    /// Notes what the kernel has counted, which no call that was missed is missing from.
    pub(crate) fn count(&mut self, counted: [Option<u64>; 2]) {
        for (moved, counted) in self.moved.iter_mut().zip(counted) {
            *moved = counted.unwrap_or(*moved).max(*moved);
        }
    }

    /// Returns what is known of it if it has carried something: with the reason why, if nothing of that was seen.
    pub(crate) fn kind(
        &self,
        tgid: u32,
        server: impl FnOnce() -> String,
        reason: &'static str,
    ) -> Option<(TlsKind, TlsCounts)> {
        if !self.has_plaintext && !self.has_application_data() {
            return None;
        }
        let asked = self.client.as_ref().and_then(|client| client.server_name.clone());
        let chosen =
            [&self.server, &self.client].into_iter().flatten().map(|hello| hello.protocols.join(","));
        let kind = TlsKind {
            tgid,
            server: asked.unwrap_or_else(server),
            version: self.server.as_ref().and_then(|hello| version_name(hello.version?)).unwrap_or_default(),
            protocols: chosen.into_iter().find(|names| !names.is_empty()).unwrap_or_default(),
            reason: if self.has_plaintext && !self.is_mixed { "" } else { self.reason().unwrap_or(reason) },
        };
        Some((kind, TlsCounts { connections: 1, bytes: self.moved }))
    }

    /// Returns why nothing was seen of it, where that is not for want of a library.
    fn reason(&self) -> Option<&'static str> {
        let client = match self.client_direction? {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        };
        match (self.is_relayed, client.handshake.is_silent()) {
            (true, _) => Some(reason::RELAYED),
            (false, true) => Some(reason::NOTHING_ASKED),
            (false, false) => None,
        }
    }

    /// Returns what a client's hello is known by, and where it went, once.
    pub(crate) fn take_greeting(&mut self) -> Option<(u64, Direction)> {
        self.greeting.take()
    }

    /// Notes that the process passes on what others encrypt.
    pub(crate) fn relay(&mut self) {
        self.is_relayed = true;
    }

    /// Returns how many writes of early data the server did not take since the last time.
    pub(crate) fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.refused)
    }

    /// Returns whether plaintext of it was seen.
    pub(crate) fn is_visible(&self) -> bool {
        self.has_plaintext
    }

    /// Takes in ciphertext. Returns what records of application data begin with, while nobody knows its object.
    pub(crate) fn ciphertext(&mut self, data: Data, at_ns: u64) -> Vec<(Direction, Beginning)> {
        let direction = data.direction;
        self.calls = self.calls.saturating_add(1);
        let [sent, received] = &mut self.moved;
        let moved = if direction == Direction::Egress { sent } else { received };
        *moved = moved.saturating_add(data.length.into());
        self.half(direction).ciphertext.push(data, at_ns);
        self.follow(direction);
        std::mem::take(&mut self.beginnings)
    }

    /// Gives up waiting for ciphertext that is late.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        for direction in [Direction::Egress, Direction::Ingress] {
            self.half(direction).ciphertext.expire(now_ns);
            self.follow(direction);
        }
    }

    /// Gives up waiting for anything.
    pub(crate) fn flush(&mut self) {
        for direction in [Direction::Egress, Direction::Ingress] {
            self.half(direction).ciphertext.flush();
            self.follow(direction);
        }
    }

    /// Takes in ciphertext that was taken for something else.
    pub(crate) fn rest(&mut self, rest: [Option<Chunk>; 2]) {
        for (direction, chunk) in [Direction::Egress, Direction::Ingress].into_iter().zip(rest) {
            let mut found = std::mem::take(&mut self.found);
            if let Some(chunk) = chunk {
                self.half(direction).records.push(&chunk, &mut found);
            }
            self.found = found;
            self.follow(direction);
        }
    }

    /// Returns whether something that was written waits for its records.
    pub(crate) fn is_writing(&self) -> bool {
        self.writes.deadline().is_some()
    }

    fn follow(&mut self, direction: Direction) {
        let mut found = std::mem::take(&mut self.found);
        let half = self.half(direction);
        while let Some(chunk) = half.ciphertext.pop() {
            half.records.push(&chunk, &mut found);
        }
        if let Some(hello) = half.records.hello.take() {
            self.greet(direction, hello);
        }
        for found in found.drain(..) {
            self.take(direction, found);
        }
        self.found = found;
    }

    fn greet(&mut self, direction: Direction, hello: Hello) {
        if hello.is_client {
            self.client_direction = Some(direction);
            self.greeting = hello.random.map(|random| (random, direction));
            self.half(direction).handshake.offer(&hello);
            self.client = Some(hello);
        } else {
            let client = self.half(direction.reverse());
            client.handshake.answer(client.records.count());
            self.server = Some(hello);
        }
    }

    fn take(&mut self, direction: Direction, found: Found) {
        match (found, direction) {
            (Found::Record(record), _) if record.kind != kind::APPLICATION_DATA => {}
            (Found::Record(record), Direction::Egress) => {
                self.finish(direction, record.index, record.length);
                self.writes.record(record);
            }
            (Found::Record(record), Direction::Ingress) => {
                self.finish(direction, record.index, record.length);
                self.reads.record(record);
            }
            (Found::Beginning(beginning), _) => {
                match direction {
                    Direction::Egress => self.writes.beginning(beginning),
                    Direction::Ingress => self.reads.beginning(beginning),
                }
                if self.half(direction).object.is_none() && self.beginnings.len() < MAX_BEGINNINGS {
                    self.beginnings.push((direction, beginning));
                }
            }
            (Found::Hole, _) => {
                match direction {
                    Direction::Egress => self.writes.lose(),
                    Direction::Ingress => self.reads.lose(),
                }
                self.half(direction).handshake.lose();
            }
        }
    }

    /// Finds the end of a client's handshake: what follows is the application's. It is the first record whose plaintext has
    /// a known length, so that it shows padding.
    fn finish(&mut self, direction: Direction, index: u64, length: u16) {
        let server = self.server.as_ref().filter(|_| self.is_1_3());
        let Some(cipher) = server.and_then(|server| server.cipher) else { return };
        let overhead = cipher::overhead(version::TLS_1_3, cipher);
        let Some(plaintext) = overhead.and_then(|overhead| length.checked_sub(overhead)) else { return };
        if self.client_direction != Some(direction) {
            return;
        }
        let half = self.half(direction);
        let Some(padding) = half.handshake.record(index, plaintext, cipher::finished_bytes(cipher)) else {
            return;
        };
        half.padding = Some(padding);
        if let Some(refused) = half.handshake.refused().filter(|_| direction == Direction::Egress) {
            self.refuse(refused);
        }
    }

    /// The server has not taken the first records: what they hold was never said.
    fn refuse(&mut self, records: u64) {
        let (refused, bytes) = self.writes.refuse(records);
        self.refused += refused;
        self.unsaid = bytes;
        self.egress.base = self.egress.base.wrapping_sub(bytes);
        self.egress.end = self.egress.end.wrapping_sub(bytes);
    }

    fn is_1_3(&self) -> bool {
        self.server.as_ref().and_then(|hello| hello.version) == Some(version::TLS_1_3)
    }

    fn overhead(&self, direction: Direction) -> Option<u16> {
        let (half, other) = match direction {
            Direction::Egress => (&self.egress, &self.ingress),
            Direction::Ingress => (&self.ingress, &self.egress),
        };
        match &self.server {
            Some(hello) => {
                cipher::overhead(hello.version?, hello.cipher?)?.checked_add(half.padding.unwrap_or(0))
            }
            // One may be chance. Each end pads by itself.
            None => half
                .learned
                .or(other.learned.filter(|(overhead, _)| *overhead != PADDED_OVERHEAD))
                .filter(|(_, times)| *times > 1)
                .map(|(overhead, _)| overhead),
        }
    }

    fn measure(&self, direction: Direction) -> Measure {
        let half = if direction == Direction::Egress { &self.egress } else { &self.ingress };
        Measure {
            overhead: self.overhead(direction),
            is_learnable: self.server.is_none(),
            handshake: half.handshake.bounds(self.is_1_3().into()),
            may_be_padded: self.is_1_3() && half.padding.is_none(),
        }
    }

    /// Returns whether the records of the handshake are known.
    fn is_finished(&self, direction: Direction) -> bool {
        let half = if direction == Direction::Egress { &self.egress } else { &self.ingress };
        self.server.is_some() && (!self.is_1_3() || half.handshake.finished().is_some())
    }

    /// Takes in plaintext of its object. What was read is returned at once, what was written by [`poll`](Self::poll).
    pub(crate) fn plaintext(&mut self, mut plaintext: Plaintext, at_ns: u64, now_ns: u64) -> Option<Told> {
        let (count, length) = (plaintext.position, plaintext.length);
        plaintext.position = self.half(plaintext.direction).position(count, length);
        if plaintext.tls.way.is_some() {
            // It knows nothing of the other direction.
            plaintext.reverse_position = self.half(plaintext.direction.reverse()).end;
        } else if plaintext.direction == Direction::Ingress {
            plaintext.reverse_position = plaintext.reverse_position.wrapping_sub(self.unsaid);
        }
        if plaintext.direction == Direction::Egress {
            self.writes.push(plaintext, at_ns, now_ns, self.egress.handshake.is_early());
            return None;
        }
        let direction = Direction::Ingress;
        // What is read before is early data, of which nothing is missing.
        let is_finished = self.is_finished(direction) || self.ingress.handshake.is_early();
        let measure = self.measure(direction);
        let read = self.reads.read(&plaintext, at_ns, measure, is_finished);
        self.learn(direction, read.excess, read.is_padded);
        self.ingress.places.note(plaintext.position, &[read.segment]);
        Some(self.tell(plaintext, at_ns, read.index))
    }

    /// Notes what was put into or taken from memory.
    pub(crate) fn memory(&mut self, ciphertext: &Ciphertext, at_ns: u64) {
        let Some(beginning) = beginning(&ciphertext.bytes) else { return };
        match ciphertext.direction {
            Direction::Egress => self.writes.put(beginning, at_ns),
            Direction::Ingress => self.reads.take(beginning),
        }
    }

    /// What was read answers what was written before: that is to be told first.
    pub(crate) fn expect(&mut self, read: &Plaintext) {
        if read.direction == Direction::Ingress && read.tls.way.is_none() {
            self.writes.hurry(read.reverse_position.wrapping_sub(self.unsaid));
        }
    }

    /// Returns the next plaintext that had waited for its records. What may be early data waits for the handshake's end.
    pub(crate) fn poll(&mut self, now_ns: u64) -> Option<Told> {
        if self.egress.handshake.is_early() && !self.writes.is_overdue(now_ns) {
            return None;
        }
        let measure = self.measure(Direction::Egress);
        let Written { plaintext, at_ns, segments, index, excess, is_padded } =
            self.writes.poll(measure, now_ns)?;
        self.learn(Direction::Egress, excess, is_padded);
        self.egress.places.note(plaintext.position, &segments);
        Some(self.tell(plaintext, at_ns, index))
    }

    /// Notes by how much a record was longer than its plaintext, and whether that was padding.
    fn learn(&mut self, direction: Direction, excess: Option<u16>, is_padded: bool) {
        let half = self.half(direction);
        if is_padded {
            half.padding = Some(PADDING_BYTES);
        }
        let Some(excess) = excess else { return };
        half.learned = match half.learned {
            _ if !OVERHEADS.contains(&excess) => None,
            Some((known, times)) if known == excess => Some((known, times.saturating_add(1))),
            _ => Some((excess, 1)),
        };
    }

    fn tell(&mut self, plaintext: Plaintext, at_ns: u64, index: Option<u64>) -> Told {
        let is_first = !std::mem::replace(&mut self.has_plaintext, true);
        let is_midway = is_first && !self.is_beginning(&plaintext, index);
        Told { plaintext, at_ns, is_midway }
    }

    /// Returns whether there was no plaintext before this, as far as the client's records tell.
    fn is_beginning(&self, plaintext: &Plaintext, index: Option<u64>) -> bool {
        let direction = plaintext.direction;
        let is_known = self.is_from_start && plaintext.position == 0 && plaintext.reverse_position == 0;
        if !is_known {
            return false;
        }
        if self.client_direction == Some(direction) {
            let half = if direction == Direction::Egress { &self.egress } else { &self.ingress };
            let first = half.handshake.first(self.is_1_3().into());
            let is_known = self.is_finished(direction) || half.handshake.is_early();
            return is_known && index.is_none_or(|index| index == first);
        }
        let client = if direction == Direction::Egress { &self.ingress } else { &self.egress };
        let (_, handshake) = client.handshake.bounds(self.is_1_3().into());
        client.records.count() <= handshake
    }

    /// Moves a chunk of plaintext to its places on the wire.
    pub(crate) fn place(&mut self, direction: Direction, chunk: Chunk, placed: &mut Vec<Chunk>) {
        self.half(direction).places.place(chunk, placed);
    }

    /// Returns when [`poll`](Self::poll) or [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let streams = [self.egress.ciphertext.deadline(), self.ingress.ciphertext.deadline()];
        streams.into_iter().chain([self.writes.deadline()]).flatten().min()
    }

    /// Returns what is known of it, as attributes, where it carries this protocol.
    pub(crate) fn attributes(&self, protocol: &str) -> Attributes {
        let mut attributes = vec![
            (semconv::TLS_PROTOCOL_NAME, Value::from("tls")),
            (semconv::TLS_ESTABLISHED, Value::from(self.has_plaintext || self.has_application_data())),
        ];
        if let Some(server) = &self.server {
            attributes.extend(
                server
                    .version
                    .and_then(version_name)
                    .map(|name| (semconv::TLS_PROTOCOL_VERSION, Value::from(name))),
            );
            attributes.extend(
                server.cipher.and_then(cipher::name).map(|name| (semconv::TLS_CIPHER, Value::from(name))),
            );
        }
        let chosen = self.next_protocol(protocol);
        attributes.extend(chosen.map(|name| (semconv::TLS_NEXT_PROTOCOL, Value::from(name.to_owned()))));
        let name = self.client.as_ref().and_then(|client| client.server_name.clone());
        attributes.extend(name.map(|name| (semconv::TLS_CLIENT_SERVER_NAME, Value::from(name))));
        attributes
    }

    /// Returns the protocol that was chosen. In TLS 1.3 the choice is encrypted, and shows where what was offered is spoken that
    /// has to be chosen so (RFC 9113, 3.2).
    fn next_protocol(&self, protocol: &str) -> Option<&str> {
        const HTTP2: &str = "h2";
        let told = self.server.as_ref().and_then(|server| server.protocols.first());
        let offered = self.client.iter().flat_map(|client| &client.protocols);
        let spoken = offered.map(String::as_str).find(|name| *name == HTTP2 && protocol == "http2");
        told.map(String::as_str).or(spoken)
    }

    pub(crate) fn has_application_data(&self) -> bool {
        [&self.egress, &self.ingress].iter().all(|half| half.records.count() > 0)
    }

    /// Returns the bytes that it holds.
    pub(crate) fn held_bytes(&self) -> usize {
        let half = |half: &Half| {
            half.ciphertext.held_bytes() + half.places.held_bytes() + half.records.hello.held_bytes()
        };
        half(&self.egress) + half(&self.ingress) + self.writes.held_bytes() + self.reads.held_bytes()
    }
}

/// Returns the directions in which an object moves bytes.
fn ways(object: TlsId) -> impl Iterator<Item = Direction> {
    let all = [Direction::Egress, Direction::Ingress];
    all.into_iter().filter(move |direction| object.way.is_none_or(|way| way == *direction))
}

/// Returns the beginning of a record that names it; none where there is too little of it, or it is in the clear.
pub(super) fn beginning(bytes: &[u8]) -> Option<Beginning> {
    let header = Header::of(bytes)?;
    let is_whole = header.whole() >= BEGINNING_BYTES && header.kind == kind::APPLICATION_DATA;
    bytes.first_chunk::<BEGINNING_BYTES>().copied().filter(|_| is_whole)
}

/// Versions as OpenTelemetry writes them.
fn version_name(version: u16) -> Option<&'static str> {
    match version {
        0x0301 => Some("1.0"),
        0x0302 => Some("1.1"),
        version::TLS_1_2 => Some("1.2"),
        version::TLS_1_3 => Some("1.3"),
        _ => None,
    }
}
