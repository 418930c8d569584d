//! Whether bytes begin a connection, or a message in the middle of one.

use super::message::{HEADER_BYTES, header, text};
use super::startup::{self, Found};
use crate::protocol::likeness::Likeness;
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// Longest message whose contents can be judged by a glance.
const MAX_NAME_BYTES: usize = 128;

/// Longest message that is believed without knowing the connection: the lengths that letters make are longer.
const MAX_DETECTED_BYTES: usize = 16 << 20;

/// Returns whether `bytes` begin a first message or a message of either side.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    match shown.first() {
        None => Detection::Unsure,
        Some(0) => match startup::find(shown) {
            Found::Is(..) => Detection::Yes(Side::Client),
            Found::Need(length) if length > 8 && shown.len() > 12 => Detection::Yes(Side::Client),
            Found::Need(_) => Detection::Unsure,
            Found::Not => Detection::No,
        },
        // The answer to a request for encryption.
        Some(b'N' | b'S' | b'G') if shown.len() == 1 => Detection::Unsure,
        Some(_) => match (chain(Side::Client, shown), chain(Side::Server, shown)) {
            (Detection::Yes(side), other) | (other, Detection::Yes(side))
                if !matches!(other, Detection::Yes(_)) =>
            {
                Detection::Yes(side)
            }
            (Detection::No, Detection::No) => Detection::No,
            _ => Detection::Unsure,
        },
    }
}

