//! The head of a response becomes a [`Response`].

use super::framing::{self, Framing};
use super::head::Head;
use super::request::Asked;
use crate::protocol::http::field::lists;
use crate::protocol::{ParserSettings, Response, http, text};

/// A response and what follows it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) response: Response,
    pub(super) framing: Framing,
    /// The final response is still to come (1xx other than 101).
    pub(super) is_interim: bool,
    /// What follows on the connection is not HTTP/1.x.
    pub(super) is_switch: bool,
    /// It is WebSocket.
    pub(super) is_websocket: bool,
    /// What follows is HTTP/2, and with it the final response.
    pub(super) is_h2c: bool,
}

/// Returns what a response's head says, given what was asked. An error names the rule that was broken.
pub(super) fn read(head: &Head<'_>, asked: Asked, settings: &ParserSettings) -> Result<Read, &'static str> {
    let status = status(head.start_line).ok_or("not a status line")?;
    let is_interim = (100..200).contains(&status) && status != 101;
    let is_switch = status == 101 || (asked.is_connect && (200..300).contains(&status));
    let is_websocket = status == 101 && asked.may_switch && lists(&head.fields, "upgrade", "websocket");
    let is_h2c = status == 101 && lists(&head.fields, "upgrade", "h2c");
    let has_no_body = status < 200 || status == 204 || status == 304 || asked.is_head || is_switch;
    let framing =
        if has_no_body { Framing::None } else { framing::framing(&head.fields, Framing::UntilEnd)? };
    let length = match framing {
        Framing::Length(length) => Some(length),
        _ => None,
    };
    let described = http::response::describe(Some(status), length, &head.fields, settings);
    let response = Response { is_open: framing != Framing::None || is_websocket, ..described };
    Ok(Read { response, framing, is_interim, is_switch, is_websocket, is_h2c })
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (&[minor, b' '], rest) = rest.split_first_chunk::<2>()? else { return None };
    let (digits, reason) = rest.split_at_checked(3)?;
    let is_right = minor.is_ascii_digit() && (reason.is_empty() || reason.starts_with(b" "));
    let code = text::decimal(digits).filter(|_| is_right)?;
    u16::try_from(code).ok().filter(|code| (100..1000).contains(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_strict() {
        assert_eq!(status(b"HTTP/1.1 200 OK"), Some(200));
        assert_eq!(status(b"HTTP/1.0 404"), Some(404));
        for wrong in
            ["HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1  200", "HTTP/2 200", "HTTP/1.1 099 x", "HTTP/1.x 200"]
        {
            assert_eq!(status(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
