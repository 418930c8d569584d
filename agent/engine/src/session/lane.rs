//! One direction of a conversation: what has not been eaten yet, and when each byte of it was moved.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Buf, Bytes, BytesMut};

use crate::connection::{Chunk, Content, Stamp};
use crate::event::Direction;
use crate::protocol::Message;
use crate::session::{Place, Step};

/// Runs of bytes for which there is still room after all were dropped.
const KEPT_MARKS: usize = 64;

/// Unread bytes: most often one chunk as it came, else several copied together.
#[derive(Debug)]
enum Unread {
    Whole(Bytes),
    Joined(BytesMut),
}

impl Default for Unread {
    fn default() -> Self {
        Unread::Whole(Bytes::new())
    }
}

/// Where a run of bytes with one stamp ends.
#[derive(Clone, Copy, Debug)]
struct Mark {
    end: u64,
    stamp: Stamp,
    reverse_position: u32,
    is_absolute: bool,
}

/// What became of missing bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passage {
    /// They ended what was to be skipped.
    Whole,
    /// They were to be skipped, and so is more.
    Part,
    /// They were wanted, or reach beyond what was to be skipped.
    Stopped,
}

/// The state of one direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    unread: Unread,
    marks: VecDeque<Mark>,
    /// Where the position jumps between unread bytes: how many bytes of the lane go before, and how far it does.
    insertions: VecDeque<(u64, u32)>,
    /// Bytes before the first unread one, since the lane began.
    head: u64,
    /// Position on the wire of the first unread byte.
    position: u32,
    /// Bytes still to be passed over.
    skip: u64,
    /// Unread bytes that make another look worthwhile.
    needed: usize,
    /// Bytes are missing, and the next message's beginning has not been found.
    pub(super) is_lost: bool,
    /// Calls hold more than what is usually captured of them, and that was said.
    pub(super) has_wanted_more: bool,
    /// Whether the peer knows the positions too.
    pub(super) is_absolute: bool,
    /// The other end of the unread datagrams, where the socket has many and all are of one.
    pub(super) peer: Option<SocketAddr>,
    last_place: Option<Place>,
    /// Place of the last message that had no bytes of its own.
    last_between: Option<Place>,
    last_stamp: Option<Stamp>,
    passed_stamp: Option<Stamp>,
    is_skip_silent: bool,
    last_reverse: u32,
}

impl Lane {
    /// Appends a chunk, passing over what is to be skipped; returns whether that ended the skip.
    pub(super) fn push(&mut self, chunk: Chunk) -> bool {
        self.note(&chunk);
        let Content::Bytes(mut bytes) = chunk.content else { return false };
        let mut has_passed = false;
        if self.skip > 0 && self.unread().is_empty() {
            let passed = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
            bytes.advance(passed);
            has_passed = self.pass(passed as u64);
        }
        if chunk.inserted_before != 0 && !self.unread().is_empty() {
            let before = self.head + self.unread().len() as u64;
            self.insertions.push_back((before, chunk.inserted_before));
        }
        if !bytes.is_empty() {
            let end = self.head + (self.unread().len() + bytes.len()) as u64;
            let Chunk { stamp, reverse_position, is_absolute, .. } = chunk;
            self.marks.push_back(Mark { end, stamp, reverse_position, is_absolute });
            self.append(bytes);
        }
        has_passed
    }

    /// Passes over `bytes` of the skip; returns whether it has ended and the parser wants to know.
    fn pass(&mut self, bytes: u64) -> bool {
        self.skip -= bytes;
        self.head += bytes;
        self.position = self.position.wrapping_add(bytes as u32);
        self.passed_stamp = self.last_stamp;
        self.skip == 0 && !std::mem::take(&mut self.is_skip_silent)
    }

    fn append(&mut self, bytes: Bytes) {
        match &mut self.unread {
            Unread::Whole(whole) if whole.is_empty() => self.unread = Unread::Whole(bytes),
            Unread::Whole(whole) => {
                let mut joined = BytesMut::with_capacity((whole.len() + bytes.len()) * 2);
                joined.extend_from_slice(whole);
                joined.extend_from_slice(&bytes);
                self.unread = Unread::Joined(joined);
            }
            Unread::Joined(joined) => joined.extend_from_slice(&bytes),
        }
    }

