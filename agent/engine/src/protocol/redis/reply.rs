//! Replies, walked over by their structure (RESP3 specification; RESP2 is a part of it).

use super::sightings::{NewJob, Sightings};
use super::{LengthLine, MAX_BULK_BYTES, Watch, length_line};
use crate::held::Held;
use crate::protocol::{KEYED_BYTES, text};

/// Deepest nesting of a reply. `COMMAND DOCS` has seven levels.
const MAX_DEPTH: usize = 64;
/// Longest line of a simple type.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// Longest first element that is looked at, and longest error that is kept.
const MAX_KEPT_BYTES: usize = 64;

/// A reply that is being walked over.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// Open aggregates, outermost first.
    open: Vec<Open>,
    /// All of it was passed over, and nobody told so yet.
    is_passed: bool,
    summary: Summary,
    /// Messages in it, where any are looked for.
    sightings: Sightings,
}

/// What is remembered of a reply.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Summary {
    /// Its first type byte; 0 before.
    pub(super) kind: u8,
    /// Its error, or the first error in it.
    pub(super) error: Option<Failure>,
    /// The first element of an aggregate, lower case, where it is a short string.
    pub(super) first: Vec<u8>,
    /// The last number directly in an aggregate.
    pub(super) number: Option<u64>,
    /// Elements of the outermost aggregate that were begun.
    elements: u64,
}

impl Summary {
    /// Returns whether it has as many elements as what the server pushes under its name.
    pub(super) fn is_shaped_as_push(&self) -> bool {
        match self.first.as_slice() {
            b"pmessage" => self.elements == 4,
            b"message" | b"smessage" => self.elements == 3,
            first => first.ends_with(b"subscribe") && self.elements == 3 && self.number.is_some(),
        }
    }
}

/// What an error says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// `ERR`, `WRONGTYPE`, …
    pub(super) prefix: String,
    /// The text, up to the first quote: what is quoted are arguments.
    pub(super) message: String,
}

/// What is missing of an aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    /// As many elements.
    Elements(u64),
    /// As many elements of an attribute, after which the element itself follows.
    Attribute(u64),
    /// All until `.`.
    Streamed,
    /// Chunks of a string until an empty one.
    Chunks,
}

/// What to do with the bytes of a reply.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// As many bytes are part of it.
    Eat(usize),
    /// So are the next, which need not be seen.
    Skip(u64),
    /// More must be seen.
    Need(usize),
    /// After as many bytes it is over.
    End(usize),
    /// It is no reply.
    Broken(&'static str),
}

/// One element's beginning.
enum Item {
    /// An element of as many bytes.
    Whole(usize),
    /// A string of as many bytes, which need not be seen.
    Long(u64),
    /// An aggregate that begins with as many bytes.
    Opens(usize, Open),
    /// The end of what has no length.
    Closes(usize),
}

impl Reply {
    /// Returns whether nothing of it was read.
    pub(super) fn is_new(&self) -> bool {
        self.summary.kind == 0
    }

    /// Returns whether all of it was passed over.
    pub(super) fn is_passed(&self) -> bool {
        self.is_passed
    }

