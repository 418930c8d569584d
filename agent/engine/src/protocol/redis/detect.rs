//! Whether bytes begin a Redis command or reply.

use super::known::{is_command, is_container, is_second_word, is_word};
use super::{LengthLine, length_line};
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// Most arguments of a command that is believed at the beginning of a connection, and elements of a reply.
const MAX_ELEMENTS: i64 = 1 << 20;
/// Beginnings of lines that only Redis sends.
const SERVER_LINES: &[&[u8]] = &[
    b"+PONG\r\n",
    b"+QUEUED\r\n",
    b"-WRONGTYPE ",
    b"-NOAUTH ",
    b"-WRONGPASS ",
    b"-MOVED ",
    b"-LOADING ",
    b"-NOSCRIPT ",
    b"-READONLY ",
    b"-EXECABORT ",
    b"-BUSYKEY ",
    b"-CLUSTERDOWN ",
    b"-ERR unknown command",
    b"-ERR wrong number of arguments",
];

/// Returns whether `bytes` begin a command or a reply. Inline commands, and replies of one line that other protocols
/// know too, are not believed: they wait for the other direction.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    match shown.first() {
        None => Detection::Unsure,
        Some(b'*') => array(shown),
        Some(b'%' | b'~' | b'>') => aggregate(shown),
        Some(b'$') => bulk(shown),
        Some(b'+' | b'-') => line(shown),
        Some(b':' | b'_' | b'#') => other_line(shown),
        Some(_) => inline(shown),
    }
}

/// Returns whether a connection that begins with `asked` and `answered` is one: a command by a name that is also a word
/// of everyday, all of it strings, and a reply to it.
pub(super) fn detect_exchange(asked: &[u8], answered: &[u8]) -> bool {
    let is_reply =
        matches!(answered.first(), Some(b'+' | b'-' | b':' | b'$' | b'*' | b'_' | b'#' | b',' | b'%' | b'~'))
            && answered.contains(&b'\n')
            && detect(answered) != Detection::No;
    is_reply && is_whole_command(asked)
}

/// Returns whether `bytes` begin with an array of strings, whole or up to where they end, the first of them a command.
fn is_whole_command(bytes: &[u8]) -> bool {
    let LengthLine::Is(Some(count @ 1..=MAX_ELEMENTS), start) = length_line(bytes) else { return false };
    let mut rest = bytes.get(start..).unwrap_or_default();
    for index in 0..count {
        if rest.is_empty() {
            return index > 0;
        }
        let LengthLine::Is(Some(length @ 0..), start) = length_line(rest) else { return false };
        if rest.first() != Some(&b'$') {
            return false;
        }
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        let Some(string) = end.and_then(|end| rest.get(start..end)) else { return index > 0 };
        if index == 0 && !is_command(string) {
            return false;
        }
        rest = rest.get(start + string.len()..).unwrap_or_default();
        match rest.strip_prefix(b"\r\n") {
            Some(after) => rest = after,
            None => return rest.is_empty() && index > 0,
        }
    }
    true
}

/// Returns where in `bytes` a command plausibly begins.
pub(super) fn find_command(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'*', bytes)
        .find(|&at| bytes.get(at..).is_some_and(|rest| detect(rest) == Detection::Yes(Side::Client)))
}

