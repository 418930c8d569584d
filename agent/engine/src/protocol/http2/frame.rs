//! Frames: their headers (RFC 9113 section 4.1), and what of their payloads is not header block or data.

/// Length of a frame's header.
pub(super) const HEADER_BYTES: usize = 9;
/// What a client sends first (section 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Largest frame until its receiver allows more (section 4.2).
pub(super) const DEFAULT_MAX_BYTES: usize = 16_384;

/// Flags (section 6). The first means something else in `SETTINGS` and `PING`.
pub(super) const END_STREAM: u8 = 0x01;
pub(super) const ACK: u8 = 0x01;
pub(super) const END_HEADERS: u8 = 0x04;
pub(super) const PADDED: u8 = 0x08;
pub(super) const PRIORITY: u8 = 0x20;

/// Settings that are defined, by number: RFC 9113, RFC 8441 (8) and RFC 9218 (9).
const SETTINGS: [u16; 8] = [1, 2, 3, 4, 5, 6, 8, 9];
/// Largest error code (section 7).
const MAX_ERROR_CODE: u32 = 0x0d;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    ResetStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// An extension, to be ignored.
    Other,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Length of the payload.
    pub(super) length: usize,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    pub(super) stream: u32,
    /// The reserved bit before the stream's number, which no sender sets.
    is_reserved_set: bool,
}

impl Header {
    /// Returns the header with which `bytes` begin; none where there are too few.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, s, t, u, v] = bytes.first_chunk::<HEADER_BYTES>()?;
        let stream = u32::from_be_bytes([s, t, u, v]);
        Some(Self {
            length: u32::from_be_bytes([0, a, b, c]) as usize,
            kind: kind_of(kind),
            flags,
            stream: stream & (u32::MAX >> 1),
            is_reserved_set: stream >> 31 != 0,
        })
    }

    /// Returns the length of the frame.
    pub(super) fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.length
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Checks what must hold of every frame. An error names the rule that was broken.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let is_length_right = match self.kind {
            Kind::Priority => self.length == 5,
            Kind::ResetStream | Kind::WindowUpdate => self.length == 4,
            Kind::Settings => self.length % 6 == 0 && (!self.has(ACK) || self.length == 0),
            Kind::Ping => self.length == 8,
            Kind::GoAway => self.length >= 8,
            _ => true,
        };
        let is_stream_right = match self.kind {
            Kind::Settings | Kind::Ping | Kind::GoAway => self.stream == 0,
            Kind::WindowUpdate | Kind::Other => true,
            _ => self.stream != 0,
        };
        match (is_length_right, is_stream_right) {
            (true, true) => Ok(()),
            (false, _) => Err("frame of a wrong length"),
            (_, false) => Err("frame of a wrong stream"),
        }
    }

    /// Returns whether programs send such frames: much less than what they must accept.
    pub(super) fn is_usual(&self) -> bool {
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::Settings | Kind::Ping => ACK,
            Kind::PushPromise => END_HEADERS | PADDED,
            Kind::Continuation => END_HEADERS,
            _ => 0,
        };
        let is_small = self.length <= DEFAULT_MAX_BYTES || self.kind == Kind::Data && self.length <= 1 << 20;
        // Server push, the only use of even numbers, is hardly used.
        let is_stream_usual = self.stream == 0 || self.stream % 2 == 1;
        self.kind != Kind::Other
            && !self.is_reserved_set
            && self.flags & !flags == 0
            && is_small
            && is_stream_usual
            && self.check().is_ok()
    }

    /// Returns whether the payload of a frame that is always short is what programs send.
    pub(super) fn is_payload_usual(&self, payload: &[u8]) -> bool {
        let number = number(payload).unwrap_or(0);
        match self.kind {
            Kind::Settings => payload.as_chunks::<6>().0.iter().all(|setting| {
                let &[high, low, ..] = setting;
                SETTINGS.contains(&u16::from_be_bytes([high, low]))
            }),
            Kind::WindowUpdate => (1..1 << 31).contains(&number),
            Kind::ResetStream => number <= MAX_ERROR_CODE,
            Kind::GoAway => {
                payload.get(4..).and_then(self::number).is_some_and(|code| code <= MAX_ERROR_CODE)
            }
            _ => true,
        }
    }
}

