//! Where the records of one direction begin (RFC 8446, 5.1; RFC 5246, 6.2).
//!
//! Each record tells by its header where the next one is. After a hole that swallowed a header, the next is looked for at
//! the beginning of a call, and believed once another header stands where the first one says.

use super::hello::Collector;
use crate::connection::{Chunk, Content};
use crate::event::Executor;

/// Type, version and length.
pub(super) const HEADER_BYTES: usize = 5;
/// What names a record: its header and as much of what is encrypted as no two have in common.
pub(super) const BEGINNING_BYTES: usize = HEADER_BYTES + 16;
/// Longest record: of TLS 1.2 (RFC 5246, 6.2.3).
const MAX_RECORD_BYTES: u16 = (1 << 14) + 2048;

/// The first bytes of a record.
pub(crate) type Beginning = [u8; BEGINNING_BYTES];

/// Kinds of records.
pub(super) mod kind {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
    pub(crate) const HEARTBEAT: u8 = 24;
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) length: u16,
}

impl Header {
    /// Returns the header that `bytes` begin with; none where there is none.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let &[kind, major, minor, high, low] = bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u16::from_be_bytes([high, low]);
        let is_known = (kind::CHANGE_CIPHER_SPEC..=kind::HEARTBEAT).contains(&kind);
        let is_sound = major == 3 && minor <= 4 && length <= MAX_RECORD_BYTES;
        // Only application data may be empty.
        (is_known && is_sound && (length > 0 || kind == kind::APPLICATION_DATA))
            .then_some(Self { kind, length })
    }

    /// Returns the bytes of the record with its header.
    pub(super) fn whole(self) -> usize {
        HEADER_BYTES + usize::from(self.length)
    }
}

/// Returns whether records follow one another in a call of `length` bytes: the last one ends it, or there are several.
pub(super) fn is_chain(bytes: &[u8], length: usize) -> bool {
    let mut at = 0;
    let mut links = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) {
        let Some(header) = Header::of(rest) else { return false };
        links += 1;
        at = at.saturating_add(header.whole());
        if at == length {
            return true;
        }
    }
    links > 1
}

/// A record that has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Of its header.
    pub(super) position: u32,
    /// Of the other direction at that time.
    pub(super) reverse_position: u32,
    /// Whether the peer sees the same positions.
    pub(super) is_absolute: bool,
    pub(super) kind: u8,
    /// Without its header.
    pub(super) length: u16,
    /// When the call began that moved its header, and who made it.
    pub(super) at_ns: u64,
    pub(super) executor: Executor,
    /// Records of application data before it in its direction.
    pub(super) index: u64,
    /// Its first bytes, once they are there.
    pub(super) beginning: Option<Beginning>,
    /// Records may be missing before it.
    pub(super) is_after_hole: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Record(Record),
    /// The first bytes of the last record.
    Beginning(Beginning),
    /// Records may be missing here.
    Hole,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Footing {
    /// The next header is looked for.
    Lost,
    /// The next bytes look like a header.
    Trying,
    /// There was one header that nothing has confirmed.
    Hoping,
    #[default]
    Sure,
}

/// The records of one direction.
#[derive(Debug, Default)]
pub(super) struct Records {
    footing: Footing,
    /// Position of the next byte; none before the first.
    next: Option<u32>,
    /// Bytes of the current record that are still to come.
    left: u32,
    /// The first bytes of the current record.
    beginning: Vec<u8>,
    /// Header of the current record, once it is whole.
    header: Option<Header>,
    /// The record whose header is not whole.
    place: Option<Record>,
    /// Records of application data so far.
    count: u64,
    /// The first handshake message.
    pub(super) hello: Collector,
}

impl Records {
    /// Returns what follows a connection that is met midway.
    pub(super) fn lost() -> Self {
        Self { footing: Footing::Lost, hello: Collector::void(), ..Self::default() }
    }

    /// Returns how many records of application data there were.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Takes in what follows in the direction.
    pub(super) fn push(&mut self, chunk: &Chunk, found: &mut Vec<Found>) {
        if self.next.is_some_and(|next| next != chunk.position) {
            self.lose(found);
        }
        match &chunk.content {
            Content::Missing(bytes) => {
                self.miss(*bytes, found);
                self.next = Some(chunk.position.wrapping_add(*bytes as u32));
            }
            Content::Bytes(bytes) => {
                if self.footing == Footing::Lost {
                    self.try_again(bytes);
                }
                self.take(chunk, bytes, found);
                self.next = Some(chunk.position.wrapping_add(bytes.len() as u32));
            }
        }
    }

