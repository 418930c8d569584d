//! Whether bytes begin a message of MongoDB's wire protocol, and where in other bytes one begins.

use super::bson::{self, MIN_DOCUMENT_BYTES};
use super::header::{
    self, COMPRESSED_HEAD_BYTES, HEADER_BYTES, Header, MSG_HEAD_BYTES, OpCode, TELLING_BYTES,
};
use crate::protocol::{Detection, Side};

/// Longest name of a command, of a collection with its database, or of a document sequence.
const MAX_NAME_BYTES: usize = 128;

/// Returns whether `bytes` begin a message. What answers nothing is the client's.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    if !may_be_header(bytes) {
        return Detection::No;
    }
    let Some(header) = header::read(bytes) else {
        return if bytes.len() < HEADER_BYTES { Detection::Unsure } else { Detection::No };
    };
    let side = if header.response_to == 0 { Side::Client } else { Side::Server };
    match believe(header, bytes.get(HEADER_BYTES..).unwrap_or_default(), side) {
        Belief::Yes => Detection::Yes(side),
        Belief::Unsure => Detection::Unsure,
        Belief::No => Detection::No,
    }
}

/// Returns where in `bytes` a message of `side` plausibly begins.
pub(super) fn find(bytes: &[u8], side: Side) -> Option<usize> {
    // The second byte of each of the numbers that are looked for.
    memchr::memchr_iter(0x07, bytes)
        .filter_map(|at| at.checked_sub(13))
        .find(|&start| bytes.get(start..).is_some_and(|rest| is_message(rest, side)))
}

/// Returns whether a message of `side` begins with `bytes`, of which enough are there.
pub(super) fn is_message(bytes: &[u8], side: Side) -> bool {
    let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let is_of_side = |header: &Header| (header.response_to == 0) == (side == Side::Client);
    let header = header::read(bytes).filter(|_| bytes.len() >= TELLING_BYTES).filter(is_of_side);
    header.is_some_and(|header| believe(header, rest, side) != Belief::No)
}

/// What the bytes behind a header make believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    Yes,
    Unsure,
    No,
}

/// Returns whether what is there of a header may be one.
fn may_be_header(bytes: &[u8]) -> bool {
    let is_any = |at: usize, values: &[u8]| bytes.get(at).is_none_or(|byte| values.contains(byte));
    // No message is as long as 48 MB, and all numbers of kinds but one begin alike.
    is_any(3, &[0, 1, 2])
        && bytes.get(12).is_none_or(|&low| low == 1 || (0xd1..=0xdd).contains(&low))
        && is_any(13, &[0, 7])
        && is_any(14, &[0])
        && is_any(15, &[0])
}

fn believe(header: Header, rest: &[u8], side: Side) -> Belief {
    match (header.op_code, side) {
        (OpCode::Msg, _) => message(header, rest),
        (OpCode::Compressed, _) => compressed(rest),
        (OpCode::Query, Side::Client) => query(header, rest),
        (OpCode::Reply, Side::Server) => reply(header, rest),
        // Nobody begins with these, and they say little.
        (OpCode::Legacy | OpCode::GetMore | OpCode::Query | OpCode::Reply, _) => Belief::No,
    }
}

/// Flags, the kind of a section, and its beginning.
fn message(header: Header, rest: &[u8]) -> Belief {
    let room = header.length.saturating_sub(MSG_HEAD_BYTES + 1);
    match (rest.len(), header::flags(rest)) {
        (..4, _) => return Belief::Unsure,
        (_, None) => return Belief::No,
        _ => {}
    }
    let section = rest.get(4..).unwrap_or_default();
    match section.split_first() {
        None => Belief::Unsure,
        Some((0, body)) => document(body, room),
        Some((1, sequence)) => match bson::int32(sequence) {
            None => Belief::Unsure,
            Some(size) if is_within(size, 4 + 2, room) => name(sequence.get(4..).unwrap_or_default()),
            Some(_) => Belief::No,
        },
        Some(_) => Belief::No,
    }
}

/// What is compressed, how long it is, and how it is compressed.
fn compressed(rest: &[u8]) -> Belief {
    let original = bson::int32(rest).map(OpCode::of);
    let size = rest.get(4..).and_then(bson::int32);
    let compressor = rest.get(COMPRESSED_HEAD_BYTES - HEADER_BYTES - 1);
    match (original, size, compressor) {
        (Some(None | Some(OpCode::Compressed)), ..) => Belief::No,
        (_, Some(size), _) if !is_within(size, MIN_DOCUMENT_BYTES, header::MAX_MESSAGE_BYTES as usize) => {
            Belief::No
        }
        (_, _, Some(4..)) => Belief::No,
        (_, _, Some(_)) => Belief::Yes,
        _ => Belief::Unsure,
    }
}

/// Flags, the collection's name, two numbers and a document.
fn query(header: Header, rest: &[u8]) -> Belief {
    // Bits 1 to 7 are known.
    match bson::int32(rest) {
        None => return Belief::Unsure,
        Some(flags) if flags & !0xfe != 0 => return Belief::No,
        Some(_) => {}
    }
    let names = rest.get(4..).unwrap_or_default();
    match name(names) {
        Belief::Yes => {}
        other => return other,
    }
    let end = memchr::memchr(0, names).unwrap_or(0);
    if !names.get(..end).is_some_and(|name| name.contains(&b'.')) {
        return Belief::No;
    }
    let room = header.length.saturating_sub(HEADER_BYTES + 4 + end + 1 + 8);
    document(names.get(end + 1 + 8..).unwrap_or_default(), room)
}

