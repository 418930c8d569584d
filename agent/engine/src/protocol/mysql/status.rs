//! The packet that says how the server stands after a result (MySQL internals manual, "OK_Packet" and "EOF_Packet").

use super::packet::{END, EOF_BYTES, OK, Reader};

/// Another result follows.
const MORE_RESULTS: u16 = 1 << 3;
/// Rows wait in a cursor.
const CURSOR_EXISTS: u16 = 1 << 6;
/// The session's state has changed, and the packet says what.
const SESSION_CHANGED: u16 = 1 << 14;
/// Kind of a change: the database.
const CHANGED_DATABASE: u8 = 1;
/// Longest such packet that is looked for from its end.
pub(super) const MAX_BYTES: usize = 1024;

/// What it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Status<'a> {
    pub(super) has_more: bool,
    pub(super) has_cursor: bool,
    /// The database from now on, where it has changed and the client wants to know.
    pub(super) database: Option<&'a [u8]>,
}

/// Returns what a payload says that begins with `OK` or `END`. `tracks_session` says how the end of it is written.
pub(super) fn read(payload: &[u8], tracks_session: bool) -> Option<Status<'_>> {
    let mut reader = Reader::new(payload);
    let first = reader.u8()?;
    if first == END && payload.len() == EOF_BYTES {
        let _warnings = reader.u16()?;
        return Some(of(reader.u16()?));
    }
    if !matches!(first, OK | END) {
        return None;
    }
    let _affected_rows = reader.number()?;
    let _last_insert_id = reader.number()?;
    let bits = reader.u16()?;
    let _warnings = reader.u16()?;
    let mut status = of(bits);
    if tracks_session && bits & SESSION_CHANGED != 0 {
        status.database = database(&mut reader);
    }
    Some(status)
}

fn of(bits: u16) -> Status<'static> {
    Status { has_more: bits & MORE_RESULTS != 0, has_cursor: bits & CURSOR_EXISTS != 0, database: None }
}

fn database<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let _information = reader.text()?;
    let mut changes = Reader::new(reader.text()?);
    loop {
        let kind = changes.u8()?;
        let mut change = Reader::new(changes.text()?);
        if kind == CHANGED_DATABASE {
            return change.text();
        }
    }
}

/// Returns whether a payload can only be such a packet: all of its fields are there and in their ranges.
pub(super) fn is_plausible(payload: &[u8]) -> bool {
    let mut reader = Reader::new(payload);
    if payload.first() == Some(&END) && payload.len() == EOF_BYTES {
        return true;
    }
    let fields = reader.u8().and_then(|_| reader.number()).and_then(|_| reader.number());
    fields.and_then(|_| reader.u16()).and_then(|_| reader.u16()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_read() {
        let check = |payload: &[u8], tracks, expected| {
            assert_eq!(read(payload, tracks), expected, "{}", payload.escape_ascii())
        };
        let nothing = Status::default();
        check(b"\0\0\0\x02\0\0\0", false, Some(nothing));
        check(b"\xfe\0\0\x02\0", false, Some(nothing));
        check(b"\xfe\0\0\x0a\0", false, Some(Status { has_more: true, ..nothing }));
        check(b"\xfe\0\0\x4a\0\0\0", false, Some(Status { has_more: true, has_cursor: true, ..nothing }));
        let changed = b"\0\0\0\x02\x40\0\0\0\x0b\0\x02\x011\x01\x05\x04shop";
        check(changed, true, Some(Status { database: Some(b"shop"), ..nothing }));
        check(changed, false, Some(nothing));
        check(b"\0\0\0\x02\x40\0\0\0\x09\x01\x05\x04sh", true, Some(nothing));
        check(b"\xfe", false, None);
        check(b"\x01\0\0\x02\0\0\0", false, None);
    }
}
