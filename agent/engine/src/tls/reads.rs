//! Which record a read has come from.
//!
//! A read gives bytes of one record, and most often says where that ends. Records are read one after the other, so that the
//! next read is known from the last one; each end of a record must fit. Records that carry nothing for the application
//! stand between the others: those are passed over where just one behind them fits.

use std::collections::VecDeque;

use super::places::{Segment, Wire};
use super::records::{Beginning, Record};
use super::writes::{Measure, PADDING_BYTES, segment};
use crate::event::Plaintext;

/// Records that wait to be read. More are not followed.
const MAX_RECORDS: usize = 1024;
/// Records without plaintext that may stand before one with.
const MAX_SKIPPED: usize = 8;
/// Plaintext of a record of TLS 1.3 that only says that keys change (RFC 8446, 4.6.3), and how much longer its record is.
const KEY_UPDATE_BYTES: u32 = 5;
const KEY_UPDATE_OVERHEAD: u16 = 17;

/// How well the next record is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Footing {
    /// It is the first one.
    Sure,
    /// All are there, but some of the first are of the handshake.
    Seeking,
    /// It is not known.
    #[default]
    Lost,
}

/// What a read has come from.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) segment: Segment,
    /// Records of application data before it, where that is known.
    pub(super) index: Option<u64>,
    /// By how much its record is longer, where that was not known.
    pub(super) excess: Option<u16>,
    /// Its record is padded, which was not known.
    pub(super) is_padded: bool,
}

/// The reads of one connection.
#[derive(Debug, Default)]
pub(super) struct Reads {
    footing: Footing,
    records: VecDeque<Record>,
    /// Bytes of the first record that have been read.
    offset: u32,
    /// Count of the next byte.
    next: Option<u32>,
    /// The last read ended a record.
    has_ended: bool,
    /// Records may be missing since the last read.
    has_hole: bool,
    /// Records may be missing behind the last one.
    is_hole_last: bool,
    /// When the last read returned.
    last_ns: u64,
    /// What was taken from memory last.
    taken: Option<Beginning>,
}

impl Reads {
    /// Returns the reads of a connection whose records have been seen from the first one on.
    pub(super) fn from_start() -> Self {
        Self { footing: Footing::Seeking, next: Some(0), ..Self::default() }
    }

    /// Takes in a record of application data.
    pub(super) fn record(&mut self, mut record: Record) {
        if self.records.len() >= MAX_RECORDS {
            self.forget();
            self.has_hole = true;
        }
        record.is_after_hole = std::mem::take(&mut self.is_hole_last);
        self.records.push_back(record);
    }

    /// Notes how the last record begins.
    pub(super) fn beginning(&mut self, beginning: Beginning) {
        if let Some(record) = self.records.back_mut() {
            record.beginning = Some(beginning);
        }
    }

    /// The next read is of the record that begins like this.
    pub(super) fn take(&mut self, beginning: Beginning) {
        self.taken = Some(beginning);
    }

    /// Records may be missing here. Those before are read first.
    pub(super) fn lose(&mut self) {
        self.is_hole_last = true;
        self.has_hole = true;
    }

    fn forget(&mut self) {
        self.footing = Footing::Lost;
        self.records.clear();
        self.offset = 0;
    }

    /// Returns where a read has come from. `is_finished` says that the records of the handshake are known.
    pub(super) fn read(&mut self, read: &Plaintext, at_ns: u64, measure: Measure, is_finished: bool) -> Read {
        if self.footing == Footing::Seeking && is_finished {
            self.footing = Footing::Sure;
        }
        let end = read.position.wrapping_add(read.length);
        if self.next.replace(end) != Some(read.position) {
            self.forget();
        }
        self.records.retain(|record| measure.plaintext_bytes(record) != Some(0));
        while self.records.front().is_some_and(|record| measure.is_of_handshake(record)) {
            self.records.pop_front();
        }
        let index = self.records.front().map(|record| record.index);
        let taken = self.taken_record();
        let excess = taken.and_then(|at| self.excess(at, read, measure));
        let padded =
            measure.padded().filter(|padded| taken.is_some_and(|at| self.is_whole(at, read, *padded)));
        let is_padded = padded.is_some();
        let measure = padded.unwrap_or(measure);
        let taken = taken.filter(|at| self.is_whole(*at, read, measure));
        let at = taken.or_else(|| match self.footing {
            _ if self.is_of_another() => None,
            Footing::Sure => self.follow(read, measure),
            Footing::Seeking => self.seek(read, measure),
            Footing::Lost => self.find(read, measure),
        });
        if taken.is_some() {
            self.offset = 0;
        }
        self.has_hole = false;
        self.last_ns = at_ns;
        self.taken = None;
        let none = Segment { length: read.length, wire: None };
        let Some(at) = at else {
            self.has_ended = read.ends_record;
            self.forget();
            return Read { segment: none, index, excess, is_padded };
        };
        self.footing = Footing::Sure;
        self.records.drain(..at.min(self.records.len()));
        let Some(record) = self.records.front() else {
            return Read { segment: none, index, excess, is_padded };
        };
        let (index, is_doubtful) = (Some(record.index), is_doubtful(record, measure));
        let wire = segment(record, measure).and_then(|segment| segment.wire);
        let wire = wire.filter(|_| !is_doubtful);
        let offset = self.offset;
        let wire = wire.map(|wire| Wire { position: wire.position.wrapping_add(offset), ..wire });
        self.offset += read.length;
        self.has_ended = measure.plaintext_bytes(record) == Some(self.offset);
        if self.has_ended {
            self.records.pop_front();
            self.offset = 0;
        }
        Read { segment: Segment { length: read.length, wire }, index, excess, is_padded }
    }

