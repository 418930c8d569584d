//! Where plaintext stands on the wire.
//!
//! Plaintext has positions of its own, the counts of its object, by which it is put in order. Messages are told at places
//! that both ends see alike: the position of a record's header and the offset in the record's plaintext.

use std::collections::VecDeque;

use crate::connection::{Chunk, Content};

/// Runs of one direction that are remembered until their bytes are told. Of one more, the oldest is forgotten.
const MAX_RUNS: usize = 2048;

/// A place on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) position: u32,
    pub(crate) reverse_position: u32,
    pub(crate) is_absolute: bool,
}

/// Bytes of plaintext that follow one another on the wire, as far as it is known where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) length: u32,
    pub(crate) wire: Option<Wire>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    from: u32,
    length: u32,
    wire: Wire,
}

/// The places of one direction.
#[derive(Debug, Default)]
pub(super) struct Places {
    runs: VecDeque<Run>,
    /// Position behind the last byte that was placed.
    next: Option<u32>,
    /// Where the counts begin as far as they are told as positions: somewhere else at each end, so that they are never taken
    /// for places that both ends see.
    private: u32,
}

impl Places {
    pub(super) fn new(private: u32) -> Self {
        Self { private, ..Self::default() }
    }

    /// Notes where the bytes from a position on stand.
    pub(super) fn note(&mut self, mut from: u32, segments: &[Segment]) {
        for segment in segments {
            if let Some(wire) = segment.wire {
                if self.runs.len() >= MAX_RUNS {
                    self.runs.pop_front();
                }
                self.runs.push_back(Run { from, length: segment.length, wire });
            }
            from = from.wrapping_add(segment.length);
        }
    }

    /// Moves a chunk to its places on the wire.
    pub(super) fn place(&mut self, chunk: Chunk, placed: &mut Vec<Chunk>) {
        match &chunk.content {
            Content::Missing(missing) => {
                let end = chunk.position.wrapping_add(*missing as u32);
                let chunk = self.move_to(&chunk, chunk.position, None, chunk.content.clone());
                self.next = Some(self.private.wrapping_add(end));
                placed.push(chunk);
            }
            Content::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                let mut position = chunk.position;
                while !bytes.is_empty() {
                    let (wire, length) = self.find(position);
                    let part = bytes.split_to(bytes.len().min(length as usize).max(1));
                    let end = position.wrapping_add(part.len() as u32);
                    let moved = self.move_to(&chunk, position, wire, Content::Bytes(part));
                    self.next = Some(moved.position.wrapping_add(end.wrapping_sub(position)));
                    placed.push(moved);
                    position = end;
                }
            }
        }
    }

    /// Returns where a byte stands, and how many from it on are of one run.
    fn find(&mut self, position: u32) -> (Option<Wire>, u32) {
        while let Some(run) = self.runs.front().copied() {
            let offset = position.wrapping_sub(run.from);
            if offset < run.length {
                let position = run.wire.position.wrapping_add(offset);
                return (Some(Wire { position, ..run.wire }), run.length - offset);
            }
            let ahead = run.from.wrapping_sub(position);
            if ahead.cast_signed() > 0 {
                return (None, ahead);
            }
            self.runs.pop_front();
        }
        (None, u32::MAX)
    }

    fn move_to(&self, chunk: &Chunk, position: u32, wire: Option<Wire>, content: Content) -> Chunk {
        let private = Wire {
            position: self.private.wrapping_add(position),
            reverse_position: chunk.reverse_position,
            is_absolute: false,
        };
        let Wire { position, reverse_position, is_absolute } = wire.unwrap_or(private);
        let inserted_before = self.next.map_or(0, |next| position.wrapping_sub(next));
        Chunk {
            position,
            inserted_before,
            reverse_position,
            is_absolute,
            stamp: chunk.stamp,
            peer: chunk.peer,
            content,
        }
    }

    /// Returns the bytes that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::connection::Stamp;

    fn chunk(position: u32, content: Content) -> Chunk {
        let stamp = Stamp::default();
        Chunk {
            position,
            inserted_before: 0,
            reverse_position: 0,
            is_absolute: false,
            stamp,
            peer: None,
            content,
        }
    }

    fn told(placed: &[Chunk]) -> Vec<(u32, u32, bool)> {
        placed.iter().map(|chunk| (chunk.position, chunk.inserted_before, chunk.is_absolute)).collect()
    }

    #[test]
    fn bytes_stand_in_their_records() {
        let mut places = Places::new(7);
        let wire = |position| Some(Wire { position, reverse_position: 1, is_absolute: true });
        let segment = |length, wire| Segment { length, wire };
        places.note(0, &[segment(4, wire(100)), segment(3, None), segment(2, wire(200))]);
        let mut placed = Vec::new();
        places.place(chunk(0, Content::Bytes(Bytes::from_static(b"ab"))), &mut placed);
        places.place(chunk(2, Content::Bytes(Bytes::from_static(b"cdefghi"))), &mut placed);
        let expected =
            [(100, 0, true), (102, 0, true), (11, 11u32.wrapping_sub(104), false), (200, 186, true)];
        assert_eq!(told(&placed), expected);
        placed.clear();
        places.place(chunk(9, Content::Missing(5)), &mut placed);
        places.place(chunk(14, Content::Bytes(Bytes::from_static(b"x"))), &mut placed);
        assert_eq!(told(&placed), [(16, 16u32.wrapping_sub(202), false), (21, 0, false)]);
        assert!(places.runs.is_empty());
    }

    #[test]
    fn runs_are_bounded() {
        let mut places = Places::default();
        for at in 0..3 * MAX_RUNS as u32 {
            let wire = Wire { position: at, reverse_position: 0, is_absolute: true };
            places.note(at, &[Segment { length: 1, wire: Some(wire) }]);
        }
        assert_eq!(places.runs.len(), MAX_RUNS);
    }
}
