//! Whether bytes begin a connection, or a packet in the middle of one.

use super::command::Command;
use super::compressed;
use super::handshake::{Greeting, MAX_VERSION_BYTES, VERSION};
use super::packet::{END, EOF_BYTES, ERROR, HEADER_BYTES, Header, OK, Reader};
use super::status;
use crate::protocol::likeness::Likeness;
use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// Longest greeting that is believed.
const MAX_GREETING_BYTES: usize = 512;
/// Bytes besides the version up to the first capabilities: this protocol's version, a zero byte, number, challenge and
/// its end.
const GREETING_FIXED_BYTES: usize = 1 + 1 + 4 + 8 + 1 + 2;
/// Beginning of a statement that is enough to judge it.
const MIN_STATEMENT_BYTES: usize = 6;
/// The first field of a definition: the catalog, always `def`.
const DEFINITION: &[u8] = b"\x03def";
/// How many of the last bytes may begin what [`command`] looks for.
pub(super) const TAIL_BYTES: usize = 64;
/// `ER_CON_COUNT_ERROR`, `ER_HOST_IS_BLOCKED` and `ER_HOST_NOT_PRIVILEGED`: what servers say instead of a greeting.
const INSTEAD_OF_GREETING: [u16; 3] = [1040, 1129, 1130];
/// Shortest text that is believed to be a reason.
const MIN_REFUSAL_BYTES: usize = 8;
/// Words with which statements begin.
const WORDS: &[&str] = &[
    "ALTER",
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHECK",
    "COMMIT",
    "CREATE",
    "DELETE",
    "DESC",
    "DESCRIBE",
    "DO",
    "DROP",
    "EXPLAIN",
    "FLUSH",
    "GRANT",
    "HANDLER",
    "INSERT",
    "KILL",
    "LOAD",
    "LOCK",
    "OPTIMIZE",
    "PREPARE",
    "RELEASE",
    "RENAME",
    "REPAIR",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TRUNCATE",
    "UNLOCK",
    "UPDATE",
    "USE",
    "VALUES",
    "WITH",
    "XA",
    "EXECUTE",
    "DEALLOCATE",
    "TABLE",
];

/// Returns whether `bytes` begin a greeting, a command or an answer.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    let Some(header) = Header::of(shown) else {
        return Detection::Unsure;
    };
    let Some(&first) = shown.get(HEADER_BYTES) else {
        return if header.length == 0 { Detection::No } else { Detection::Unsure };
    };
    match (header.sequence, first) {
        (0, VERSION) if header.length > GREETING_FIXED_BYTES => greeting(shown, header),
        (0, ERROR) if is_refusal(header, shown) => Detection::Yes(Side::Server),
        (0, ERROR) => server(shown),
        (0, _) if compressed::is_command(shown) => Detection::Yes(Side::Client),
        (0, _) => chain(shown, client, Side::Client),
        _ => server(shown),
    }
}

/// Returns whether packets follow one another in `bytes`.
fn chain(bytes: &[u8], likeness: fn(Header, &[u8]) -> Likeness, side: Side) -> Detection {
    let mut rest = bytes;
    loop {
        let Some(header) = Header::of(rest).filter(|_| rest.len() > HEADER_BYTES) else {
            return Detection::Unsure;
        };
        let payload = rest.get(HEADER_BYTES..header.whole().min(rest.len())).unwrap_or_default();
        match likeness(header, payload) {
            Likeness::No => return Detection::No,
            Likeness::Strong => return Detection::Yes(side),
            Likeness::Weak => {}
        }
        rest = rest.get(header.whole()..).unwrap_or_default();
    }
}

fn greeting(bytes: &[u8], header: Header) -> Detection {
    let payload = bytes.get(HEADER_BYTES..header.whole().min(bytes.len())).unwrap_or_default();
    if header.length > MAX_GREETING_BYTES {
        return Detection::No;
    }
    let version = payload.get(1..).unwrap_or_default();
    let Some(end) = memchr::memchr(0, version) else {
        let is_text = version.iter().all(u8::is_ascii_graphic) && version.len() <= MAX_VERSION_BYTES;
        let is_version = version.first().is_none_or(u8::is_ascii_digit);
        return if is_text && is_version { Detection::Unsure } else { Detection::No };
    };
    if payload.len() < (end + GREETING_FIXED_BYTES).min(header.length) {
        return Detection::Unsure;
    }
    match Greeting::of(payload) {
        Some(_) => Detection::Yes(Side::Server),
        None => Detection::No,
    }
}

