//! Which object of a library encrypts which connection.
//!
//! Two things join them: a socket that the object was given or that was used within a call on it, and a record that was
//! seen both in memory within such a call and on the wire. Plaintext of an object that is not joined yet waits.

use std::collections::VecDeque;

use bytes::Bytes;
use foldhash::HashMap;

use super::conversation::beginning;
use super::records::Beginning;
use crate::event::{Ciphertext, ConnectionId, Direction, Plaintext, TlsId};

/// Objects whose plaintext waits, bytes of one of them, and of all. What is more is lost.
const MAX_OBJECTS: usize = 4096;
const MAX_OBJECT_BYTES: usize = 64 << 10;
const MAX_BYTES: usize = 8 << 20;
/// Calls of which only a part was told yet.
const MAX_PIECED: usize = 256;
/// How long it waits.
const MAX_WAIT_NS: u64 = 2_000_000_000;
/// What an event counts for besides its bytes.
const EVENT_BYTES: usize = size_of::<Waiting>();
/// Records that are looked for, or may be. Of one more, the oldest is forgotten.
const MAX_PRINTS: usize = 16_384;

/// A record of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Print {
    tgid: u32,
    direction: Direction,
    beginning: Beginning,
}

/// What waits, and when it was told.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) what: Waits,
    pub(crate) at_ns: u64,
}

/// What a library has told.
#[derive(Debug)]
pub(crate) enum Waits {
    Plaintext(Plaintext),
    Ciphertext(Ciphertext),
}

impl Waits {
    fn object(&self) -> TlsId {
        match self {
            Waits::Plaintext(plaintext) => plaintext.tls,
            Waits::Ciphertext(ciphertext) => ciphertext.tls,
        }
    }

    fn bytes_len(&self) -> usize {
        match self {
            Waits::Plaintext(plaintext) => plaintext.bytes.len(),
            Waits::Ciphertext(ciphertext) => ciphertext.bytes.len(),
        }
    }
}

/// All that waits for one object.
#[derive(Debug, Default)]
struct Held {
    what: VecDeque<Waiting>,
    bytes: usize,
    /// When it gives up. Another object of its address may wait later.
    deadline_ns: u64,
}

/// What is known by the beginnings of records, the last ones.
#[derive(Debug)]
struct Prints<T> {
    // Of what was told of two, none is believed.
    known: HashMap<Print, Option<T>>,
    order: VecDeque<Print>,
}

impl<T> Default for Prints<T> {
    fn default() -> Self {
        Self { known: HashMap::default(), order: VecDeque::new() }
    }
}

impl<T: Copy + PartialEq> Prints<T> {
    fn note(&mut self, print: Print, of: T) {
        if let Some(known) = self.known.get_mut(&print) {
            *known = known.filter(|known| *known == of);
            return;
        }
        if self.order.len() >= MAX_PRINTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(print);
        self.known.insert(print, Some(of));
    }

    fn find(&self, print: &Print) -> Option<T> {
        self.known.get(print).copied().flatten()
    }
}

/// What is known of objects.
#[derive(Debug, Default)]
pub(crate) struct Joins {
    joined: HashMap<TlsId, ConnectionId>,
    waiting: HashMap<TlsId, Held>,
    /// When each of those gives up.
    deadlines: VecDeque<(u64, TlsId)>,
    waiting_bytes: usize,
    /// Records of connections without an object, and of objects without a connection.
    on_wire: Prints<ConnectionId>,
    in_memory: Prints<TlsId>,
    /// What is there of calls of which more is told next.
    pieces: HashMap<TlsId, Plaintext>,
    unjoined: u64,
}

impl Joins {
    /// Returns the connection of an object.
    pub(crate) fn connection(&self, object: TlsId) -> Option<ConnectionId> {
        self.joined.get(&object).copied()
    }

    /// Notes the connection of an object. Returns what has waited for it, and its connection before.
    pub(crate) fn join(
        &mut self,
        object: TlsId,
        connection: ConnectionId,
    ) -> (VecDeque<Waiting>, Option<ConnectionId>) {
        let before = self.joined.insert(object, connection).filter(|before| *before != connection);
        (self.take_waiting(object), before)
    }