fn kind_of(kind: u8) -> Kind {
    match kind {
        0x0 => Kind::Data,
        0x1 => Kind::Headers,
        0x2 => Kind::Priority,
        0x3 => Kind::ResetStream,
        0x4 => Kind::Settings,
        0x5 => Kind::PushPromise,
        0x6 => Kind::Ping,
        0x7 => Kind::GoAway,
        0x8 => Kind::WindowUpdate,
        0x9 => Kind::Continuation,
        _ => Kind::Other,
    }
}

/// Returns the number with which a payload begins.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Returns the payload of a `HEADERS` or `PUSH_PROMISE` frame without padding and what stands before the block.
/// An error names the rule that was broken.
pub(super) fn block(header: Header, payload: &[u8]) -> Result<&[u8], &'static str> {
    const PADDING: &str = "padding longer than the frame";
    let (padding, rest) = match (header.has(PADDED), payload) {
        (false, _) => (0, payload),
        (true, [padding, rest @ ..]) => (usize::from(*padding), rest),
        (true, []) => return Err(PADDING),
    };
    let before = match header.kind {
        Kind::PushPromise => 4,
        _ if header.has(PRIORITY) => 5,
        _ => 0,
    };
    let end = rest.len().checked_sub(padding).ok_or(PADDING)?;
    rest.get(before..end).ok_or(PADDING)
}

/// Returns the name of an error code (section 7).
pub(super) fn error_name(code: u32) -> &'static str {
    match code {
        0x0 => "NO_ERROR",
        0x1 => "PROTOCOL_ERROR",
        0x2 => "INTERNAL_ERROR",
        0x3 => "FLOW_CONTROL_ERROR",
        0x4 => "SETTINGS_TIMEOUT",
        0x5 => "STREAM_CLOSED",
        0x6 => "FRAME_SIZE_ERROR",
        0x7 => "REFUSED_STREAM",
        0x8 => "CANCEL",
        0x9 => "COMPRESSION_ERROR",
        0xa => "CONNECT_ERROR",
        0xb => "ENHANCE_YOUR_CALM",
        0xc => "INADEQUATE_SECURITY",
        0xd => "HTTP_1_1_REQUIRED",
        _ => "_OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8; 9]) -> Header {
        Header::read(bytes).unwrap()
    }

    #[test]
    fn headers_are_read_and_judged() {
        let settings = header(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00");
        assert_eq!((settings.length, settings.kind, settings.stream), (6, Kind::Settings, 0));
        assert!(settings.check().is_ok() && settings.is_usual());
        assert!(settings.is_payload_usual(b"\x00\x03\x00\x00\x00\x64"));
        assert!(!settings.is_payload_usual(b"\x00\x77\x00\x00\x00\x64"));
        assert_eq!(header(b"\x00\x00\x07\x04\x00\x00\x00\x00\x00").check(), Err("frame of a wrong length"));
        assert_eq!(header(b"\x00\x00\x06\x04\x01\x00\x00\x00\x00").check(), Err("frame of a wrong length"));
        assert_eq!(header(b"\x00\x00\x06\x04\x00\x00\x00\x00\x01").check(), Err("frame of a wrong stream"));
        assert_eq!(header(b"\x00\x00\x06\x00\x00\x00\x00\x00\x00").check(), Err("frame of a wrong stream"));
        assert!(!header(b"\x00\x00\x06\x00\x20\x00\x00\x00\x01").is_usual());
        assert!(header(b"\x00\x00\x06\x77\x20\x00\x00\x00\x01").check().is_ok());
        assert_eq!(Header::read(b"\x00\x00\x06\x00\x00\x00\x00\x00"), None);
    }

    #[test]
    fn blocks_are_found_between_priority_and_padding() {
        let of = |flags: u8, payload: &'static [u8]| {
            let mut bytes = *b"\x00\x00\x00\x01\x00\x00\x00\x00\x01";
            bytes[4] = flags;
            block(header(&bytes), payload)
        };
        assert_eq!(of(0, b"\x82"), Ok(&b"\x82"[..]));
        assert_eq!(of(PADDED, b"\x02\x82\x00\x00"), Ok(&b"\x82"[..]));
        assert_eq!(of(PADDED | PRIORITY, b"\x01\x00\x00\x00\x00\x10\x82\x00"), Ok(&b"\x82"[..]));
        assert_eq!(of(PADDED, b"\x04\x82\x00\x00"), Err("padding longer than the frame"));
        assert_eq!(of(PADDED, b""), Err("padding longer than the frame"));
        assert_eq!(of(PRIORITY, b"\x00\x00"), Err("padding longer than the frame"));
    }
}
