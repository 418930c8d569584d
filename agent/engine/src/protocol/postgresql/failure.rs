//! Errors of the server (section "Error and Notice Message Fields").

use super::message::text;
use crate::protocol::sql::message;
use crate::protocol::text as wire_text;

/// Longest message that is recorded, in bytes.
const MAX_MESSAGE_BYTES: usize = 256;
/// What may be named in a message: such names are not data.
const OBJECTS: &[&str] = &[
    "column",
    "constraint",
    "cursor",
    "database",
    "extension",
    "function",
    "index",
    "language",
    "operator",
    "parameter",
    "policy",
    "portal",
    "prepared statement",
    "procedure",
    "relation",
    "role",
    "schema",
    "sequence",
    "table",
    "trigger",
    "type",
    "user",
    "view",
    "key",
];

/// What an error says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Failure {
    /// SQLSTATE.
    pub(super) code: String,
    /// The message without values.
    pub(super) message: String,
}

/// Returns what an `ErrorResponse` says, also where it was cut.
pub(super) fn read(mut fields: &[u8]) -> Failure {
    let mut failure = Failure::default();
    while let Some((&kind, rest)) = fields.split_first().filter(|&(&kind, _)| kind != 0) {
        let (value, rest) = text(rest);
        match kind {
            b'C' => failure.code = wire_text::lossy(value, 5),
            b'M' => failure.message = redact(&wire_text::lossy(value, MAX_MESSAGE_BYTES)),
            _ => {}
        }
        fields = rest;
    }
    // What a function raises, and why a client gave up a copy, is written by the program.
    if failure.code == "P0001" {
        failure.message.clear();
    } else if let Some(end) = failure.message.find(" failed: ") {
        failure.message.truncate(end + " failed".len());
    }
    failure
}

fn redact(message: &str) -> String {
    message::redacted(message, message::Quotes::Double, OBJECTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read() {
        let failure = read(b"SERROR\0VERROR\0C23505\0Mduplicate key value violates unique constraint \"a_key\"\0DKey (a)=(1)\0\0");
        assert_eq!(failure.code, "23505");
        assert_eq!(failure.message, "duplicate key value violates unique constraint \"a_key\"");
        assert_eq!(read(b"CP0001\0Msecret\0\0").message, "");
        assert_eq!(read(b"C57014\0MCOPY from stdin failed: secret\0\0").message, "COPY from stdin failed");
        assert_eq!(read(b"SERROR\0C42").code, "42");
        assert_eq!(read(b""), Failure::default());
    }

    #[test]
    fn values_are_not_recorded() {
        for (message, expected) in [
            ("relation \"t1\" does not exist", "relation \"t1\" does not exist"),
            ("invalid input syntax for type integer: \"secret\"", "invalid input syntax for type integer: ?"),
            (
                "value \"99999999999\" is out of range for type integer",
                "value ? is out of range for type integer",
            ),
            ("syntax error at or near \"secret\"", "syntax error at or near ?"),
            (
                "password authentication failed for user \"me\"",
                "password authentication failed for user \"me\"",
            ),
            (
                "canceling statement due to conflict with 12 others",
                "canceling statement due to conflict with ? others",
            ),
            ("unterminated quoted string at or near \"'secret", "unterminated quoted string at or near ?"),
            ("function f1(integer) does not exist", "function f1(integer) does not exist"),
            ("can't", "can't"),
        ] {
            assert_eq!(redact(message), expected);
        }
    }
}