/// Returns where in `bytes` a command of the client plausibly begins.
pub(super) fn command(bytes: &[u8]) -> Option<usize> {
    (0..bytes.len()).find(|&at| is_command(bytes.get(at..).unwrap_or_default()))
}

/// Returns whether `bytes` begin with a command that nothing else looks like, or are one whole command.
pub(super) fn is_command(bytes: &[u8]) -> bool {
    let Some(header) = Header::of(bytes) else { return false };
    let payload = bytes.get(HEADER_BYTES..header.whole().min(bytes.len())).unwrap_or_default();
    match client(header, payload) {
        Likeness::No => false,
        Likeness::Weak => bytes.len() == header.whole(),
        Likeness::Strong => true,
    }
}

/// Returns whether nothing speaks against a command at the beginning of `bytes`, or it is none of those that can be
/// judged.
pub(super) fn may_be_command(bytes: &[u8]) -> bool {
    let Some(header) = Header::of(bytes).filter(|header| header.sequence == 0) else { return true };
    let shown = header.whole().min(bytes.len()).min(HEADER_BYTES + DETECTION_BUDGET_BYTES);
    let payload = bytes.get(HEADER_BYTES..shown).unwrap_or_default();
    let is_judged = matches!(
        payload.first().copied().and_then(Command::of),
        Some(Command::Query | Command::Prepare | Command::Execute)
    );
    !is_judged || client(header, payload) != Likeness::No
}

fn client(header: Header, payload: &[u8]) -> Likeness {
    let Some((&first, rest)) = payload.split_first() else { return Likeness::No };
    let Some(command) = Command::of(first).filter(|command| command.allows(header.length)) else {
        return Likeness::No;
    };
    if header.sequence != 0 {
        return Likeness::No;
    }
    let is_whole = payload.len() == header.length;
    match command {
        Command::Query | Command::Prepare => statement(rest, is_whole),
        Command::Execute => execution(rest),
        Command::Close | Command::Fetch | Command::Other("STMT_RESET") => Likeness::weak_if(is_number(rest)),
        Command::Other("PING") | Command::Quit | Command::ResetConnection => Likeness::Weak,
        _ => Likeness::No,
    }
}

/// A statement is text that begins with a word of SQL, behind spaces and comments. Attributes may stand before it.
fn statement(payload: &[u8], is_whole: bool) -> Likeness {
    let text = match payload {
        [0, 1, text @ ..] => text,
        [1..=8, 1, ..] => return Likeness::Weak,
        text => text,
    };
    let is_text = text.iter().all(|&byte| byte >= b' ' && byte != 0x7f || byte.is_ascii_whitespace());
    if !is_text {
        return Likeness::No;
    }
    let start = text.trim_ascii_start();
    if matches!(start, [b'/', b'*', ..] | [b'-', b'-', ..] | [b'#' | b'(', ..]) {
        return if start.len() >= MIN_STATEMENT_BYTES { Likeness::Strong } else { Likeness::Weak };
    }
    let end = start.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(start.len());
    let word = start.get(..end).unwrap_or_default();
    let is_known = WORDS.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()));
    let may_become = || {
        WORDS.iter().any(|known| {
            known.get(..word.len()).is_some_and(|part| part.as_bytes().eq_ignore_ascii_case(word))
        })
    };
    match (is_known, end < start.len() || is_whole) {
        (true, true) => Likeness::Strong,
        (_, false) if may_become() => Likeness::Weak,
        _ => Likeness::No,
    }
}

/// Number of the statement, flags, and how often: always once.
fn execution(rest: &[u8]) -> Likeness {
    let mut reader = Reader::new(rest);
    let Some((id, flags)) = reader.u32().zip(reader.u8()) else { return Likeness::Weak };
    let Some(count) = reader.chunk::<4>() else { return Likeness::Weak };
    let is_right = id != 0 && flags <= 0x0f && count == [1, 0, 0, 0];
    if is_right { Likeness::Strong } else { Likeness::No }
}

fn is_number(rest: &[u8]) -> bool {
    rest.first_chunk().is_none_or(|id| u32::from_le_bytes(*id) != 0)
}

/// Only definitions and errors with a state are like nothing else.
fn server(bytes: &[u8]) -> Detection {
    chain(bytes, answer, Side::Server)
}

fn answer(header: Header, payload: &[u8]) -> Likeness {
    let is_whole = payload.len() == header.length;
    match payload {
        [] => Likeness::No,
        [ERROR, rest @ ..] => error(rest),
        payload if payload.starts_with(DEFINITION) => Likeness::Strong,
        payload if DEFINITION.starts_with(payload) && !is_whole => Likeness::Weak,
        // The number of columns.
        [1..=250] if is_whole && header.sequence == 1 => Likeness::Weak,
        [OK, ..] if header.sequence == 1 && (7..=64).contains(&header.length) => {
            Likeness::weak_if(!is_whole || status::is_plausible(payload))
        }
        [END, ..] if header.length == EOF_BYTES => Likeness::Weak,
        _ => Likeness::No,
    }
}

