//! Marks: hashes of what looks like an id in a request, by which two requests that name the same thing are told.
//!
//! Parsers show the places where ids live; only keyed hashes come out. Words and small numbers make no marks, whatever
//! their place, and what comes out is bounded whatever goes in. Whether a mark is rare is not decided here.

use std::hash::BuildHasher as _;

use super::WireContext;

/// Marks of one request that are kept. A request with more names many things.
const MAX_MARKS: usize = 8;
/// Bytes of one request that are searched.
const MAX_SEARCHED_BYTES: usize = 1024;
/// Longest id (SHA-256 in hexadecimal). What is longer is data.
const MAX_ID_BYTES: usize = 64;
/// Least digits of a number that may be an id.
const MIN_DIGITS: usize = 5;
/// Least characters of an id with letters.
const MIN_CHARACTERS: usize = 8;
/// From this length on, two who have the same did not choose it independently.
const LONG_DIGITS: usize = 12;
const LONG_CHARACTERS: usize = 16;
const UUID_CHARACTERS: usize = 36;

/// The hash of an id, and what the id is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Of its normal form: lower case, without the hyphens of a UUID and the zeros before a number.
    pub hash: u64,
    /// What it proves that two requests have it.
    pub weight: Weight,
}

/// What it proves that two requests have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Little: a short number is soon found twice by chance.
    Short,
    /// They are about the same thing.
    Long,
    /// One is the cause of the other, or both have the same cause: it names a request, not a thing.
    Request,
}

/// The marks of one request, in the order in which they were found, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    found: Vec<Mark>,
    is_partial: bool,
}

impl Marks {
    /// Returns each mark.
    pub fn iter(&self) -> impl Iterator<Item = Mark> {
        self.found.iter().copied()
    }

    /// Returns whether the request may name things where nobody looked: in its body, or beyond the limits.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Adds a mark, unless there are enough.
    pub(crate) fn add(&mut self, mark: Mark) {
        if let Some(known) = self.found.iter_mut().find(|known| known.hash == mark.hash) {
            known.weight = known.weight.max(mark.weight);
        } else if self.found.len() < MAX_MARKS {
            self.found.push(mark);
        } else {
            self.is_partial = true;
        }
    }

    /// Adds the mark of a context that somebody else made: whoever passes it on works for the request that brought it.
    pub(crate) fn add_context(&mut self, context: &WireContext) {
        let hash = foldhash::quality::FixedState::default().hash_one((context.trace_id, context.span_id));
        self.add(Mark { hash, weight: Weight::Request });
    }

    /// Adds all marks of another part of the same request, before those that are known.
    pub(super) fn extend_front(&mut self, others: Marks) {
        let later = std::mem::replace(self, others);
        later.iter().for_each(|mark| self.add(mark));
        self.is_partial |= later.is_partial;
    }
}

/// A search for the marks of one request.
#[derive(Debug)]
pub(super) struct Search {
    /// Key of the hashes; without one nothing is searched.
    key: Option<u64>,
    searched_bytes: usize,
    marks: Marks,
}

impl Search {
    /// Returns a search that has found nothing yet.
    pub(super) fn new(key: Option<u64>) -> Self {
        Self { key, searched_bytes: 0, marks: Marks::default() }
    }

    /// Notes that the request has parts that are not searched.
    pub(super) fn skip(&mut self) {
        self.marks.is_partial = true;
    }

    /// Searches a text for ids of things.
    pub(super) fn text(&mut self, text: &[u8]) {
        self.words(text, None);
    }

    /// Searches a text that names the request itself.
    pub(super) fn request_id(&mut self, text: &[u8]) {
        self.words(text, Some(Weight::Request));
    }

    /// Takes a value as databases send it in binary: whole numbers of 4 or 8 bytes, UUIDs of 16, and texts.
    pub(super) fn binary(&mut self, value: &[u8]) {
        let number = match *value {
            [a, b, c, d] => i64::from(i32::from_be_bytes([a, b, c, d])),
            _ if value.iter().all(u8::is_ascii_graphic) => return self.text(value),
            [a, b, c, d, e, f, g, h] => i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ if value.len() == 16 => return self.uuid(value),
            _ => return self.text(value),
        };
        self.text(number.to_string().as_bytes());
    }

    /// Returns what was found.
    pub(super) fn finish(self) -> Marks {
        self.marks
    }

    fn uuid(&mut self, value: &[u8]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let nibbles = value.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: Vec<u8> = nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble)).copied()).collect();
        self.text(&text);
    }

    fn words(&mut self, text: &[u8], weight: Option<Weight>) {
        let Some(key) = self.key else { return };
        let room = MAX_SEARCHED_BYTES.saturating_sub(self.searched_bytes);
        if text.len() > room {
            self.skip();
        }
        let mut rest = text.get(..room).unwrap_or(text);
        self.searched_bytes += rest.len();
        while let Some(start) = rest.iter().position(u8::is_ascii_alphanumeric) {
            rest = rest.get(start..).unwrap_or_default();
            let length = word_length(rest);
            let (word, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            if let Some(mark) = mark(key, word) {
                self.marks.add(Mark { weight: weight.unwrap_or(mark.weight), ..mark });
            }
            rest = after;
        }
    }
}

/// Returns the length of the UUID, or of the letters and digits, with which a text begins.
fn word_length(text: &[u8]) -> usize {
    let length = |text: &[u8]| {
        let is_end = |byte: &u8| !byte.is_ascii_alphanumeric();
        text.iter().position(is_end).unwrap_or(text.len())
    };
    let is_uuid = text.get(..UUID_CHARACTERS).is_some_and(is_uuid)
        && !text.get(UUID_CHARACTERS).is_some_and(u8::is_ascii_alphanumeric);
    if is_uuid { UUID_CHARACTERS } else { length(text) }
}

