//! One file of the spool.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::batch::Batch;
use super::frame::{self, HEADER_BYTES, Header};

/// How the names of segments end.
pub(super) const SUFFIX: &str = ".spool";

/// A file of batches.
#[derive(Debug)]
pub(super) struct Segment {
    /// Its place among the others.
    pub sequence: u64,
    /// Bytes of whole, readable batches.
    pub bytes: u64,
    /// Spans that have not been read.
    pub spans: u64,
    /// What follows the readable batches is damaged.
    pub is_corrupt: bool,
    /// Only the segment that this process began is written to.
    writer: Option<File>,
    reader: Option<File>,
}

impl Segment {
    /// Begins a segment.
    pub(super) fn create(folder: &Path, sequence: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let writer = options.write(true).create_new(true).mode(0o600).open(path(folder, sequence))?;
        Ok(Self { sequence, bytes: 0, spans: 0, is_corrupt: false, writer: Some(writer), reader: None })
    }

    /// Reads a segment that an earlier process left, to know what is in it from `offset` on.
    pub(super) fn scan(folder: &Path, sequence: u64, offset: u64) -> io::Result<Self> {
        let mut reader = BufReader::new(File::open(path(folder, sequence))?);
        let (mut bytes, mut spans, mut payload) = (0, 0, Vec::new());
        let is_corrupt = loop {
            match read_frame(&mut reader, &mut payload)? {
                Frame::End => break false,
                Frame::Damaged => break true,
                Frame::Whole(header) => {
                    spans += if bytes >= offset { u64::from(header.spans) } else { 0 };
                    bytes += HEADER_BYTES as u64 + u64::from(header.length);
                }
            }
        };
        Ok(Self { sequence, bytes, spans, is_corrupt, writer: None, reader: None })
    }

    /// Returns whether batches can be added.
    pub(super) fn is_open(&self) -> bool {
        self.writer.is_some()
    }

    /// Adds a batch. After an error the segment ends before it.
    pub(super) fn append(&mut self, batch: &Batch) -> io::Result<()> {
        let Some(writer) = &mut self.writer else {
            return Err(io::Error::other("the segment is closed"));
        };
        if let Err(error) = writer.write_all(&frame::encode(batch)) {
            // Half a batch may stand there: cut it off, and never write behind it.
            let _ = writer.set_len(self.bytes);
            self.writer = None;
            return Err(error);
        }
        self.bytes += frame::length(batch);
        self.spans += u64::from(batch.spans);
        Ok(())
    }

    /// Returns the batch at `offset` and where it ends; none at the end of the segment.
    pub(super) fn read(&mut self, folder: &Path, offset: u64) -> io::Result<Option<(Batch, u64)>> {
        if offset >= self.bytes {
            return Ok(None);
        }
        let file = match &self.reader {
            Some(file) => file,
            None => self.reader.insert(File::open(path(folder, self.sequence))?),
        };
        let mut head = [0; HEADER_BYTES];
        file.read_exact_at(&mut head, offset)?;
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, format!("segment {} is damaged", self.sequence));
        let header = Header::parse(&head).ok_or_else(damaged)?;
        let mut payload = vec![0; header.length as usize];
        file.read_exact_at(&mut payload, offset + HEADER_BYTES as u64)?;
        if !header.matches(&payload) {
            return Err(damaged());
        }
        let end = offset + HEADER_BYTES as u64 + u64::from(header.length);
        Ok(Some((Batch { payload: payload.into(), spans: header.spans }, end)))
    }

    /// Removes the file.
    pub(super) fn remove(&self, folder: &Path) {
        if let Err(error) = fs::remove_file(path(folder, self.sequence)) {
            tracing::warn!(%error, segment = self.sequence, "cannot remove a segment of the spool");
        }
    }
}

enum Frame {
    Whole(Header),
    End,
    Damaged,
}

fn read_frame(reader: &mut impl io::Read, payload: &mut Vec<u8>) -> io::Result<Frame> {
    let mut head = [0; HEADER_BYTES];
    match fill(reader, &mut head)? {
        0 => return Ok(Frame::End),
        HEADER_BYTES => {}
        _ => return Ok(Frame::Damaged),
    }
    let Some(header) = Header::parse(&head) else {
        return Ok(Frame::Damaged);
    };
    payload.clear();
    reader.take(header.length.into()).read_to_end(payload)?;
    let is_whole = payload.len() == header.length as usize && header.matches(payload);
    Ok(if is_whole { Frame::Whole(header) } else { Frame::Damaged })
}

/// Reads until `buffer` is full or the file ends. Returns the bytes read.
fn fill(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Returns where a segment is.
pub(super) fn path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("{sequence:020}{SUFFIX}"))
}
