//! Whether bytes are the beginning of a DNS message, with its length before it.

use super::message::{HEADER_BYTES, Header, OPT, number};
use super::registry;
use crate::protocol::{Detection, Side};

/// Bytes of the length before a message.
pub(super) const LENGTH_BYTES: usize = 2;
/// A header, and a question of the root.
const MIN_MESSAGE_BYTES: usize = HEADER_BYTES + 5;
/// Length of a record with an empty name and without data.
const MIN_RECORD_BYTES: usize = 11;

/// `OPCODE`, which is 0 in a query; the reserved bit.
const OPERATION: u16 = 0xf << 11;
const RESERVED: u16 = 1 << 6;
/// What only a response may have: `AA`, `TC`, `RA`, and a code.
const ANSWERING: u16 = 1 << 10 | 1 << 9 | 1 << 7 | 0xf;
/// Highest code in a header (RFC 8490).
const MAX_CODE: u16 = 11;
/// Records that may follow a question: `OPT`, and a signature.
const MAX_ADDITIONAL: u16 = 2;
/// Of the Internet, of Chaosnet (by which servers tell their versions), and any.
const CLASSES: [u16; 3] = [1, 3, 255];

/// Returns whether `bytes` are a question with all that must be around it.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let Some(length) = number(bytes, 0).map(usize::from) else { return Detection::Unsure };
    if length < MIN_MESSAGE_BYTES {
        return Detection::No;
    }
    let message = bytes.get(LENGTH_BYTES..).unwrap_or_default();
    if number(message, 2).is_some_and(|flags| !are_flags(flags))
        || number(message, 4).is_some_and(|count| count != 1)
    {
        return Detection::No;
    }
    let Some(header) = Header::read(message) else { return Detection::Unsure };
    if !are_counts(&header, length) {
        return Detection::No;
    }
    let side = if header.is_response() { Side::Server } else { Side::Client };
    match question(message) {
        Ok(end) => records(&header, message, end, length, side),
        Err(detection) => detection,
    }
}

fn are_flags(flags: u16) -> bool {
    let is_response = flags >> 15 == 1;
    let is_query = flags & (OPERATION | RESERVED) == 0;
    is_query && if is_response { flags & 0xf <= MAX_CODE } else { flags & ANSWERING == 0 }
}

fn are_counts(header: &Header, length: usize) -> bool {
    match header.is_response() {
        true => header.records() * MIN_RECORD_BYTES + MIN_MESSAGE_BYTES <= length,
        false => header.answers == 0 && header.authorities == 0 && header.additional <= MAX_ADDITIONAL,
    }
}

/// Returns where the question ends, of which everything must be known, or what is to be said instead.
fn question(message: &[u8]) -> Result<usize, Detection> {
    let mut at = HEADER_BYTES;
    loop {
        let label = usize::from(*message.get(at).ok_or(Detection::Unsure)?);
        at += 1;
        if label == 0 {
            break;
        }
        let shown = message.get(at..message.len().min(at + label)).unwrap_or_default();
        let is_of_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*');
        if label > 63 || !shown.iter().all(is_of_host) {
            return Err(Detection::No);
        }
        at += label;
    }
    let kind = number(message, at).ok_or(Detection::Unsure)?;
    let class = number(message, at + 2).ok_or(Detection::Unsure)?;
    let is_known = registry::type_name(kind).is_some() && CLASSES.contains(&class);
    if is_known { Ok(at + 4) } else { Err(Detection::No) }
}

/// What follows the question: nothing where the length says so, `OPT` behind a query, some record behind a response.
fn records(header: &Header, message: &[u8], end: usize, length: usize, side: Side) -> Detection {
    if header.records() == 0 || length <= end {
        return if header.records() == 0 && length == end { Detection::Yes(side) } else { Detection::No };
    }
    let Some(&first) = message.get(end) else { return Detection::Unsure };
    if first != 0 {
        return if side == Side::Server { Detection::Yes(side) } else { Detection::No };
    }
    match number(message, end + 1) {
        None => Detection::Unsure,
        Some(OPT) => Detection::Yes(side),
        // The records of the root.
        Some(_) if side == Side::Server => Detection::Yes(side),
        Some(_) => Detection::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\0\x19\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x05b-c_d\0\0\x01\0\x01";

    #[test]
    fn whole_messages_are_told_and_their_beginnings_are_not() {
        assert_eq!(detect(QUERY), Detection::Yes(Side::Client));
        for end in 0..QUERY.len() {
            assert_eq!(detect(&QUERY[..end]), Detection::Unsure, "{end}");
        }
        let mut response = QUERY.to_vec();
        response[4] = 0x81;
        response[5] = 0x83;
        assert_eq!(detect(&response), Detection::Yes(Side::Server));
    }

    #[test]
    fn each_field_that_is_wrong_is_noticed() {
        for (at, byte) in [
            (1, 0x18),  // One byte less than the question needs.
            (1, 0x1a),  // One byte more.
            (4, 0x79),  // An operation.
            (5, 0x40),  // The reserved bit.
            (5, 0x03),  // The code of a response.
            (7, 2),     // Two questions.
            (9, 1),     // An answer.
            (13, 9),    // Nine additional records.
            (14, 0x40), // A label of 64 bytes.
            (15, b'.'), // A dot within a label.
            (24, 0),    // No type.
            (26, 9),    // No class.
        ] {
            let mut wrong = QUERY.to_vec();
            wrong[at] = byte;
            assert_eq!(detect(&wrong), Detection::No, "{at}");
        }
    }
}