    /// Says what is to be looked for in the reply that begins.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.sightings.watch(watch);
    }

    /// Says which jobs it may give numbers.
    pub(super) fn expect_jobs(&mut self, jobs: Vec<NewJob>) {
        self.sightings.expect_jobs(jobs);
    }

    /// Returns what is remembered, and makes ready for the next reply.
    pub(super) fn take(&mut self) -> (Summary, Sightings) {
        let Self { summary, sightings, .. } = std::mem::take(self);
        (summary, sightings)
    }

    /// Returns the length of the string that `bytes` begin with, if it is only looked at for messages.
    pub(super) fn string_length(&self, bytes: &[u8]) -> Option<u64> {
        let is_string = bytes.first() == Some(&b'$') && self.open.last() != Some(&Open::Chunks);
        match length_line(bytes) {
            LengthLine::Is(Some(length @ 0..), start) if is_string && self.sightings.is_watching() => {
                let whole = start as u64 + length.unsigned_abs() + 2;
                let tells_kind = self.is_first_element() && whole <= MAX_KEPT_BYTES as u64 * 2;
                (!tells_kind).then_some(whole)
            }
            _ => None,
        }
    }

    /// Passes over a string of as many bytes whose beginning is missing; returns whether the reply ends with it.
    pub(super) fn pass_unseen(&mut self, length: u64) -> bool {
        self.remember(b"$", &Item::Long(length));
        self.complete()
    }

    /// Advances over the first of `bytes`.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Step {
        if self.is_passed {
            return Step::End(0);
        }
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let item = match self.item(rest) {
                Ok(item) => item,
                Err(Step::Need(_)) if at > 0 => break,
                Err(step) => return step,
            };
            // A long string is told by itself, so that what comes before it is eaten first.
            if matches!(item, Item::Long(_)) && at > 0 {
                break;
            }
            self.remember(rest, &item);
            let is_over = match item {
                Item::Whole(length) => {
                    at += length;
                    self.complete()
                }
                Item::Long(length) => {
                    self.is_passed = self.complete();
                    return Step::Skip(length);
                }
                Item::Opens(length, open) => {
                    at += length;
                    if self.open.len() >= MAX_DEPTH {
                        return Step::Broken("reply nested too deep");
                    }
                    self.open.push(open);
                    false
                }
                Item::Closes(length) => {
                    at += length;
                    self.open.pop();
                    self.complete()
                }
            };
            if is_over {
                return Step::End(at);
            }
        }
        Step::Eat(at)
    }

    /// Counts an element; returns whether it was the reply's last.
    fn complete(&mut self) -> bool {
        loop {
            match self.open.last_mut() {
                None => return true,
                Some(Open::Streamed | Open::Chunks) => return false,
                Some(Open::Elements(left)) => {
                    *left = left.saturating_sub(1);
                    if *left > 0 {
                        return false;
                    }
                    self.open.pop();
                }
                Some(Open::Attribute(left)) => {
                    *left = left.saturating_sub(1);
                    if *left == 0 {
                        self.open.pop();
                    }
                    return false;
                }
            }
        }
    }

    fn item(&self, bytes: &[u8]) -> Result<Item, Step> {
        let kind = bytes.first().copied().unwrap_or_default();
        let is_chunks = self.open.last() == Some(&Open::Chunks);
        match kind {
            b';' if is_chunks => chunk(bytes),
            _ if is_chunks => Err(Step::Broken("chunk expected")),
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => simple(bytes),
            b'$' | b'!' | b'=' => self.bulk(bytes),
            b'*' | b'~' | b'>' => aggregate(bytes, 1, Open::Elements),
            b'%' => aggregate(bytes, 2, Open::Elements),
            b'|' => aggregate(bytes, 2, Open::Attribute),
            b'.' if self.open.last() == Some(&Open::Streamed) => end(bytes),
            _ => Err(Step::Broken("not a reply")),
        }
    }

    fn bulk(&self, bytes: &[u8]) -> Result<Item, Step> {
        let (length, start) = match length_line(bytes) {
            LengthLine::Is(Some(-1), length) => return Ok(Item::Whole(length)),
            LengthLine::Is(Some(length), start) => (length.unsigned_abs(), start),
            LengthLine::Is(None, length) => return Ok(Item::Opens(length, Open::Chunks)),
            LengthLine::Unfinished => return Err(Step::Need(bytes.len() + 1)),
            LengthLine::Wrong => return Err(Step::Broken("string has no length")),
        };
        let whole = start as u64 + length + 2;
        if length > MAX_BULK_BYTES {
            return Err(Step::Broken("string too long"));
        }
        // Whether an error is kept must not depend on how much of it is shown.
        let is_error = bytes.first() == Some(&b'!');
        match usize::try_from(whole) {
            Ok(whole) if is_error && whole > MAX_LINE_BYTES => Ok(Item::Long(whole as u64)),
            Ok(whole) if bytes.get(..whole).is_some_and(|string| !string.ends_with(b"\r\n")) => {
                Err(Step::Broken("string without an end"))
            }
            Ok(whole) if whole <= bytes.len() => Ok(Item::Whole(whole)),
            Ok(whole) if is_error || (self.is_first_element() && whole <= MAX_KEPT_BYTES * 2) => {
                Err(Step::Need(whole))
            }
            _ => {
                let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(KEYED_BYTES);
                let is_wanted = self.sightings.is_watching() && bytes.len() < start + wanted;
                if is_wanted { Err(Step::Need(start + wanted)) } else { Ok(Item::Long(whole)) }
            }
        }
    }

    /// It may tell what an aggregate is.
    fn is_first_element(&self) -> bool {
        self.open.len() == 1 && self.summary.elements == 0
    }

    fn remember(&mut self, bytes: &[u8], item: &Item) {
        let kind = bytes.first().copied().unwrap_or_default();
        let contents = match item {
            Item::Whole(length) => bytes.get(1..*length).unwrap_or_default(),
            _ => &[],
        };
        let is_attribute = self.open.iter().any(|open| matches!(open, Open::Attribute(_)));
        if self.open.is_empty() && kind != b'|' {
            self.summary.kind = kind;
        } else if self.summary.kind == 0 {
            self.summary.kind = b'|';
        }
        if kind == b'>' && self.open.is_empty() {
            self.sightings.watch(Watch::Push);
        }
        if kind == b'$' && self.sightings.is_watching() && !is_attribute {
            self.sightings.see(bytes, self.open.len(), self.summary.elements, &self.summary.first);
        }
        if matches!(kind, b'-' | b'!') && self.summary.error.is_none() && !is_attribute {
            let text = if kind == b'!' { bulk_contents(contents) } else { contents };
            self.summary.error = Some(failure(text));
        }
        if self.open.len() == 1 && !is_attribute {
            if self.summary.elements == 0 && matches!(kind, b'$' | b'+') {
                let text = if kind == b'$' { bulk_contents(contents) } else { contents };
                self.summary.first =
                    text.trim_ascii().iter().take(MAX_KEPT_BYTES).map(u8::to_ascii_lowercase).collect();
            }
            if kind == b':' {
                self.summary.number = text::decimal(contents.trim_ascii());
            }
            self.summary.elements = self.summary.elements.saturating_add(1);
        }
    }
}

