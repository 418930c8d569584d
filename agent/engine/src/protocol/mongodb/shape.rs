//! The text of a command: its document as JSON, with `?` in place of what programs fill in.

use super::bson::{Element, Elements, kind};
use crate::protocol::marks::{Marks, Search};
use crate::protocol::text;

/// Documents within documents that are shown. Servers take 100.
const MAX_DEPTH: usize = 24;
/// Longest string that is shown where values are shown, in bytes.
const MAX_STRING_BYTES: usize = 64;

/// Writes the text, and searches what it writes for ids.
#[derive(Debug)]
pub(super) struct Shape {
    /// Whole texts, one behind the other.
    text: Vec<u8>,
    max_bytes: usize,
    redact: bool,
    /// What is written are orders and choices.
    is_choice: bool,
    is_searching: bool,
    search: Search,
}

impl Shape {
    /// Returns an empty text that will have at most `max_bytes`. Values are shown unless `redact` says otherwise.
    pub(super) fn new(redact: bool, max_bytes: usize, mark_key: Option<u64>) -> Self {
        // Most commands fit.
        let text = Vec::with_capacity(max_bytes.min(192));
        let search = Search::new(mark_key);
        Self { text, max_bytes, redact, is_choice: false, is_searching: mark_key.is_some(), search }
    }

    /// Begins the document of a command with its name and what stands behind it: a collection's name, another command,
    /// or something else.
    pub(super) fn begin(&mut self, name: &str, collection: Option<&[u8]>, value: Option<&Element<'_>>) {
        self.push("{\"");
        self.push(name);
        self.push("\": ");
        match (collection, value) {
            (Some(collection), _) => self.string(collection, usize::MAX),
            (None, Some(value)) => self.value(value, 0),
            (None, None) => self.push("\"?\""),
        }
    }

    /// Adds a field of the command, unless it is one of those that only say how it is sent.
    pub(super) fn field(&mut self, element: &Element<'_>) {
        if self.is_full() || is_envelope(element.name) {
            return;
        }
        self.push(", ");
        self.is_choice = is_choice(element.name);
        self.named(element, 1);
        self.is_choice = false;
    }

    /// Adds a field that names a collection.
    pub(super) fn collection(&mut self, name: &[u8], collection: &[u8]) {
        self.push(", ");
        self.string(name, usize::MAX);
        self.push(": ");
        self.string(collection, usize::MAX);
    }

    /// Adds a field whose values are the program's data.
    pub(super) fn data(&mut self, name: &[u8]) {
        self.push(", ");
        self.string(name, usize::MAX);
        self.push(": [\"?\"]");
        self.search.skip();
    }

    /// Adds a field with as many documents as are there of `documents`.
    pub(super) fn documents(&mut self, name: &[u8], mut documents: &[u8]) {
        self.push(", ");
        self.string(name, usize::MAX);
        self.push(": [");
        let (mut before, start) = (None, self.text.len());
        while let (false, Some(elements)) = (self.is_full(), Elements::of(documents)) {
            let length = super::bson::document_length(documents).unwrap_or(usize::MAX);
            before = self.item(before, start, |shape| shape.document(elements, 1));
            documents = documents.get(length..).unwrap_or_default();
        }
        self.text.push(b']');
    }

    /// Ends the document. Returns the text, and what it is about; parts of it are known to be missing where
    /// `is_partial` says so.
    pub(super) fn finish(mut self, is_partial: bool) -> (String, Marks) {
        self.text.push(b'}');
        if is_partial || self.is_full() {
            self.search.skip();
        }
        let mut text = String::from_utf8(self.text).unwrap_or_default();
        text::truncate(&mut text, self.max_bytes);
        (text, self.search.finish())
    }

    fn is_full(&self) -> bool {
        self.text.len() >= self.max_bytes
    }

    fn named(&mut self, element: &Element<'_>, depth: usize) {
        self.string(element.name, usize::MAX);
        self.push(": ");
        let was_choice = self.is_choice;
        self.is_choice |= is_choosing(element.name);
        self.value(element, depth);
        self.is_choice = was_choice;
    }

    fn value(&mut self, element: &Element<'_>, depth: usize) {
        match (element.kind, element.elements()) {
            (kind::DOCUMENT, Some(elements)) => self.document(elements, depth + 1),
            (kind::ARRAY, Some(elements)) => self.array(elements, depth + 1),
            _ => self.literal(element),
        }
    }

