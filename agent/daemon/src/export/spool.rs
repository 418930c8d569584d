//! Batches on disk: a queue of segment files, oldest dropped first, that survives the process.
//!
//! A folder holds `NNNN….spool` segments, the `cursor` of the next batch to read, and a `lock`. Batches are in the
//! page cache when [`append`](Spool::append) returns: they survive the agent, not a power cut.

mod cursor;
mod frame;
mod segment;

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use self::cursor::Cursor;
use self::segment::Segment;
use super::batch::Batch;
use crate::health::Counter;

/// Bytes after which a segment is full: what is dropped at once when there is no room.
const SEGMENT_BYTES: u64 = 4 << 20;

/// What the spool counts, in spans; corruption in segments.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    /// Dropped to make room.
    pub full: Counter,
    /// Segments whose rest could not be read back.
    pub corrupt: Counter,
}

/// The queue. One process at a time has it.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    max_bytes: u64,
    segment_bytes: u64,
    segments: VecDeque<Segment>,
    /// Offset of the next batch to read in the first segment.
    offset: u64,
    /// The batch that was read last and is not yet done with.
    head: Option<Batch>,
    next_sequence: u64,
    counters: Counters,
    _lock: File,
}

impl Spool {
    /// Opens the queue in `folder`, which is made if it does not exist.
    ///
    /// # Errors
    /// The folder cannot be used, or another process uses it.
    pub(super) fn open(folder: &Path, max_bytes: u64, counters: Counters) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let lock = File::options().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => io::Error::other("another agent uses it"),
            other => other.into(),
        })?;
        let cursor = Cursor::load(folder);
        let mut segments = VecDeque::new();
        for sequence in sequences(folder)? {
            if sequence < cursor.sequence {
                fs::remove_file(segment::path(folder, sequence))?;
                continue;
            }
            let offset = if sequence == cursor.sequence { cursor.offset } else { 0 };
            let segment = Segment::scan(folder, sequence, offset)?;
            if segment.is_corrupt {
                counters.corrupt.add(1);
            }
            segments.push_back(segment);
        }
        let next_sequence = segments.back().map_or(cursor.sequence, |last| last.sequence + 1);
        let offset = segments
            .front()
            .map_or(0, |first| if first.sequence == cursor.sequence { cursor.offset } else { 0 });
        let segment_bytes = SEGMENT_BYTES.min(max_bytes / 4).max(1);
        let folder = folder.to_owned();
        let mut spool = Self {
            folder,
            max_bytes,
            segment_bytes,
            segments,
            offset,
            head: None,
            next_sequence,
            counters,
            _lock: lock,
        };
        spool.discard_read_segments();
        Ok(spool)
    }

    /// Adds a batch at the end; drops the oldest segments if there is no room.
    ///
    /// # Errors
    /// The batch could not be written. The queue is as before.
    pub(super) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let needed = frame::length(batch);
        if needed > self.max_bytes {
            return Err(io::Error::other(format!(
                "a batch of {needed} bytes exceeds the spool's {}",
                self.max_bytes
            )));
        }
        while self.bytes() + needed > self.max_bytes && self.drop_oldest() {}
        let has_room =
            |segment: &&mut Segment| segment.is_open() && segment.bytes + needed <= self.segment_bytes;
        match self.segments.back_mut().filter(has_room) {
            Some(segment) => segment.append(batch),
            None => {
                let mut segment = Segment::create(&self.folder, self.next_sequence)?;
                self.next_sequence += 1;
                let written = segment.append(batch);
                if written.is_ok() {
                    self.segments.push_back(segment);
                } else {
                    segment.remove(&self.folder);
                }
                written
            }
        }
    }

    /// Returns the oldest batch: the same one until [`pop`](Self::pop).
    pub(super) fn front(&mut self) -> Option<Batch> {
        while self.head.is_none() {
            let segment = self.segments.front_mut()?;
            match segment.read(&self.folder, self.offset) {
                Ok(Some((batch, end))) => {
                    segment.spans = segment.spans.saturating_sub(u64::from(batch.spans));
                    self.offset = end;
                    self.head = Some(batch);
                }
                Ok(None) => self.drop_first_segment(),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the spool back");
                    self.counters.corrupt.add(1);
                    self.drop_first_segment();
                }
            }
        }
        self.head.clone()
    }

    /// Forgets the batch that [`front`](Self::front) returned. Returns whether there was one.
    pub(super) fn pop(&mut self) -> bool {
        if self.head.take().is_none() {
            return false;
        }
        self.discard_read_segments();
        true
    }

    /// Returns whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_none() && self.segments.is_empty()
    }

    /// Returns the bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Returns the spans that wait.
    pub(super) fn spans(&self) -> u64 {
        let head = self.head.as_ref().map_or(0, |batch| u64::from(batch.spans));
        head + self.segments.iter().map(|segment| segment.spans).sum::<u64>()
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(segment) = self.segments.front() else {
            return false;
        };
        self.counters.full.add(segment.spans);
        self.drop_first_segment();
        true
    }

    fn drop_first_segment(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            segment.remove(&self.folder);
        }
        self.offset = 0;
        self.save_cursor();
    }

    /// Removes segments that have been read to their end, and remembers the position in the first that was not.
    fn discard_read_segments(&mut self) {
        while self.segments.front().is_some_and(|segment| self.offset >= segment.bytes) {
            self.drop_first_segment();
        }
        self.save_cursor();
    }

    fn save_cursor(&self) {
        let sequence = self.segments.front().map_or(self.next_sequence, |segment| segment.sequence);
        let cursor = Cursor { sequence, offset: self.offset };
        // Worst case: some batches are sent twice after a restart.
        if let Err(error) = cursor.save(&self.folder) {
            tracing::warn!(%error, "cannot save the spool's cursor");
        }
    }
}

fn sequences(folder: &Path) -> io::Result<Vec<u64>> {
    let mut sequences = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(segment::SUFFIX));
        sequences.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    sequences.sort_unstable();
    Ok(sequences)
}

#[cfg(test)]
mod tests;
