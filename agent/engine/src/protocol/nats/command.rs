//! Lines: a verb and its arguments.

use super::{MAX_LINE_BYTES, MAX_PAYLOAD_BYTES};
use crate::protocol::text::Upper;
use crate::protocol::{Side, text};

/// A line, and what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    /// `PUB` or `HPUB` of a client, `MSG` or `HMSG` of a server.
    Message(Frame<'a>),
    /// `SUB`: the client wants the messages of a subject, or a share of them.
    Subscribe { subject: &'a [u8], group: &'a [u8], sid: &'a [u8] },
    /// `UNSUB`: at once, or after as many messages.
    Unsubscribe { sid: &'a [u8], is_at_once: bool },
    /// `-ERR`: what the server does not like.
    Error(&'a [u8]),
    /// `INFO`, `CONNECT`, `PING`, `PONG`, `+OK`.
    Other,
}

/// A line that carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) subject: &'a [u8],
    /// The subscription that it is for; empty where a client sends it.
    pub(super) sid: &'a [u8],
    /// Where an answer is awaited; empty where none is.
    pub(super) reply: &'a [u8],
    /// Bytes of the headers and of all.
    pub(super) header_bytes: u64,
    pub(super) total_bytes: u64,
}

/// What was found at the beginning of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// A line of as many bytes.
    Line(Command<'a>, usize),
    /// The line has not ended.
    Unfinished,
    /// It is longer than what is read, and carries no message.
    Long,
    /// No line of this side.
    Broken(&'static str),
}

/// Returns the line that `bytes` of this side begin with.
pub(super) fn find(side: Side, bytes: &[u8]) -> Found<'_> {
    let shown = bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', shown) else {
        return match is_beginning(side, shown) {
            false => Found::Broken("no verb of this side"),
            true if shown.len() < MAX_LINE_BYTES => Found::Unfinished,
            true if is_long(shown) => Found::Long,
            true => Found::Broken("line too long"),
        };
    };
    let line = shown.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let Some(line) = line else { return Found::Broken("line without a carriage return") };
    match command(side, line) {
        Ok(command) => Found::Line(command, end + 1),
        Err(reason) => Found::Broken(reason),
    }
}

/// Verbs of the client and of the server. They may be written in either case.
const CLIENT: [&[u8]; 7] = [b"CONNECT", b"PUB", b"HPUB", b"SUB", b"UNSUB", b"PING", b"PONG"];
const SERVER: [&[u8]; 7] = [b"INFO", b"MSG", b"HMSG", b"PING", b"PONG", b"+OK", b"-ERR"];

fn verbs(side: Side) -> &'static [&'static [u8]] {
    match side {
        Side::Client => &CLIENT,
        Side::Server => &SERVER,
    }
}

fn is_beginning(side: Side, line: &[u8]) -> bool {
    let word = verb(line);
    let is_whole = word.len() < line.len();
    verbs(side).iter().any(|verb| match is_whole {
        true => verb.eq_ignore_ascii_case(word.trim_ascii_end()),
        false => {
            // A carriage return at the end may belong to the line's.
            let word = word.strip_suffix(b"\r").unwrap_or(word);
            verb.get(..word.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(word))
        }
    })
}

/// `INFO` and `CONNECT` carry a JSON text of any length.
fn is_long(line: &[u8]) -> bool {
    let word = verb(line);
    word.eq_ignore_ascii_case(b"INFO") || word.eq_ignore_ascii_case(b"CONNECT")
}

fn verb(line: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b' ', b'\t', line).unwrap_or(line.len());
    line.get(..end).unwrap_or(line)
}

fn command(side: Side, line: &[u8]) -> Result<Command<'_>, &'static str> {
    let word = verb(line);
    let upper = Upper::of(word);
    let rest = line.get(word.len()..).unwrap_or_default();
    match (side, upper.as_slice()) {
        (Side::Client, b"PUB") | (Side::Server, b"MSG") => frame(side, false, rest).map(Command::Message),
        (Side::Client, b"HPUB") | (Side::Server, b"HMSG") => frame(side, true, rest).map(Command::Message),
        (Side::Client, b"SUB") => subscription(true, rest),
        (Side::Client, b"UNSUB") => subscription(false, rest),
        (Side::Server, b"-ERR") => Ok(Command::Error(rest.trim_ascii())),
        // Behind these stands a long text, or nothing.
        (_, verb) if verbs(side).contains(&verb) => Ok(Command::Other),
        _ => Err("no verb of this side"),
    }
}

const WRONG_COUNT: &str = "wrong number of arguments";

fn subscription(begins: bool, rest: &[u8]) -> Result<Command<'_>, &'static str> {
    let (arguments, count) = arguments(rest);
    let [first, second, third, ..] = arguments;
    match (begins, count) {
        (true, 2) => Ok(Command::Subscribe { subject: first, group: &[], sid: second }),
        (true, 3) => Ok(Command::Subscribe { subject: first, group: second, sid: third }),
        (false, 1 | 2) => {
            let is_at_once = count == 1 || text::decimal(second) == Some(0);
            Ok(Command::Unsubscribe { sid: first, is_at_once })
        }
        _ => Err(WRONG_COUNT),
    }
}

/// Most arguments of a line that are looked at.
const MAX_ARGUMENTS: usize = 6;

