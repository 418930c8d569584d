//! The reassembly of one direction.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};

use crate::event::{Data, Executor, Insertion};

/// Segments that wait for an earlier one. One more, and the earlier one is given up.
const MAX_HELD_SEGMENTS: usize = 16;
/// How long a segment waits for an earlier one. Two threads that share a connection differ by less.
const MAX_HOLD_NS: u64 = 200_000_000;
/// A segment that begins farther away than this is from another life of the position counter.
const MAX_DISTANCE: u32 = 1 << 30;

/// When and by whom bytes were moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// `CLOCK_MONOTONIC` nanoseconds.
    pub(crate) at_ns: u64,
    /// Who.
    pub(crate) executor: Executor,
}

/// What follows next in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Position of its first byte.
    pub(crate) position: u32,
    /// How far the position is ahead of the bytes before: what lies between belongs to no message. The agent has written
    /// it, or it surrounds what is encrypted.
    pub(crate) inserted_before: u32,
    /// Position of the other direction when it was moved.
    pub(crate) reverse_position: u32,
    /// Whether positions are those that the peer sees too.
    pub(crate) is_absolute: bool,
    /// As in [`Data`].
    pub(crate) peer: Option<SocketAddr>,
    /// When and by whom.
    pub(crate) stamp: Stamp,
    /// The bytes, or how many are missing.
    pub(crate) content: Content,
}

/// Bytes, or their absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Never empty.
    Bytes(Bytes),
    /// Never 0.
    Missing(u64),
}

/// Puts the segments of one direction in order.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Position of the next byte; unset until the first segment.
    next: Option<u32>,
    held: Vec<Held>,
    /// Bytes of the agent's own between the last chunk and the next one.
    inserted: u32,
    ready: VecDeque<Chunk>,
}

#[derive(Debug)]
struct Held {
    data: Data,
    at_ns: u64,
}

impl Stream {
    /// Returns a stream of which the byte at this position comes first.
    pub(crate) fn starting_at(position: u32) -> Self {
        Self { next: Some(position), ..Self::default() }
    }

    /// Takes in a segment.
    pub(crate) fn push(&mut self, mut data: Data, at_ns: u64) {
        let Some(Insertion { at, length }) = data.inserted.take() else {
            return self.push_whole(data, at_ns);
        };
        let at = at.min(data.length);
        let mut rest = data.clone();
        data.length = at;
        data.bytes.truncate(at as usize);
        let end = data.position.wrapping_add(at);
        rest.position = end.wrapping_add(length);
        rest.length -= at;
        rest.bytes.advance(rest.bytes.len().min(at as usize));
        self.push_whole(data, at_ns);
        if self.next == Some(end) {
            // Else the segment waits for an earlier one, and the insertion shows as a gap.
            self.next = Some(rest.position);
            self.inserted = length;
        }
        if rest.length != 0 {
            self.push_whole(rest, at_ns);
        }
    }

    fn push_whole(&mut self, data: Data, at_ns: u64) {
        let next = *self.next.get_or_insert(data.position);
        let ahead = data.position.wrapping_sub(next);
        let behind = next.wrapping_sub(data.position);
        if ahead != 0 && behind != 0 && ahead.min(behind) > MAX_DISTANCE {
            // Neither late nor early: the counter was set anew, so that nothing is known of what lies between.
            self.missing(1, &data, at_ns);
            self.next = Some(data.position);
            self.append(data, at_ns);
            return;
        }
        if ahead == 0 || behind <= MAX_DISTANCE {
            self.append(data, at_ns);
        } else {
            self.held.push(Held { data, at_ns });
            if self.held.len() > MAX_HELD_SEGMENTS {
                self.give_up_earliest();
            }
        }
        self.append_held();
    }

