//! Server-sent events (WHATWG HTML, section 9.2.6 "Interpreting an event stream"), counted as their bytes go by.

/// The field that makes an event one.
const FIELD: &[u8] = b"data:";
/// A mark that may stand before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Bytes of a line's beginning that tell whether it is that field.
const TELLING_BYTES: usize = FIELD.len() + BYTE_ORDER_MARK.len();

/// Counts events. Comments and events without data, which a browser does not dispatch either, are none.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    events: u64,
    line: Line,
    /// The event that is being read has data.
    has_data: bool,
    /// The last byte ended a line, and may be the first half of its end.
    after_return: bool,
    is_partial: bool,
    has_begun: bool,
}

/// What was seen of the line that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Its first bytes.
    beginning: [u8; TELLING_BYTES],
    /// How many of them there are.
    known: usize,
    /// Its beginning is missing.
    is_partial: bool,
}

impl EventStream {
    /// Takes in what comes next.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_return)
                && let [b'\n', rest @ ..] = bytes
            {
                bytes = rest;
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else { return self.line.extend(bytes) };
            let (line, rest) = bytes.split_at_checked(end).unwrap_or_default();
            self.line.extend(line);
            self.end_line();
            self.after_return = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// Notes that bytes are missing.
    pub(super) fn missed(&mut self) {
        self.is_partial = true;
        self.has_data = false;
        self.after_return = false;
        self.line = Line { is_partial: true, ..Line::default() };
    }

    /// Returns how many events went by.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// Returns whether there may have been more of them.
    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let mut text = line.beginning.get(..line.known).unwrap_or_default();
        if !std::mem::replace(&mut self.has_begun, true) {
            text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        }
        if line.is_partial {
            return;
        }
        if text.is_empty() {
            self.events += u64::from(std::mem::take(&mut self.has_data));
        }
        // Without a colon the field has no value, and is there still.
        self.has_data |= text.starts_with(FIELD) || text == b"data";
    }
}

impl Line {
    fn extend(&mut self, bytes: &[u8]) {
        let free = self.beginning.iter_mut().skip(self.known);
        let copied = free.zip(bytes).map(|(to, from)| *to = *from).count();
        self.known += copied;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks how many events a stream has, however it is split.
    fn check(stream: &[u8], expected: u64) {
        for window in 1..=stream.len().max(1) {
            let mut events = EventStream::default();
            stream.chunks(window).for_each(|part| events.feed(part));
            assert_eq!(events.events(), expected, "{} by {window}", stream.escape_ascii());
            assert!(!events.is_partial());
        }
    }

    #[test]
    fn events_end_with_an_empty_line_of_any_kind() {
        check(b"data: a\n\ndata: b\r\n\r\ndata:c\r\rdata\n\n", 4);
        check(b"event: x\nid: 7\ndata: a\ndata: b\n\n", 1);
        check(b"\xef\xbb\xbfdata: a\n\n", 1);
        check(b"data: the last has no end", 0);
    }

    #[test]
    fn comments_and_events_without_data_do_not_count() {
        check(b": keep-alive\n\n:\n\n", 0);
        check(b"event: ping\n\n\n\n", 0);
        check(b"database: x\n\ndat\n\n data: x\n\n", 0);
    }

    #[test]
    fn after_missing_bytes_whole_events_count_again() {
        let mut events = EventStream::default();
        events.feed(b"data: a\n\ndata: b");
        events.missed();
        events.feed(b"data: the rest of a line\n\ndata: c\n\n");
        assert_eq!((events.events(), events.is_partial()), (2, true));
    }
}