fn is_uuid(text: &[u8]) -> bool {
    let is_hyphen = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.iter().enumerate().all(|(at, byte)| match is_hyphen(at) {
        true => *byte == b'-',
        false => byte.is_ascii_hexdigit(),
    })
}

/// Returns the mark of a word; none where it does not look like an id.
fn mark(key: u64, word: &[u8]) -> Option<Mark> {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    let characters = word.iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    if characters > MAX_ID_BYTES {
        return None;
    }
    let is_number = digits == word.len();
    let zeros = if is_number { word.iter().take_while(|&&byte| byte == b'0').count() } else { 0 };
    let significant = characters - zeros;
    let is_hexadecimal = word.iter().all(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
    let (is_id, is_long) = match is_number {
        true => (significant >= MIN_DIGITS, significant >= LONG_DIGITS),
        // A word may end in a digit, and few are spelled with the letters of hexadecimal numbers only.
        false => (
            characters >= MIN_CHARACTERS && digits >= if is_hexadecimal { 1 } else { 2 },
            characters >= LONG_CHARACTERS,
        ),
    };
    let normal = word.iter().skip(zeros).filter(|byte| byte.is_ascii_alphanumeric());
    let normal = normal.map(u8::to_ascii_lowercase);
    is_id.then(|| Mark {
        hash: hash(key, normal, significant),
        weight: if is_long { Weight::Long } else { Weight::Short },
    })
}

fn hash(key: u64, bytes: impl Iterator<Item = u8>, length: usize) -> u64 {
    let mut buffer = [0; MAX_ID_BYTES];
    for (to, from) in buffer.iter_mut().zip(bytes) {
        *to = from;
    }
    let text = buffer.get(..length).unwrap_or(&buffer);
    foldhash::quality::FixedState::with_seed(key).hash_one(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(texts: &[&str]) -> Marks {
        let mut search = Search::new(Some(1));
        texts.iter().for_each(|text| search.text(text.as_bytes()));
        search.finish()
    }

    fn weights(text: &str) -> Vec<Weight> {
        search(&[text]).iter().map(|mark| mark.weight).collect()
    }

    #[test]
    fn ids_make_marks_and_words_and_small_numbers_do_not() {
        use Weight::{Long, Short};
        for (text, expected) in [
            ("/orders/12345/items", vec![Short]),
            ("item:700000001", vec![Short]),
            ("202611210001", vec![Long]),
            ("/o/3f2504e0-4f89-11d3-9a0c-0305e82c3301", vec![Long]),
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", vec![Long]),
            ("deadbee1", vec![Short]),
            ("V1StGXR8_Z5jdHi6B-myT", vec![Short, Short]),
            ("user_123456,987654", vec![Short, Short]),
            ("/api/v1/checkout/2026/9999", vec![]),
            ("SELECT name FROM beefcafe LIMIT 0000100", vec![]),
            ("/static/version2/application", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(weights(text), expected, "{text}");
        }
        assert_eq!(weights(&"a1".repeat(33)), [], "data");
    }

    #[test]
    fn one_id_is_one_mark_in_every_spelling() {
        let of = |text: &str| search(&[text]).iter().map(|mark| mark.hash).collect::<Vec<_>>();
        let uuid = of("3f2504e0-4f89-11d3-9a0c-0305e82c3301");
        assert_eq!(uuid.len(), 1);
        assert_eq!(of("3F2504E04F8911D39A0C0305E82C3301"), uuid);
        assert_eq!(of("00012345"), of("12345"));
        assert_ne!(of("12345"), of("12346"));
        let binary = |value: &[u8]| {
            let mut search = Search::new(Some(1));
            search.binary(value);
            search.finish().iter().map(|mark| mark.hash).collect::<Vec<_>>()
        };
        assert_eq!(binary(&700_000_001_i32.to_be_bytes()), of("700000001"));
        assert_eq!(binary(&700_000_001_i64.to_be_bytes()), of("700000001"));
        assert_eq!(binary(&0x3f25_04e0_4f89_11d3_9a0c_0305_e82c_3301_u128.to_be_bytes()), uuid);
        assert_eq!(binary(b"12345"), of("12345"));
        assert_eq!(binary(b"AB12CD34"), of("ab12cd34"));
    }

    #[test]
    fn hashes_say_nothing_without_their_key() {
        let of = |key| {
            let mut search = Search::new(key);
            search.text(b"700000001");
            search.finish()
        };
        assert_ne!(of(Some(1)), of(Some(2)));
        assert_eq!(of(None), Marks::default());
    }

    #[test]
    fn limits_are_told() {
        let numbers: Vec<String> = (0..9).map(|number| (100_000 + number).to_string()).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
        assert!(!search(&numbers[..8]).is_partial());
        assert_eq!((search(&numbers).iter().count(), search(&numbers).is_partial()), (8, true));
        let long = "x ".repeat(MAX_SEARCHED_BYTES / 2);
        assert!(!search(&[&long]).is_partial());
        assert!(search(&[&long, "700000001"]).is_partial());
    }

    #[test]
    fn an_id_that_names_a_request_outweighs_the_same_that_names_a_thing() {
        let mut search = Search::new(Some(1));
        search.text(b"/x/12345");
        search.request_id(b"12345");
        let found: Vec<_> = search.finish().iter().map(|mark| mark.weight).collect();
        assert_eq!(found, [Weight::Request]);
    }
}
