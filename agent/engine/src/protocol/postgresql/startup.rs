//! The first messages of a connection, which have no type byte (section "Start-up").

use super::message::text;

/// Longest first message (the server's own limit).
const MAX_STARTUP_BYTES: usize = 10_000;
/// `CancelRequest`, `SSLRequest` and `GSSENCRequest`.
const CANCEL: u32 = 80_877_102;
const SSL: u32 = 80_877_103;
const GSS: u32 = 80_877_104;
/// Major version 3, in the upper half.
const MAJOR_VERSION: u32 = 3;
/// Highest minor version that is believed; what is higher are other protocols' bytes.
const MAX_MINOR_VERSION: u32 = 9;
/// The minor version of `PG_PROTOCOL_GREASE`.
const GREASE: u32 = 9999;
/// Longest cancel key since version 3.2, with what is before it.
const MAX_CANCEL_BYTES: usize = 12 + 256;

/// A first message.
#[derive(Debug, PartialEq)]
pub(super) enum Startup<'a> {
    /// Asks for encryption.
    Encryption,
    /// Cancels a query of another connection.
    Cancel,
    /// Opens a session.
    Session(Session<'a>),
}

/// Parameters of a session.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Session<'a> {
    pub(super) user: &'a [u8],
    pub(super) database: Option<&'a [u8]>,
    /// The connection carries replication.
    pub(super) is_replication: bool,
}

/// What was found at the beginning of some bytes.
#[derive(Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// A first message of as many bytes.
    Is(Startup<'a>, usize),
    /// As many bytes are needed.
    Need(usize),
    /// Something else.
    Not,
}

/// Returns what `bytes` begin with.
pub(super) fn find(bytes: &[u8]) -> Found<'_> {
    let Some(length) = bytes.first_chunk::<4>().map(|length| u32::from_be_bytes(*length)) else {
        let is_small = bytes.iter().take(2).all(|&byte| byte == 0);
        return if is_small { Found::Need(8) } else { Found::Not };
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(8..=MAX_STARTUP_BYTES).contains(&length) {
        return Found::Not;
    }
    let Some(code) = bytes.get(4..).and_then(<[u8]>::first_chunk::<4>) else { return Found::Need(8) };
    match (u32::from_be_bytes(*code), length) {
        (SSL | GSS, 8) => Found::Is(Startup::Encryption, length),
        (CANCEL, 16..=MAX_CANCEL_BYTES) if bytes.len() < length => Found::Need(length),
        (CANCEL, 16..=MAX_CANCEL_BYTES) => Found::Is(Startup::Cancel, length),
        (version, 9..) if is_version(version) => match bytes.get(8..length) {
            Some(parameters) => {
                session(parameters).map_or(Found::Not, |found| Found::Is(Startup::Session(found), length))
            }
            None if bytes.get(8..).is_some_and(begins_parameters) => Found::Need(length),
            None => Found::Not,
        },
        _ => Found::Not,
    }
}

/// Returns whether clients ask for this version: 3.0 and 3.2, those that may follow, and the one that is asked for to
/// see whether servers refuse what they do not know.
fn is_version(version: u32) -> bool {
    version >> 16 == MAJOR_VERSION && matches!(version & 0xffff, 0..=MAX_MINOR_VERSION | GREASE)
}

/// Returns whether `bytes` may begin the parameters: names are words.
fn begins_parameters(bytes: &[u8]) -> bool {
    let (name, _) = text(bytes);
    name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        && bytes.first().is_none_or(|&byte| byte.is_ascii_alphabetic() || byte == b'_')
}

fn session(mut parameters: &[u8]) -> Option<Session<'_>> {
    if !begins_parameters(parameters) || parameters.last() != Some(&0) {
        return None;
    }
    let mut session = Session::default();
    loop {
        let (name, rest) = text(parameters);
        if name.is_empty() {
            break;
        }
        let (value, rest) = text(rest);
        match name {
            b"user" => session.user = value,
            b"database" => session.database = Some(value),
            b"replication" => session.is_replication = !matches!(value, b"false" | b"off" | b"no" | b"0"),
            _ => {}
        }
        parameters = rest;
    }
    (!session.user.is_empty()).then_some(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(code: u32, rest: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + rest.len()).expect("short");
        [&length.to_be_bytes(), &code.to_be_bytes(), rest].concat()
    }

    #[test]
    fn sessions_are_read() {
        let bytes = message(196_608, b"user\0me\0database\0shop\0application_name\0x\0\0");
        let expected = Session { user: b"me", database: Some(b"shop"), is_replication: false };
        assert_eq!(find(&bytes), Found::Is(Startup::Session(expected), bytes.len()));
        for end in 4..bytes.len() {
            assert!(matches!(find(&bytes[..end]), Found::Need(needed) if needed > end), "{end}");
        }
        let bytes = message(196_610, b"user\0me\0replication\0database\0\0");
        assert!(matches!(find(&bytes), Found::Is(Startup::Session(Session { is_replication: true, .. }), _)));
    }

    #[test]
    fn other_first_messages_are_read() {
        assert_eq!(find(&message(80_877_103, b"")), Found::Is(Startup::Encryption, 8));
        assert_eq!(find(&message(80_877_104, b"")), Found::Is(Startup::Encryption, 8));
        assert_eq!(find(&message(80_877_102, &[0; 8])), Found::Is(Startup::Cancel, 16));
    }

    #[test]
    fn others_are_refused() {
        // Kafka's request for metadata, version 0, looks like version 3.0 as far as its correlation id.
        assert_eq!(find(&message(196_608, b"\0\0\0\x01\0\x02me\0\0\0\0")), Found::Not);
        assert_eq!(find(&message(131_072, b"user\0me\0\0")), Found::Not);
        assert_eq!(find(&message(80_877_103, b"x")), Found::Not);
        assert_eq!(find(b"GET / HT"), Found::Not);
        assert_eq!(find(&message(196_608, b"database\0shop\0\0")), Found::Not);
    }
}
