//! The last packet of an answer, read backwards from the end of what was captured.

use super::failure::{self, Failure, Report};
use super::packet::{END, ERROR, HEADER_BYTES, Header};
use super::status;

/// How an answer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its last row; whether another result follows.
    Complete {
        has_more: bool,
        sequence: u8,
    },
    Failed(Failure),
}

/// Longest packet that is looked for.
pub(super) const MAX_BYTES: usize = status::MAX_BYTES + HEADER_BYTES;

/// Returns how the answer ended whose last bytes are `bytes`; none where that cannot be told.
///
/// A row may end in bytes that look alike only if a value was made to do so.
pub(super) fn read(bytes: &[u8]) -> Option<Ending> {
    let longest = bytes.len().saturating_sub(HEADER_BYTES).min(status::MAX_BYTES);
    (3..=longest).find_map(|length| {
        let packet = bytes.get(bytes.len().checked_sub(HEADER_BYTES + length)?..)?;
        let header = Header::of(packet).filter(|header| header.length == length)?;
        let payload = packet.get(HEADER_BYTES..)?;
        match payload.first() {
            Some(&END) if status::is_plausible(payload) => {
                let has_more = status::read(payload, false)?.has_more;
                Some(Ending::Complete { has_more, sequence: header.sequence })
            }
            Some(&ERROR) => match failure::read(payload)? {
                Report::Failure(failure) if !failure.state.is_empty() => Some(Ending::Failed(failure)),
                _ => None,
            },
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_read_backwards() {
        let row = b"\x05\0\0\x07\x04Cabc";
        let check = |last: &[u8], expected| {
            assert_eq!(read(&[row, last].concat()), expected, "{}", last.escape_ascii());
        };
        check(b"\x05\0\0\x08\xfe\0\0\x22\0", Some(Ending::Complete { has_more: false, sequence: 8 }));
        check(b"\x05\0\0\x08\xfe\0\0\x2a\0", Some(Ending::Complete { has_more: true, sequence: 8 }));
        check(b"\x07\0\0\x08\xfe\0\0\x22\0\0\0", Some(Ending::Complete { has_more: false, sequence: 8 }));
        check(b"\x06\0\0\x08\xfe\0\0\x22\0", None);
        check(b"", None);
        let failed = Failure { code: 1317, state: "70100".to_owned(), message: "x".to_owned() };
        check(b"\x0a\0\0\x08\xff\x25\x05#70100x", Some(Ending::Failed(failed)));
        assert_eq!(read(b"\x22\0"), None);
        assert_eq!(read(b""), None);
    }
}
