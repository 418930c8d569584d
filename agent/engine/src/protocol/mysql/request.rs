//! What is recorded of a command.

use crate::held::Held;
use crate::protocol::sql::Statement;
use crate::protocol::sql::request::{CONNECT, add, describe, request};
use crate::protocol::{Request, set, text};
use crate::semconv::{self, Attributes, Text};

/// Longest names of users and databases that are recorded, in bytes (the server's own limits are 32 and 64 characters).
const MAX_NAME_BYTES: usize = 256;

/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 8;
/// The system where it is not known which of the two it is.
pub(super) const SYSTEM: &str = "mysql";

/// Who speaks with which database, as far as it is known.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// `mysql` or `mariadb`.
    pub(super) system: &'static str,
    pub(super) database: Option<Text>,
    pub(super) user: Option<Text>,
}

impl Identity {
    /// Takes the names of a login.
    pub(super) fn log_in(&mut self, user: &[u8], database: Option<&[u8]>) {
        self.user = Some(name(user)).filter(|user| !user.is_empty());
        self.database = database.map(name);
    }
}

impl Held for Identity {
    fn held_bytes(&self) -> usize {
        self.database.held_bytes() + self.user.held_bytes()
    }
}

/// Returns a name as it is recorded, again and again.
pub(super) fn name(name: &[u8]) -> Text {
    Text::from(text::lossy(name, MAX_NAME_BYTES)).shared()
}

/// Returns the request that executes a statement; none stands for one that was prepared before we came.
pub(super) fn execute(statement: Option<&Statement>, identity: &Identity) -> Request {
    let Some(statement) = statement else {
        let mut attributes = common(identity);
        set(&mut attributes, semconv::REMORA_INCOMPLETE, "statement_unknown");
        return request(identity.system.into(), attributes, None);
    };
    let mut attributes = common(identity);
    add(&mut attributes, semconv::DB_OPERATION_NAME, statement.operation.clone());
    describe(&mut attributes, statement, statement.summary.clone());
    if statement.count > 1 {
        let count = i64::try_from(statement.count).unwrap_or(i64::MAX);
        set(&mut attributes, semconv::DB_OPERATION_BATCH_SIZE, count);
    }
    let name = if statement.summary.is_empty() { identity.system.into() } else { statement.summary.clone() };
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
    let name = Text::from(format!("{operation} {}", statement.summary).trim_end().to_owned());
    set(&mut attributes, semconv::DB_OPERATION_NAME, operation);
    describe(&mut attributes, statement, name.clone());
    request(name, attributes, Some(statement))
}

/// Returns the request of a command without a statement.
pub(super) fn plain(operation: &'static str, identity: &Identity) -> Request {
    let mut attributes = common(identity);
    set(&mut attributes, semconv::DB_OPERATION_NAME, operation);
    request(operation.into(), attributes, None)
}

/// Returns the request to be let in.
pub(super) fn connect(identity: &Identity) -> Request {
    request(CONNECT.into(), common(identity), None)
}

fn common(identity: &Identity) -> Attributes {
    let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
    set(&mut attributes, semconv::DB_SYSTEM_NAME, identity.system);
    add(&mut attributes, semconv::DB_NAMESPACE, identity.database.clone());
    add(&mut attributes, semconv::DB_USER, identity.user.clone());
    attributes
}