    /// Remembers when and where the lane was last touched, also by bytes that nobody captured.
    pub(super) fn note(&mut self, chunk: &Chunk) {
        if self.unread().is_empty() {
            self.position = chunk.position;
            self.peer = chunk.peer;
        } else if self.peer != chunk.peer {
            self.peer = None;
        }
        self.last_stamp = Some(chunk.stamp);
        self.last_reverse = chunk.reverse_position;
        self.is_absolute = chunk.is_absolute;
    }

    pub(super) fn unread(&self) -> &[u8] {
        match &self.unread {
            Unread::Whole(bytes) => bytes,
            Unread::Joined(bytes) => bytes,
        }
    }

    /// Returns what is unread.
    pub(super) fn into_rest(self) -> Option<Chunk> {
        let mark = self.marks.front()?;
        let bytes = match self.unread {
            Unread::Whole(bytes) => bytes,
            Unread::Joined(bytes) => bytes.freeze(),
        };
        let content = (!bytes.is_empty()).then_some(Content::Bytes(bytes))?;
        Some(Chunk {
            position: self.position,
            inserted_before: 0,
            reverse_position: mark.reverse_position,
            is_absolute: mark.is_absolute,
            stamp: mark.stamp,
            peer: self.peer,
            content,
        })
    }

    /// Returns the bytes that it holds: what is unread, and what is known of it.
    pub(super) fn held_bytes(&self) -> usize {
        let unread = match &self.unread {
            Unread::Whole(bytes) => bytes.len(),
            Unread::Joined(bytes) => bytes.capacity(),
        };
        unread
            + self.marks.capacity() * size_of::<Mark>()
            + self.insertions.capacity() * size_of::<(u64, u32)>()
    }

    /// Returns whether the parser has seen everything there was and asked for nothing to be skipped.
    pub(super) fn is_between_messages(&self) -> bool {
        self.unread().is_empty() && self.skip == 0
    }

    /// Returns whether the parser would see something new.
    pub(super) fn is_worthwhile(&self) -> bool {
        let length = self.unread().len();
        length > 0 && length >= self.needed
    }

    /// Waits for so many unread bytes.
    pub(super) fn need(&mut self, at_least: usize) {
        self.needed = at_least.max(self.unread().len() + 1);
    }

    /// Drops `count` unread bytes.
    pub(super) fn advance(&mut self, count: usize) {
        let count = count.min(self.unread().len());
        match &mut self.unread {
            Unread::Whole(bytes) => bytes.advance(count),
            Unread::Joined(bytes) => bytes.advance(count),
        }
        self.needed = 0;
        self.head += count as u64;
        self.position = self.position.wrapping_add(count as u32);
        while let Some(&(before, length)) = self.insertions.front()
            && before <= self.head
        {
            self.position = self.position.wrapping_add(length);
            self.insertions.pop_front();
        }
        while self.marks.front().is_some_and(|mark| mark.end <= self.head) {
            self.marks.pop_front();
        }
        if self.unread().is_empty() {
            self.unread = Unread::default();
        }
    }

    /// Drops the unread bytes that were moved before the first byte of the other direction at this position was; returns
    /// whether there were any.
    pub(super) fn drop_moved_before(&mut self, reverse_position: u32) -> bool {
        let mut count = 0;
        for mark in &self.marks {
            // Half of the numbers lie ahead of a position, the other half behind it.
            let is_ahead = reverse_position.wrapping_sub(mark.reverse_position).cast_signed() >= 0;
            if !mark.is_absolute || !is_ahead {
                break;
            }
            count = usize::try_from(mark.end.saturating_sub(self.head)).unwrap_or(0);
        }
        self.advance(count);
        count > 0
    }

    /// Drops the first `count` unread bytes and returns the stamps of the first and the last of them.
    pub(super) fn eat(&mut self, count: usize) -> (Stamp, Stamp) {
        let first = self.stamp_at(self.head);
        let last = self.stamp_at(self.head + (count as u64).saturating_sub(1));
        self.advance(count);
        (first, last)
    }

