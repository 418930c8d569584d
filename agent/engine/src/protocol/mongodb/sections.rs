//! The sections of an `OP_MSG`: one document, and sequences of documents before or behind it.

use super::bson::{self, MIN_DOCUMENT_BYTES};

/// Longest name of a sequence.
const MAX_IDENTIFIER_BYTES: usize = 64;
/// Sequences of one message. Commands have two at most.
const MAX_SEQUENCES: usize = 8;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part<'a> {
    /// As far as it is there.
    pub(super) bytes: &'a [u8],
    /// Where it begins, from where the reading began.
    pub(super) start: usize,
    /// Its length in all.
    pub(super) length: usize,
}

impl<'a> Part<'a> {
    fn of(bytes: &'a [u8], start: usize, length: usize) -> Self {
        let rest = bytes.get(start..).unwrap_or_default();
        Self { bytes: rest.get(..length).unwrap_or(rest), start, length }
    }

    /// Returns where it ends.
    pub(super) fn end(&self) -> usize {
        self.start.saturating_add(self.length)
    }

    /// Returns whether a part of it is missing.
    pub(super) fn is_cut(&self) -> bool {
        self.bytes.len() < self.length
    }
}

/// Sections as far as they are there.
#[derive(Debug, Default)]
pub(super) struct Sections<'a> {
    /// The document, kind 0.
    pub(super) body: Option<Part<'a>>,
    /// Sequences of documents, kind 1, by their names.
    pub(super) sequences: Vec<(&'a [u8], Part<'a>)>,
    /// Where the section begins that is not there.
    pub(super) next: usize,
    /// These are no sections.
    pub(super) is_broken: bool,
}

impl<'a> Sections<'a> {
    /// Returns the sections in `bytes` from `at` on, of a message that has them up to `end`.
    pub(super) fn read(bytes: &'a [u8], at: usize, end: usize) -> Self {
        let mut sections = Sections { next: at, ..Sections::default() };
        while sections.next < end && !sections.is_broken {
            let Some(rest) = bytes.get(sections.next..).filter(|rest| rest.len() > 4) else { break };
            let after = match rest.first() {
                Some(0) => sections.take_body(bytes, rest),
                Some(1) => sections.take_sequence(bytes, rest),
                _ => None,
            };
            match after.filter(|&after| after <= end) {
                Some(after) => sections.next = after,
                None => sections.is_broken = true,
            }
        }
        sections
    }

    /// Returns where the section behind it begins.
    fn take_body(&mut self, bytes: &'a [u8], rest: &[u8]) -> Option<usize> {
        let length = bson::document_length(rest.get(1..)?)?;
        let body = Part::of(bytes, self.next + 1, length);
        self.body.replace(body).is_none().then_some(body.end())
    }

    fn take_sequence(&mut self, bytes: &'a [u8], rest: &'a [u8]) -> Option<usize> {
        let end = self.next.checked_add(1)?.checked_add(sequence_length(rest)?)?;
        let names = rest.get(5..)?;
        let Some(length) = memchr::memchr(0, names.get(..MAX_IDENTIFIER_BYTES).unwrap_or(names)) else {
            // Its name is not there; a longer one is none.
            return (names.len() < MAX_IDENTIFIER_BYTES).then_some(end);
        };
        let start = self.next + 5 + length + 1;
        let documents = Part::of(bytes, start, end.checked_sub(start)?);
        if self.sequences.len() < MAX_SEQUENCES {
            self.sequences.push((names.get(..length)?, documents));
        }
        Some(end)
    }
}

/// Returns the length of the sequence whose section `bytes` begin with, without the byte that says so.
pub(super) fn sequence_length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(bson::int32(bytes.get(1..)?)?).ok()?;
    // Its own length and a name.
    (length > MIN_DOCUMENT_BYTES).then_some(length)
}