fn simple(bytes: &[u8]) -> Result<Item, Step> {
    let shown = bytes.get(..MAX_LINE_BYTES).unwrap_or(bytes);
    match memchr::memchr(b'\n', shown) {
        Some(end) if shown.get(..end).is_some_and(|line| line.ends_with(b"\r")) => Ok(Item::Whole(end + 1)),
        Some(_) => Err(Step::Broken("line without a carriage return")),
        None if shown.len() < MAX_LINE_BYTES => Err(Step::Need(bytes.len() + 1)),
        None => Err(Step::Broken("line too long")),
    }
}

fn aggregate(bytes: &[u8], each: u64, open: fn(u64) -> Open) -> Result<Item, Step> {
    match length_line(bytes) {
        LengthLine::Is(Some(count), length) => {
            match u64::try_from(count).ok().and_then(|count| count.checked_mul(each)) {
                // An empty attribute is nothing, and the element is still to come.
                Some(0) if open(0) == Open::Attribute(0) => Ok(Item::Opens(length, Open::Elements(1))),
                None | Some(0) => Ok(Item::Whole(length)),
                Some(count) => Ok(Item::Opens(length, open(count))),
            }
        }
        LengthLine::Is(None, length) => Ok(Item::Opens(length, Open::Streamed)),
        LengthLine::Unfinished => Err(Step::Need(bytes.len() + 1)),
        LengthLine::Wrong => Err(Step::Broken("aggregate has no length")),
    }
}

fn end(bytes: &[u8]) -> Result<Item, Step> {
    match bytes {
        [b'.', b'\r', b'\n', ..] => Ok(Item::Closes(3)),
        [b'.'] | [b'.', b'\r'] => Err(Step::Need(3)),
        _ => Err(Step::Broken("aggregate without an end")),
    }
}

fn chunk(bytes: &[u8]) -> Result<Item, Step> {
    match length_line(bytes) {
        LengthLine::Is(Some(0), length) => Ok(Item::Closes(length)),
        LengthLine::Is(Some(length), start) if length > 0 => {
            let whole = start as u64 + length.unsigned_abs() + 2;
            match usize::try_from(whole) {
                Ok(whole) if whole <= bytes.len() => Ok(Item::Whole(whole)),
                _ => Ok(Item::Long(whole)),
            }
        }
        LengthLine::Unfinished => Err(Step::Need(bytes.len() + 1)),
        _ => Err(Step::Broken("chunk has no length")),
    }
}

/// Returns the string after its length.
fn bulk_contents(contents: &[u8]) -> &[u8] {
    let start = memchr::memchr(b'\n', contents).map_or(0, |end| end + 1);
    contents.get(start..).unwrap_or_default()
}

fn failure(error: &[u8]) -> Failure {
    let error = error.trim_ascii();
    let prefix = error.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_prefix =
        !prefix.is_empty() && prefix.iter().all(|byte| byte.is_ascii_uppercase() || b"_-".contains(byte));
    let quote = error.iter().position(|byte| b"'\"`".contains(byte)).unwrap_or(error.len());
    let message = text::lossy(error.get(..quote).unwrap_or_default(), MAX_KEPT_BYTES * 2);
    Failure {
        prefix: if is_prefix { text::lossy(prefix, MAX_KEPT_BYTES) } else { "ERR".to_owned() },
        message: message.trim_end_matches([' ', ',', ':']).to_owned(),
    }
}

impl Held for Reply {
    /// The rest is bounded by the depth of a reply and the length of an error.
    fn held_bytes(&self) -> usize {
        self.sightings.held_bytes()
    }
}