    /// Looks for records at the beginning of a call: such as end it are proof, another may follow.
    fn try_again(&mut self, bytes: &[u8]) {
        if is_chain(bytes, bytes.len()) {
            self.footing = Footing::Sure;
        } else if Header::of(bytes).is_some() {
            self.footing = Footing::Trying;
        }
    }

    fn miss(&mut self, bytes: u64, found: &mut Vec<Found>) {
        self.hello.give_up();
        let is_within = self.header.is_some() && u64::from(self.left) >= bytes;
        if !is_within {
            return self.lose(found);
        }
        self.left -= bytes as u32;
        // What follows is not the record's beginning any more.
        self.beginning.resize(BEGINNING_BYTES, 0);
        self.end_if_done();
    }

    fn lose(&mut self, found: &mut Vec<Found>) {
        if self.footing == Footing::Sure {
            found.push(Found::Hole);
        }
        self.footing = Footing::Lost;
        self.hello.give_up();
        self.forget_record();
    }

    fn forget_record(&mut self) {
        self.left = 0;
        self.header = None;
        self.place = None;
        self.beginning.clear();
    }

    fn take(&mut self, chunk: &Chunk, bytes: &[u8], found: &mut Vec<Found>) {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if self.footing == Footing::Lost {
                return;
            }
            at += match self.header {
                Some(header) => self.body(header, rest, found),
                None => {
                    let position = chunk.position.wrapping_add(at as u32);
                    self.head(chunk, position, rest, found)
                }
            };
        }
    }

    /// Takes more of a header; returns how many bytes.
    fn head(&mut self, chunk: &Chunk, position: u32, rest: &[u8], found: &mut Vec<Found>) -> usize {
        let place = self.place.get_or_insert_with(|| begun(chunk, position));
        let taken = rest.len().min(HEADER_BYTES.saturating_sub(self.beginning.len()));
        self.beginning.extend_from_slice(rest.get(..taken).unwrap_or_default());
        if self.beginning.len() < HEADER_BYTES {
            return taken;
        }
        let Some(header) = Header::of(&self.beginning) else {
            self.lose(found);
            return taken;
        };
        let mut record = place.clone();
        (record.kind, record.length) = (header.kind, header.length);
        self.tell(record, found);
        self.header = Some(header);
        self.left = header.length.into();
        self.end_if_done();
        taken
    }

    fn tell(&mut self, mut record: Record, found: &mut Vec<Found>) {
        match self.footing {
            Footing::Lost => return,
            Footing::Trying => {
                self.footing = Footing::Hoping;
                return;
            }
            Footing::Hoping => {
                self.footing = Footing::Sure;
                // The record before this one was not told.
                found.push(Found::Hole);
            }
            Footing::Sure => {}
        }
        record.index = self.count;
        self.count += u64::from(record.kind == kind::APPLICATION_DATA);
        found.push(Found::Record(record));
    }

    /// Takes more of a record behind its header; returns how many bytes.
    fn body(&mut self, header: Header, rest: &[u8], found: &mut Vec<Found>) -> usize {
        let taken = rest.len().min(self.left as usize);
        let bytes = rest.get(..taken).unwrap_or_default();
        if header.kind == kind::HANDSHAKE {
            self.hello.push(bytes);
        }
        if self.beginning.len() < BEGINNING_BYTES {
            let wanted = BEGINNING_BYTES - self.beginning.len();
            self.beginning.extend_from_slice(bytes.get(..wanted.min(taken)).unwrap_or_default());
            if self.footing == Footing::Sure
                && header.kind == kind::APPLICATION_DATA
                && let Some(beginning) = self.beginning.first_chunk::<BEGINNING_BYTES>()
            {
                found.push(Found::Beginning(*beginning));
            }
        }
        self.left -= taken as u32;
        self.end_if_done();
        taken
    }

    fn end_if_done(&mut self) {
        if self.left == 0 {
            self.forget_record();
        }
    }
}