    /// Gives up waiting for segments that are late by `now_ns`.
    pub(crate) fn expire(&mut self, now_ns: u64) {
        while self.held.iter().any(|held| now_ns.saturating_sub(held.at_ns) >= MAX_HOLD_NS) {
            self.give_up_earliest();
        }
    }

    /// Gives up waiting for anything: the connection has ended.
    pub(crate) fn flush(&mut self) {
        while !self.held.is_empty() {
            self.give_up_earliest();
        }
    }

    /// Returns when [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.held.iter().map(|held| held.at_ns.saturating_add(MAX_HOLD_NS)).min()
    }

    /// Returns the next chunk.
    pub(crate) fn pop(&mut self) -> Option<Chunk> {
        self.ready.pop_front()
    }

    /// Returns the bytes of segments that wait.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.iter().map(|held| held.data.bytes.len()).sum()
    }

    /// Drops the segments that wait: what they hold, and what is before them, shows as a gap.
    pub(crate) fn clear(&mut self) {
        self.held.clear();
    }

    fn append_held(&mut self) {
        while let Some(index) = self.held.iter().position(|held| !self.is_ahead(held.data.position)) {
            let held = self.held.swap_remove(index);
            self.append(held.data, held.at_ns);
        }
    }

    fn is_ahead(&self, position: u32) -> bool {
        let distance = position.wrapping_sub(self.next.unwrap_or(position));
        distance != 0 && distance <= MAX_DISTANCE
    }

    /// Declares the bytes before the earliest held segment missing.
    fn give_up_earliest(&mut self) {
        let Some(next) = self.next else { return };
        let earliest = (0..self.held.len()).min_by_key(|&index| {
            self.held.get(index).map_or(0, |held| held.data.position.wrapping_sub(next))
        });
        let Some(index) = earliest.filter(|&index| index < self.held.len()) else { return };
        let held = self.held.swap_remove(index);
        self.missing(u64::from(held.data.position.wrapping_sub(next)), &held.data, held.at_ns);
        self.next = Some(held.data.position);
        self.append(held.data, held.at_ns);
        self.append_held();
    }

    /// Appends a segment that begins at or before the next byte.
    fn append(&mut self, mut data: Data, at_ns: u64) {
        let next = self.next.unwrap_or(data.position);
        let overlap = next.wrapping_sub(data.position);
        if overlap >= data.length && data.length != 0 {
            return;
        }
        data.position = next;
        data.length -= overlap.min(data.length);
        let known = data.bytes.len().min(overlap as usize);
        data.bytes.advance(known);
        data.bytes.truncate(data.length as usize);
        let missing = u64::from(data.length) - data.bytes.len() as u64;
        self.next = Some(next.wrapping_add(data.length));
        if !data.bytes.is_empty() {
            let content = Content::Bytes(data.bytes.clone());
            let inserted_before = std::mem::take(&mut self.inserted);
            self.ready.push_back(Chunk { inserted_before, ..chunk(&data, data.position, at_ns, content) });
        }
        if missing != 0 {
            let position = data.position.wrapping_add(data.bytes.len() as u32);
            self.ready.push_back(chunk(&data, position, at_ns, Content::Missing(missing)));
        }
    }

    fn missing(&mut self, bytes: u64, data: &Data, at_ns: u64) {
        let position = data.position.wrapping_sub(bytes as u32);
        self.ready.push_back(chunk(data, position, at_ns, Content::Missing(bytes)));
    }
}

