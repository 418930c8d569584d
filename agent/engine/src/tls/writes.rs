//! Which records a write has become.
//!
//! A write waits for its records: where the library has the socket, they are written within its call, else a moment later.
//! The records of a write follow one another, and hold as many bytes as it has written; anything else leaves the write
//! without a place.

use std::collections::VecDeque;

use super::places::{Segment, Wire};
use super::records::{Beginning, Record};
use crate::event::{Executor, Plaintext};

/// How long a write waits for its records.
const MAX_WAIT_NS: u64 = 50_000_000;
/// How long while nothing was sent: what was put into memory is sent by a thread that a garbage collection may keep from it.
const MAX_UNSENT_NS: u64 = 1_000_000_000;
/// How long early data waits for the server's word on it.
const MAX_EARLY_WAIT_NS: u64 = 2_000_000_000;
/// Writes that wait, and bytes of them. For more, the first goes without a place.
const MAX_WAITING: usize = 64;
const MAX_WAITING_BYTES: usize = 256 << 10;
/// Records that wait for their writes. For one more, the first is forgotten.
const MAX_RECORDS: usize = 1024;
/// Longest plaintext of a record (RFC 8446, 5.1).
const MAX_PLAINTEXT_BYTES: u32 = 1 << 14;
/// Padding of records of TLS 1.3 (RFC 8446, 5.4) in the JDK, which always adds as much. Nobody else is known to pad.
pub(super) const PADDING_BYTES: u16 = 16;
/// Records of a handshake that may stand before those of a write.
const MAX_SKIPPED: usize = 8;

/// A write that waits.
#[derive(Debug)]
struct Write {
    plaintext: Plaintext,
    /// What follows in the same call, of which the agent copies the beginning and the end.
    end: Option<Plaintext>,
    at_ns: u64,
    wait_until_ns: u64,
    /// With what records begin that were seen being put into memory within its call, in order. The first ones may be the end
    /// of a handshake.
    beginnings: Vec<Beginning>,
    /// Its first record, where others of it may be missing.
    begun: Option<Record>,
}

impl Write {
    fn length(&self) -> u32 {
        self.plaintext.length.saturating_add(self.end.as_ref().map_or(0, |end| end.length))
    }

    /// Returns whether what is told now is the end of the call.
    fn is_continued(&self, plaintext: &Plaintext, at_ns: u64) -> bool {
        let follows = self.plaintext.position.wrapping_add(self.plaintext.length) == plaintext.position;
        self.end.is_none()
            && follows
            && self.at_ns == at_ns
            && is_same(&self.plaintext.executor, &plaintext.executor)
    }

    fn held_bytes(&self) -> usize {
        self.plaintext.bytes.len() + self.end.as_ref().map_or(0, |end| end.bytes.len())
    }
}

/// What is known of how records and bytes compare.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measure {
    /// By how much a record is longer than its plaintext; none where that is not known.
    pub(super) overhead: Option<u16>,
    /// Nothing told by how much, but writes may show it.
    pub(super) is_learnable: bool,
    /// Records of application data before the handshake, and up to its end at least.
    pub(super) handshake: (u64, u64),
    /// Whether the records may be padded is not known.
    pub(super) may_be_padded: bool,
}

impl Measure {
    /// Returns the bytes of plaintext in a record.
    pub(super) fn plaintext_bytes(self, record: &Record) -> Option<u32> {
        let overhead = self.overhead.filter(|_| !self.is_of_handshake(record))?;
        record.length.checked_sub(overhead).map(u32::from)
    }

    /// Returns whether a record is one of the handshake.
    pub(super) fn is_of_handshake(self, record: &Record) -> bool {
        let (before, until) = self.handshake;
        (before..until).contains(&record.index)
    }

    /// Returns the measure of padded records, where they may be.
    pub(super) fn padded(self) -> Option<Self> {
        let overhead = self.overhead.filter(|_| self.may_be_padded)?.checked_add(PADDING_BYTES);
        overhead.map(|overhead| Self { overhead: Some(overhead), may_be_padded: false, ..self })
    }
}

/// A write whose wait is over.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) plaintext: Plaintext,
    pub(super) at_ns: u64,
    pub(super) segments: Vec<Segment>,
    /// Records of application data before its first one, where that is known.
    pub(super) index: Option<u64>,
    /// By how much its only record is longer, where that was not known.
    pub(super) excess: Option<u16>,
    /// Its records are padded, which was not known.
    pub(super) is_padded: bool,
}

