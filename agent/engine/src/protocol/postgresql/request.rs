//! What is recorded of a question.

use crate::protocol::sql::Statement;
use crate::protocol::sql::request::{CONNECT, add, describe, request};
use crate::protocol::{Request, set};
use crate::semconv::{self, Attributes, Text};

/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 8;

/// Who speaks with which database, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Identity {
    pub(super) database: Option<Text>,
    pub(super) user: Option<Text>,
}

/// Returns the request that executes a statement; none stands for one that was prepared before we came.
pub(super) fn execute(statement: Option<&Statement>, identity: &Identity) -> Request {
    let Some(statement) = statement else {
        let mut attributes = common(identity);
        set(&mut attributes, semconv::REMORA_INCOMPLETE, "statement_unknown");
        return request("postgresql".into(), attributes, None);
    };
    let mut attributes = common(identity);
    add(&mut attributes, semconv::DB_OPERATION_NAME, statement.operation.clone());
    describe(&mut attributes, statement, statement.summary.clone());
    if statement.count > 1 {
        set(
            &mut attributes,
            semconv::DB_OPERATION_BATCH_SIZE,
            i64::try_from(statement.count).unwrap_or(i64::MAX),
        );
    }
    let name = if statement.summary.is_empty() { "postgresql".into() } else { statement.summary.clone() };
    request(name, attributes, Some(statement))
}

/// Returns the request that prepares a statement.
pub(super) fn prepare(statement: &Statement, identity: &Identity) -> Request {
    let mut attributes = common(identity);
    let name = Text::from(format!("PREPARE {}", statement.summary).trim_end().to_owned());
    set(&mut attributes, semconv::DB_OPERATION_NAME, "PREPARE");
    describe(&mut attributes, statement, name.clone());
    request(name, attributes, Some(statement))
}

/// Returns the request that calls a function by its number.
pub(super) fn call_function(identity: &Identity) -> Request {
    let mut attributes = common(identity);
    set(&mut attributes, semconv::DB_OPERATION_NAME, "FUNCTION CALL");
    request("FUNCTION CALL".into(), attributes, None)
}

/// Returns the request to be let in.
pub(super) fn connect(identity: &Identity) -> Request {
    request(CONNECT.into(), common(identity), None)
}

fn common(identity: &Identity) -> Attributes {
    let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
    set(&mut attributes, semconv::DB_SYSTEM_NAME, "postgresql");
    add(&mut attributes, semconv::DB_NAMESPACE, identity.database.clone());
    add(&mut attributes, semconv::DB_USER, identity.user.clone());
    attributes
}
