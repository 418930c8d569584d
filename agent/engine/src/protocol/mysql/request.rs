//! What is recorded of a command.

use crate::protocol::sql::Statement;
use crate::protocol::sql::request::{add, describe, request};
use crate::protocol::{Request, set, text};
use crate::semconv::{self, Attributes};

/// Longest names of users and databases that are recorded, in bytes (the server's own limits are 32 and 64 characters).
const MAX_NAME_BYTES: usize = 256;

/// The system where it is not known which of the two it is.
pub(super) const SYSTEM: &str = "mysql";

/// Who speaks with which database, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `mysql` or `mariadb`.
    pub(super) system: &'static str,
    pub(super) database: Option<String>,
    pub(super) user: Option<String>,
}

impl Identity {
    /// Takes the names of a login.
    pub(super) fn log_in(&mut self, user: &[u8], database: Option<&[u8]>) {
        self.user = Some(text::lossy(user, MAX_NAME_BYTES)).filter(|user| !user.is_empty());
        self.database = database.map(name);
    }
}

/// Returns a name as it is recorded.
pub(super) fn name(name: &[u8]) -> String {
    text::lossy(name, MAX_NAME_BYTES)
}

/// Returns the request that executes a statement; none stands for one that was prepared before we came.
pub(super) fn execute(statement: Option<&Statement>, identity: &Identity) -> Request {
    let Some(statement) = statement else {
        let mut attributes = common(identity);
        set(&mut attributes, semconv::REMORA_INCOMPLETE, "statement_unknown");
        return request(identity.system.to_owned(), attributes, None);
    };
    let mut attributes = common(identity);
    add(&mut attributes, semconv::DB_OPERATION_NAME, statement.operation.clone());
    describe(&mut attributes, statement, statement.summary.clone());
    if statement.count > 1 {
        let count = i64::try_from(statement.count).unwrap_or(i64::MAX);
        set(&mut attributes, semconv::DB_OPERATION_BATCH_SIZE, count);
    }
    let name =
        if statement.summary.is_empty() { identity.system.to_owned() } else { statement.summary.clone() };
    request(name, attributes, Some(statement))
}

/// Returns the request that does something else (`PREPARE`, `FETCH`) with a statement.
pub(super) fn with_statement(
    operation: &'static str,
    statement: Option<&Statement>,
    identity: &Identity,
) -> Request {
    let Some(statement) = statement else { return plain(operation, identity) };
    let mut attributes = common(identity);
    let name = format!("{operation} {}", statement.summary).trim_end().to_owned();
    set(&mut attributes, semconv::DB_OPERATION_NAME, operation);
    describe(&mut attributes, statement, name.clone());
    request(name, attributes, Some(statement))
}

/// Returns the request of a command without a statement.
pub(super) fn plain(operation: &'static str, identity: &Identity) -> Request {
    let mut attributes = common(identity);
    set(&mut attributes, semconv::DB_OPERATION_NAME, operation);
    request(operation.to_owned(), attributes, None)
}

fn common(identity: &Identity) -> Attributes {
    let mut attributes = Attributes::new();
    set(&mut attributes, semconv::DB_SYSTEM_NAME, identity.system);
    add(&mut attributes, semconv::DB_NAMESPACE, identity.database.clone());
    add(&mut attributes, semconv::DB_USER, identity.user.clone());
    attributes
}