/// `*2\r\n$3\r\nGET\r\n…`: a command where the first string names one; else a reply.
fn array(bytes: &[u8]) -> Detection {
    let (count, after) = match length_line(bytes) {
        LengthLine::Is(Some(count), length) if (1..=MAX_ELEMENTS).contains(&count) => {
            (count, bytes.get(length..))
        }
        LengthLine::Is(_, _) | LengthLine::Wrong => return Detection::No,
        LengthLine::Unfinished => return Detection::Unsure,
    };
    let after = after.unwrap_or_default();
    if after.first() != Some(&b'$') {
        return element(after);
    }
    let (length, start) = match length_line(after) {
        LengthLine::Is(Some(length), start) if length >= 0 => (length, start),
        LengthLine::Is(_, start) => return element(after.get(start..).unwrap_or_default()),
        LengthLine::Wrong => return Detection::No,
        LengthLine::Unfinished => return Detection::Unsure,
    };
    let Ok(length) = usize::try_from(length) else { return Detection::No };
    let Some(string) = after.get(start..).and_then(|rest| rest.get(..length.checked_add(2)?)) else {
        let is_too_long = start.saturating_add(length) > DETECTION_BUDGET_BYTES;
        return if is_too_long { Detection::No } else { Detection::Unsure };
    };
    let Some(string) = string.strip_suffix(b"\r\n") else { return Detection::No };
    let rest = after.get(start + length + 2..).unwrap_or_default();
    match (string, count) {
        _ if is_command(string) => confirmed_command(string, count, rest),
        (b"message" | b"smessage", 3) | (b"pmessage", 4) => Detection::Yes(Side::Server),
        // A reply of strings, or a command of a module.
        _ => Detection::Unsure,
    }
}

/// The reply to `SUBSCRIBE` looks like a command, but for the number at its end.
fn confirmed_command(name: &[u8], count: i64, rest: &[u8]) -> Detection {
    let lower = name.to_ascii_lowercase();
    let may_be_reply = count == 3 && lower == name && lower.ends_with(b"subscribe");
    if !may_be_reply {
        return match count {
            1 => Detection::Yes(Side::Client),
            _ if is_word(name) && !(is_container(name) && begins_with_second_word(rest)) => Detection::Unsure,
            _ => argument(rest),
        };
    }
    let channel = match (rest.first(), length_line(rest)) {
        (None, _) | (Some(b'$'), LengthLine::Unfinished) => return Detection::Unsure,
        (Some(b'$' | b'_'), LengthLine::Is(Some(length), start)) => {
            start + usize::try_from(length + 2).unwrap_or(0)
        }
        _ => return Detection::No,
    };
    match rest.get(channel) {
        Some(b':') => Detection::Yes(Side::Server),
        Some(b'$') => Detection::Yes(Side::Client),
        Some(_) => Detection::No,
        None => Detection::Unsure,
    }
}

fn begins_with_second_word(rest: &[u8]) -> bool {
    let word = rest.splitn(3, |&byte| byte == b'\n').nth(1).and_then(|line| line.strip_suffix(b"\r"));
    word.is_some_and(is_second_word)
}

/// Arguments of commands are strings.
fn argument(rest: &[u8]) -> Detection {
    match rest.first() {
        None => Detection::Unsure,
        Some(b'$') => match length_line(rest) {
            LengthLine::Is(Some(0..), _) => Detection::Yes(Side::Client),
            LengthLine::Unfinished => Detection::Unsure,
            _ => Detection::No,
        },
        Some(_) => Detection::No,
    }
}

fn aggregate(bytes: &[u8]) -> Detection {
    match length_line(bytes) {
        LengthLine::Is(Some(count), length) if (1..=MAX_ELEMENTS).contains(&count) => {
            element(bytes.get(length..).unwrap_or_default())
        }
        LengthLine::Unfinished => Detection::Unsure,
        _ => Detection::No,
    }
}

/// The first element of a reply: any type.
fn element(bytes: &[u8]) -> Detection {
    match bytes.first() {
        None => Detection::Unsure,
        Some(b'$' | b'*' | b'%' | b'~' | b'=') => match length_line(bytes) {
            LengthLine::Is(_, _) => Detection::Yes(Side::Server),
            LengthLine::Unfinished => Detection::Unsure,
            LengthLine::Wrong => Detection::No,
        },
        Some(b'+' | b'-' | b':' | b'_' | b'#' | b',') => match memchr::memchr(b'\n', bytes) {
            Some(_) => Detection::Yes(Side::Server),
            None => Detection::Unsure,
        },
        Some(_) => Detection::No,
    }
}

