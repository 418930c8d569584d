//! Whether bytes begin an AMQP 0-9-1 connection, or a frame of one.

use super::method::{CONNECTION_START, Id};
use super::wire::{FRAME_END, Fields, HEAD_BYTES, Head, Kind};
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// What a client begins with (specification, section 4.2.2).
pub(super) const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Longest payload of a method that is believed midway.
const MAX_METHOD_BYTES: u32 = 64 << 10;
const HEARTBEAT: &[u8] = b"\x08\x00\x00\x00\x00\x00\x00\xce";

/// Returns whether `bytes` begin a connection, or with a method of one side that is there whole.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    let prefix = shown.get(..PROTOCOL_HEADER.len()).unwrap_or(shown);
    if PROTOCOL_HEADER.starts_with(prefix) {
        let is_whole = prefix.len() == PROTOCOL_HEADER.len();
        return if is_whole { Detection::Yes(Side::Client) } else { Detection::Unsure };
    }
    match side(shown) {
        Told::Side(side) => Detection::Yes(side),
        Told::Unfinished => Detection::Unsure,
        Told::Nobody => Detection::No,
    }
}

/// Returns where in `bytes` a frame of this side plausibly begins.
pub(super) fn find(side: Side, bytes: &[u8]) -> Option<usize> {
    let is_frame = |at: &usize| {
        let rest = bytes.get(*at..).unwrap_or_default();
        method(rest).is_ok_and(|id| id.is_some_and(|id| id.is_of(side)))
    };
    memchr::memchr_iter(1, bytes).find(is_frame)
}

/// Who has sent something.
enum Told {
    Side(Side),
    Unfinished,
    Nobody,
}

/// Returns whose frames `bytes` begin with. What either may send tells nothing: the frames behind it may.
fn side(mut bytes: &[u8]) -> Told {
    // As many as fit into what is looked at.
    for _ in 0..DETECTION_BUDGET_BYTES / HEAD_BYTES {
        if HEARTBEAT.starts_with(bytes) && bytes != HEARTBEAT {
            return Told::Unfinished;
        }
        if let Some(rest) = bytes.strip_prefix(HEARTBEAT) {
            bytes = rest;
            continue;
        }
        match method(bytes) {
            Err(()) => return Told::Nobody,
            Ok(None) => return Told::Unfinished,
            Ok(Some(id)) => match (id.is_of(Side::Client), id.is_of(Side::Server)) {
                (true, false) => return Told::Side(Side::Client),
                (false, true) => return Told::Side(Side::Server),
                _ => {}
            },
        }
        let length =
            Head::read(bytes).ok().flatten().and_then(|head| usize::try_from(head.frame_bytes()).ok());
        bytes = length.and_then(|length| bytes.get(length..)).unwrap_or_default();
    }
    Told::Nobody
}

/// Returns the method that `bytes` begin with; none where its frame has not ended, an error where it is no method.
///
/// The first frame of a server is longer than what is looked at: it is believed by its arguments.
fn method(bytes: &[u8]) -> Result<Option<Id>, ()> {
    let Some(head) = Head::read(bytes).map_err(drop)? else { return Ok(None) };
    if head.kind != Kind::Method || head.size > MAX_METHOD_BYTES {
        return Err(());
    }
    let mut fields = Fields(bytes.get(HEAD_BYTES..).unwrap_or_default());
    let Some(id) = Id::read(&mut fields) else { return Ok(None) };
    if id.known().is_none() || id.is_of_connection() != (head.channel == 0) {
        return Err(());
    }
    if id == CONNECTION_START {
        return start(fields).map(|is_whole| is_whole.then_some(id));
    }
    let length = usize::try_from(head.frame_bytes()).map_err(drop)?;
    match bytes.get(length.saturating_sub(1)) {
        Some(&FRAME_END) => Ok(Some(id)),
        Some(_) => Err(()),
        None => Ok(None),
    }
}

/// Returns whether the arguments of `connection.start` are there, as far as they are looked at: version 0-9, and a table
/// whose first entry is a text, a table or a truth.
fn start(mut fields: Fields<'_>) -> Result<bool, ()> {
    if [0, 9].into_iter().any(|wanted| fields.octet().is_some_and(|octet| octet != wanted)) {
        return Err(());
    }
    let Some(_length) = fields.long() else { return Ok(false) };
    let Some(name) = fields.short_string() else { return Ok(false) };
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_graphic()) {
        return Err(());
    }
    match fields.octet() {
        None => Ok(false),
        Some(b'S' | b'F' | b't') => Ok(true),
        Some(_) => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Detection = Detection::Yes(Side::Client);
    const SERVER: Detection = Detection::Yes(Side::Server);
    /// `basic.ack`, which either side may send.
    const ACK: &[u8] =
        b"\x01\x00\x01\x00\x00\x00\x0d\x00\x3c\x00\x50\x00\x00\x00\x00\x00\x00\x00\x01\x00\xce";
    const CHANNEL_OPEN: &[u8] = b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\xce";
    const CHANNEL_OPEN_OK: &[u8] = b"\x01\x00\x01\x00\x00\x00\x08\x00\x14\x00\x0b\x00\x00\x00\x00\xce";

    #[test]
    fn both_sides_are_recognised() {
        for (bytes, expected) in [
            (PROTOCOL_HEADER.to_vec(), CLIENT),
            (CHANNEL_OPEN.to_vec(), CLIENT),
            (CHANNEL_OPEN_OK.to_vec(), SERVER),
            ([HEARTBEAT, ACK, CHANNEL_OPEN].concat(), CLIENT),
            (
                b"\x01\x00\x00\x00\x00\x01\xf5\x00\x0a\x00\x0a\x00\x09\x00\x00\x01\xd0\x0ccapabilitiesF"
                    .to_vec(),
                SERVER,
            ),
        ] {
            assert_eq!(detect(&bytes), expected, "{}", bytes.escape_ascii());
            for end in 0..bytes.len() {
                assert_ne!(detect(&bytes[..end]), Detection::No, "{end} of {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn what_either_side_sends_is_unsure() {
        for bytes in [HEARTBEAT.to_vec(), ACK.to_vec(), [ACK, HEARTBEAT].concat()] {
            assert_eq!(detect(&bytes), Detection::Unsure, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"AMQP\x00\x01\x00\x00"[..],
            b"AMQP\x03\x01\x00\x00",
            b"\x01\x00\x01\x00\x00\x00\x05\x00\x14\x00\x0a\x00\x00",
            b"\x01\x00\x01\x00\x00\x00\x05\x00\x63\x00\x0a\x00\xce",
            b"\x01\x00\x01\x00\x00\x00\x05\x00\x0a\x00\x28\x00\xce",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"\x16\x03\x01\x02\x00\x01",
            b"GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn a_frame_is_found_behind_other_bytes() {
        let bytes = [b"abc\x01\x00\x01", CHANNEL_OPEN].concat();
        assert_eq!(find(Side::Client, &bytes), Some(6));
        assert_eq!(find(Side::Server, &bytes), None);
    }
}
