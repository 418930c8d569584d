//! What is recorded of a statement, in whatever system.

use super::Statement;
use crate::protocol::{Category, Name, Request, set};
use crate::semconv::{self, Attributes, Key, Text};

/// The name of a sign-in, which is no operation that the conventions know.
pub(in crate::protocol) const CONNECT: &str = "connect";

/// Adds what a statement says: of the whole of it, `summary`.
pub(in crate::protocol) fn describe(attributes: &mut Attributes, statement: &Statement, summary: Text) {
    add(attributes, semconv::DB_QUERY_SUMMARY, Some(summary).filter(|summary| !summary.is_empty()));
    add(attributes, semconv::DB_COLLECTION_NAME, statement.collection.clone());
    add(attributes, semconv::DB_STORED_PROCEDURE_NAME, statement.procedure.clone());
    set(attributes, semconv::DB_QUERY_TEXT, statement.text.clone());
}

/// Adds an attribute, if it has a value.
pub(in crate::protocol) fn add(attributes: &mut Attributes, key: Key, value: Option<Text>) {
    if let Some(value) = value {
        set(attributes, key, value);
    }
}

/// Returns the request of a statement, if it is one.
pub(in crate::protocol) fn request(
    verb: Text,
    attributes: Attributes,
    statement: Option<&Statement>,
) -> Request {
    Request {
        name: Name { verb, path: None },
        attributes,
        context: statement.and_then(|statement| statement.context.clone()),
        marks: statement.map(|statement| statement.marks.clone()).unwrap_or_default(),
        category: Category::Database,
        ..Request::default()
    }
}