/// `$5\r\nhello\r\n`: both ends must be there, if they fit the budget.
fn bulk(bytes: &[u8]) -> Detection {
    match length_line(bytes) {
        LengthLine::Is(Some(-1), _) => Detection::Unsure,
        LengthLine::Is(Some(length), start) => {
            let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
            match end.and_then(|end| bytes.get(end..end + 2)) {
                Some(b"\r\n") => Detection::Yes(Side::Server),
                Some(_) => Detection::No,
                None => Detection::Unsure,
            }
        }
        LengthLine::Is(None, _) | LengthLine::Unfinished => Detection::Unsure,
        LengthLine::Wrong => Detection::No,
    }
}

fn line(bytes: &[u8]) -> Detection {
    match SERVER_LINES.iter().any(|line| bytes.starts_with(line)) {
        true => Detection::Yes(Side::Server),
        false if bytes.iter().all(|byte| byte.is_ascii_graphic() || b" \r\n\t".contains(byte)) => {
            Detection::Unsure
        }
        false => Detection::No,
    }
}

fn other_line(bytes: &[u8]) -> Detection {
    match length_line(bytes) {
        LengthLine::Wrong if bytes.first() == Some(&b':') => Detection::No,
        _ if bytes.iter().all(|byte| byte.is_ascii_graphic() || b"\r\n".contains(byte)) => Detection::Unsure,
        _ => Detection::No,
    }
}

/// The words of an inline command are those of other line protocols too.
fn inline(bytes: &[u8]) -> Detection {
    let word = bytes.split(|byte| b" \r\n".contains(byte)).next().unwrap_or_default();
    let is_ended = word.len() < bytes.len();
    let is_letters = !word.is_empty() && word.len() <= 32 && word.iter().all(u8::is_ascii_alphabetic);
    match is_letters && (!is_ended || is_command(word)) {
        true => Detection::Unsure,
        false => Detection::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Detection = Detection::Yes(Side::Client);
    const SERVER: Detection = Detection::Yes(Side::Server);

    #[test]
    fn commands_and_replies_are_recognised() {
        for (bytes, expected) in [
            (&b"*1\r\n$4\r\nPING\r\n"[..], CLIENT),
            (b"*2\r\n$3\r\nget\r\n$1\r\na\r\n", CLIENT),
            (b"*4\r\n$6\r\nclient\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n", CLIENT),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n$1\r\nb\r\n", CLIENT),
            (b"*3\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n", CLIENT),
            (b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", SERVER),
            (b"*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", SERVER),
            (b"*2\r\n:1\r\n:2\r\n", SERVER),
            (b"%1\r\n+a\r\n:1\r\n", SERVER),
            (b">3\r\n$7\r\nmessage\r\n", SERVER),
            (b"$5\r\nhello\r\n", SERVER),
            (b"+PONG\r\n", SERVER),
            (b"-WRONGTYPE Operation against a key", SERVER),
        ] {
            assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_others_send_too_is_unsure() {
        for bytes in [
            &b"+OK\r\n"[..],
            b"-ERR 'x'\r\n",
            b":1\r\n",
            b"PING\r\n",
            b"get key\r\n",
            b"$-1\r\n",
            b"*",
            b"",
            b"*2\r\n$4\r\ntype\r\n$1\r\na\r\n",
            b"*2\r\n$7\r\nMOD.ASK\r\n$1\r\na\r\n",
        ] {
            assert_eq!(detect(bytes), Detection::Unsure, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"GETS / HTTP/1.1\r\n"[..],
            b"HTTP/1.1 200 OK\r\n",
            b"Q\x00\x00\x00\x0dselect 1\x00",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"*1\r\nGET\r\n",
            b"*x\r\n",
            b"$5\r\nhelloworld\r\n",
            b"* OK IMAP4rev1\r\n",
            b"\x16\x03\x01",
            b"*2\r\n$3\r\nGET\r\n:1\r\n",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn commands_are_found_behind_other_bytes() {
        assert_eq!(find_command(b"abc*1*\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"), Some(8));
        assert_eq!(find_command(b"abc*1*\r\n*2\r\n$3\r\nGO!\r\n$1\r\na\r\n"), None);
    }
}
