//! The last message of an answer, read backwards from where the server is ready.

use super::message::HEADER_BYTES;

/// Longest message that is looked for: an error with its texts.
pub(super) const MAX_BYTES: usize = 1024;
/// Longest tag of a completed command.
const MAX_TAG_BYTES: usize = 64;
/// `PortalSuspended`.
const SUSPENDED: &[u8] = b"s\0\0\0\x04";

/// `Sync`.
const SYNC: &[u8] = b"S\0\0\0\x04";
/// Longest name of a portal that is looked for (the server's own limit).
const MAX_PORTAL_BYTES: usize = 63;

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// With a completed command: its tag, with the zero byte.
    Complete(&'a [u8]),
    /// Before its last row, since no more were asked for.
    Suspended,
    /// With an error: its fields.
    Failed(&'a [u8]),
}

/// Returns how the answer ended whose last bytes before `ReadyForQuery` are `bytes`; none where that cannot be told.
///
/// A row is never the last message, so that data cannot be taken for one.
pub(super) fn read(bytes: &[u8]) -> Option<Ending<'_>> {
    if bytes.ends_with(SUSPENDED) {
        return Some(Ending::Suspended);
    }
    let tag =
        (2..=MAX_TAG_BYTES).find_map(|length| last_message(b'C', length, bytes).filter(|tag| is_tag(tag)));
    if let Some(tag) = tag {
        return Some(Ending::Complete(tag));
    }
    let longest = bytes.len().saturating_sub(HEADER_BYTES);
    let fields =
        (1..=longest).find_map(|length| last_message(b'E', length, bytes).filter(|fields| is_error(fields)));
    fields.map(Ending::Failed)
}

/// Returns the last `length` bytes if they are the body of a message of this type.
pub(super) fn last_message(kind: u8, length: usize, bytes: &[u8]) -> Option<&[u8]> {
    let (before, body) = bytes.split_at_checked(bytes.len().checked_sub(length)?)?;
    let written = u32::try_from(length.checked_add(HEADER_BYTES - 1)?).ok()?;
    let header = before.last_chunk::<HEADER_BYTES>()?;
    (header.first() == Some(&kind) && header.ends_with(&written.to_be_bytes())).then_some(body)
}

/// Returns where the `Execute` begins with which, and a `Sync`, `bytes` end.
pub(super) fn execute(bytes: &[u8]) -> Option<usize> {
    let before = bytes.strip_suffix(SYNC)?;
    let is_execute = |body: &[u8]| {
        let portal = body.split_last_chunk::<4>().and_then(|(portal, _)| portal.strip_suffix(b"\0"));
        portal.is_some_and(|portal| !portal.contains(&0))
    };
    let length = (5..=MAX_PORTAL_BYTES + 5)
        .find(|&length| last_message(b'E', length, before).is_some_and(is_execute))?;
    before.len().checked_sub(HEADER_BYTES + length)
}

/// Words in capitals, and numbers.
fn is_tag(tag: &[u8]) -> bool {
    let is_text = |text: &[u8]| {
        text.iter().all(|&byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ')
    };
    tag.first().is_some_and(u8::is_ascii_uppercase) && tag.strip_suffix(b"\0").is_some_and(is_text)
}

/// Fields that begin with the severity and name an SQLSTATE.
fn is_error(fields: &[u8]) -> bool {
    let is_code = |field: &[u8]| field.len() == 6 && field.starts_with(b"C");
    fields.starts_with(b"S") && fields.ends_with(b"\0\0") && fields.split(|&byte| byte == 0).any(is_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_read_backwards() {
        let row = b"D\0\0\0\x0e\0\x01\0\0\0\x04Cabc";
        let error = b"E\0\0\0\x18SERROR\0C22012\0Mdiv\0\0";
        let check = |last: &[u8], expected| {
            assert_eq!(read(&[row, last].concat()), expected, "{}", last.escape_ascii());
        };
        check(b"C\0\0\0\x0eSELECT 58\0", Some(Ending::Complete(b"SELECT 58\0")));
        check(b"C\0\0\0\x0fSELECT 58\0", None);
        check(b"C\0\0\0\x0eselect 58\0", None);
        check(b"s\0\0\0\x04", Some(Ending::Suspended));
        check(error, Some(Ending::Failed(&error[5..])));
        check(b"", None);
        assert_eq!(read(b"ELECT 58\0"), None);
        assert_eq!(read(b""), None);
        assert_eq!(execute(b"xE\0\0\0\x09\0\0\0\0\x05S\0\0\0\x04"), Some(1));
        assert_eq!(execute(b"E\0\0\0\x0bc1\0\0\0\0\0S\0\0\0\x04"), Some(0));
        assert_eq!(execute(b"E\0\0\0\x09\0\0\0\0\x05H\0\0\0\x04"), None);
        assert_eq!(execute(b"S\0\0\0\x04"), None);
    }
}