fn begun(chunk: &Chunk, position: u32) -> Record {
    Record {
        position,
        reverse_position: chunk.reverse_position,
        is_absolute: chunk.is_absolute,
        kind: 0,
        length: 0,
        at_ns: chunk.stamp.at_ns,
        executor: chunk.stamp.executor,
        index: 0,
        beginning: None,
        is_after_hole: false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::connection::Stamp;

    fn record(kind: u8, length: u16) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        let mut bytes = vec![kind, 3, 3, high, low];
        bytes.extend((0..length).map(|at| at as u8));
        bytes
    }

    fn chunk(position: u32, content: Content) -> Chunk {
        let stamp = Stamp::default();
        Chunk {
            position,
            inserted_before: 0,
            reverse_position: 7,
            is_absolute: true,
            stamp,
            peer: None,
            content,
        }
    }

    /// Feeds pieces and holes, told by their lengths; returns what was found as text.
    fn check(mut records: Records, pieces: &[Result<&[u8], u64>], expected: &str) {
        let mut position = 1000u32;
        let mut found = Vec::new();
        for piece in pieces {
            let (content, length) = match piece {
                Ok(bytes) => (Content::Bytes(Bytes::copy_from_slice(bytes)), bytes.len() as u32),
                Err(missing) => (Content::Missing(*missing), *missing as u32),
            };
            records.push(&chunk(position, content), &mut found);
            position += length;
        }
        let told: Vec<_> = found
            .iter()
            .filter_map(|found| match found {
                Found::Record(record) => {
                    Some(format!("{}:{}+{}", record.kind, record.position - 1000, record.length))
                }
                Found::Beginning(_) => None,
                Found::Hole => Some("hole".to_owned()),
            })
            .collect();
        assert_eq!(told.join(" "), expected, "{pieces:?}");
    }

    #[test]
    fn records_follow_one_another_however_they_are_cut() {
        let bytes = [record(22, 40), record(20, 1), record(23, 0), record(23, 300), record(21, 19)].concat();
        let expected = "22:0+40 20:45+1 23:51+0 23:56+300 21:361+19";
        check(Records::default(), &[Ok(&bytes)], expected);
        for window in 1..30 {
            let pieces: Vec<_> = bytes.chunks(window).map(Ok).collect();
            check(Records::default(), &pieces, expected);
        }
    }

    #[test]
    fn a_hole_within_a_record_loses_no_header() {
        let (one, two) = (record(23, 300), record(23, 50));
        check(Records::default(), &[Ok(&one[..100]), Err(205), Ok(&two)], "23:0+300 23:305+50");
        check(
            Records::default(),
            &[Ok(&one[..100]), Err(200), Ok(&one[300..]), Ok(&two)],
            "23:0+300 23:305+50",
        );
    }

    #[test]
    fn a_hole_over_a_header_is_told_and_the_next_one_needs_proof() {
        let (one, two) = (record(23, 300), record(23, 50));
        check(Records::default(), &[Ok(&one[..100]), Err(206), Ok(&two[1..])], "23:0+300 hole");
        let rest: &[_] = &[Ok(&one[..100]), Err(206), Ok(&two[1..]), Ok(&two), Ok(&one), Ok(&two)];
        check(Records::default(), rest, "23:0+300 hole 23:360+50 23:415+300 23:720+50");
        let wrong: &[_] = &[Ok(&one[..100]), Err(206), Ok(&two[..20]), Ok(&two[..20]), Ok(b"\x17\x03\x03")];
        check(Records::default(), wrong, "23:0+300 hole");
    }

    #[test]
    fn a_connection_met_midway_is_lost_first() {
        let (one, two) = (record(23, 300), record(23, 50));
        check(Records::lost(), &[Ok(&one[7..]), Ok(&two), Ok(&one)], "23:298+50 23:353+300");
        let cut: &[_] = &[Ok(&one[7..]), Ok(&two[..5]), Ok(&two[5..]), Ok(&one)];
        check(Records::lost(), cut, "hole 23:353+300");
    }

    #[test]
    fn what_is_no_record_is_none() {
        for wrong in
            [b"\x19\x03\x03\0\x01", b"\x17\x02\x03\0\x01", b"\x17\x03\x03\x48\x01", b"\x16\x03\x03\0\0"]
        {
            assert_eq!(Header::of(wrong), None, "{}", wrong.escape_ascii());
        }
        assert_eq!(Header::of(b"\x17\x03\x03"), None);
    }
}
