//! Headers of messages: a version with a status, and fields as in HTTP/1 (ADR-4).

use super::detect::HEADERS;
use crate::protocol::{WireContext, context, text};

/// Most fields that are looked at.
const MAX_FIELDS: usize = 64;
/// Longest value that is kept.
const MAX_VALUE_BYTES: usize = 128;

/// The headers of a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// Returns the headers in these bytes; none of them where they are no headers.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(if bytes.starts_with(HEADERS) { bytes } else { &[] })
    }

    fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            let text = rest.take()?;
            let end = memchr::memchr(b'\n', text);
            rest = end.and_then(|end| text.get(end + 1..));
            let line = end.and_then(|end| text.get(..end)).unwrap_or(text);
            Some(line.strip_suffix(b"\r").unwrap_or(line))
        })
    }

    /// Returns the values of a field.
    pub(super) fn values(self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.lines().skip(1).take(MAX_FIELDS).filter_map(move |line| {
            let colon = memchr::memchr(b':', line)?;
            let (key, value) = line.split_at_checked(colon)?;
            key.eq_ignore_ascii_case(name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
    }

    /// Returns the first value of a field as text.
    pub(super) fn value(self, name: &'static str) -> Option<String> {
        self.values(name).next().map(|value| text::lossy(value, MAX_VALUE_BYTES))
    }

    /// Returns the status that a server puts into a message of its own, and its description.
    pub(super) fn status(self) -> Option<(u16, String)> {
        let status = self.lines().next()?.strip_prefix(HEADERS)?.trim_ascii();
        let (code, description) = status.split_at_checked(3)?;
        let code = text::decimal(code).and_then(|code| u16::try_from(code).ok())?;
        Some((code, text::lossy(description.trim_ascii(), MAX_VALUE_BYTES)))
    }

    /// Returns the context that they carry.
    pub(super) fn context(self) -> Option<WireContext> {
        if self.0.is_empty() {
            return None;
        }
        context::of_fields(|name| self.values(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_status_are_read() {
        let headers =
            Headers::new(b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 1\r\nb : 2\r\n\r\n");
        assert_eq!(headers.status(), Some((408, "Request Timeout".to_owned())));
        assert_eq!(headers.value("nats-pending-messages"), Some("1".to_owned()));
        assert_eq!(headers.value("b"), None);
        assert_eq!(Headers::new(b"NATS/1.0\r\na: b\r\n\r\n").status(), None);
        assert_eq!(Headers::new(b"HTTP/1.0\r\na: b\r\n\r\n").value("a"), None);
    }

    #[test]
    fn contexts_are_read_whatever_the_case_of_their_names() {
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for name in ["traceparent", "Traceparent"] {
            let bytes = format!("NATS/1.0\r\n{name}: {traceparent}\r\n\r\n");
            assert_eq!(Headers::new(bytes.as_bytes()).context().unwrap().trace_id[0], 0x4b);
        }
    }
}
