//! How far the server's answer to a command has come (MySQL internals manual, "Text Resultset" and the commands).
//!
//! ```text
//! First ─OK, error→ over                        First ─columns→ Definitions ─→ End ─→ Rows ─END→ First or over
//! First ─LOCAL_INFILE→ Upload ─OK, error→ over   First ─statement→ Definitions (parameters) ─→ End ─→ Definitions …
//! ```
//!
//! What is negotiated for a result shows in its packets, so that a connection whose beginning was not seen reads alike.

use super::command::Form;
use super::failure::{self, Failure, Report};
use super::packet::{END, EOF_BYTES, ERROR, FULL_BYTES, LOCAL_INFILE, OK, Reader};
use super::status;

/// Shortest packet that says all is well, as an answer.
const MIN_OK_BYTES: usize = 7;
/// Most columns of a table or a result (the server's own limit is 4096).
const MAX_COLUMNS: u64 = 0xffff;
/// Most of a packet that is read.
const MAX_READ_BYTES: usize = 1024;
/// Length of the packet that names a prepared statement; one byte more says whether definitions follow.
const PREPARED_BYTES: usize = 12;

/// What is expected next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    First,
    /// As many definitions.
    Definitions(u64, Then),
    /// The packet that ends them, which newer servers leave out.
    End(Then),
    Rows,
    /// The client sends a file.
    Upload,
}

/// What follows definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// As many definitions of columns.
    Columns(u64),
    Rows,
    Nothing,
}

/// What is known of the connection's manner of answering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// A packet ends definitions; none where it was not seen yet.
    pub(super) ends_definitions: Option<bool>,
    /// Changes of the session are told.
    pub(super) tracks_session: bool,
}

/// The answer to one command.
#[derive(Debug)]
pub(super) struct Answering {
    form: Form,
    expected: Expected,
    rows: u64,
    returns_rows: bool,
    has_missed_rows: bool,
    failure: Option<Failure>,
}

/// What a packet led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub(super) is_over: bool,
    /// The statement has this number and as many parameters.
    pub(super) prepared: Option<(u32, u16)>,
    /// The database from now on.
    pub(super) database: Option<&'a [u8]>,
}

impl Answering {
    pub(super) fn new(form: Form) -> Self {
        let expected = match form {
            Form::Rows => Expected::Rows,
            Form::Definitions => Expected::Definitions(u64::MAX, Then::Nothing),
            Form::Results | Form::Prepared | Form::Text | Form::Login | Form::Nothing => Expected::First,
        };
        Self {
            form,
            expected,
            rows: 0,
            returns_rows: form == Form::Rows,
            has_missed_rows: false,
            failure: None,
        }
    }

    /// Returns how much of a packet is read, given its length and its first byte.
    pub(super) fn interest(&self, length: usize, first: u8) -> usize {
        let is_read = match self.expected {
            Expected::First | Expected::Upload => true,
            Expected::Definitions(..) | Expected::End(_) | Expected::Rows => is_special(length, first),
        };
        length.min(if is_read { MAX_READ_BYTES } else { 1 })
    }

    /// Returns whether packets are rows unless they are short and special.
    pub(super) fn is_at_rows(&self) -> bool {
        self.expected == Expected::Rows
    }

    /// Returns whether the client sends a file.
    pub(super) fn is_upload(&self) -> bool {
        self.expected == Expected::Upload
    }

    /// Returns whether the end can be told from what stands before it.
    pub(super) fn has_plain_end(&self) -> bool {
        matches!(self.expected, Expected::Definitions(..) | Expected::End(_) | Expected::Rows)
            && matches!(self.form, Form::Results | Form::Rows)
    }

    /// Notes a row.
    pub(super) fn row(&mut self) {
        self.rows = self.rows.saturating_add(1);
    }

    /// Returns how many rows came back, where rows did, and the error with which it ended.
    pub(super) fn finish(self) -> (Option<u64>, Option<Failure>) {
        let is_counted = self.returns_rows && !self.has_missed_rows;
        (is_counted.then_some(self.rows), self.failure)
    }

