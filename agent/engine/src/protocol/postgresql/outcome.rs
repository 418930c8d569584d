//! What is known of the answer to the first outstanding exchange.

use super::failure::Failure;
use super::message::text;
use crate::protocol::{Name, Outcome, Response, set, text as wire_text};
use crate::semconv::{self, Attributes, Text};

/// Commands that most tags begin with.
const USUAL_OPERATIONS: [&str; 8] =
    ["SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "ROLLBACK", "SET"];

/// What came so far.
#[derive(Debug, Default)]
pub(super) struct Answered {
    rows: u64,
    /// Rows were to be returned, even if there were none.
    returns_rows: bool,
    /// First word of the last command that completed.
    operation: Text,
    failure: Option<Failure>,
    /// Kinds of messages that came and come once only: a bit for each letter.
    kinds: u128,
}

impl Answered {
    /// Notes a row.
    pub(super) fn row(&mut self) {
        self.rows = self.rows.saturating_add(1);
        self.returns_rows = true;
    }

    /// Notes a message that comes once only; returns whether that is so.
    pub(super) fn is_first(&mut self, kind: u8) -> bool {
        let is_first = !self.has_come(kind);
        self.kinds |= bit(kind);
        is_first
    }

    /// Returns whether a message was noted that comes once only.
    pub(super) fn has_come(&self, kind: u8) -> bool {
        self.kinds & bit(kind) != 0
    }

    /// Notes a completed command with its tag (`SELECT 5`).
    pub(super) fn complete(&mut self, tag: &[u8]) {
        let (tag, _) = text(tag);
        let operation = tag.split(|&byte| byte == b' ').next().unwrap_or_default();
        self.returns_rows |= matches!(operation, b"SELECT" | b"FETCH" | b"SHOW");
        let usual = USUAL_OPERATIONS.into_iter().find(|usual| usual.as_bytes() == operation);
        self.operation = usual.map_or_else(|| wire_text::lossy(operation, 32).into(), Text::Static);
    }

    /// Notes the last command after bytes of the answer were missing. Its tag counts rows where it is the only one.
    pub(super) fn complete_unseen(&mut self, tag: &[u8], is_only: bool) {
        let (text, _) = text(tag);
        let count = text.rsplit(|&byte| byte == b' ').next().and_then(wire_text::decimal);
        let seen = self.rows;
        let returns = text.starts_with(b"SELECT ") || text.starts_with(b"FETCH ");
        let rows = count.filter(|&count| is_only && returns && seen > 0 && count >= seen);
        self.complete(tag);
        self.returns_rows = rows.is_some();
        self.rows = rows.unwrap_or(0);
    }

    /// Returns whether an error was noted.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Notes an error.
    pub(super) fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Returns the response, and forgets what came. `is_named` says that the request had no name of its own.
    pub(super) fn take(&mut self, is_unnamed: bool) -> Response {
        let answered = std::mem::take(self);
        let mut attributes = Attributes::new();
        if answered.returns_rows && answered.failure.is_none() {
            set(
                &mut attributes,
                semconv::DB_RESPONSE_RETURNED_ROWS,
                i64::try_from(answered.rows).unwrap_or(i64::MAX),
            );
        }
        let mut name = None;
        if is_unnamed && !answered.operation.is_empty() {
            set(&mut attributes, semconv::DB_OPERATION_NAME, answered.operation.clone());
            name = Some(Name { verb: answered.operation, path: None });
        }
        let mut outcome = Outcome::default();
        if let Some(failure) = answered.failure {
            set(&mut attributes, semconv::DB_RESPONSE_STATUS_CODE, failure.code.clone());
            let (error_type, message) = (Some(failure.code), Some(failure.message));
            outcome = Outcome { error_type, message, is_client_fault: false };
        }
        Response { attributes, outcome, name, ..Response::default() }
    }
}

/// Types are letters and digits.
fn bit(kind: u8) -> u128 {
    1u128.checked_shl(u32::from(kind)).unwrap_or(0)
}

/// Returns the response to an exchange that the server did not even begin, since one before it failed.
pub(super) fn aborted() -> Response {
    let message = Some("not executed: an earlier message of the batch failed".to_owned());
    let outcome =
        Outcome { error_type: Some("pipeline_aborted".to_owned()), message, is_client_fault: false };
    Response { outcome, ..Response::default() }
}
