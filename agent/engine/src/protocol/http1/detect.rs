//! Whether bytes begin an HTTP/1.x request or response.

use crate::protocol::{DETECTION_BUDGET_BYTES, Detection, Side};

/// Methods whose requests are recognised before their line has ended (IANA's registry, as far as it is in use).
const METHODS: &[&[u8]] = &[
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"QUERY",
    b"PROPFIND",
    b"PROPPATCH",
    b"MKCOL",
    b"MKCALENDAR",
    b"COPY",
    b"MOVE",
    b"LOCK",
    b"UNLOCK",
    b"REPORT",
    b"SEARCH",
    b"ACL",
    b"BIND",
    b"UNBIND",
    b"REBIND",
    b"CHECKOUT",
    b"MERGE",
    b"PURGE",
    b"LINK",
    b"UNLINK",
    b"NOTIFY",
    b"SUBSCRIBE",
    b"UNSUBSCRIBE",
];
/// Longest method that is believed.
const MAX_METHOD_BYTES: usize = 24;
/// A status line up to its status code.
const STATUS_LINE_BYTES: usize = "HTTP/1.1 200".len();

/// Returns whether `bytes` begin a head of HTTP/1.x.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    if shown.first() == Some(&b'H') {
        match status_line(shown) {
            Detection::No => {}
            detection => return detection,
        }
    }
    request_line(shown)
}

/// Returns whether `bytes` begin with `HTTP/1.`, a digit and a status code.
pub(super) fn status_line(bytes: &[u8]) -> Detection {
    let shown = bytes.get(..STATUS_LINE_BYTES).unwrap_or(bytes);
    let is_right = shown.iter().zip(b"HTTP/1.v sss").all(|(&byte, &pattern)| match pattern {
        b'v' | b's' => byte.is_ascii_digit(),
        _ => byte == pattern,
    });
    let is_ended = matches!(bytes.get(STATUS_LINE_BYTES), Some(b' ' | b'\r' | b'\n'));
    match (is_right, bytes.len() > STATUS_LINE_BYTES) {
        (true, true) if is_ended => Detection::Yes(Side::Server),
        (true, false) => Detection::Unsure,
        _ => Detection::No,
    }
}

/// Returns whether `bytes` begin with a request line; one that does not end within the budget is believed where its
/// method is known and nothing speaks against it.
pub(super) fn request_line(bytes: &[u8]) -> Detection {
    let Some(space) = bytes.iter().position(|&byte| !is_token(byte)) else {
        return unsure_below(bytes, MAX_METHOD_BYTES);
    };
    let (method, rest) = bytes.split_at_checked(space).unwrap_or_default();
    let Some(rest) = rest.strip_prefix(b" ") else { return Detection::No };
    if method.is_empty() || method.len() > MAX_METHOD_BYTES || !is_target_start(method, rest) {
        return Detection::No;
    }
    match memchr::memchr(b'\n', rest) {
        Some(end) if is_versioned(rest.get(..end).unwrap_or_default()) => Detection::Yes(Side::Client),
        Some(_) => Detection::No,
        None if !rest.iter().all(|&byte| is_target(byte)) => Detection::No,
        None if bytes.len() >= DETECTION_BUDGET_BYTES && METHODS.contains(&method) => {
            Detection::Yes(Side::Client)
        }
        None => unsure_below(bytes, DETECTION_BUDGET_BYTES),
    }
}

/// Like [`request_line`], but only for known methods: for places where a body may stand as well.
pub(super) fn known_request_line(bytes: &[u8]) -> Detection {
    let method = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    let is_known = match method.len() < bytes.len() {
        true => is_known_method(method),
        false => METHODS.iter().any(|known| known.starts_with(method)),
    };
    if is_known { request_line(bytes) } else { Detection::No }
}

/// Returns whether `method` is one that is believed without the end of its line.
pub(super) fn is_known_method(method: &[u8]) -> bool {
    METHODS.contains(&method)
}

/// Returns whether `byte` may be part of a token (RFC 9110 section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    TOKENS.get(usize::from(byte)).is_some_and(|&is_token| is_token)
}

/// Which bytes are part of a token: it is asked for each byte of each field's name.
static TOKENS: [bool; 256] = {
    let mut tokens = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let is_sign =
            matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        #[expect(clippy::indexing_slicing, reason = "at compile time, and smaller than 128")]
        let token = &mut tokens[byte as usize];
        *token = byte.is_ascii_alphanumeric() || is_sign;
        byte += 1;
    }
    tokens
};

fn unsure_below(bytes: &[u8], limit: usize) -> Detection {
    if bytes.len() < limit { Detection::Unsure } else { Detection::No }
}

/// Origin-form, absolute-form, asterisk-form, or for `CONNECT` authority-form (RFC 9112 section 3.2).
fn is_target_start(method: &[u8], target: &[u8]) -> bool {
    let Some(first) = target.first() else { return true };
    match method {
        b"CONNECT" => first.is_ascii_alphanumeric() || *first == b'[',
        _ => matches!(first, b'/' | b'*' | b'h' | b'H'),
    }
}

/// A target, the version after it, and a carriage return.
fn is_target(byte: u8) -> bool {
    !byte.is_ascii_control() || byte == b'\r'
}

fn is_versioned(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    matches!(line, [.., b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Detection = Detection::Yes(Side::Client);
    const SERVER: Detection = Detection::Yes(Side::Server);

    fn check(bytes: &[u8], expected: Detection) {
        assert_eq!(detect(bytes), expected, "{}", bytes.escape_ascii());
    }

    #[test]
    fn requests_and_responses_are_recognised() {
        check(b"GET / HTTP/1.1\r\n", CLIENT);
        check(b"get /x HTTP/1.0\n", CLIENT);
        check(b"OPTIONS * HTTP/1.1\r\nHost: a", CLIENT);
        check(b"CONNECT a.example:443 HTTP/1.1\r\n", CLIENT);
        check(b"GET http://a/ HTTP/1.1\r\n", CLIENT);
        check(b"M-SEARCH * HTTP/1.1\r\n", CLIENT);
        check(b"HEAD /a b HTTP/1.1\r\n", CLIENT);
        check(b"HTTP/1.1 200 OK\r\n", SERVER);
        check(b"HTTP/1.0 404\r\n", SERVER);
    }

    #[test]
    fn a_long_target_is_believed_at_the_budget() {
        let long = [b"GET /".to_vec(), vec![b'a'; 400]].concat();
        check(&long[..255], Detection::Unsure);
        check(&long, CLIENT);
        let unknown = [b"FROB /".to_vec(), vec![b'a'; 400]].concat();
        check(&unknown, Detection::No);
    }

    #[test]
    fn every_prefix_is_unsure() {
        for line in [&b"GET /index HTTP/1.1\r\n"[..], b"HTTP/1.1 200 OK"] {
            for end in 1..line.len().min(12) {
                check(&line[..end], Detection::Unsure);
            }
        }
    }

    #[test]
    fn others_are_refused() {
        for other in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n"[..],
            b"OPTIONS rtsp://a/ RTSP/1.0\r\n",
            b"SIP/2.0 200 OK\r\n",
            b"HTTP/2 200 \r\n",
            b"HTTP/1.1 2000\r\n",
            b"GET key\r\n",
            b"GET /key\r\n",
            b"get key\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"+OK\r\n",
            b"CONNECT {\"verbose\":false}\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"Q\x00\x00\x00\x0dselect 1\x00",
            b" GET / HTTP/1.1\r\n",
            b"",
        ] {
            let expected = if other.is_empty() { Detection::Unsure } else { Detection::No };
            check(other, expected);
        }
    }
}
