//! Commands as they stand on the wire: arrays of strings, or lines.

use super::{LengthLine, MAX_BULK_BYTES, length_line, queues};
use crate::protocol::KEYED_BYTES;

/// A command is read to its end if that is not further away; of a longer one only the beginning is read.
const MAX_READ_BYTES: usize = 1024;
/// Most arguments that are kept. More are counted.
const MAX_KEPT_ARGUMENTS: usize = 32;
/// Words for which there is room from the start.
const TYPICAL_WORDS: usize = 8;
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
    /// The beginning of the argument behind those, and its length, where it is too long to be kept and is a message.
    pub(super) beyond: Option<(u64, &'a [u8])>,
}

impl Words<'_> {
    /// Returns the length and the bytes of a word, or at least those that a message's key is made of.
    pub(super) fn argument(&self, index: usize) -> Option<(u64, &[u8])> {
        match self.kept.get(index) {
            Some(word) => Some((word.len() as u64, word)),
            None => self.beyond.filter(|_| index == self.kept.len()),
        }
    }
}

/// What was found at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// A command; `eaten` bytes of it were read, and as many arguments are still to be walked over.
    Command { words: Words<'a>, eaten: usize, left: u64 },
    /// An empty command, which Redis ignores.
    Empty { eaten: usize },
    /// More bytes are needed. If they are only for an argument that can be done without, it tells what there is.
    Unfinished { at_least: usize, rest: Option<Rest<'a>> },
    /// No command.
    Broken(&'static str),
}

/// What is known of a command whose next argument is not seen.
#[derive(Debug, PartialEq)]
pub(super) struct Rest<'a> {
    pub(super) words: Words<'a>,
    /// Where that argument ends, and how many follow it.
    pub(super) end: u64,
    pub(super) left: u64,
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
        LengthLine::Unfinished => return Found::Unfinished { at_least: bytes.len() + 1, rest: None },
        _ => return Found::Broken("not a command"),
    };
    let mut kept = Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(TYPICAL_WORDS));
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
            let words = Words { kept, arguments: count - 1, beyond: None };
            return if read == 0 {
                Found::Broken("name too long")
            } else {
                long(words, bytes, at, count - read)
            };
        }
        let argument = length.zip(end).and_then(|(_, end)| bytes.get(at..end));
        let Some(argument) = argument else {
            let rest = end.filter(|_| read > 0 && read + 1 == count).map(|end| Rest {
                words: Words { kept, arguments: count - 1, beyond: None },
                end: end as u64,
                left: 0,
            });
            return Found::Unfinished { at_least: end.unwrap_or(bytes.len() + 1), rest };
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
    Found::Command { words: Words { kept, arguments: count - 1, beyond: None }, eaten: at, left: 0 }
}

/// Returns a command whose argument at `at` is too long to be kept. Of a message the beginning is looked at.
fn long<'a>(words: Words<'a>, bytes: &'a [u8], at: usize, left: u64) -> Found<'a> {
    let rest = bytes.get(at..).unwrap_or_default();
    if !queues::is_message(&words, words.kept.len()) {
        return Found::Command { words, eaten: at, left };
    }
    let (length, start) = match length_line(rest) {
        LengthLine::Is(Some(length @ 0..), start) => (length.unsigned_abs(), start),
        LengthLine::Unfinished => return Found::Unfinished { at_least: bytes.len() + 1, rest: None },
        _ => return Found::Broken("argument has no length"),
    };
    let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(KEYED_BYTES);
    match rest.get(start..start + wanted) {
        Some(beginning) => {
            let words = Words { beyond: Some((length, beginning)), ..words };
            Found::Command { words, eaten: at, left }
        }
        None => {
            let end = (at + start) as u64 + length + 2;
            Found::Unfinished {
                at_least: at + start + wanted,
                rest: Some(Rest { words, end, left: left.saturating_sub(1) }),
            }
        }
    }
}

fn inline(bytes: &[u8]) -> Found<'_> {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return match bytes.len() < MAX_INLINE_BYTES && bytes.iter().all(|&byte| is_text(byte)) {
            true => Found::Unfinished { at_least: bytes.len() + 1, rest: None },
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
        Some(arguments) => {
            Found::Command { words: Words { kept, arguments, beyond: None }, eaten: end + 1, left: 0 }
        }
        None => Found::Empty { eaten: end + 1 },
    }
}

fn is_text(byte: u8) -> bool {
    byte >= b' ' || byte.is_ascii_whitespace()
}
