//! Finding the beginning of a head in the middle of a stream.

use super::detect::{is_known_method, is_token, request_line, status_line};
use crate::protocol::{Detection, Side};

/// Longest request line that is looked for.
const MAX_LINE_BYTES: usize = 8192;

/// Returns where in `bytes` the head of a message of `side` plausibly begins.
pub(super) fn find(side: Side, bytes: &[u8]) -> Option<usize> {
    match side {
        Side::Client => find_request(bytes),
        Side::Server => memchr::memmem::find_iter(bytes, b"HTTP/1.").find(|&at| {
            bytes.get(at..).is_some_and(|rest| status_line(rest) == Detection::Yes(Side::Server))
        }),
    }
}

/// Returns how many of the last `bytes` may belong to a beginning that [`find`] sees only when more has come.
pub(super) fn tail(side: Side, bytes: &[u8]) -> usize {
    match side {
        Side::Client => {
            let line = memchr::memrchr(b'\n', bytes).map_or(bytes.len(), |end| bytes.len() - end - 1);
            if line <= MAX_LINE_BYTES { line } else { 0 }
        }
        Side::Server => bytes.len().min("HTTP/1.1 200".len()),
    }
}

/// A request line may follow a body at once, so that its line begins with the body's last bytes.
fn find_request(bytes: &[u8]) -> Option<usize> {
    let mut line_start = 0;
    for line_end in memchr::memchr_iter(b'\n', bytes) {
        let line = bytes.get(line_start..=line_end)?;
        if let Some(at) = request_in_line(line, line_start > 0) {
            return Some(line_start + at);
        }
        line_start = line_end + 1;
    }
    None
}

/// `is_whole` says that the line's beginning is known.
fn request_in_line(line: &[u8], is_whole: bool) -> Option<usize> {
    memchr::memmem::rfind(line, b" HTTP/1.")?;
    for space in memchr::memchr_iter(b' ', line) {
        let before = line.get(..space)?;
        let token = before.iter().rposition(|&byte| !is_token(byte)).map_or(0, |at| at + 1);
        // A token in capitals is a method of its own; from others the bytes of a body before it are cut off.
        let is_method = (is_whole || token > 0)
            && before.get(token..)?.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
        let start = match is_method {
            true => Some(token),
            false => (token..space).find(|&start| before.get(start..).is_some_and(is_known_method)),
        };
        let is_request = |&start: &usize| {
            line.get(start..).is_some_and(|rest| request_line(rest) == Detection::Yes(Side::Client))
        };
        if let Some(start) = start.filter(is_request) {
            return Some(start);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_found_behind_bodies() {
        let check = |bytes: &[u8], expected| assert_eq!(find(Side::Client, bytes), expected);
        check(b"GET / HTTP/1.1\r\n", Some(0));
        check(b"{\"a\": 1}POST /x HTTP/1.1\r\n", Some(8));
        check(b"abcPOST /x HTTP/1.1\r\n", Some(3));
        check(b"line\r\nno request\r\nFROB / HTTP/1.1\r\n", Some(18));
        check(b"GET / HTTP/1.1", None);
        check(b"GET / RTSP/1.0\r\n", None);
        let check = |bytes: &[u8], expected| assert_eq!(find(Side::Server, bytes), expected);
        check(b"dataHTTP/1.1 200 OK\r\n", Some(4));
        check(b"HTTP/1.x HTTP/1.1 404 ", Some(9));
        check(b"HTTP/1.1 20", None);
    }
}
