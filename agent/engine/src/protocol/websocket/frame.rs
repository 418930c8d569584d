//! One frame (RFC 6455 section 5.2).

/// Most bytes of a control frame's payload (section 5.5).
const MAX_CONTROL_BYTES: u64 = 125;

/// `FIN` and `opcode` of the first byte; `MASK` of the second.
const FIN: u8 = 0x80;
const OPCODE: u8 = 0x0f;
const MASK: u8 = 0x80;
const CLOSE: u8 = 0x8;
/// `RSV1`: the message is compressed (RFC 7692 section 6).
const COMPRESSED: u8 = 0x40;

/// What is of interest in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// Bytes of header and payload.
    pub(super) length: u64,
    /// It is the last or only one of a text or binary message.
    pub(super) ends_message: bool,
    /// It closes the connection, with this code if with any.
    pub(super) close: Option<Option<u16>>,
    /// Its payload is masked, as a client's must be and a server's must not.
    pub(super) is_masked: bool,
}

/// What bytes are at the beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    Frame(Frame),
    /// At least so many bytes must be seen.
    Need(usize),
    /// No frame begins so.
    Broken,
}

/// Returns the frame with which `bytes` begin. The payload need not be among them, but for a close frame's.
pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(&[first, second]) = bytes.first_chunk() else { return Read::Need(2) };
    let opcode = first & OPCODE;
    let is_control = opcode >= CLOSE;
    let short = u64::from(second & !MASK);
    // 3 to 7 and 11 to 15 are reserved; control frames are never in parts.
    let is_known = matches!(opcode, 0x0..=0x2 | 0x8..=0xa);
    if !is_known || is_control && (first & FIN == 0 || short > MAX_CONTROL_BYTES) {
        return Read::Broken;
    }
    let (payload, at) = match short {
        126 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(&length) => (u64::from(u16::from_be_bytes(length)), 4),
            None => return Read::Need(4),
        },
        127 => match bytes.get(2..).and_then(<[u8]>::first_chunk) {
            Some(&length) => (u64::from_be_bytes(length), 10),
            None => return Read::Need(10),
        },
        short => (short, 2),
    };
    let has_mask = second & MASK != 0;
    let header: u64 = if has_mask { at + 4 } else { at };
    // The most significant bit of a length is 0.
    let Some(length) = payload.checked_add(header).filter(|_| payload >> 63 == 0) else {
        return Read::Broken;
    };
    let ends_message = !is_control && first & FIN != 0;
    if opcode != CLOSE {
        return Read::Frame(Frame { length, ends_message, close: None, is_masked: has_mask });
    }
    // A control frame is short.
    let whole = usize::try_from(length).unwrap_or(usize::MAX);
    let Some(shown) = bytes.get(..whole) else { return Read::Need(whole) };
    let close = Some(close_code(shown, has_mask));
    Read::Frame(Frame { length, ends_message, close, is_masked: has_mask })
}

/// Returns the code of a whole close frame: the first two bytes of its payload.
fn close_code(bytes: &[u8], has_mask: bool) -> Option<u16> {
    let payload = bytes.get(2..)?;
    let (mask, payload) = match payload.split_first_chunk::<4>().filter(|_| has_mask) {
        Some((&[first, second, ..], payload)) => ([first, second], payload),
        None => ([0; 2], payload),
    };
    let &[first, second] = payload.first_chunk()?;
    let [mask_first, mask_second] = mask;
    Some(u16::from_be_bytes([first ^ mask_first, second ^ mask_second]))
}

/// Returns whether a frame seems to begin with `bytes`: all of a message or a control frame, masked as its sender must; none
/// where more must be seen. Of what is no beginning, one in 70 seems so.
pub(super) fn seems_to_begin(bytes: &[u8], is_masked: bool) -> Option<bool> {
    let &[first, second] = bytes.first_chunk()?;
    let is_whole = matches!(first & !COMPRESSED, 0x81 | 0x82) || matches!(first, 0x88..=0x8a);
    let has_mask = second & MASK != 0;
    Some(is_whole && has_mask == is_masked && !matches!(read(&[first, second]), Read::Broken))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(length: u64, is_masked: bool) -> Read {
        Read::Frame(Frame { length, ends_message: true, close: None, is_masked })
    }

    #[test]
    fn lengths_are_read_in_all_forms() {
        assert_eq!(read(b"\x81\x05Hello"), data(7, false));
        assert_eq!(read(b"\x81\x85\x37\xfa\x21\x3d"), data(11, true));
        assert_eq!(read(b"\x82\x7e\x01\x00"), data(260, false));
        assert_eq!(read(b"\x82\x7f\0\0\0\0\0\x01\0\0"), data(65_546, false));
        assert_eq!(read(b"\xc2\xff\x7f\xff\xff\xff\xff\xff\xff\xff"), data((1 << 63) + 13, true));
    }

    #[test]
    fn fragments_end_with_their_last_and_control_frames_end_none() {
        let ends = |bytes| match read(bytes) {
            Read::Frame(frame) => frame.ends_message,
            other => panic!("{other:?}"),
        };
        assert!(!ends(b"\x01\x03Hel"));
        assert!(!ends(b"\x89\x00"));
        assert!(!ends(b"\x00\x01l"));
        assert!(ends(b"\x80\x02lo"));
    }

    #[test]
    fn what_is_cut_is_asked_for() {
        for (bytes, needed) in [
            (&b""[..], 2),
            (b"\x81", 2),
            (b"\x81\x7e\x01", 4),
            (b"\x81\x7f\0\0\0\0\0\0\0", 10),
            (b"\x88\x02\x03", 4),
        ] {
            assert_eq!(read(bytes), Read::Need(needed), "{bytes:?}");
        }
    }

    #[test]
    fn hostile_headers_are_no_frames() {
        for bytes in [
            &b"\x83\x00"[..],
            b"\x8b\x00",
            b"\x08\x00",
            b"\x89\x7e\x00\x7e",
            b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(read(bytes), Read::Broken, "{bytes:?}");
        }
    }

    #[test]
    fn close_codes_are_unmasked() {
        let code = |bytes| match read(bytes) {
            Read::Frame(frame) => frame.close,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(b"\x88\x00"), Some(None));
        assert_eq!(code(b"\x88\x00\x81\x00"), Some(None), "another frame follows");
        assert_eq!(code(b"\x88\x02\x03\xe8"), Some(Some(1000)));
        assert_eq!(code(b"\x88\x82\x01\x02\x03\x04\x02\xeb"), Some(Some(1001)));
        assert_eq!(code(b"\x88\x80\x01\x02\x03\x04"), Some(None));
        assert_eq!(code(b"\x8a\x00"), None);
    }
}