    fn take_waiting(&mut self, object: TlsId) -> VecDeque<Waiting> {
        let Some(held) = self.waiting.remove(&object) else { return VecDeque::new() };
        self.waiting_bytes -= held.bytes;
        held.what
    }

    /// Forgets an object. Returns its connection.
    pub(crate) fn forget(&mut self, object: TlsId) -> Option<ConnectionId> {
        self.lose_waiting(object);
        self.joined.remove(&object)
    }

    /// Forgets which connection an object has: it is closed.
    pub(crate) fn part(&mut self, object: TlsId, connection: ConnectionId) {
        if self.connection(object) == Some(connection) {
            self.joined.remove(&object);
        }
    }

    /// Forgets the objects of a process. Returns the connections that they had.
    pub(crate) fn forget_process(&mut self, tgid: u32) -> Vec<(ConnectionId, TlsId)> {
        self.pieces.retain(|id, _| id.tgid != tgid);
        let waiting: Vec<_> = self.waiting.keys().filter(|id| id.tgid == tgid).copied().collect();
        waiting.into_iter().for_each(|object| self.lose_waiting(object));
        let mut parted: Vec<_> = self
            .joined
            .iter()
            .filter(|(id, _)| id.tgid == tgid)
            .map(|(id, connection)| (*connection, *id))
            .collect();
        self.joined.retain(|id, _| id.tgid != tgid);
        parted.sort_unstable();
        parted
    }

    fn lose_waiting(&mut self, object: TlsId) {
        let lost = self.take_waiting(object);
        let is_plaintext = |waiting: &&Waiting| matches!(waiting.what, Waits::Plaintext(_));
        self.unjoined += lost.iter().filter(is_plaintext).count() as u64;
    }

    /// Puts the pieces of a call together. Returns the call once all are there.
    pub(crate) fn put_together(&mut self, piece: Plaintext) -> Option<Plaintext> {
        let object = piece.tls;
        let begun = self.pieces.remove(&object).filter(|begun| follows(begun, &piece));
        let whole = begun.map_or_else(|| piece.clone(), |begun| append(begun, &piece));
        if !whole.continues {
            return Some(whole);
        }
        if self.pieces.len() >= MAX_PIECED || whole.bytes.len() > MAX_OBJECT_BYTES {
            self.unjoined += 1;
            return None;
        }
        self.pieces.insert(object, whole);
        None
    }

    /// Keeps what was told until its object is joined.
    pub(crate) fn wait(&mut self, what: Waits, at_ns: u64, now_ns: u64) {
        let object = what.object();
        let weight = what.bytes_len() + EVENT_BYTES;
        let is_new = !self.waiting.contains_key(&object);
        let held = self.waiting.get(&object).map_or(0, |held| held.bytes);
        let is_over = held + weight > MAX_OBJECT_BYTES
            || self.waiting_bytes + weight > MAX_BYTES
            || (is_new && self.waiting.len() >= MAX_OBJECTS);
        if is_over {
            self.unjoined += u64::from(matches!(what, Waits::Plaintext(_)));
            return;
        }
        let held = self.waiting.entry(object).or_default();
        if is_new {
            held.deadline_ns = now_ns.max(at_ns).saturating_add(MAX_WAIT_NS);
            self.deadlines.push_back((held.deadline_ns, object));
        }
        held.what.push_back(Waiting { what, at_ns });
        held.bytes += weight;
        self.waiting_bytes += weight;
    }

    /// Notes a record that was seen in memory. Returns the connection on which it was seen too.
    pub(crate) fn in_memory(&mut self, ciphertext: &Ciphertext) -> Option<ConnectionId> {
        let Ciphertext { tls, direction, .. } = *ciphertext;
        let print = Print { tgid: tls.tgid, direction, beginning: beginning(&ciphertext.bytes)? };
        self.in_memory.note(print, tls);
        self.on_wire.find(&print).filter(|_| self.in_memory.find(&print).is_some())
    }