/// The writes of one connection.
#[derive(Debug, Default)]
pub(super) struct Writes {
    waiting: VecDeque<Write>,
    /// The end of the call that was told last.
    end: Option<Written>,
    records: VecDeque<Record>,
    /// Count of the next byte.
    next: Option<u32>,
    /// Records of writes that were given up may still come.
    is_unsure: bool,
    /// What was put into memory last, and when its write began.
    put: Option<(u64, Vec<Beginning>)>,
    /// Nothing of what waits will find its records.
    is_hopeless: bool,
}

impl Writes {
    /// Takes in a write, maybe of early data.
    pub(super) fn push(&mut self, plaintext: Plaintext, at_ns: u64, now_ns: u64, is_early: bool) {
        let has_jumped =
            self.next.replace(plaintext.position.wrapping_add(plaintext.length)) != Some(plaintext.position);
        self.is_unsure |= has_jumped && plaintext.position != 0;
        if let Some(begun) = self.waiting.back_mut().filter(|begun| begun.is_continued(&plaintext, at_ns)) {
            begun.end = Some(plaintext);
            return;
        }
        let put = self.put.take_if(|(put_ns, _)| *put_ns == at_ns);
        let beginnings = put.map(|(_, beginnings)| beginnings).unwrap_or_default();
        let wait_ns = if is_early { MAX_EARLY_WAIT_NS } else { MAX_WAIT_NS };
        let wait_until_ns = now_ns.max(at_ns).saturating_add(wait_ns);
        self.waiting.push_back(Write { plaintext, end: None, at_ns, wait_until_ns, beginnings, begun: None });
    }

    /// The records of the write that began at this time begin like this.
    pub(super) fn put(&mut self, beginning: Beginning, at_ns: u64) {
        if let Some(write) = self.waiting.iter_mut().rev().find(|write| write.at_ns == at_ns) {
            note(&mut write.beginnings, beginning);
        } else if let Some((_, beginnings)) = self.put.as_mut().filter(|(put_ns, _)| *put_ns == at_ns) {
            note(beginnings, beginning);
        } else {
            self.put = Some((at_ns, vec![beginning]));
        }
    }