/// Flags, the cursor, where it stands, how many documents there are, and the first of them. Only replies to commands are
/// believed, which have no cursor and one document.
fn reply(header: Header, rest: &[u8]) -> Belief {
    match bson::int32(rest) {
        None => return Belief::Unsure,
        Some(flags) if flags & !0xf != 0 => return Belief::No,
        Some(_) => {}
    }
    let numbers = rest.get(4..).unwrap_or_default();
    // Two numbers of eight and of four bytes, and then 1.
    if numbers.iter().take(12).any(|&byte| byte != 0) {
        return Belief::No;
    }
    let room = header.length.saturating_sub(header::REPLY_HEAD_BYTES);
    match numbers.get(12..).and_then(bson::int32) {
        None => Belief::Unsure,
        Some(1) => document(rest.get(20..).unwrap_or_default(), room),
        Some(_) => Belief::No,
    }
}

/// A document of at most `room` bytes: its length, and the type and the name of its first field.
fn document(bytes: &[u8], room: usize) -> Belief {
    match bson::int32(bytes) {
        None => Belief::Unsure,
        Some(length) if !is_within(length, MIN_DOCUMENT_BYTES + 2, room) => Belief::No,
        Some(_) => match bytes.get(4) {
            None => Belief::Unsure,
            Some(&kind) if bson::value_length(kind, &[]) == bson::Length::Wrong => Belief::No,
            Some(_) => name(bytes.get(5..).unwrap_or_default()),
        },
    }
}

fn is_within(length: i32, least: usize, most: usize) -> bool {
    usize::try_from(length).is_ok_and(|length| (least..=most).contains(&length))
}

/// A name of printable characters, and the zero behind it.
fn name(bytes: &[u8]) -> Belief {
    let shown = bytes.get(..MAX_NAME_BYTES).unwrap_or(bytes);
    let end = memchr::memchr(0, shown);
    let name = shown.get(..end.unwrap_or(shown.len())).unwrap_or_default();
    let is_printable = name.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    match end {
        Some(1..) if is_printable => Belief::Yes,
        None if is_printable && shown.len() < MAX_NAME_BYTES => Belief::Unsure,
        _ => Belief::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a message of a kind with a request's or a response's numbers.
    fn message(op_code: i32, response_to: i32, rest: &[u8]) -> Vec<u8> {
        let length = i32::try_from(HEADER_BYTES + rest.len()).unwrap();
        let words = [length, 7, response_to, op_code].map(i32::to_le_bytes).concat();
        [&words, rest].concat()
    }

    const PING: &[u8] = b"\0\0\0\0\0\x0f\0\0\0\x10ping\0\x01\0\0\0\0";
    const SEQUENCE: &[u8] = b"\x02\0\0\0\x01\x19\0\0\0documents\0\x0b\0\0\0\x10a\0\x01\0\0\0\0";
    const QUERY: &[u8] = b"\0\0\0\0admin.$cmd\0\0\0\0\0\xff\xff\xff\xff\x0f\0\0\0\x10ping\0\x01\0\0\0\0";
    const REPLY: &[u8] = b"\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\x0d\0\0\0\x10ok\0\x01\0\0\0\0";
    const COMPRESSED: &[u8] = b"\xdd\x07\0\0\x20\0\0\0\x02abc";

    #[test]
    fn messages_of_both_sides_are_recognised_once_they_are_telling() {
        for (op_code, response_to, rest, side) in [
            (2013, 0, PING, Side::Client),
            (2013, 5, PING, Side::Server),
            (2013, 0, SEQUENCE, Side::Client),
            (2004, 0, QUERY, Side::Client),
            (1, 5, REPLY, Side::Server),
            (2012, 0, COMPRESSED, Side::Client),
            (2012, 5, COMPRESSED, Side::Server),
        ] {
            let whole = message(op_code, response_to, rest);
            assert_eq!(detect(&whole), Detection::Yes(side), "{op_code} {side:?}");
            for end in 0..whole.len() {
                assert_ne!(detect(&whole[..end]), Detection::No, "{op_code} {side:?} {end}");
            }
            let behind = [b"\x07noise\x07", whole.as_slice()].concat();
            // `OP_REPLY` is too rare to be looked for.
            assert_eq!(find(&behind, side), (op_code != 1).then_some(7), "{op_code} {side:?}");
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/2.0\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0",
            b"AMQP\0\0\x09\x01",
            b"\0\0\0\x21\0\x12\0\x04\0\0\0\0\0\0\0\0",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
        for (op_code, response_to, rest) in [
            (2013, 0, &b"\x04\0\0\0\0\x0f\0\0\0\x10ping\0\x01\0\0\0\0"[..]),
            (2013, 0, b"\0\0\0\0\x02\x0f\0\0\0\x10ping\0\x01\0\0\0\0"),
            (2013, 0, b"\0\0\0\0\0\xff\0\0\0\x10ping\0\x01\0\0\0\0"),
            (2013, 0, b"\0\0\0\0\0\x0f\0\0\0\x30ping\0\x01\0\0\0\0"),
            (2004, 0, b"\0\0\0\0admin\0\0\0\0\0\xff\xff\xff\xff\x0f\0\0\0\x10ping\0\x01\0\0\0\0"),
            (2012, 0, b"\xdc\x07\0\0\x20\0\0\0\x02abc"),
            (2012, 0, b"\xdd\x07\0\0\x20\0\0\0\x04abc"),
            (2010, 0, PING),
            (1, 0, REPLY),
        ] {
            let whole = message(op_code, response_to, rest);
            assert_eq!(detect(&whole), Detection::No, "{op_code} {}", rest.escape_ascii());
        }
    }
}