/// Returns whether a server says instead of a greeting why there is none: with a number of its own, and in words to the
/// end, since before the client has said what it can do there is no state.
fn is_refusal(header: Header, bytes: &[u8]) -> bool {
    let Some([ERROR, low, high, text @ ..]) = bytes.get(HEADER_BYTES..header.whole()) else { return false };
    let code = u16::from_le_bytes([*low, *high]);
    let is_text = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    INSTEAD_OF_GREETING.contains(&code) && text.len() >= MIN_REFUSAL_BYTES && is_text
}

fn error(rest: &[u8]) -> Likeness {
    let mut reader = Reader::new(rest);
    let Some(code) = reader.u16() else { return Likeness::Weak };
    // Errors of servers have numbers from 1000 on; MariaDB's end at 5000, and MySQL's are below too in what is common.
    if !(1000..8000).contains(&code) {
        return Likeness::No;
    }
    let Some(mark) = reader.u8() else { return Likeness::Weak };
    let state = reader.rest();
    let is_state = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_uppercase();
    match (mark, state.get(..5)) {
        (b'#', None) => Likeness::weak_if(state.iter().all(is_state)),
        (b'#', Some(state)) if state.iter().all(is_state) => Likeness::Strong,
        // Before the client has said what it can do there is no state.
        (b'A'..=b'Z', _) => {
            Likeness::weak_if(state.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' '))
        }
        _ => Likeness::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Detection = Detection::Yes(Side::Client);
    const SERVER: Detection = Detection::Yes(Side::Server);

    #[test]
    fn both_sides_are_recognised() {
        for (bytes, expected) in [
            (&b"\x4a\0\0\0\x0a8.0.15\0\x08\0\0\0abcdefgh\0\xff\xff\x21\x02\0\xff\xc3"[..], SERVER),
            (b"\x09\0\0\0\x03SELECT 1", CLIENT),
            (b"\x0b\0\0\0\x03\0\x01SELECT 1", CLIENT),
            (b"\x09\x01\0\0\x03SELECT a", CLIENT),
            (b"\x12\0\0\0\x16/* x */ SELECT ?", CLIENT),
            (b"\x01\0\0\0\x0e\x09\0\0\0\x03SELECT 1", CLIENT),
            (b"\x12\0\0\0\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x03\0\x07\0\0\0", CLIENT),
            (b"\x0d\0\0\0\0\0\0\x09\0\0\0\x03SELECT 1", CLIENT),
            (b"\x01\0\0\x01\x02\x18\0\0\x02\x03def", SERVER),
            (b"\x20\0\0\x01\xff\x7a\x04#42S02Table", SERVER),
            (b"\x17\0\0\0\xff\x10\x04Too many connections", SERVER),
        ] {
            assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn little_is_unsure() {
        for bytes in [
            &b""[..],
            b"\x4a\0\0",
            b"\x4a\0\0\0\x0a8.0",
            b"\x01\0\0\0\x0e",
            b"\x09\0\0\0\x03SEL",
            b"\x07\0\0\x01\0\0\0\x02\0\0\0",
            b"\x01\0\0\x01\x02",
            b"\x17\0\0\0\xff\x10\x04Too many",
            b"\x17\0\0\0\xff\x11\x04Too many connections",
            b"\x0a\0\0\0\x17\x01",
        ] {
            assert_eq!(detect(bytes), Detection::Unsure, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn others_are_refused() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"Q\0\0\0\x0dselect 1\0",
            b"P\0\0\0\x16s1\0select $1\0\0\0",
            b"\0\0\0\x14\0\x03\0\0user\0me\0\0\0\0\0\0",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x16\x03\x01\x02\0\x01",
            // MongoDB, HTTP/2 settings, Kafka and DNS.
            b"\x3c\0\0\0\x03\0\0\0\0\0\0\0\xdd\x07\0\0",
            b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
            b"\0\0\0\x2a\0\x03\0\x09\0\0\0\x01",
            b"\0\x1d\xab\xcd\x01\0\0\x01\0\0",
            b"\x01\0\0\0\0\0\x0e\0\x0a\0\x0a",
            b"\x09\0\0\0\x03HELLO 1",
        ] {
            assert_eq!(detect(bytes), Detection::No, "{}", bytes.escape_ascii());
        }
    }
}
