//! Whether bytes begin a NATS conversation, or a line of one.

use super::command::{Command, Found, Frame, find};
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// What a server's first line begins with, and a field that it always has.
const INFO: &[u8] = b"INFO {";
const SERVER_ID: &[u8] = b"\"server_id\"";
/// What a client's first line begins with.
const CONNECT: &[u8] = b"CONNECT {";
/// Lines of either side, and of other protocols too.
const EITHER: [&[u8]; 3] = [b"PING\r\n", b"PONG\r\n", b"+OK\r\n"];
/// What headers begin with.
pub(super) const HEADERS: &[u8] = b"NATS/1.0";

/// Returns whether `bytes` begin with the first line of either side, or with a line that carries a message.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let mut shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    while let Some(rest) = EITHER.iter().find_map(|line| shown.strip_prefix(*line)) {
        shown = rest;
    }
    let is_beginning_of = |text: &[u8]| text.starts_with(shown.get(..text.len()).unwrap_or(shown));
    if shown.starts_with(INFO) {
        return if memchr::memmem::find(shown, SERVER_ID).is_some() {
            Detection::Yes(Side::Server)
        } else if shown.len() < DETECTION_BUDGET_BYTES && !shown.contains(&b'\n') {
            Detection::Unsure
        } else {
            Detection::No
        };
    }
    if shown.starts_with(CONNECT) {
        return Detection::Yes(Side::Client);
    }
    if EITHER.iter().any(|line| is_beginning_of(line)) || is_beginning_of(INFO) || is_beginning_of(CONNECT) {
        return Detection::Unsure;
    }
    let of = |side| telling(side, shown);
    match (of(Side::Client), of(Side::Server)) {
        (Some(true), _) => Detection::Yes(Side::Client),
        (_, Some(true)) => Detection::Yes(Side::Server),
        (Some(false), _) | (_, Some(false)) => Detection::Unsure,
        (None, None) => Detection::No,
    }
}

/// Returns whether `bytes` begin with a line of a side that nobody else would send; none where they do not.
fn telling(side: Side, bytes: &[u8]) -> Option<bool> {
    match find(side, bytes) {
        Found::Line(Command::Message(frame), length) => is_sound(&frame, bytes.get(length..)?),
        Found::Line(Command::Subscribe { subject, sid, .. }, _) => {
            (is_subject(subject) && sid.iter().all(u8::is_ascii_alphanumeric)).then_some(true)
        }
        Found::Line(Command::Unsubscribe { sid, .. }, length) => {
            // What follows has to tell: others know such a word too.
            let rest = bytes.get(length..)?;
            sid.iter().all(u8::is_ascii_digit).then_some(())?;
            if rest.is_empty() { Some(false) } else { telling(side, rest) }
        }
        Found::Line(Command::Error(_), _) | Found::Unfinished => Some(false),
        _ => None,
    }
}

/// Returns whether what follows a line is the message that it announces; none where it is not, false where that cannot
/// be seen.
pub(super) fn is_sound(frame: &Frame<'_>, rest: &[u8]) -> Option<bool> {
    if !is_subject(frame.subject) || !frame.sid.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    if frame.header_bytes > 0 {
        let shown = rest.get(..HEADERS.len()).unwrap_or(rest);
        if !HEADERS.starts_with(shown) {
            return None;
        }
        return Some(shown.len() == HEADERS.len());
    }
    let end = usize::try_from(frame.total_bytes).ok()?;
    match rest.get(end..) {
        Some([b'\r', b'\n', ..]) => Some(true),
        Some([] | [b'\r']) | None => Some(end > DETECTION_BUDGET_BYTES),
        Some(_) => None,
    }
}

/// Tokens between dots, of which none is empty.
fn is_subject(subject: &[u8]) -> bool {
    let is_token = |token: &[u8]| !token.is_empty() && token.iter().all(|byte| *byte > b' ' && *byte != 0x7f);
    subject.split(|&byte| byte == b'.').all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_recognised() {
        for (bytes, side) in [
            (&b"INFO {\"server_id\":\"NB\",\"version\":\"2.15.1\"}\r\n"[..], Side::Server),
            (b"CONNECT {\"verbose\":false}\r\n", Side::Client),
            (b"PING\r\nSUB orders.* 1\r\n", Side::Client),
            (b"PUB orders 5\r\nhello\r\n", Side::Client),
            (b"PONG\r\nMSG orders 1 5\r\nhello\r\n", Side::Server),
            (b"HPUB orders 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", Side::Client),
            (b"HMSG orders 1 12 17\r\nNATS/1.0\r\n\r\nhello\r\n", Side::Server),
            (b"UNSUB 1\r\nPUB orders 0\r\n\r\n", Side::Client),
        ] {
            assert_eq!(detect(bytes), Detection::Yes(side), "{}", bytes.escape_ascii());
            for end in 0..bytes.len() {
                assert_ne!(detect(&bytes[..end]), Detection::No, "{end} of {}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"INFO {}\r\n"[..],
            b"CONNECT host:443 HTTP/1.1\r\n",
            b"PUB orders 5\r\nhelloworld",
            b"MSG orders 5\r\n",
            b"SUB a..b 1\r\n",
            b"PUT / HTTP/1.1\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"HPUB orders 12 17\r\nHTTP/1.0\r\n",
            b"\x16\x03\x01",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
        for bytes in [&b"PING\r\n"[..], b"+OK\r\n", b"-ERR 'x'\r\n", b"UNSUB 1\r\n", b""] {
            assert_eq!(detect(bytes), Detection::Unsure, "{}", bytes.escape_ascii());
        }
    }
}