    /// Takes a packet of which the beginning is shown, as far as it is of [`interest`](Self::interest).
    pub(super) fn take<'a>(
        &mut self,
        payload: &'a [u8],
        length: usize,
        manner: &mut Manner,
    ) -> Result<Step<'a>, &'static str> {
        let Some(&first) = payload.first() else { return Err("empty answer") };
        if first == ERROR && self.form != Form::Text {
            return self.fail(payload);
        }
        match self.expected {
            Expected::First | Expected::Upload => self.take_first(first, payload, length, manner),
            Expected::Definitions(left, then) => Ok(self.take_definition(left, then, first, length, *manner)),
            Expected::End(then) => self.take_end(then, first, payload, length, manner),
            Expected::Rows => self.take_row(payload, length, *manner),
        }
    }

    fn fail<'a>(&mut self, payload: &[u8]) -> Result<Step<'a>, &'static str> {
        match failure::read(payload).ok_or("error without a number")? {
            Report::Progress => Ok(Step::default()),
            Report::Failure(failure) => {
                self.failure = Some(failure);
                Ok(over())
            }
        }
    }

    fn take_first<'a>(
        &mut self,
        first: u8,
        payload: &'a [u8],
        length: usize,
        manner: &mut Manner,
    ) -> Result<Step<'a>, &'static str> {
        match (self.form, first) {
            (Form::Text, _) => Ok(over()),
            (Form::Login, OK) => Ok(over()),
            (Form::Login, 0x01 | END) => Ok(Step::default()),
            (Form::Login, _) => Err("no answer to a login"),
            (Form::Prepared, OK) => self.take_prepared(payload, *manner),
            (Form::Prepared, _) => Err("no answer to a statement"),
            (_, OK) if length >= MIN_OK_BYTES => self.end_result(payload, *manner),
            (_, END) => self.end_result(payload, *manner),
            (_, LOCAL_INFILE) => {
                self.expected = Expected::Upload;
                Ok(Step::default())
            }
            _ => self.take_columns(payload),
        }
    }

    /// Takes the number of columns. Where definitions may be left out a byte says whether they are: MySQL writes it
    /// before the number, MariaDB behind it.
    fn take_columns<'a>(&mut self, payload: &[u8]) -> Result<Step<'a>, &'static str> {
        let number = |bytes| {
            let mut reader = Reader::new(bytes);
            reader.number().map(|number| (number, reader.rest()))
        };
        let (columns, is_defined) = match (number(payload), payload) {
            (Some((columns, [])), _) => (columns, true),
            (Some((columns, [is_defined @ 0..=1])), _) if columns > 0 => (columns, *is_defined == 1),
            (_, [is_defined @ 0..=1, rest @ ..]) => match number(rest) {
                Some((columns, [])) => (columns, *is_defined == 1),
                _ => return Err("no number of columns"),
            },
            _ => return Err("no number of columns"),
        };
        if !(1..=MAX_COLUMNS).contains(&columns) {
            return Err("impossible number of columns");
        }
        self.returns_rows = true;
        self.expected =
            if is_defined { Expected::Definitions(columns, Then::Rows) } else { Expected::End(Then::Rows) };
        Ok(Step::default())
    }

    fn take_prepared<'a>(&mut self, payload: &[u8], manner: Manner) -> Result<Step<'a>, &'static str> {
        let mut reader = Reader::new(payload.get(1..).unwrap_or_default());
        let fields = || Some((reader.u32()?, reader.u16()?, reader.u16()?));
        let (id, columns, parameters) = { fields }().ok_or("statement without a number")?;
        let is_defined = payload.get(PREPARED_BYTES) != Some(&0);
        let then = if columns > 0 { Then::Columns(u64::from(columns)) } else { Then::Nothing };
        let is_over = match (is_defined, parameters, columns) {
            (false, ..) | (true, 0, 0) => true,
            (true, 0, _) => self.define(u64::from(columns), Then::Nothing, manner),
            (true, ..) => self.define(u64::from(parameters), then, manner),
        };
        Ok(Step { is_over, prepared: Some((id, parameters)), database: None })
    }

    /// Expects definitions; returns whether there is nothing more to expect.
    fn define(&mut self, left: u64, then: Then, manner: Manner) -> bool {
        self.expected = match left {
            0 => Expected::End(then),
            _ => Expected::Definitions(left, then),
        };
        // Where it is not known whether a packet ends them, one that comes after all is passed over.
        left == 0 && then == Then::Nothing && manner.ends_definitions != Some(true)
    }

    fn take_definition<'a>(
        &mut self,
        left: u64,
        then: Then,
        first: u8,
        length: usize,
        manner: Manner,
    ) -> Step<'a> {
        if self.form == Form::Definitions {
            return if is_special(length, first) { over() } else { Step::default() };
        }
        let is_over = self.define(left.saturating_sub(1), then, manner);
        Step { is_over, ..Step::default() }
    }

    fn take_end<'a>(
        &mut self,
        then: Then,
        first: u8,
        payload: &'a [u8],
        length: usize,
        manner: &mut Manner,
    ) -> Result<Step<'a>, &'static str> {
        let is_end = first == END && length == EOF_BYTES;
        manner.ends_definitions = Some(is_end);
        let status = status::read(payload, manner.tracks_session).unwrap_or_default();
        if is_end && then == Then::Rows && status.has_cursor {
            self.keep_rows();
        }
        if is_end && (then == Then::Nothing || then == Then::Rows && status.has_cursor) {
            return Ok(over());
        }
        self.expected = match then {
            Then::Columns(columns) => Expected::Definitions(columns, Then::Nothing),
            Then::Rows | Then::Nothing => Expected::Rows,
        };
        match (is_end, then) {
            (true, _) => Ok(Step::default()),
            (false, Then::Nothing) => Err("definitions without an end"),
            (false, _) => self.take(payload, length, manner),
        }
    }

    fn take_row<'a>(
        &mut self,
        payload: &'a [u8],
        length: usize,
        manner: Manner,
    ) -> Result<Step<'a>, &'static str> {
        if payload.first().is_some_and(|&first| is_special(length, first)) {
            return self.end_result(payload, manner);
        }
        self.row();
        Ok(Step::default())
    }

    fn end_result<'a>(&mut self, payload: &'a [u8], manner: Manner) -> Result<Step<'a>, &'static str> {
        let status = status::read(payload, manner.tracks_session).ok_or("no end of a result")?;
        if status.has_cursor && self.rows == 0 {
            self.keep_rows();
        }
        let is_over = !status.has_more || self.form != Form::Results;
        self.expected = Expected::First;
        Ok(Step { is_over, prepared: None, database: status.database })
    }

    /// The rows wait in a cursor: they come when they are fetched.
    fn keep_rows(&mut self) {
        self.returns_rows = self.form == Form::Rows;
    }

    /// Goes on behind rows that are missing, with the next result: how many there were is not known any more.
    pub(super) fn skip_result(&mut self) {
        self.expected = Expected::First;
        self.has_missed_rows = true;
    }
}

/// Returns whether a packet among definitions or rows is none of them. A row that begins alike is a full packet.
fn is_special(length: usize, first: u8) -> bool {
    matches!(first, END | ERROR) && length < FULL_BYTES
}

fn over<'a>() -> Step<'a> {
    Step { is_over: true, ..Step::default() }
}