fn arguments(rest: &[u8]) -> ([&[u8]; MAX_ARGUMENTS], usize) {
    let mut found: [&[u8]; MAX_ARGUMENTS] = [&[]; MAX_ARGUMENTS];
    let mut count = 0;
    let mut start = 0;
    for end in memchr::memchr2_iter(b' ', b'\t', rest).chain([rest.len()]) {
        let word = rest.get(start..end).filter(|word| !word.is_empty());
        if let Some((word, slot)) = word.zip(found.get_mut(count)) {
            *slot = word;
            count += 1;
        }
        start = end + 1;
    }
    (found, count)
}

/// Subject, `sid` of a server's, reply where there is one, length of the headers where there are any, length of all.
fn frame(side: Side, has_headers: bool, rest: &[u8]) -> Result<Frame<'_>, &'static str> {
    let (arguments, count) = arguments(rest);
    let of = |index: usize| arguments.get(index).copied().unwrap_or_default();
    let names = 1 + usize::from(side == Side::Server);
    let lengths = 1 + usize::from(has_headers);
    let has_reply = count == names + lengths + 1;
    if count != names + lengths && !has_reply {
        return Err(WRONG_COUNT);
    }
    let at = names + usize::from(has_reply);
    let length = |index: usize| text::decimal(of(index)).filter(|&length| length <= MAX_PAYLOAD_BYTES);
    let total_bytes = length(at + lengths - 1).ok_or("message without a length")?;
    let header_bytes = if has_headers { length(at).ok_or("headers without a length")? } else { 0 };
    if header_bytes > total_bytes {
        return Err("headers longer than the message");
    }
    Ok(Frame {
        subject: of(0),
        sid: if side == Side::Server { of(1) } else { &[] },
        reply: if has_reply { of(names) } else { &[] },
        header_bytes,
        total_bytes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(
        subject: &'static [u8],
        sid: &'static [u8],
        reply: &'static [u8],
        lengths: [u64; 2],
    ) -> Command<'static> {
        let [header_bytes, total_bytes] = lengths;
        Command::Message(Frame { subject, sid, reply, header_bytes, total_bytes })
    }

    #[test]
    fn lines_are_read() {
        for (side, line, expected) in [
            (Side::Client, &b"PUB a.b 5\r\n"[..], frame(b"a.b", b"", b"", [0, 5])),
            (Side::Client, b"pub a.b\t_INBOX.x  5\r\n", frame(b"a.b", b"", b"_INBOX.x", [0, 5])),
            (Side::Client, b"HPUB a 12 17\r\n", frame(b"a", b"", b"", [12, 17])),
            (Side::Client, b"HPUB a r 12 17\r\n", frame(b"a", b"", b"r", [12, 17])),
            (Side::Server, b"MSG a 9 5\r\n", frame(b"a", b"9", b"", [0, 5])),
            (Side::Server, b"MSG a 9 r 5\r\n", frame(b"a", b"9", b"r", [0, 5])),
            (Side::Server, b"HMSG a 9 r 12 17\r\n", frame(b"a", b"9", b"r", [12, 17])),
            (Side::Client, b"SUB a.* 1\r\n", Command::Subscribe { subject: b"a.*", group: b"", sid: b"1" }),
            (Side::Client, b"SUB a g 1\r\n", Command::Subscribe { subject: b"a", group: b"g", sid: b"1" }),
            (Side::Client, b"UNSUB 1 \r\n", Command::Unsubscribe { sid: b"1", is_at_once: true }),
            (Side::Client, b"UNSUB 1 5\r\n", Command::Unsubscribe { sid: b"1", is_at_once: false }),
            (Side::Server, b"-ERR 'Unknown Subject'\r\n", Command::Error(b"'Unknown Subject'")),
            (Side::Server, b"PING\r\n", Command::Other),
            (Side::Server, b"+OK\r\n", Command::Other),
            (Side::Client, b"CONNECT {}\r\n", Command::Other),
        ] {
            assert_eq!(find(side, line), Found::Line(expected, line.len()), "{}", line.escape_ascii());
            for end in 0..line.len() {
                assert_eq!(find(side, &line[..end]), Found::Unfinished, "{end} of {}", line.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_line_is_broken() {
        for (side, line) in [
            (Side::Client, &b"MSG a 9 5\r\n"[..]),
            (Side::Server, b"PUB a 5\r\n"),
            (Side::Client, b"PUB a\r\n"),
            (Side::Client, b"PUB a b c 5\r\n"),
            (Side::Client, b"PUB a x\r\n"),
            (Side::Client, b"PUB a 99999999999\r\n"),
            (Side::Client, b"HPUB a 9 5\r\n"),
            (Side::Client, b"PING\n"),
            (Side::Client, b"SUB\r\n"),
            (Side::Client, b"GET / HTTP/1.1\r\n"),
            (Side::Client, b"GE"),
        ] {
            assert!(matches!(find(side, line), Found::Broken(_)), "{}", line.escape_ascii());
        }
        let long = [b"PUB ", &[b'a'; MAX_LINE_BYTES][..]].concat();
        assert_eq!(find(Side::Client, &long), Found::Broken("line too long"));
        let long = [b"INFO {", &[b'a'; MAX_LINE_BYTES][..]].concat();
        assert_eq!(find(Side::Server, &long), Found::Long);
    }
}