    /// Returns which record was seen being taken last.
    fn taken_record(&self) -> Option<usize> {
        let taken = self.taken.as_ref()?;
        self.records.iter().position(|record| record.beginning.as_ref() == Some(taken))
    }

    /// Returns whether the record that was seen being taken is not the next one.
    fn is_of_another(&self) -> bool {
        let next = self.records.front().and_then(|record| record.beginning.as_ref());
        self.taken.as_ref().zip(next).is_some_and(|(taken, next)| taken != next)
    }

    /// Returns whether a read can be all of a record.
    fn is_whole(&self, at: usize, read: &Plaintext, measure: Measure) -> bool {
        let record = self.records.get(at);
        read.ends_record && record.and_then(|record| measure.plaintext_bytes(record)) == Some(read.length)
    }

    /// Returns by how much the record of a read is longer, where that was not known.
    fn excess(&self, at: usize, read: &Plaintext, measure: Measure) -> Option<u16> {
        let is_wanted = read.ends_record && measure.overhead.is_none() && measure.is_learnable;
        let record = self.records.get(at).filter(|_| is_wanted)?;
        record.length.checked_sub(u16::try_from(read.length).ok()?)
    }

    /// Returns which record a read comes from where it should be the first.
    fn follow(&self, read: &Plaintext, measure: Measure) -> Option<usize> {
        let record = self.records.front().filter(|record| !record.is_after_hole)?;
        let left = measure.plaintext_bytes(record)?.checked_sub(self.offset)?;
        let fits = if read.ends_record { read.length == left } else { read.length <= left };
        if fits {
            return Some(0);
        }
        if self.offset == 0 { self.seek(read, measure) } else { None }
    }

    /// Returns the only record that a read can be all of.
    fn seek(&self, read: &Plaintext, measure: Measure) -> Option<usize> {
        let known = self.records.iter().take_while(|record| !record.is_after_hole);
        let mut fitting = known
            .take(MAX_SKIPPED)
            .enumerate()
            .filter(|(_, record)| read.ends_record && measure.plaintext_bytes(record) == Some(read.length));
        let (at, _) = fitting.next()?;
        fitting.next().is_none().then_some(at)
    }

    /// Returns the record of a read after some were lost: it was seen being taken, or it is the only one since the last
    /// read, and the library had nothing else left to read from, since the last read had ended the record before, or since
    /// it has asked its socket for more.
    fn find(&self, read: &Plaintext, measure: Measure) -> Option<usize> {
        if self.taken.is_some() {
            return None;
        }
        let is_alone = self.records.len() == 1 && (self.has_ended || read.is_received) && !self.has_hole;
        let record = self.records.front().filter(|_| is_alone && read.connection.is_some())?;
        let plaintext = measure.plaintext_bytes(record)?;
        let is_begin = if read.ends_record { read.length == plaintext } else { read.length <= plaintext };
        let fits = if read.is_received { is_begin } else { read.ends_record && is_begin };
        // What was told late may be that of the last read.
        (record.at_ns >= self.last_ns && fits).then_some(0)
    }

    /// Returns the bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
    }
}