/// Returns whether messages of `side` follow one another in `bytes`: one that nothing else looks like is enough,
/// weaker ones need another behind them.
pub(super) fn chain(side: Side, bytes: &[u8]) -> Detection {
    let mut rest = bytes;
    let mut links = 0;
    loop {
        let length = match header(side, rest) {
            Err(_) => return Detection::No,
            Ok(None) => break,
            Ok(Some(header)) => usize::try_from(header.length).unwrap_or(usize::MAX),
        };
        if length > MAX_DETECTED_BYTES {
            return Detection::No;
        }
        let body = rest.get(HEADER_BYTES..length.min(rest.len())).unwrap_or_default();
        let is_whole = rest.len() >= length;
        let Some(&kind) = rest.first() else { break };
        match likeness(side, kind, length - HEADER_BYTES, body, is_whole) {
            Likeness::No => return Detection::No,
            Likeness::Strong => return Detection::Yes(side),
            Likeness::Weak => links += 1,
        }
        if !is_whole {
            break;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    if links >= 2 { Detection::Yes(side) } else { Detection::Unsure }
}

fn likeness(side: Side, kind: u8, length: usize, body: &[u8], is_whole: bool) -> Likeness {
    match side {
        Side::Client => client(kind, length, body, is_whole),
        Side::Server => server(kind, length, body, is_whole),
    }
}

fn client(kind: u8, length: usize, body: &[u8], is_whole: bool) -> Likeness {
    match kind {
        b'Q' => statement(length, body, is_whole),
        b'P' => {
            let (name, rest) = text(body);
            let is_read = name.len() < body.len();
            let is_named = name.len() <= MAX_NAME_BYTES && name.iter().all(|&byte| is_printable(byte));
            match (is_named, is_read) {
                (false, _) => Likeness::No,
                (true, false) => Likeness::strong_if(false),
                (true, true) => statement(length - name.len() - 1, text(rest).0, false),
            }
        }
        b'B' | b'E' => {
            let (portal, rest) = text(body);
            let is_named = portal.len() <= MAX_NAME_BYTES && portal.iter().all(|&byte| is_printable(byte));
            let is_right = kind == b'B' || !is_whole || (length == portal.len() + 5 && rest.len() == 4);
            Likeness::weak_if(is_named && is_right && length >= 5)
        }
        b'C' | b'D' => named_object(length, body, is_whole),
        b'S' | b'H' | b'X' | b'c' => Likeness::weak_if(length == 0),
        b'F' => Likeness::weak_if(length >= 10),
        b'f' => Likeness::weak_if(body.iter().take(length.saturating_sub(1)).all(|&byte| is_printable(byte))),
        b'd' | b'p' => Likeness::Weak,
        _ => Likeness::No,
    }
}

fn server(kind: u8, length: usize, body: &[u8], is_whole: bool) -> Likeness {
    match kind {
        b'1' | b'2' | b'3' | b'I' | b'n' | b's' | b'c' => Likeness::weak_if(length == 0),
        b'Z' => match (length, body) {
            (1, []) => Likeness::Weak,
            (1, [b'I' | b'T' | b'E', ..]) => Likeness::Strong,
            _ => Likeness::No,
        },
        b'C' => {
            let (tag, _) = text(body);
            let is_tag =
                tag.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b' ');
            Likeness::weak_if(is_tag && (2..=64).contains(&length) && (!is_whole || tag.len() + 1 == length))
        }
        b'E' | b'N' => match body {
            [] => Likeness::weak_if(length > 8),
            [b'S', rest @ ..] => {
                let (severity, _) = text(rest);
                match severity {
                    b"ERROR" | b"FATAL" | b"PANIC" | b"WARNING" | b"NOTICE" | b"LOG" | b"INFO" | b"DEBUG" => {
                        Likeness::Strong
                    }
                    severity => Likeness::weak_if(severity.len() < 24),
                }
            }
            _ => Likeness::No,
        },
        b'R' => Likeness::weak_if(
            length >= 4
                && body.first().is_none_or(|&byte| byte == 0)
                && body.get(3).is_none_or(|&kind| kind <= 12),
        ),
        b'S' => {
            let (name, rest) = text(body);
            let is_name = name.iter().all(|&byte| byte.is_ascii_alphabetic() || byte == b'_');
            Likeness::weak_if(length >= 4 && is_name && !(is_whole && (name.is_empty() || rest.is_empty())))
        }
        b'T' | b'D' | b't' => Likeness::weak_if(length >= 2 && body.first().is_none_or(|&high| high < 0x07)),
        b'G' | b'H' | b'W' => {
            Likeness::weak_if(length >= 3 && body.first().is_none_or(|&format| format <= 1))
        }
        b'K' => Likeness::weak_if((8..=260).contains(&length)),
        b'A' | b'V' | b'v' => Likeness::weak_if(length >= 4),
        b'd' => Likeness::Weak,
        _ => Likeness::No,
    }
}

/// A statement is text that begins with a word, a comment or a parenthesis; an empty one is allowed.
fn statement(length: usize, body: &[u8], is_whole: bool) -> Likeness {
    let text = if is_whole { body.strip_suffix(b"\0").unwrap_or(b"\0") } else { body };
    let start = text.trim_ascii_start();
    let is_start = start.first().is_none_or(|byte| byte.is_ascii_alphabetic() || b"(-/;".contains(byte));
    let is_text =
        is_start && length > 0 && text.iter().all(|&byte| is_printable(byte) || byte.is_ascii_whitespace());
    match is_text {
        false => Likeness::No,
        // Less than a word of three letters is found elsewhere too (a number of an HTTP/2 stream, and a length).
        true => Likeness::strong_if(start.len() >= 4 || (is_whole && start.len() >= 3)),
    }
}

/// `S` or `P` and a name: what is closed or described.
fn named_object(length: usize, body: &[u8], is_whole: bool) -> Likeness {
    let Some((kind, name)) = body.split_first() else { return Likeness::weak_if(length >= 2) };
    let (name, _) = text(name);
    let is_name = name.iter().all(|&byte| is_printable(byte)) && name.len() <= MAX_NAME_BYTES;
    Likeness::weak_if(matches!(kind, b'S' | b'P') && is_name && (!is_whole || name.len() + 2 == length))
}

fn is_printable(byte: u8) -> bool {
    byte >= b' ' && byte != 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Detection = Detection::Yes(Side::Client);
    const SERVER: Detection = Detection::Yes(Side::Server);

    #[test]
    fn both_sides_are_recognised() {
        for (bytes, expected) in [
            (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], CLIENT),
            (b"\0\0\0\x14\0\x03\0\0user\0me\0\0\0\0\0\0", CLIENT),
            (b"Q\0\0\0\x0dselect 1\0", CLIENT),
            (b"Q\0\0\x10\0select something long", CLIENT),
            (b"P\0\0\0\x16s1\0select $1\0\0\0", CLIENT),
            (b"B\0\0\0\x0e\0s1\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04", CLIENT),
            (b"Z\0\0\0\x05I", SERVER),
            (b"E\0\0\0\x20SERROR\0VERROR\0C42P01\0", SERVER),
            (b"1\0\0\0\x042\0\0\0\x04", SERVER),
            (b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I", SERVER),
            (b"R\0\0\0\x08\0\0\0\0S\0\0\0\x0ca\0b\0", SERVER),
        ] {
            assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn little_is_unsure() {
        for bytes in [
            &b"S"[..],
            b"N",
            b"Q",
            b"Q\0\0\0\x0d",
            b"\0\0\0\x08",
            b"S\0\0\0\x04",
            b"1\0\0\0\x04",
            b"D\0\0\0\x06S",
            b"",
        ] {
            assert_eq!(detect(bytes), Detection::Unsure, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"HTTP/1.1 200 OK\r\n",
            b"POST / HTTP/1.1\r\n",
            b"DELETE / HTTP/1.1\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"$5\r\nhello\r\n",
            b"+OK\r\n",
            b"SSH-2.0-OpenSSH\r\n",
            b"\x16\x03\x01\x02\0\x01",
            b"Q\0\0\0\x0d\x01\x02\x03\x04\x05\x06\x07\x08\0",
            b"\0\0\0\x16\0\x03\0\0\0\0\0\x01\0\x02me\0\0\0\0",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
    }
}
