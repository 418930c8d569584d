//! Where a walk through the pages of a search stands.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::str::FromStr;

use crate::model::{TimeRange, TraceId};

/// Traces that end this close to the beginning of the walk, or later, are remembered: a late span may move their start
/// to behind the cursor, where they would come a second time.
pub const LATE_NS: u64 = 3_600_000_000_000;
/// Traces that are remembered at most, 8 bytes each; of more, the ones returned last.
pub const MAX_REMEMBERED: usize = 2_048;

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 1 + 5 * 8 + 16;

/// A place in the sequence of found traces, newest first. Opaque to clients: version, question, range, position, and
/// the traces that must not come again, in hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Stands for the question that the walk belongs to.
    pub question: u64,
    /// The range of the walk, fixed by its first page.
    pub range: TimeRange,
    /// When the walk began.
    pub began_unix_ns: u64,
    /// Start and id of the last trace that was returned.
    pub position: (u64, TraceId),
    remembered: Vec<u64>,
}

/// Why a text is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that a search has returned")]
pub struct CursorError;

impl Cursor {
    /// Returns the cursor behind a first page; `traces` are its traces with the ends of their last spans.
    #[must_use]
    pub fn first(question: u64, range: TimeRange, began_unix_ns: u64, position: (u64, TraceId)) -> Self {
        Self { question, range, began_unix_ns, position, remembered: Vec::new() }
    }

    /// Remembers that a trace was returned, if it may still change.
    pub fn remember(&mut self, trace_id: TraceId, end_unix_ns: u64) {
        if end_unix_ns.saturating_add(LATE_NS) < self.began_unix_ns {
            return;
        }
        self.remembered.push(short(trace_id));
        let excess = self.remembered.len().saturating_sub(MAX_REMEMBERED);
        self.remembered.drain(..excess);
    }

    /// Returns whether the trace is remembered.
    #[must_use]
    pub fn has_returned(&self, trace_id: TraceId) -> bool {
        self.remembered.contains(&short(trace_id))
    }
}

/// The whole id counts: the first half of ids with 64 bits is zero.
fn short(trace_id: TraceId) -> u64 {
    let mut hasher = DefaultHasher::new();
    trace_id.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION:02x}")?;
        let (start, trace_id) = self.position;
        for number in
            [self.question, self.range.from_unix_ns, self.range.until_unix_ns, self.began_unix_ns, start]
        {
            write!(f, "{number:016x}")?;
        }
        write!(f, "{trace_id}")?;
        self.remembered.iter().try_for_each(|number| write!(f, "{number:016x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let is_sound = text.is_ascii()
            && text.len() >= FIXED_BYTES * 2
            && (text.len() - FIXED_BYTES * 2).is_multiple_of(16)
            && text.len() <= (FIXED_BYTES + MAX_REMEMBERED * 8) * 2
            && text.starts_with(&format!("{VERSION:02x}"));
        if !is_sound {
            return Err(CursorError);
        }
        let number = |at: usize| {
            let digits = text.get(2 + at * 16..18 + at * 16).ok_or(CursorError)?;
            let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(CursorError)
        };
        let trace_id = text.get(82..114).and_then(|id| id.parse().ok()).ok_or(CursorError)?;
        let remembered = 7..(text.len() - 2) / 16;
        Ok(Self {
            question: number(0)?,
            range: TimeRange { from_unix_ns: number(1)?, until_unix_ns: number(2)? },
            began_unix_ns: number(3)?,
            position: (number(4)?, trace_id),
            remembered: remembered.map(number).collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trace(number: u8) -> TraceId {
        TraceId([number; 16])
    }

    fn cursor() -> Cursor {
        let range = TimeRange { from_unix_ns: 1, until_unix_ns: u64::MAX };
        Cursor::first(u64::MAX, range, LATE_NS + 100, (7, trace(9)))
    }

    #[test]
    fn a_cursor_survives_its_text() {
        let mut cursor = cursor();
        assert_eq!(cursor.to_string().parse(), Ok(cursor.clone()));
        cursor.remember(trace(1), 100);
        cursor.remember(trace(2), 99);
        assert_eq!((cursor.has_returned(trace(1)), cursor.has_returned(trace(2))), (true, false));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cursor = cursor();
        for number in 1..MAX_REMEMBERED as u64 + 2 {
            let id = u128::from(number).to_be_bytes();
            cursor.remember(TraceId(id), u64::MAX);
        }
        assert!(!cursor.has_returned(TraceId(1_u128.to_be_bytes())));
        assert!(cursor.has_returned(TraceId(2_u128.to_be_bytes())));
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(01)?[0-9a-f+é]{0,160}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }
}
