//! What a reply says: whether all went well, and how many documents came back.

use super::bson::{Element, Elements, kind};
use crate::protocol::{Outcome, set, text};
use crate::semconv::{self, Attributes};

/// `error.type` where a failure has no number.
const OTHER: &str = "_OTHER";
/// Longest description of an error that is kept, in bytes.
const MAX_MESSAGE_BYTES: usize = 128;

/// What is known of a reply.
#[derive(Debug, Default)]
pub(super) struct Reply {
    /// `ok`.
    is_ok: Option<bool>,
    /// What failed.
    failure: Option<Failure>,
    /// Documents of the batch, or values.
    pub(super) rows: Option<u64>,
    /// Where the elements of the batch begin and end, from the beginning of the body, where they are not all there.
    pub(super) batch: Option<(usize, usize)>,
    /// Where the fields begin that are not there.
    pub(super) cut_at: Option<usize>,
}

#[derive(Debug, Default)]
struct Failure {
    code: Option<i64>,
    name: Option<String>,
    message: Option<String>,
}

impl Reply {
    /// Reads a reply's body, as far as it is there.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut reply = Self::default();
        if let Some(mut elements) = Elements::of(body) {
            reply.take(&mut elements);
            reply.cut_at = elements.unread();
        }
        reply
    }

    /// Takes in fields of the body.
    pub(super) fn take(&mut self, elements: &mut Elements<'_>) {
        let mut failure = Failure::default();
        for element in elements {
            match element.name {
                b"ok" => self.is_ok = element.number().map(|number| number != 0),
                b"cursor" => self.cursor(&element),
                b"values" if element.kind == kind::ARRAY && !element.is_cut() => {
                    self.rows = element.elements().map(|values| values.count() as u64);
                }
                b"writeErrors" => self.write_error(&element),
                b"writeConcernError" => self.write_concern_error(&element),
                // What a query of before OP_MSG is refused with.
                b"$err" => {
                    self.is_ok = Some(false);
                    failure.take(&element);
                }
                _ => failure.take(&element),
            }
        }
        if self.is_ok == Some(false) {
            self.failure = Some(failure);
        }
    }

    /// Returns whether it answers a command, and is not the first of the documents that a query has found.
    pub(super) fn is_of_command(&self) -> bool {
        self.is_ok.is_some()
    }

    /// Returns what is told of it, and of `rows` that came back, and how it went.
    pub(super) fn tell(&self, rows: Option<u64>) -> (Attributes, Outcome) {
        let mut attributes = Attributes::new();
        if let Some(rows) = rows.and_then(|rows| i64::try_from(rows).ok()) {
            set(&mut attributes, semconv::DB_RESPONSE_RETURNED_ROWS, rows);
        }
        let Some(failure) = &self.failure else { return (attributes, Outcome::default()) };
        let code = failure.code.map(|code| code.to_string());
        if let Some(code) = code.clone() {
            set(&mut attributes, semconv::DB_RESPONSE_STATUS_CODE, code);
        }
        let error_type = code.or_else(|| failure.name.clone()).unwrap_or_else(|| OTHER.to_owned());
        let message = failure.name.clone().or_else(|| failure.message.clone());
        (attributes, Outcome { error_type: Some(error_type), message, is_client_fault: false })
    }

    fn cursor(&mut self, cursor: &Element<'_>) {
        for element in cursor.elements().into_iter().flatten() {
            if element.kind != kind::ARRAY || !matches!(element.name, b"firstBatch" | b"nextBatch") {
                continue;
            }
            let start = cursor.start.saturating_add(element.start);
            match element.elements() {
                Some(documents) if !element.is_cut() => self.rows = Some(documents.count() as u64),
                Some(_) => self.batch = Some((start + 4, start.saturating_add(element.length))),
                None => {}
            }
        }
    }

    /// The first of the documents that could not be written.
    fn write_error(&mut self, errors: &Element<'_>) {
        let first = errors.elements().and_then(|mut errors| errors.next());
        let Some(fields) = first.and_then(|first| first.elements()) else { return };
        let mut failure = Failure::default();
        fields.for_each(|field| failure.take(&field));
        self.failure = Some(failure);
    }

    fn write_concern_error(&mut self, error: &Element<'_>) {
        if self.failure.is_some() {
            return;
        }
        let mut failure = Failure::default();
        error.elements().into_iter().flatten().for_each(|field| failure.take(&field));
        self.failure = Some(failure);
    }
}

impl Failure {
    fn take(&mut self, field: &Element<'_>) {
        match field.name {
            b"code" => self.code = field.number(),
            b"codeName" => self.name = field.text().map(|name| text::lossy(name, MAX_MESSAGE_BYTES)),
            b"errmsg" | b"$err" => self.message = field.text().map(told),
            _ => {}
        }
    }
}

/// Returns an error's text up to what it may quote: values stand in quotes, braces or behind a colon.
fn told(message: &[u8]) -> String {
    let end = message.iter().position(|byte| b"'\"`{[(:<".contains(byte)).unwrap_or(message.len());
    let shown = message.get(..end).unwrap_or_default();
    text::lossy(shown.trim_ascii_end(), MAX_MESSAGE_BYTES)
}