    /// Notes a record that a process has moved on a connection. Returns the object that has it in memory.
    pub(crate) fn on_wire(
        &mut self,
        tgid: u32,
        connection: ConnectionId,
        direction: Direction,
        beginning: Beginning,
    ) -> Option<TlsId> {
        let print = Print { tgid, direction, beginning };
        self.on_wire.note(print, connection);
        self.in_memory.find(&print).filter(|_| self.on_wire.find(&print).is_some())
    }

    /// Gives up what has waited too long. Returns the processes of those objects: one of their connections is not known.
    pub(crate) fn expire(&mut self, now_ns: u64) -> Vec<u32> {
        let mut processes = Vec::new();
        while let Some((deadline, object)) = self.deadlines.pop_front_if(|(deadline, _)| *deadline <= now_ns)
        {
            if self.waiting.get(&object).is_some_and(|held| held.deadline_ns == deadline) {
                self.lose_waiting(object);
                processes.push(object.tgid);
            }
        }
        processes
    }

    /// Returns when [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Returns the bytes that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Returns how many calls' plaintext was lost because its connection is not known.
    pub(crate) fn unjoined(&self) -> u64 {
        self.unjoined
    }
}

/// Returns whether a piece is the next one of a call.
fn follows(begun: &Plaintext, piece: &Plaintext) -> bool {
    (begun.direction, begun.position.wrapping_add(begun.length)) == (piece.direction, piece.position)
}