    /// Takes in a record of application data.
    pub(super) fn record(&mut self, record: Record) {
        if self.records.len() >= MAX_RECORDS {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }

    /// Notes how the last record begins.
    pub(super) fn beginning(&mut self, beginning: Beginning) {
        if let Some(record) = self.records.back_mut() {
            record.beginning = Some(beginning);
        }
    }

    /// Records may be missing here: those of writes that wait are not found any more.
    pub(super) fn lose(&mut self) {
        if !self.is_hopeless {
            let own = |write| self.own(write).and_then(|own| self.records.get(own)).cloned();
            let begun: Vec<_> = self.waiting.iter().map(own).collect();
            self.waiting.iter_mut().zip(begun).for_each(|(write, begun)| write.begun = begun);
        }
        self.records.clear();
        self.is_hopeless = !self.waiting.is_empty();
        self.is_unsure = true;
    }

    /// Forgets what waits and was sent in records that the server did not take, the first ones. Returns how many, and their
    /// bytes.
    pub(super) fn refuse(&mut self, records: u64) -> (u64, u32) {
        let is_refused = |write: &Write| {
            let own = self.own(write).and_then(|own| self.records.get(own));
            own.is_some_and(|own| own.index < records)
        };
        let refused = self.waiting.iter().take_while(|write| is_refused(write)).count();
        let lengths = self.waiting.drain(..refused).map(|write| write.length());
        (refused as u64, lengths.fold(0, u32::wrapping_add))
    }

    /// What was written before this position of the application has been answered, maybe: where its records have been sent
    /// they have been seen, and it waits no longer.
    pub(super) fn hurry(&mut self, answered: u32) {
        let is_sent = |write: &Write| {
            let end = write.plaintext.position.wrapping_add(write.length());
            let is_before = answered.wrapping_sub(end).cast_signed() >= 0;
            is_before && (write.plaintext.connection.is_some() || self.own(write).is_some())
        };
        let sent = self.waiting.iter().take_while(|write| is_sent(write)).count();
        self.waiting.iter_mut().take(sent).for_each(|write| write.wait_until_ns = 0);
    }

    /// Returns whether the next write waits no longer, whatever becomes known.
    pub(super) fn is_overdue(&self, now_ns: u64) -> bool {
        self.is_hopeless
            || self.is_crowded()
            || self.waiting.front().is_some_and(|write| write.wait_until_ns <= now_ns)
    }

    /// Returns the next write whose wait is over.
    pub(super) fn poll(&mut self, measure: Measure, now_ns: u64) -> Option<Written> {
        if let Some(end) = self.end.take() {
            return Some(end);
        }
        let write = self.waiting.front()?;
        let own = self.own(write);
        let is_overtaken = own.is_none() && self.is_overtaken();
        if write.wait_until_ns <= now_ns
            && !is_overtaken
            && own.is_none()
            && self.may_be_unsent(write, measure, now_ns)
        {
            let until_ns = now_ns.saturating_add(MAX_WAIT_NS);
            self.waiting.iter_mut().take(1).for_each(|write| write.wait_until_ns = until_ns);
            return None;
        }
        let mut found = self.find(write, own, measure);
        let padded = measure.padded().filter(|_| found.is_none() && is_proven(write));
        let padded = padded.and_then(|padded| {
            found = own.and_then(|own| Some((own, self.fit(own, write, padded)?)));
            found.is_some().then_some(padded)
        });
        let is_padded = padded.is_some();
        let measure = padded.unwrap_or(measure);
        let excess = self.excess(write, own, measure);
        let is_given_up = is_overtaken || self.is_given_up(write, measure, now_ns);
        if found.is_none() && excess.is_none() && !is_given_up {
            return None;
        }
        let mut index = own.and_then(|own| self.records.get(own)).map(|record| record.index);
        let write = self.waiting.pop_front()?;
        self.is_hopeless &= !self.waiting.is_empty();
        let mut segments = vec![Segment { length: write.length(), wire: None }];
        if let Some((start, count)) = found {
            self.is_unsure &= write.beginnings.is_empty();
            self.records.drain(..start.min(self.records.len()));
            index = self.records.front().map(|record| record.index);
            let taken = self.records.drain(..count.min(self.records.len()));
            segments = taken.filter_map(|record| segment(&record, measure)).collect();
        } else {
            self.is_unsure = true;
            segments = self.begun(&write, own, measure).unwrap_or(segments);
        }
        let Write { plaintext, end, at_ns, .. } = write;
        if let Some(end) = end {
            let segments = split_off(&mut segments, plaintext.length);
            self.end = Some(Written {
                plaintext: end,
                at_ns,
                segments,
                index: None,
                excess: None,
                is_padded: false,
            });
        }
        Some(Written { plaintext, at_ns, segments, index, excess, is_padded })
    }

    /// Returns where a write begins of which not all records were seen: with a full record, which is no other.
    fn begun(&self, write: &Write, own: Option<usize>, measure: Measure) -> Option<Vec<Segment>> {
        let own = own.and_then(|own| self.records.get(own));
        let record = write.begun.as_ref().or(own).filter(|_| is_proven(write))?;
        let first = segment(record, measure).filter(|first| first.length == MAX_PLAINTEXT_BYTES)?;
        let length = write.length().checked_sub(first.length)?;
        Some(vec![first, Segment { length, wire: None }])
    }

    /// Returns whether a write of which no record was seen was not sent yet: its records would be known.
    fn may_be_unsent(&self, write: &Write, measure: Measure, now_ns: u64) -> bool {
        let is_known = !write.beginnings.is_empty() || (measure.overhead.is_some() && !self.is_unsure);
        let is_new = now_ns.saturating_sub(write.at_ns) < MAX_UNSENT_NS;
        let is_apart = write.plaintext.connection.is_none();
        is_apart && is_known && is_new && !self.is_hopeless && !self.is_crowded()
    }

    /// Returns whether a later write than the next one has been sent, so that the records of that one were missed.
    fn is_overtaken(&self) -> bool {
        let mut later = self.waiting.iter().skip(1).filter(|write| !write.beginnings.is_empty());
        later.any(|write| self.own(write).is_some())
    }

    fn is_crowded(&self) -> bool {
        let held: usize = self.waiting.iter().map(Write::held_bytes).sum();
        self.waiting.len() > MAX_WAITING || held > MAX_WAITING_BYTES
    }

    fn is_given_up(&self, write: &Write, measure: Measure, now_ns: u64) -> bool {
        self.is_hopeless
            || (measure.overhead.is_none() && !measure.is_learnable)
            || write.wait_until_ns <= now_ns
            || self.is_crowded()
    }

    /// Returns the first record that may be of a write.
    fn own(&self, write: &Write) -> Option<usize> {
        if self.is_hopeless {
            return None;
        }
        if !write.beginnings.is_empty() {
            return self.records.iter().position(|record| is_put(write, record));
        }
        self.records.iter().position(|record| self.is_own(write, record))
    }

    /// Returns whether a record may be of a write: where the library has the socket, all is done within its call.
    fn is_own(&self, write: &Write, record: &Record) -> bool {
        let is_nested = write.plaintext.connection.is_some();
        let until_ns = self.waiting.get(1).map_or(u64::MAX, |next| next.at_ns);
        record.at_ns >= write.at_ns
            && (!is_nested
                || (record.at_ns < until_ns && is_same(&record.executor, &write.plaintext.executor)))
    }

    /// Returns by how much the only record of a write is longer, where that was not known.
    fn excess(&self, write: &Write, own: Option<usize>, measure: Measure) -> Option<u16> {
        let record = own.and_then(|own| self.records.get(own)).filter(|_| is_proven(write))?;
        if measure.overhead.is_some() || !measure.is_learnable {
            return None;
        }
        record.length.checked_sub(u16::try_from(write.length()).ok()?)
    }

    /// Returns the records of a write: how many are before them, and how many they are.
    fn find(&self, write: &Write, own: Option<usize>, measure: Measure) -> Option<(usize, usize)> {
        let first = own?;
        if !write.beginnings.is_empty() {
            let mut put = (first..self.records.len())
                .filter(|at| self.records.get(*at).is_some_and(|record| is_put(write, record)));
            return put.find_map(|at| self.fit(at, write, measure).map(|count| (at, count)));
        }
        if self.is_unsure && write.plaintext.connection.is_none() {
            return None;
        }
        let fit = |start: usize| {
            self.records.get(start).filter(|record| self.is_own(write, record))?;
            self.fit(start, write, measure).map(|count| (start, count))
        };
        fit(first).or_else(|| {
            // Those before it were none of the application. Two that fit prove nothing.
            let mut others = (first..first.saturating_add(MAX_SKIPPED)).skip(1).filter_map(fit);
            others.next().filter(|_| others.next().is_none())
        })
    }

    /// Returns how many records from one on hold just what was written.
    fn fit(&self, start: usize, write: &Write, measure: Measure) -> Option<usize> {
        let mut left = write.length();
        self.records.get(start).filter(|record| measure.plaintext_bytes(record) != Some(0))?;
        for (count, record) in self.records.iter().skip(start).enumerate() {
            left = left.checked_sub(measure.plaintext_bytes(record)?)?;
            if left == 0 {
                return Some(count + 1);
            }
        }
        None
    }

    /// Returns when [`poll`](Self::poll) has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.waiting.front().map(|write| write.wait_until_ns)
    }