    fn document(&mut self, elements: Elements<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return self.push("\"...\"");
        }
        self.text.push(b'{');
        let start = self.text.len();
        for element in elements {
            if self.is_full() {
                break;
            }
            if self.text.len() > start {
                self.push(", ");
            }
            self.named(&element, depth);
        }
        self.text.push(b'}');
    }

    /// Values that look the same as the one before are not shown: how many there are differs from call to call.
    fn array(&mut self, elements: Elements<'_>, depth: usize) {
        if depth > MAX_DEPTH {
            return self.push("\"...\"");
        }
        self.text.push(b'[');
        let (mut before, start) = (None, self.text.len());
        for element in elements {
            if self.is_full() {
                break;
            }
            before = self.item(before, start, |shape| shape.value(&element, depth));
        }
        self.text.push(b']');
    }

    /// Writes one of several values, the first of which began at `start`, unless it is written as the one `before`,
    /// which is told by where it begins. Returns where the last one begins.
    fn item(&mut self, before: Option<usize>, start: usize, write: impl FnOnce(&mut Self)) -> Option<usize> {
        let end = self.text.len();
        if end > start {
            self.push(", ");
        }
        let item = self.text.len();
        write(self);
        let is_repeated =
            before.is_some_and(|before| self.redact && self.text.get(before..end) == self.text.get(item..));
        if is_repeated {
            self.text.truncate(end);
            return before;
        }
        Some(item)
    }

    fn literal(&mut self, element: &Element<'_>) {
        if self.is_searching && !element.is_cut() {
            self.mark(element);
        }
        let number = if element.is_cut() { None } else { element.number() };
        if let (true, Some(number @ -1..=1)) = (self.is_choice, number) {
            return self.push(&number.to_string());
        }
        if self.redact || element.is_cut() {
            return self.push("\"?\"");
        }
        match (element.kind, number) {
            (kind::STRING, _) => self.string(element.text().unwrap_or_default(), MAX_STRING_BYTES),
            (kind::NULL, _) => self.push("null"),
            (kind::BOOLEAN, Some(value)) => self.push(if value == 0 { "false" } else { "true" }),
            (kind::DOUBLE, _) => {
                let value = element.value.try_into().map(f64::from_le_bytes).unwrap_or_default();
                self.push(&value.to_string());
            }
            (kind::INT32 | kind::INT64, Some(value)) => self.push(&value.to_string()),
            (kind::OBJECT_ID, _) => {
                self.text.push(b'"');
                self.push(&hexadecimal(element.value));
                self.text.push(b'"');
            }
            _ => self.push("\"?\""),
        }
    }

    /// Values that may be ids of what the command is about.
    fn mark(&mut self, element: &Element<'_>) {
        match (element.kind, element.number()) {
            (kind::STRING, _) => self.search.text(element.text().unwrap_or_default()),
            (kind::OBJECT_ID, _) => self.search.text(hexadecimal(element.value).as_bytes()),
            // A length, a subtype and 16 bytes: a UUID.
            (kind::BINARY, _) if element.length == 21 => {
                self.search.text(hexadecimal(element.value.get(5..).unwrap_or_default()).as_bytes());
            }
            (kind::INT32 | kind::INT64, Some(number)) if number > 9999 => {
                self.search.text(number.to_string().as_bytes());
            }
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    fn string(&mut self, bytes: &[u8], max: usize) {
        self.text.push(b'"');
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if bytes.len() <= max && bytes.iter().all(is_plain) {
            self.text.extend_from_slice(bytes);
        } else {
            text::lossy(bytes, max).chars().for_each(|character| match character {
                '"' | '\\' => self.text.extend([b'\\', character as u8]),
                '\n' | '\r' | '\t' => self.text.push(b' '),
                other => self.push(other.encode_utf8(&mut [0; 4])),
            });
        }
        self.text.push(b'"');
    }
}

/// Returns whether a field says how a command is sent, not what it asks for.
fn is_envelope(name: &[u8]) -> bool {
    matches!(
        name,
        b"$audit"
            | b"$clusterTime"
            | b"$client"
            | b"$configServerState"
            | b"$db"
            | b"$readPreference"
            | b"apiDeprecationErrors"
            | b"apiStrict"
            | b"apiVersion"
            | b"autocommit"
            | b"comment"
            | b"lsid"
            | b"startTransaction"
            | b"txnNumber"
    )
}

/// Returns whether the numbers of a command's field are orders and choices: 1, -1 and 0 are shown.
fn is_choice(name: &[u8]) -> bool {
    matches!(name, b"fields" | b"hint" | b"projection" | b"sort")
}

/// Likewise, of an operator.
fn is_choosing(name: &[u8]) -> bool {
    matches!(name, b"$project" | b"$sort")
}

fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let nibbles = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.filter_map(|nibble| DIGITS.get(usize::from(nibble)).copied()).map(char::from).collect()
}