/// Returns whether a record may as well be a change of keys.
fn is_doubtful(record: &Record, measure: Measure) -> bool {
    const OVERHEADS: [u16; 2] = [KEY_UPDATE_OVERHEAD, KEY_UPDATE_OVERHEAD + PADDING_BYTES];
    measure.overhead.is_some_and(|overhead| OVERHEADS.contains(&overhead))
        && measure.plaintext_bytes(record) == Some(KEY_UPDATE_BYTES)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{ConnectionId, Direction, Executor, TlsId};

    const MEASURE: Measure =
        Measure { overhead: Some(17), is_learnable: false, handshake: (0, 1), may_be_padded: false };
    const SOCKET: Option<ConnectionId> = Some(ConnectionId { sock: 1, inode: 1 });

    /// A record at a position, with as much plaintext.
    fn record(index: u64, position: u32, plaintext: u16, at_ns: u64) -> Record {
        Record {
            position,
            reverse_position: 0,
            is_absolute: true,
            kind: 23,
            length: plaintext + 17,
            at_ns,
            executor: Executor::default(),
            index,
            beginning: Some([index as u8; 21]),
            is_after_hole: false,
        }
    }

    /// Reads as much at a count; returns where it stands on the wire.
    fn read(reads: &mut Reads, (position, length): (u32, u32), ends_record: bool, at_ns: u64) -> Option<u32> {
        let read = Plaintext {
            tls: TlsId { tgid: 1, object: 1, way: None },
            connection: SOCKET,
            direction: Direction::Ingress,
            position,
            reverse_position: 0,
            length,
            bytes: Bytes::new(),
            ends_record,
            is_received: false,
            continues: false,
            executor: Executor::default(),
            shares: Vec::new(),
        };
        reads.read(&read, at_ns, MEASURE, true).segment.wire.map(|wire| wire.position)
    }

    fn of(records: &[(u64, u32, u16)]) -> Reads {
        let mut reads = Reads::from_start();
        records
            .iter()
            .for_each(|&(index, position, length)| reads.record(record(index, position, length, 0)));
        reads
    }

    #[test]
    fn reads_follow_the_records() {
        let mut reads = of(&[(0, 100, 36), (1, 158, 50), (2, 225, 50)]);
        let found = [
            read(&mut reads, (0, 20), false, 1),
            read(&mut reads, (20, 30), true, 2),
            read(&mut reads, (50, 50), false, 3),
        ];
        assert_eq!(found, [Some(158), Some(178), Some(225)], "and the handshake is none of them");
    }

    #[test]
    fn what_is_not_for_the_application_is_passed_over_where_one_fits() {
        assert_eq!(read(&mut of(&[(1, 100, 250), (2, 400, 50)]), (0, 50), true, 1), Some(400));
        assert_eq!(read(&mut of(&[(1, 100, 250), (2, 400, 50), (3, 500, 50)]), (0, 50), true, 1), None);
        assert_eq!(read(&mut of(&[(1, 100, 40), (2, 400, 50)]), (0, 50), false, 1), None);
    }

    #[test]
    fn what_does_not_end_where_its_record_does_has_no_place() {
        let mut reads = of(&[(1, 100, 50), (2, 200, 50)]);
        assert_eq!(read(&mut reads, (0, 20), false, 1), Some(100));
        assert_eq!(read(&mut reads, (20, 20), true, 2), None);
        assert_eq!(read(&mut reads, (40, 50), true, 3), None, "the next one neither");
    }

    #[test]
    fn after_a_loss_a_read_that_is_alone_with_its_record_is_found() {
        let mut reads = of(&[(1, 100, 50)]);
        assert_eq!(read(&mut reads, (70, 50), true, 10), None, "70 bytes are missing");
        reads.record(record(2, 200, 50, 5));
        assert_eq!(read(&mut reads, (120, 50), true, 20), None, "it is older than the read before");
        reads.record(record(3, 300, 50, 25));
        assert_eq!(read(&mut reads, (170, 50), true, 30), Some(300));
        reads.lose();
        reads.record(record(4, 400, 50, 35));
        assert_eq!(read(&mut reads, (220, 50), true, 40), None, "others may be missing");
        reads.take([5; 21]);
        reads.record(record(5, 500, 50, 45));
        assert_eq!(read(&mut reads, (270, 50), true, 50), Some(500), "it was seen being taken");
    }

    #[test]
    fn a_change_of_keys_is_not_taken_for_a_request() {
        assert_eq!(read(&mut of(&[(1, 100, 5)]), (0, 5), true, 1), None);
    }

    #[test]
    fn records_are_bounded() {
        let mut reads = Reads::from_start();
        (0..5000).for_each(|index| reads.record(record(index, 0, 50, 0)));
        assert!(reads.records.len() <= MAX_RECORDS);
    }
}