    /// Returns the bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        let waiting: usize = self.waiting.iter().map(Write::held_bytes).sum();
        waiting + self.waiting.capacity() * size_of::<Write>() + self.records.capacity() * size_of::<Record>()
    }
}

/// Returns whether a record was seen being put into memory within the call of a write.
fn is_put(write: &Write, record: &Record) -> bool {
    record.beginning.as_ref().is_some_and(|beginning| write.beginnings.contains(beginning))
}

/// Notes how one more record begins, of which the first ones of a call suffice.
fn note(beginnings: &mut Vec<Beginning>, beginning: Beginning) {
    const MAX_BEGINNINGS: usize = 16;
    if beginnings.len() < MAX_BEGINNINGS {
        beginnings.push(beginning);
    }
}

/// Returns whether it is known which record is the first that can be a write's.
fn is_proven(write: &Write) -> bool {
    write.plaintext.connection.is_some() || !write.beginnings.is_empty()
}

/// Returns where the plaintext of a record stands.
pub(super) fn segment(record: &Record, measure: Measure) -> Option<Segment> {
    let wire = Wire {
        position: record.position,
        reverse_position: record.reverse_position,
        is_absolute: record.is_absolute,
    };
    Some(Segment { length: measure.plaintext_bytes(record)?, wire: Some(wire) })
}

