//! Errors of the server (MySQL internals manual, "ERR_Packet").

use super::packet::Reader;
use crate::protocol::sql::message;
use crate::protocol::text;

/// Longest message that is recorded, in bytes.
const MAX_MESSAGE_BYTES: usize = 256;
/// Number that stands for a report of MariaDB on how far a statement has come.
const PROGRESS: u16 = 0xffff;
/// `ER_SIGNAL_EXCEPTION` and the state of its kind: the text is written by a program.
const SIGNALLED: u16 = 1644;
const SIGNALLED_STATE: &[u8] = b"45000";
/// `ER_PARSE_ERROR`: the text shows a part of the statement.
const SYNTAX: u16 = 1064;
/// What may be named in a message: such names are not data.
const OBJECTS: &[&str] = &[
    "column",
    "constraint",
    "cursor",
    "database",
    "engine",
    "event",
    "function",
    "index",
    "key",
    "partition",
    "plugin",
    "procedure",
    "role",
    "savepoint",
    "table",
    "tablespace",
    "trigger",
    "user",
    "variable",
    "view",
];

/// What an error says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Failure {
    /// Number of the error.
    pub(super) code: u16,
    /// SQLSTATE; empty where the server gives none.
    pub(super) state: String,
    /// The message without values.
    pub(super) message: String,
}

/// A packet that begins like an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Failure(Failure),
    /// The statement is still being worked on.
    Progress,
}

/// Returns what the payload of an error says, also where it was cut; none where it is none.
pub(super) fn read(payload: &[u8]) -> Option<Report> {
    let mut reader = Reader::new(payload.get(1..)?);
    let code = reader.u16()?;
    if code == PROGRESS {
        return Some(Report::Progress);
    }
    let (state, message) = match reader.rest() {
        [b'#', rest @ ..] => rest.split_at_checked(5)?,
        rest => (&[][..], rest),
    };
    let is_written_by_a_program = code == SIGNALLED || state == SIGNALLED_STATE;
    let message = match is_written_by_a_program {
        true => String::new(),
        false => redact(code, &text::lossy(message, MAX_MESSAGE_BYTES)),
    };
    Some(Report::Failure(Failure { code, state: text::lossy(state, 5), message }))
}

fn redact(code: u16, message: &str) -> String {
    if code == SYNTAX {
        let end = message.find(';').or_else(|| message.find(" near ")).unwrap_or(message.len());
        return message.get(..end).unwrap_or_default().to_owned();
    }
    message::redacted(message, message::Quotes::Single, OBJECTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(payload: &[u8], code: u16, state: &str, message: &str) {
        let failure = Failure { code, state: state.to_owned(), message: message.to_owned() };
        assert_eq!(read(payload), Some(Report::Failure(failure)), "{}", payload.escape_ascii());
    }

    #[test]
    fn errors_are_read() {
        check(
            b"\xff\x26\x04#23000Duplicate entry '1' for key 'things.PRIMARY'",
            1062,
            "23000",
            "Duplicate entry ? for key 'things.PRIMARY'",
        );
        check(b"\xff\x10\x04Too many connections", 1040, "", "Too many connections");
        check(b"\xff\x6c\x06#45000secret", 1644, "45000", "");
        check(
            b"\xff\x28\x04#42000You have an error in your SQL syntax; check 'secret' at line 1",
            1064,
            "42000",
            "You have an error in your SQL syntax",
        );
        assert_eq!(read(b"\xff\xff\xff\x01\x02\x01\0\0"), Some(Report::Progress));
        assert_eq!(read(b"\xff\x01"), None);
        assert_eq!(read(b"\xff\x28\x04#42"), None);
    }

    #[test]
    fn values_are_not_recorded() {
        for (message, expected) in [
            ("Table 'shop.missing' doesn't exist", "Table 'shop.missing' doesn't exist"),
            ("Duplicate entry 'it's 5' for key 'name'", "Duplicate entry ? for key 'name'"),
            ("Unknown column 'secret' in 'field list'", "Unknown column 'secret' in ?"),
            (
                "Incorrect integer value: 'se'cret' for column 'a' at row 12",
                "Incorrect integer value: ? for column 'a' at row ?",
            ),
            (
                "Access denied for user 'me'@'10.0.0.1' (using password: YES)",
                "Access denied for user 'me'@? (using password: YES)",
            ),
            ("Truncated incorrect DOUBLE value: 'secret", "Truncated incorrect DOUBLE value: ?"),
            ("FUNCTION shop.nothing does not exist", "FUNCTION shop.nothing does not exist"),
        ] {
            assert_eq!(redact(1, message), expected);
        }
    }
}
