//! What is left of a message whose beginning was read: items that are counted, fields that are read, and what is
//! passed over.

use super::READ_BYTES;
use super::bson::{self, Length};

/// Bytes of an item that tell its length: a type, the digits of an index, a length.
const ITEM_HEAD_BYTES: usize = 32;

/// What is left of a message. Places are told by the bytes of the message from there on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rest {
    left: u64,
    stage: Stage,
    count: u64,
    /// The count is that of all items.
    is_counted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Items follow; `until` is where they end.
    Items { items: Items, until: u64, then: Option<Fields> },
    /// Fields of the body, behind a long one.
    Fields(Fields),
    /// Nothing of interest.
    Passing,
}

/// What items are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Items {
    /// Documents of a sequence.
    Documents,
    /// Elements of an array, and the zero behind them.
    Elements,
}

/// Where the last fields of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    /// Where they begin.
    pub(super) from: u64,
    /// Where the body ends.
    pub(super) until: u64,
}

/// What to do with the bytes of the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// As many are part of it.
    Eat(usize),
    /// So are the next, which need not be seen.
    Skip(u64),
    /// More must be seen.
    Need(usize),
    /// As many are the last fields of the body.
    Fields(usize),
    /// After as many bytes it is over.
    End(usize),
}

impl Rest {
    /// Returns a rest of as many bytes of which nothing is of interest.
    pub(super) fn passing(left: u64) -> Self {
        Self { left, stage: Stage::Passing, count: 0, is_counted: false }
    }

    /// Returns a rest that begins with fields, or with bytes before them.
    pub(super) fn fields(left: u64, fields: Fields) -> Self {
        Self { stage: Stage::Fields(fields), ..Self::passing(left) }
    }

    /// Returns a rest that begins with items.
    pub(super) fn items(left: u64, items: Items, until: u64, then: Option<Fields>) -> Self {
        Self { stage: Stage::Items { items, until, then }, ..Self::passing(left) }
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Returns the number of items, once all were seen.
    pub(super) fn count(&self) -> Option<u64> {
        // The last item may have been passed over.
        let is_at_end = matches!(self.stage, Stage::Items { until, .. } if self.left == until);
        (self.is_counted || is_at_end).then_some(self.count)
    }

    /// Says what to do with `bytes`, with which the rest begins, and takes it as done.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        loop {
            match self.stage {
                Stage::Items { items, until, then } => {
                    if let Some(step) = self.walk(bytes, items, until, then) {
                        return step;
                    }
                }
                Stage::Fields(Fields { from, until }) => {
                    let length = usize::try_from(from.saturating_sub(until)).unwrap_or(usize::MAX);
                    if self.left > from {
                        return self.skip(self.left - from);
                    }
                    if length <= READ_BYTES && self.left == from {
                        return if bytes.len() < length { Step::Need(length) } else { self.read(length) };
                    }
                    self.stage = Stage::Passing;
                }
                Stage::Passing if self.left == 0 => return Step::End(0),
                Stage::Passing => return self.skip(self.left),
            }
        }
    }

    fn skip(&mut self, length: u64) -> Step {
        self.left -= length;
        Step::Skip(length)
    }

    fn read(&mut self, length: usize) -> Step {
        self.left = self.left.saturating_sub(length as u64);
        self.stage = Stage::Passing;
        Step::Fields(length)
    }

    /// Passes over the items that are there; returns nothing where none is left or where they cannot be counted.
    fn walk(&mut self, bytes: &[u8], items: Items, until: u64, then: Option<Fields>) -> Option<Step> {
        let mut at = 0;
        loop {
            let left = self.left.saturating_sub(until).saturating_sub(at as u64);
            let shown = bytes.get(at..).unwrap_or_default();
            if left == 0 || (items == Items::Elements && left == 1) {
                self.is_counted = true;
                break;
            }
            match item_length(items, shown) {
                Length::Is(length) if length as u64 > left => break,
                Length::Is(length) if length <= shown.len() => {
                    self.count += 1;
                    at += length;
                }
                Length::Is(length) if at == 0 => {
                    self.count += 1;
                    return Some(self.skip(length as u64));
                }
                Length::Unknown if at == 0 && shown.len() < ITEM_HEAD_BYTES => {
                    return Some(Step::Need(shown.len() + 1));
                }
                Length::Unknown | Length::Is(_) if at > 0 => return Some(self.eat(at)),
                _ => break,
            }
        }
        self.stage = then.map_or(Stage::Passing, Stage::Fields);
        (at > 0).then(|| self.eat(at))
    }

    fn eat(&mut self, length: usize) -> Step {
        self.left = self.left.saturating_sub(length as u64);
        if self.left == 0 { Step::End(length) } else { Step::Eat(length) }
    }
}

fn item_length(items: Items, bytes: &[u8]) -> Length {
    match items {
        Items::Documents if bytes.len() < 4 => Length::Unknown,
        Items::Documents => bson::document_length(bytes).map_or(Length::Wrong, Length::Is),
        Items::Elements => {
            let Some((&kind, rest)) = bytes.split_first() else { return Length::Unknown };
            let shown = rest.get(..ITEM_HEAD_BYTES).unwrap_or(rest);
            let Some(name) = memchr::memchr(0, shown) else {
                return if shown.len() < ITEM_HEAD_BYTES { Length::Unknown } else { Length::Wrong };
            };
            match bson::value_length(kind, rest.get(name + 1..).unwrap_or_default()) {
                Length::Is(length) => Length::Is(length + name + 2),
                other => other,
            }
        }
    }
}
