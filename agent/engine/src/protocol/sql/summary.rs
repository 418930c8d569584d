//! `db.query.summary`: operations and targets in their order, as they were written.
//!
//! The rules are those of the conventions' section "Generating a summary of the query". Names of common table
//! expressions are no targets: they exist only within the statement.

mod one;

use super::token::{Kind, Token};
use super::{Dialect, Statement};
use one::One;

use crate::semconv::Text;

/// Summaries of all statements of a text.
#[derive(Debug)]
pub(super) struct Summaries {
    first: Option<One>,
    are_alike: bool,
    count: usize,
    current: One,
    /// The database that the last `USE` names.
    database: Option<String>,
}

/// Whether there was none, one, or more of something.
#[derive(Debug, Default, PartialEq)]
enum Several {
    #[default]
    None,
    One(String),
    More,
}

impl Summaries {
    /// Returns the summaries of nothing yet.
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { first: None, are_alike: false, count: 0, current: One::new(dialect), database: None }
    }

    /// Takes the next token.
    pub(super) fn push(&mut self, token: Token<'_>) {
        match token.kind {
            Kind::Space | Kind::Comment => {}
            _ if token.is_sign(b';') && self.current.ends_with_semicolon() => self.next_statement(),
            _ => self.current.push(token),
        }
    }

    /// Returns what was found; the text is left empty.
    pub(super) fn finish(mut self) -> Statement {
        self.next_statement();
        let database = self.database;
        let first = self.first.unwrap_or(self.current);
        let statement = match self.count {
            0 | 1 => Statement {
                operation: first.operation.only().map(Text::from),
                collection: match first.is_call || first.names_other {
                    true => None,
                    false => first.target.clone_only().map(Text::from),
                },
                procedure: if first.is_call { first.target.only().map(Text::from) } else { None },
                summary: first.text.into(),
                count: self.count,
                ..Statement::default()
            },
            // A batch has one name only where its operations have.
            _ if self.are_alike && !first.text.is_empty() => Statement {
                summary: format!("BATCH {}", first.text).into(),
                operation: first.operation.only().map(|operation| format!("BATCH {operation}").into()),
                collection: match first.is_call || first.names_other {
                    true => None,
                    false => first.target.only().map(Text::from),
                },
                count: self.count,
                ..Statement::default()
            },
            _ => Statement { summary: "BATCH".into(), count: self.count, ..Statement::default() },
        };
        Statement { database, ..statement }
    }

    fn next_statement(&mut self) {
        let next = One::new(self.current.dialect);
        let mut finished = std::mem::replace(&mut self.current, next);
        finished.end_name();
        if !finished.is_begun {
            return;
        }
        self.count += 1;
        if finished.main_operation() == "USE" {
            self.database = std::mem::take(&mut finished.target).only();
        }
        match &self.first {
            None => {
                self.are_alike = true;
                self.first = Some(finished);
            }
            Some(first) => self.are_alike &= first.text == finished.text,
        }
    }
}

impl Several {
    fn add(&mut self, text: String) {
        *self = match self {
            Several::None => Several::One(text),
            Several::One(known) if known.eq_ignore_ascii_case(&text) => return,
            _ => Several::More,
        }
    }

    fn only(self) -> Option<String> {
        match self {
            Several::One(text) => Some(text),
            _ => None,
        }
    }

    fn clone_only(&self) -> Option<String> {
        match self {
            Several::One(text) => Some(text.clone()),
            _ => None,
        }
    }
}