/// Returns a call with one piece more. Bytes behind such as were not captured are left out.
fn append(begun: Plaintext, piece: &Plaintext) -> Plaintext {
    let is_whole = begun.bytes.len() == begun.length as usize;
    let bytes = if is_whole { Bytes::from([&begun.bytes[..], &piece.bytes].concat()) } else { begun.bytes };
    let length = begun.length.saturating_add(piece.length);
    Plaintext { bytes, length, continues: piece.continues, ..begun }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Executor;

    const ONE: ConnectionId = ConnectionId { sock: 1, inode: 1 };
    const OTHER: ConnectionId = ConnectionId { sock: 2, inode: 1 };

    fn object(object: u64) -> TlsId {
        TlsId { tgid: 1, object, way: None }
    }

    fn plaintext(tls: TlsId, bytes: &[u8]) -> Plaintext {
        Plaintext {
            tls,
            connection: None,
            direction: Direction::Egress,
            position: 0,
            reverse_position: 0,
            length: bytes.len() as u32,
            bytes: Bytes::copy_from_slice(bytes),
            ends_record: false,
            is_received: false,
            continues: false,
            executor: Executor::default(),
            shares: Vec::new(),
        }
    }

    fn record(seed: u8) -> Vec<u8> {
        let mut bytes = vec![23, 3, 3, 0, 100];
        bytes.extend((0..40).map(|at: u8| at.wrapping_mul(seed)));
        bytes
    }

    fn seen(tls: TlsId, bytes: &[u8]) -> Ciphertext {
        let bytes = Bytes::copy_from_slice(bytes);
        Ciphertext { tls, direction: Direction::Egress, length: 105, bytes }
    }

    fn print(bytes: &[u8]) -> Beginning {
        beginning(bytes).expect("a beginning")
    }

    #[test]
    fn a_record_joins_whichever_side_is_seen_first() {
        let mut joins = Joins::default();
        assert_eq!(joins.in_memory(&seen(object(1), &record(3))), None);
        assert_eq!(joins.on_wire(1, ONE, Direction::Egress, print(&record(3))), Some(object(1)));
        assert_eq!(joins.on_wire(1, OTHER, Direction::Egress, print(&record(5))), None);
        assert_eq!(joins.in_memory(&seen(object(2), &record(5))), Some(OTHER));
    }

    #[test]
    fn what_is_another_process_way_or_record_joins_nothing() {
        let mut joins = Joins::default();
        assert_eq!(joins.in_memory(&seen(object(1), &record(3))), None);
        assert_eq!(joins.on_wire(2, ONE, Direction::Egress, print(&record(3))), None);
        assert_eq!(joins.on_wire(1, ONE, Direction::Ingress, print(&record(3))), None);
        assert_eq!(joins.on_wire(1, ONE, Direction::Egress, print(&record(5))), None);
        let short = joins.in_memory(&seen(object(1), &record(5)[..20]));
        assert_eq!(short, None, "it is no proof");
    }

    #[test]
    fn a_record_of_two_proves_nothing() {
        let mut joins = Joins::default();
        joins.in_memory(&seen(object(1), &record(3)));
        joins.in_memory(&seen(object(2), &record(3)));
        assert_eq!(joins.on_wire(1, ONE, Direction::Egress, print(&record(3))), None);
        joins.on_wire(1, ONE, Direction::Egress, print(&record(5)));
        joins.on_wire(1, OTHER, Direction::Egress, print(&record(5)));
        assert_eq!(joins.in_memory(&seen(object(1), &record(5))), None);
    }

    #[test]
    fn what_waits_is_told_in_order_or_lost_and_counted() {
        let mut joins = Joins::default();
        for at_ns in 0..3 {
            joins.wait(Waits::Plaintext(plaintext(object(1), b"abc")), at_ns, at_ns);
        }
        joins.wait(Waits::Plaintext(plaintext(object(2), b"abc")), 5, 5);
        let (waiting, before) = joins.join(object(1), ONE);
        assert_eq!(waiting.iter().map(|waiting| waiting.at_ns).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(before, None);
        joins.expire(4 + MAX_WAIT_NS);
        assert_eq!((joins.unjoined(), joins.deadline()), (0, Some(5 + MAX_WAIT_NS)));
        joins.expire(5 + MAX_WAIT_NS);
        assert_eq!((joins.unjoined(), joins.held_bytes(), joins.deadline()), (1, 0, None));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut joins = Joins::default();
        for at in 0..10_000u64 {
            joins.wait(Waits::Plaintext(plaintext(object(at % 5000), &[0; 3000])), at, at);
        }
        assert!(joins.held_bytes() <= MAX_BYTES && joins.waiting.len() <= MAX_OBJECTS);
        assert!(joins.unjoined() > 0);
        for at in 0..100 {
            joins
                .in_memory
                .note(Print { tgid: at, direction: Direction::Egress, beginning: [0; 21] }, object(1));
        }
        assert_eq!(joins.in_memory.known.len(), 100);
    }

    #[test]
    fn a_call_in_pieces_is_put_together() {
        let mut joins = Joins::default();
        let piece = |position: u32, bytes: &[u8], length: u32, continues: bool| Plaintext {
            position,
            length,
            continues,
            ..plaintext(object(1), bytes)
        };
        assert_eq!(joins.put_together(piece(5, b"ab", 2, true)), None);
        assert_eq!(joins.put_together(piece(7, b"cd", 3, true)), None);
        let whole = joins.put_together(piece(10, b"e", 1, false));
        assert_eq!(whole, Some(piece(5, b"abcd", 6, false)), "what follows a hole is left out");
        assert_eq!(joins.put_together(piece(20, b"ab", 2, true)), None);
        let other = piece(30, b"x", 1, false);
        assert_eq!(joins.put_together(other.clone()), Some(other), "its beginning was lost");
        for at in 0..5000 {
            joins.put_together(Plaintext { tls: object(at), ..piece(0, b"a", 1, true) });
        }
        assert!(joins.pieces.len() <= MAX_PIECED && joins.unjoined() > 0);
    }

    #[test]
    fn objects_go_with_their_process_and_their_end() {
        let mut joins = Joins::default();
        joins.join(object(1), ONE);
        assert_eq!(joins.join(object(1), OTHER).1, Some(ONE), "an address was used again");
        joins.part(object(1), ONE);
        assert_eq!(joins.connection(object(1)), Some(OTHER));
        assert_eq!(joins.forget(object(1)), Some(OTHER));
        joins.join(object(2), ONE);
        joins.wait(Waits::Plaintext(plaintext(object(3), b"abc")), 1, 1);
        assert_eq!((joins.forget_process(1), joins.unjoined()), (vec![(ONE, object(2))], 1));
        assert_eq!(joins.connection(object(2)), None);
    }
}
