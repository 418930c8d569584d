//! What kind of request a span describes: two spans of one category may be the same request seen twice.

use crate::model::{AnyValue, KeyValue, Span, find};

/// A category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Category<'a> {
    /// HTTP, and what runs over it.
    Http,
    /// A database, by its system.
    Database(&'a str),
    /// A message broker, by its system.
    Messaging(&'a str),
}

/// Systems that have another name in the current conventions (opentelemetry.io/docs/specs/semconv/db/migration-guide).
const RENAMED_SYSTEMS: [(&str, &str); 3] =
    [("mssql", "microsoft.sql_server"), ("oracle", "oracle.db"), ("postgres", "postgresql")];

/// Attributes that name one thing in current and in former conventions: where both spans have one, it must be equal.
const TELLING: [&[&str]; 3] = [
    &["http.request.method", "http.method"],
    &["http.response.status_code", "http.status_code"],
    &["server.port", "net.peer.port"],
];

/// Returns the category; none where the span says nothing that tells one.
pub(super) fn category(span: &Span) -> Option<Category<'_>> {
    let attributes = &span.attributes;
    if let Some(system) = text(attributes, &["db.system.name", "db.system"]) {
        let renamed = RENAMED_SYSTEMS.iter().find(|(former, _)| *former == system);
        return Some(Category::Database(renamed.map_or(system, |(_, current)| current)));
    }
    if let Some(system) = text(attributes, &["messaging.system"]) {
        return Some(Category::Messaging(system));
    }
    let over_http = ["http.request.method", "http.method", "rpc.system", "rpc.system.name"];
    over_http.iter().any(|key| find(attributes, key).is_some()).then_some(Category::Http)
}

/// Returns whether the two say something different about what must be equal for one request.
pub(super) fn is_contradicted(one: &Span, other: &Span) -> bool {
    TELLING.iter().any(|keys| {
        let value =
            |span: &Span| keys.iter().find_map(|key| find(&span.attributes, key)).map(AnyValue::to_string);
        value(one).zip(value(other)).is_some_and(|(one, other)| one != other)
    })
}

fn text<'a>(attributes: &'a [KeyValue], keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| find(attributes, key)?.as_str()).filter(|text| !text.is_empty())
}