    fn stamp_at(&self, offset: u64) -> Stamp {
        let mark = self.marks.iter().find(|mark| mark.end > offset).map(|mark| mark.stamp);
        mark.or(self.last_stamp).unwrap_or_default()
    }

    /// Passes over the next `length` bytes, unread or yet to come; returns whether they have all gone by.
    pub(super) fn skip(&mut self, length: u64) -> bool {
        let here =
            usize::try_from(length).map_or(self.unread().len(), |length| length.min(self.unread().len()));
        let (_, last) = self.eat(here);
        self.passed_stamp = Some(last);
        self.is_skip_silent = false;
        self.skip += length - here as u64;
        self.skip == 0
    }

    /// Passes over `missing` bytes that are gone and `rest` bytes yet to come, of which nobody wants to hear.
    pub(super) fn skip_silently(&mut self, missing: u64, rest: u64) {
        self.head += missing;
        self.position = self.position.wrapping_add(missing as u32);
        self.skip = rest;
        self.is_skip_silent = rest > 0;
    }

    /// Returns how many bytes were read, or passed over, since the lane began.
    pub(super) fn offset(&self) -> u64 {
        self.head
    }

    /// Returns the bytes that are still to be passed over.
    pub(super) fn pending_skip(&self) -> u64 {
        self.skip
    }

    /// Returns the position behind the bytes to be passed over; modulo 2³², so that it is of use only for skips that
    /// are shorter than half of that.
    pub(super) fn skip_target(&self) -> u32 {
        self.position.wrapping_add(u32::try_from(self.skip).unwrap_or(u32::MAX / 2).min(u32::MAX / 2))
    }

    /// Accounts for `bytes` missing ones, as far as they were to be skipped.
    pub(super) fn pass_over_missing(&mut self, bytes: u64) -> Passage {
        if !self.unread().is_empty() || self.skip < bytes {
            return Passage::Stopped;
        }
        if self.pass(bytes) { Passage::Whole } else { Passage::Part }
    }

    /// Returns when the last skipped byte went by.
    pub(super) fn passed_stamp(&self) -> Stamp {
        self.passed_stamp.or(self.last_stamp).unwrap_or_default()
    }

    /// Returns a step without bytes of its own. The place of the next message stays its own.
    pub(super) fn silent_step(&self, message: Message, protocol: &'static str, client: Direction) -> Step {
        let stamp = self.last_stamp.unwrap_or_default();
        let place = self.last_place.unwrap_or_default();
        Step { message, protocol, client, first: stamp, last: stamp, place }
    }

    /// Returns the place of the next unread byte, at which a message begins.
    pub(super) fn place(&mut self) -> Place {
        let mut place = self.here();
        if let Some(last) = self.last_place.filter(|last| last.position == place.position) {
            place.ordinal = last.ordinal.wrapping_add(1);
        }
        self.last_place = Some(place);
        place
    }

    /// Returns the place of what is told before the next unread byte and has none of its own. How often that happens depends
    /// on how the bytes came, which is not alike at both ends: it does not count for what begins there.
    pub(super) fn place_between(&mut self) -> Place {
        let mut place = Place { ordinal: u32::MAX, ..self.here() };
        if let Some(last) = self.last_between.filter(|last| last.position == place.position) {
            place.ordinal = last.ordinal.wrapping_sub(1);
        }
        self.last_between = Some(place);
        place
    }

    fn here(&self) -> Place {
        let mark = self.marks.front();
        Place {
            position: self.position,
            reverse_position: mark.map_or(self.last_reverse, |mark| mark.reverse_position),
            ordinal: 0,
            is_absolute: mark.map_or(self.is_absolute, |mark| mark.is_absolute),
            peer: self.peer,
        }
    }

    /// Returns when the lane was last touched.
    pub(super) fn last_stamp(&self) -> Option<Stamp> {
        self.last_stamp
    }

    /// Drops everything unread.
    pub(super) fn clear(&mut self) {
        self.advance(self.unread().len());
        self.marks.shrink_to(KEPT_MARKS);
        self.insertions.shrink_to(KEPT_MARKS);
        self.skip = 0;
        self.is_skip_silent = false;
    }
}
