//! What the programs may add to the first request of a connection, found and taken out again.

use super::{Bench, Mismatch, expect};

/// How a connection of HTTP/2 begins (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header, and in it the types of DATA and of HEADERS.
pub(super) const FRAME_HEADER_BYTES: usize = 9;
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;

const LINE_START: &[u8] = b"traceparent: 00-";
const LINE_END: &[u8] = b"-01\r\n";
const LINE_BYTES: usize = 70;
/// A field without indexing, with a new name: both strings plain, with their lengths (RFC 7541, 6.2.2).
const FIELD_START: &[u8] = b"\x00\x0btraceparent\x3700-";
const FIELD_END: &[u8] = b"-01";
const FIELD_BYTES: usize = 69;

/// A header that was added.
pub(super) enum Added {
    /// A line of HTTP/1, behind the first.
    Line {
        /// Where it begins.
        at: usize,
    },
    /// A field of HTTP/2, behind the others of its frame.
    Field {
        /// Where the frame begins.
        frame: usize,
        /// Where the field does.
        at: usize,
    },
}

impl Added {
    /// Returns what was added, as far as its beginning has come in.
    pub(super) fn find(sent: &[u8], got: &[u8]) -> Option<Self> {
        if !sent.starts_with(PREFACE) {
            let at = got.iter().position(|byte| *byte == b'\n')? + 1;
            return got.get(at..)?.starts_with(LINE_START).then_some(Added::Line { at });
        }
        let frame = request_frame(sent)?;
        let length = frame_length(sent, frame)?;
        let is_grown = frame_length(got, frame)? == length + FIELD_BYTES;
        is_grown.then_some(Added::Field { frame, at: frame + FRAME_HEADER_BYTES + length })
    }

    /// Returns its bytes.
    pub(super) fn length(&self) -> usize {
        match self {
            Added::Line { .. } => LINE_BYTES,
            Added::Field { .. } => FIELD_BYTES,
        }
    }

    /// Takes it out, and counts it.
    pub(super) fn remove(&self, got: &mut Vec<u8>, bench: &mut Bench) -> Result<(), Mismatch> {
        let (at, start, end) = match *self {
            Added::Line { at } => (at, LINE_START, LINE_END),
            Added::Field { at, .. } => (at, FIELD_START, FIELD_END),
        };
        let limit = (at + self.length()).min(got.len());
        let added: Vec<u8> = got.drain(at.min(limit)..limit).collect();
        let is_whole = added.len() == self.length() && added.starts_with(start) && added.ends_with(end);
        expect("whether the added header is whole", &true, &is_whole)?;
        if let Added::Field { frame, .. } = *self {
            shrink(got, frame);
            bench.fields += 1;
        }
        bench.headers += 1;
        Ok(())
    }
}

/// Returns where the first request of a connection of HTTP/2 begins.
pub(super) fn request_frame(sent: &[u8]) -> Option<usize> {
    let mut frame = PREFACE.len();
    while *sent.get(frame + 3)? != HEADERS {
        frame += FRAME_HEADER_BYTES + frame_length(sent, frame)?;
    }
    Some(frame)
}

fn frame_length(bytes: &[u8], frame: usize) -> Option<usize> {
    let [high, middle, low] = *bytes.get(frame..)?.first_chunk()?;
    usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()
}

fn shrink(bytes: &mut [u8], frame: usize) {
    let length = frame_length(bytes, frame).unwrap_or_default().saturating_sub(FIELD_BYTES);
    let told = bytes.get_mut(frame..).and_then(<[u8]>::first_chunk_mut::<3>);
    if let (Some(told), [.., high, middle, low]) = (told, length.to_be_bytes()) {
        *told = [high, middle, low];
    }
}
