//! Commands as they stand on the wire: arrays of strings, or lines.

use super::{LengthLine, MAX_BULK_BYTES, length_line};

/// A command is read to its end if that is not further away; of a longer one only the beginning is read.
const MAX_READ_BYTES: usize = 1024;
/// Most arguments that are kept. More are counted.
const MAX_KEPT_ARGUMENTS: usize = 32;
/// Most arguments of a command (Redis' own limit).
const MAX_ARGUMENTS: i64 = 1 << 31;
/// Longest inline command (Redis' own limit).
const MAX_INLINE_BYTES: usize = 64 * 1024;

/// A command's beginning.
#[derive(Debug, PartialEq)]
pub(super) struct Words<'a> {
    /// Name and first arguments.
    pub(super) kept: Vec<&'a [u8]>,
    /// Number of arguments, without the name.
    pub(super) arguments: u64,
}

/// What was found at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// A command; `eaten` bytes of it were read, and as many arguments are still to be walked over.
    Command { words: Words<'a>, eaten: usize, left: u64 },
    /// An empty command, which Redis ignores.
    Empty { eaten: usize },
    /// More bytes are needed. If all but the end of the last argument is there, it tells where the command ends.
    Unfinished { at_least: usize, words: Option<Words<'a>> },
    /// No command.
    Broken(&'static str),
}

/// Returns what `bytes` begin with.
pub(super) fn find(bytes: &[u8]) -> Found<'_> {
    match bytes.first() {
        Some(b'*') => array(bytes),
        _ => inline(bytes),
    }
}

/// Returns the length of the argument that `bytes` begin with, as far as it is known.
pub(super) fn argument_length(bytes: &[u8]) -> Result<Option<u64>, &'static str> {
    if bytes.first().is_some_and(|&first| first != b'$') {
        return Err("argument is no string");
    }
    match length_line(bytes) {
        LengthLine::Is(Some(length), start) => match u64::try_from(length) {
            Ok(length) if length <= MAX_BULK_BYTES => Ok(Some(start as u64 + length + 2)),
            _ => Err("argument too long"),
        },
        LengthLine::Is(None, _) | LengthLine::Wrong => Err("argument has no length"),
        LengthLine::Unfinished => Ok(None),
    }
}

fn array(bytes: &[u8]) -> Found<'_> {
    let (count, mut at) = match length_line(bytes) {
        LengthLine::Is(Some(..=0), eaten) => return Found::Empty { eaten },
        LengthLine::Is(Some(count), length) if count <= MAX_ARGUMENTS => (count.unsigned_abs(), length),
        LengthLine::Unfinished => return Found::Unfinished { at_least: bytes.len() + 1, words: None },
        _ => return Found::Broken("not a command"),
    };
    let mut kept = Vec::new();
    for read in 0..count {
        let rest = bytes.get(at..).unwrap_or_default();
        let length = match argument_length(rest) {
            Ok(length) => length,
            Err(reason) => return Found::Broken(reason),
        };
        let end =
            length.and_then(|length| usize::try_from(length).ok()).and_then(|length| at.checked_add(length));
        let is_beyond =
            at + super::MAX_LENGTH_LINE_BYTES > MAX_READ_BYTES || end.is_some_and(|end| end > MAX_READ_BYTES);
        if is_beyond {
            let words = Words { kept, arguments: count - 1 };
            return if read == 0 {
                Found::Broken("name too long")
            } else {
                Found::Command { words, eaten: at, left: count - read }
            };
        }
        let argument = length.zip(end).and_then(|(_, end)| bytes.get(at..end));
        let Some(argument) = argument else {
            let words = (read > 0 && read + 1 == count && end.is_some())
                .then(|| Words { kept, arguments: count - 1 });
            return Found::Unfinished { at_least: end.unwrap_or(bytes.len() + 1), words };
        };
        let start = memchr::memchr(b'\n', argument).map_or(0, |end| end + 1);
        let Some(argument) = argument.get(start..).and_then(|text| text.strip_suffix(b"\r\n")) else {
            return Found::Broken("argument without an end");
        };
        if kept.len() < MAX_KEPT_ARGUMENTS {
            kept.push(argument);
        }
        at = end.unwrap_or(at);
    }
    Found::Command { words: Words { kept, arguments: count - 1 }, eaten: at, left: 0 }
}

fn inline(bytes: &[u8]) -> Found<'_> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return match bytes.len() < MAX_INLINE_BYTES && bytes.iter().all(|&byte| is_text(byte)) {
            true => Found::Unfinished { at_least: bytes.len() + 1, words: None },
            false => Found::Broken("not a command"),
        };
    };
    let line = bytes.get(..end).unwrap_or_default();
    if !line.iter().all(|&byte| is_text(byte)) {
        return Found::Broken("not a command");
    }
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let kept: Vec<&[u8]> = words.by_ref().take(MAX_KEPT_ARGUMENTS).collect();
    let count = (kept.len() + words.count()) as u64;
    match count.checked_sub(1) {
        Some(arguments) => Found::Command { words: Words { kept, arguments }, eaten: end + 1, left: 0 },
        None => Found::Empty { eaten: end + 1 },
    }
}

fn is_text(byte: u8) -> bool {
    byte >= b' ' || byte.is_ascii_whitespace()
}
