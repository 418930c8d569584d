//! Worker processes that get their work through a pipe, frame by frame, as Python's `multiprocessing` and `billiard`
//! write it: four bytes of length, then as many bytes (`Connection._send_bytes`). They read both by calls of their own.
//!
//! A worker has done with a frame when it reads the next one from the same pipe. What it reads from other pipes meanwhile
//! may be anything.

use foldhash::HashMap;

use super::{Key, MAX_REMEMBERED, Parents};
use crate::event::{ConnectionId, PipeRead};
use crate::pairing::ExchangeId;

/// Bytes before a frame that say how long it is.
const HEADER_BYTES: u32 = 4;

/// What a read from a pipe brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::correlation) enum Piece {
    /// The length of the next frame: the one before has been worked on.
    Header,
    /// The beginning of a frame.
    Beginning,
    /// More of it, or something else.
    Other,
}

/// The pipe from which a thread gets its work.
#[derive(Clone, Copy, Debug)]
struct Source {
    pipe: u64,
    /// Bytes of the frame that are still to be read.
    left: u32,
    /// None of them has been read.
    is_fresh: bool,
}

/// The pipes from which threads get their work, by process and thread.
#[derive(Debug, Default)]
pub(super) struct Pipes(HashMap<(u32, u32), Source>);

impl Pipes {
    /// Takes in a read; `is_working` says that the thread works on a frame.
    fn read(&mut self, read: &PipeRead, is_working: bool) -> Piece {
        let place = (read.executor.tgid, read.executor.tid);
        match self.0.get_mut(&place).filter(|source| source.pipe == read.pipe && source.left > 0) {
            Some(source) => {
                source.left = source.left.saturating_sub(read.length);
                if std::mem::replace(&mut source.is_fresh, false) { Piece::Beginning } else { Piece::Other }
            }
            None => self.begin(place, read, is_working),
        }
    }

    fn begin(&mut self, place: (u32, u32), read: &PipeRead, is_working: bool) -> Piece {
        let is_same = self.0.get(&place).is_some_and(|source| source.pipe == read.pipe);
        let header = read.bytes.first_chunk::<4>().filter(|_| read.length == HEADER_BYTES);
        let length = header.and_then(|header| u32::try_from(i32::from_be_bytes(*header)).ok());
        match length {
            Some(left) if is_same || !is_working => {
                if self.0.len() >= MAX_REMEMBERED {
                    self.0.clear();
                }
                self.0.insert(place, Source { pipe: read.pipe, left, is_fresh: true });
                Piece::Header
            }
            // No frames are read here.
            None if is_same => {
                self.0.remove(&place);
                Piece::Header
            }
            _ => Piece::Other,
        }
    }

    /// Forgets a process that is gone.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.0.retain(|(owner, _), _| *owner != tgid);
    }
}

impl Parents {
    /// Notes what a worker has read.
    pub(in crate::correlation) fn note_pipe_read(&mut self, read: &PipeRead) -> Piece {
        let is_working = self.receipts.contains_key(&key(read));
        self.pipes.read(read, is_working)
    }

    /// Begins the work on a job, by the thread that has read it from a pipe.
    pub(in crate::correlation) fn begin_job(
        &mut self,
        work: ExchangeId,
        connection: ConnectionId,
        read: &PipeRead,
    ) {
        let key = key(read);
        self.insert_work(work, key, connection, read.at_ns);
        self.attach(key, work, read.pipe);
    }

    /// Returns the job that a thread works on which it has read from this pipe.
    pub(in crate::correlation) fn job_of(&self, read: &PipeRead) -> Option<ExchangeId> {
        self.receipts
            .get(&key(read))
            .filter(|receipt| receipt.source == read.pipe)
            .map(|receipt| receipt.work)
    }

    /// Some reads may have been missed: nobody is known to work on what came through a pipe.
    pub(super) fn forget_pipes(&mut self) {
        let places: Vec<_> = std::mem::take(&mut self.pipes.0).into_iter().collect();
        for ((tgid, tid), source) in places {
            let key = Key::Thread { tgid, tid };
            if self.receipts.get(&key).is_some_and(|receipt| receipt.source == source.pipe) {
                self.detach(key);
            }
        }
    }
}

fn key(read: &PipeRead) -> Key {
    Key::Thread { tgid: read.executor.tgid, tid: read.executor.tid }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::Executor;

    const PIPE: u64 = 0xff00;

    fn of(pipe: u64, length: u32, bytes: &'static [u8]) -> PipeRead {
        let executor = Executor { tgid: 1, tid: 1, ..Executor::default() };
        PipeRead { executor, pipe, length, bytes: Bytes::from_static(bytes), at_ns: 1 }
    }

    #[test]
    fn frames_are_told_by_their_lengths() {
        let mut pipes = Pipes::default();
        assert_eq!(pipes.read(&of(PIPE, 10, b"0123456789"), false), Piece::Other, "met midway");
        assert_eq!(pipes.read(&of(PIPE, 4, &[0, 0, 0, 10]), false), Piece::Header);
        assert_eq!(pipes.read(&of(PIPE, 4, &[0, 0, 0, 9]), false), Piece::Beginning, "of four bytes itself");
        assert_eq!(pipes.read(&of(PIPE, 6, b"456789"), true), Piece::Other);
        assert_eq!(pipes.read(&of(PIPE, 4, &[0, 0, 0, 1]), true), Piece::Header);
        assert_eq!(pipes.read(&of(PIPE, 1, b"x"), true), Piece::Beginning);
        assert_eq!(pipes.read(&of(PIPE, 7, b"garbage"), true), Piece::Header, "what was known is void");
        assert_eq!(pipes.read(&of(PIPE, 4, &[0xff; 4]), false), Piece::Other, "no length");
    }

    #[test]
    fn another_pipe_is_not_minded_while_there_is_work() {
        let mut pipes = Pipes::default();
        assert_eq!(pipes.read(&of(PIPE, 4, &[0, 0, 0, 1]), false), Piece::Header);
        assert_eq!(pipes.read(&of(PIPE, 1, b"x"), false), Piece::Beginning);
        assert_eq!(pipes.read(&of(PIPE + 1, 4, &[0, 0, 0, 9]), true), Piece::Other);
        assert_eq!(pipes.read(&of(PIPE, 4, &[0, 0, 0, 9]), true), Piece::Header);
        assert_eq!(pipes.read(&of(PIPE + 1, 4, &[0, 0, 0, 9]), false), Piece::Header, "it has none");
        pipes.forget_process(1);
        assert!(pipes.0.is_empty());
    }
}
