//! SQL statements: their text without literals, and the short form that names a span.
//!
//! Nothing here fails: whatever the text is, also where it was cut, the answer is what could be made of it, in time
//! linear in its length. Dialects differ in what is a literal, a name and a comment.

mod cache;
pub(super) mod message;
mod operation;
mod redact;
pub(super) mod request;
mod summary;
mod token;

use super::WireContext;
use super::context;
use super::marks::{Marks, Search};
pub(super) use cache::{Statements, read_shared};
use summary::Summaries;
use token::Tokens;

use crate::held::Held;
use crate::semconv::Text;

/// What a statement says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Statement {
    /// Text as it may be recorded.
    pub(super) text: Text,
    /// `db.query.summary`; empty where nothing is known.
    pub(super) summary: Text,
    /// The one operation; none where there are several kinds.
    pub(super) operation: Option<Text>,
    /// The one collection it works on; none where there are several or none.
    pub(super) collection: Option<Text>,
    /// The stored procedure that it calls.
    pub(super) procedure: Option<Text>,
    /// The database that it changes to (`USE`).
    pub(super) database: Option<String>,
    /// Number of statements, separated by semicolons.
    pub(super) count: usize,
    /// Trace context in a comment (sqlcommenter).
    pub(super) context: Option<WireContext>,
    /// What its literals and comments are about.
    pub(super) marks: Marks,
}

impl Statement {
    /// Returns it so that its texts are not copied into each span.
    fn shared(self) -> Self {
        Self {
            text: self.text.shared(),
            summary: self.summary.shared(),
            operation: self.operation.map(Text::shared),
            collection: self.collection.map(Text::shared),
            procedure: self.procedure.map(Text::shared),
            ..self
        }
    }
}

impl Held for Statement {
    fn held_bytes(&self) -> usize {
        self.text.held_bytes()
            + self.summary.held_bytes()
            + self.operation.held_bytes()
            + self.collection.held_bytes()
            + self.procedure.held_bytes()
            + self.database.held_bytes()
            + self.context.held_bytes()
            + self.marks.held_bytes()
    }
}

/// Whose SQL it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// PostgreSQL's, which contains what the standard's literals look like.
    Postgresql,
    /// MySQL's and MariaDB's: texts in double quotes, names in backticks, `#` comments and code in comments. Where a
    /// server takes double quotes for names, they are replaced like literals.
    Mysql,
}

/// How statements are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) dialect: Dialect,
    /// Replace literals by `?`.
    pub(super) redact: bool,
    /// Longest text that is looked at, in bytes; the rest is cut off.
    pub(super) max_bytes: usize,
    /// A backslash escapes in plain string literals (`standard_conforming_strings` is off).
    pub(super) backslash_escapes: bool,
    /// Key of the hashes of ids.
    pub(super) mark_key: Option<u64>,
}

/// Returns what `statement` says.
pub(super) fn read(statement: &[u8], options: Options) -> Statement {
    let shown = statement.get(..options.max_bytes).unwrap_or(statement);
    let mut redacted = redact::Redacted::with_capacity(if options.redact { shown.len() } else { 0 });
    let mut summaries = Summaries::new(options.dialect);
    let mut context = None;
    let mut search = Search::new(options.mark_key);
    if shown.len() < statement.len() {
        search.skip();
    }
    for token in Tokens::new(shown, options) {
        if options.redact {
            redacted.push(token);
        }
        summaries.push(token);
        if token.kind == token::Kind::Comment && context.is_none() {
            context = commented_context(token.text);
        }
        if matches!(token.kind, token::Kind::Text | token::Kind::Number | token::Kind::Comment) {
            search.text(token.text);
        }
    }
    let text =
        if options.redact { redacted.finish() } else { String::from_utf8_lossy(shown).trim().to_owned() };
    Statement { text: text.into(), context, marks: search.finish(), ..summaries.finish() }
}

/// Returns the trace context of a comment such as `/*traceparent='00-…-01',tracestate='a%3D1'*/`.
fn commented_context(comment: &[u8]) -> Option<WireContext> {
    let parent = commented(comment, b"traceparent='")?;
    let state = commented(comment, b"tracestate='").map(super::text::percent_decoded);
    let states: Vec<&[u8]> = state.iter().map(Vec::as_slice).collect();
    context::of_w3c(&[parent], &states)
}

fn commented<'a>(comment: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let start = memchr::memmem::find(comment, key)? + key.len();
    let value = comment.get(start..)?;
    value.get(..memchr::memchr(b'\'', value)?)
}

#[cfg(test)]
mod tests;