/// Cuts off what is behind so many bytes, and returns it.
fn split_off(segments: &mut Vec<Segment>, mut bytes: u32) -> Vec<Segment> {
    let mut rest = Vec::new();
    for segment in segments.iter_mut() {
        let kept = segment.length.min(bytes);
        bytes -= kept;
        if kept < segment.length {
            let wire = segment.wire.map(|wire| Wire { position: wire.position.wrapping_add(kept), ..wire });
            rest.push(Segment { length: segment.length - kept, wire });
            segment.length = kept;
        }
    }
    segments.retain(|segment| segment.length > 0);
    rest
}

/// Returns whether two calls were made by one thread or goroutine.
fn is_same(one: &Executor, other: &Executor) -> bool {
    one.tid == other.tid || (one.task.is_some() && one.task == other.task)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::{ConnectionId, Direction, TlsId};

    const MEASURE: Measure =
        Measure { overhead: Some(17), is_learnable: false, handshake: (0, 1), may_be_padded: false };

    /// A record of a thread, at a position, with as much plaintext.
    fn record(tid: u32, position: u32, plaintext: u16, at_ns: u64) -> Record {
        Record {
            position,
            reverse_position: 0,
            is_absolute: true,
            kind: 23,
            length: plaintext + 17,
            at_ns,
            executor: Executor { tid, ..Executor::default() },
            index: 1,
            beginning: Some([position as u8; 21]),
            is_after_hole: false,
        }
    }

    fn write(writes: &mut Writes, is_nested: bool, (position, length): (u32, u32), at_ns: u64) {
        let plaintext = Plaintext {
            tls: TlsId { tgid: 1, object: 1, way: None },
            connection: is_nested.then_some(ConnectionId { sock: 1, inode: 1 }),
            direction: Direction::Egress,
            position,
            reverse_position: 0,
            length,
            bytes: Bytes::new(),
            ends_record: false,
            is_received: false,
            continues: false,
            executor: Executor { tid: 1, ..Executor::default() },
            shares: Vec::new(),
        };
        writes.push(plaintext, at_ns, at_ns, false);
    }

    /// Returns where the parts of the next write stand; none while it waits.
    fn poll(writes: &mut Writes, now_ns: u64) -> Option<Vec<Option<u32>>> {
        let written = writes.poll(MEASURE, now_ns)?;
        let place = |segment: &Segment| segment.wire.map(|wire| wire.position);
        Some(written.segments.iter().map(place).collect())
    }

    #[test]
    fn a_write_waits_for_all_of_its_records() {
        for is_nested in [true, false] {
            let mut writes = Writes::default();
            write(&mut writes, is_nested, (0, 80), 10);
            writes.record(record(1, 100, 50, 11));
            assert_eq!(poll(&mut writes, 12), None);
            writes.record(record(1, 200, 30, 12));
            assert_eq!(poll(&mut writes, 12), Some(vec![Some(100), Some(200)]));
            assert_eq!((poll(&mut writes, 12), writes.deadline()), (None, None));
        }
    }

    #[test]
    fn a_write_that_is_not_sent_waits_for_longer() {
        let mut writes = Writes::default();
        write(&mut writes, false, (0, 80), 10);
        let mut now_ns = 10;
        while now_ns < MAX_UNSENT_NS {
            assert_eq!(poll(&mut writes, now_ns), None);
            now_ns = writes.deadline().expect("a deadline").max(now_ns + 1);
        }
        let mut sent = writes;
        write(&mut sent, false, (80, 50), now_ns);
        assert_eq!(poll(&mut sent, now_ns + MAX_WAIT_NS), Some(vec![None]), "not for ever");
        let mut late = Writes::default();
        write(&mut late, false, (0, 80), 10);
        assert_eq!(poll(&mut late, 5 * MAX_WAIT_NS), None);
        late.record(record(2, 100, 80, 5 * MAX_WAIT_NS));
        assert_eq!(poll(&mut late, 5 * MAX_WAIT_NS), Some(vec![Some(100)]));
    }

    #[test]
    fn a_write_without_records_is_told_after_a_moment() {
        let mut writes = Writes::default();
        write(&mut writes, true, (0, 80), 10);
        writes.record(record(1, 100, 50, 11));
        let deadline = writes.deadline().expect("a deadline");
        assert_eq!(poll(&mut writes, deadline - 1), None);
        assert_eq!(poll(&mut writes, deadline), Some(vec![None]));
    }

    #[test]
    fn records_of_others_are_not_its_own() {
        let check = |record: Record| {
            let mut writes = Writes::default();
            write(&mut writes, true, (0, 50), 10);
            write(&mut writes, true, (50, 50), 20);
            writes.record(record);
            assert_eq!(poll(&mut writes, 30), None);
        };
        check(record(1, 100, 50, 9));
        check(record(2, 100, 50, 11));
        check(record(1, 100, 50, 20));
    }

    #[test]
    fn a_hole_takes_the_places_of_those_that_wait() {
        let mut writes = Writes::default();
        write(&mut writes, false, (0, 50), 10);
        writes.lose();
        writes.record(record(1, 100, 50, 11));
        assert_eq!(poll(&mut writes, 12), Some(vec![None]));
        write(&mut writes, false, (50, 50), 20);
        writes.record(record(1, 200, 50, 21));
        assert_eq!(poll(&mut writes, 22), None, "records of the one before may still come");
        writes.put([200; 21], 20);
        assert_eq!(poll(&mut writes, 22), Some(vec![Some(200)]), "it was seen being put");
    }

    #[test]
    fn a_call_that_ends_the_handshake_has_its_own_records_behind() {
        let mut writes = Writes::default();
        for byte in [100, 200, 44] {
            writes.put([byte; 21], 10);
        }
        writes.record(record(0, 100, 36, 11));
        writes.record(record(1, 200, 16_384, 11));
        writes.record(record(2, 44, 16, 11));
        write(&mut writes, false, (0, 16_400), 10);
        assert_eq!(poll(&mut writes, 12), Some(vec![Some(200), Some(44)]));
    }

    #[test]
    fn a_call_that_is_told_in_two_parts_is_one() {
        let mut writes = Writes::default();
        writes.record(record(1, 100, 16_384, 11));
        writes.record(record(1, 20_000, 100, 12));
        write(&mut writes, true, (0, 16_300), 10);
        assert_eq!(poll(&mut writes, 12), None);
        write(&mut writes, true, (16_300, 184), 10);
        assert_eq!(poll(&mut writes, 12), Some(vec![Some(100)]));
        assert_eq!(poll(&mut writes, 12), Some(vec![Some(16_400), Some(20_000)]));
        assert_eq!(poll(&mut writes, 12), None);
    }

    #[test]
    fn a_write_is_not_told_behind_its_answer() {
        let mut writes = Writes::default();
        write(&mut writes, true, (0, 50), 10);
        assert_eq!(poll(&mut writes, 12), None);
        writes.hurry(49);
        assert_eq!(poll(&mut writes, 12), None);
        writes.hurry(50);
        assert_eq!(poll(&mut writes, 12), Some(vec![None]));
    }

    #[test]
    fn a_long_write_begins_with_a_full_record() {
        let mut writes = Writes::default();
        write(&mut writes, true, (0, 40_000), 10);
        writes.record(record(1, 100, 16_384, 11));
        writes.lose();
        assert_eq!(poll(&mut writes, 12), Some(vec![Some(100), None]));
    }

    #[test]
    fn lost_plaintext_makes_records_doubtful_without_a_call_around_them() {
        let mut writes = Writes::default();
        write(&mut writes, false, (50, 50), 10);
        writes.record(record(1, 100, 50, 11));
        assert_eq!(poll(&mut writes, 12), None);
        let mut nested = Writes::default();
        write(&mut nested, true, (50, 50), 10);
        nested.record(record(1, 100, 50, 11));
        assert_eq!(poll(&mut nested, 12), Some(vec![Some(100)]));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut writes = Writes::default();
        (0..200).for_each(|at| write(&mut writes, true, (at * 50, 50), 10));
        (0..5000).for_each(|at| writes.record(record(2, at, 50, 11)));
        while poll(&mut writes, 12).is_some() {}
        assert!(writes.waiting.len() <= MAX_WAITING && writes.records.len() <= MAX_RECORDS);
    }
}