fn chunk(data: &Data, position: u32, at_ns: u64, content: Content) -> Chunk {
    Chunk {
        position,
        inserted_before: 0,
        reverse_position: data.reverse_position,
        is_absolute: data.is_absolute,
        peer: data.peer,
        stamp: Stamp { at_ns, executor: data.executor },
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Direction;

    fn data(position: u32, length: u32, bytes: &'static [u8]) -> Data {
        Data {
            direction: Direction::Egress,
            position,
            reverse_position: 0,
            is_absolute: true,
            length,
            bytes: Bytes::from_static(bytes),
            peer: None,
            inserted: None,
            executor: Executor::default(),
        }
    }

    /// Feeds (position, length, bytes) and returns the text with gaps as `[n]`.
    fn check(segments: &[(u32, u32, &'static [u8])], expected: &str) {
        let mut stream = Stream::default();
        for (at_ns, &(position, length, bytes)) in segments.iter().enumerate() {
            stream.push(data(position, length, bytes), at_ns as u64);
        }
        stream.flush();
        assert_eq!(drain(&mut stream), expected, "{segments:?}");
    }

    fn drain(stream: &mut Stream) -> String {
        let mut text = String::new();
        while let Some(chunk) = stream.pop() {
            match chunk.content {
                Content::Bytes(bytes) => text.push_str(std::str::from_utf8(&bytes).unwrap()),
                Content::Missing(missing) => text.push_str(&format!("[{missing}]")),
            }
        }
        text
    }

    #[test]
    fn segments_are_ordered_and_gaps_declared() {
        check(&[(10, 3, b"abc"), (13, 2, b"de")], "abcde");
        check(&[(10, 3, b"abc"), (15, 2, b"fg"), (13, 2, b"de")], "abcdefg");
        check(&[(10, 3, b"abc"), (15, 2, b"fg")], "abc[2]fg");
        check(&[(10, 9, b"abc"), (19, 2, b"fg")], "abc[6]fg");
        check(&[(10, 3, b"abc"), (10, 3, b"abc"), (11, 4, b"bcde")], "abcde");
        check(&[(u32::MAX, 3, b"abc"), (2, 1, b"d")], "abcd");
        check(&[(10, 3, b"abc"), (12, 5, b"c")], "abc[4]");
        check(&[(10, 5, b""), (15, 1, b"x")], "[5]x");
    }

    #[test]
    fn bytes_of_the_agents_own_are_no_gap() {
        for (at, expected) in [(1, [(10, 0), (81, 70)]), (3, [(10, 0), (83, 70)])] {
            let mut stream = Stream::default();
            let inserted = Some(Insertion { at, length: 70 });
            stream.push(Data { inserted, ..data(10, 3, b"abc") }, 0);
            stream.push(data(83, 2, b"de"), 1);
            let mut chunks = Vec::new();
            while let Some(chunk) = stream.pop() {
                chunks.push((chunk.position, chunk.inserted_before));
            }
            assert_eq!(chunks.get(..2), Some(&expected[..]), "{at}");
            assert_eq!(stream.held_bytes(), 0);
        }
    }

    #[test]
    fn position_from_another_life_is_a_gap() {
        check(&[(10, 3, b"abc"), (0x8000_0000, 2, b"xy")], "abc[1]xy");
    }

    #[test]
    fn late_segment_is_given_up_after_its_time() {
        let mut stream = Stream::default();
        stream.push(data(0, 1, b"a"), 0);
        stream.push(data(2, 1, b"c"), 5);
        assert_eq!(drain(&mut stream), "a");
        assert_eq!(stream.deadline(), Some(5 + MAX_HOLD_NS));
        stream.expire(4 + MAX_HOLD_NS);
        assert_eq!(drain(&mut stream), "");
        stream.expire(5 + MAX_HOLD_NS);
        assert_eq!(drain(&mut stream), "[1]c");
        stream.push(data(1, 1, b"b"), 6);
        assert_eq!(drain(&mut stream), "");
    }

    #[test]
    fn many_held_segments_end_the_wait() {
        let mut stream = Stream::default();
        stream.push(data(0, 1, b"a"), 0);
        for index in 0..=MAX_HELD_SEGMENTS as u32 {
            stream.push(data(10 + index, 1, b"x"), 0);
        }
        assert_eq!(drain(&mut stream), format!("a[9]{}", "x".repeat(MAX_HELD_SEGMENTS + 1)));
    }
}
