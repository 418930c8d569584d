//! Messages with a type byte and a length (section "Message Formats").

use crate::protocol::Side;

/// Longest message that is believed (the server's own limit).
const MAX_MESSAGE_BYTES: u32 = 1 << 30;
/// Type byte and length.
pub(super) const HEADER_BYTES: usize = 5;
/// Most of a message that names things, in bytes.
const MAX_NAMES_BYTES: usize = 512;
/// Most of an error, in bytes.
const MAX_ERROR_BYTES: usize = 2048;
/// Most of a completed command's tag, in bytes.
const MAX_TAG_BYTES: usize = 64;

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Type byte.
    pub(super) kind: u8,
    /// Bytes of the message, with type byte and length.
    pub(super) length: u64,
}

/// Returns the header that `bytes` begin with; none where there are too few. An error says that it is none.
pub(super) fn header(side: Side, bytes: &[u8]) -> Result<Option<Header>, &'static str> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !is_kind(side, kind) {
        return Err("unknown message type");
    }
    let Some(length) = bytes.get(1..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
    let length = u32::from_be_bytes(*length);
    match length {
        4..=MAX_MESSAGE_BYTES => Ok(Some(Header { kind, length: u64::from(length) + 1 })),
        _ => Err("impossible message length"),
    }
}

/// Returns whether `side` sends messages of this type.
pub(super) fn is_kind(side: Side, kind: u8) -> bool {
    match side {
        Side::Client => matches!(
            kind,
            b'B' | b'C' | b'D' | b'E' | b'F' | b'H' | b'P' | b'Q' | b'S' | b'X' | b'c' | b'd' | b'f' | b'p'
        ),
        Side::Server => matches!(
            kind,
            b'1'..=b'3'
                | b'A'
                | b'C'
                | b'D'
                | b'E'
                | b'G'
                | b'H'
                | b'I'
                | b'K'
                | b'N'
                | b'R'
                | b'S'
                | b'T'
                | b'V'
                | b'W'
                | b'Z'
                | b'c'
                | b'd'
                | b'n'
                | b's'
                | b't'
                | b'v'
        ),
    }
}

/// Returns how many bytes after the header are of interest.
pub(super) fn interest(side: Side, kind: u8, max_statement_bytes: usize) -> usize {
    match (side, kind) {
        (Side::Client, b'Q') => max_statement_bytes,
        (Side::Client, b'P') => max_statement_bytes.saturating_add(MAX_NAMES_BYTES),
        (Side::Client, b'B' | b'C' | b'D' | b'E') => MAX_NAMES_BYTES,
        (Side::Server, b'E') => MAX_ERROR_BYTES,
        (Side::Server, b'C' | b'S') => MAX_TAG_BYTES,
        (Side::Server, b'Z') => 1,
        _ => 0,
    }
}

/// Splits a text from what follows its zero byte. A text without one is cut.
pub(super) fn text(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(0, bytes).and_then(|end| bytes.split_at_checked(end)) {
        Some((text, rest)) => (text, rest.get(1..).unwrap_or_default()),
        None => (bytes, &[]),
    }
}
