//! Frames and the fields in them (AMQP 0-9-1 specification, section 4.2).

/// Bytes before a frame's payload: type, channel, size.
pub(super) const HEAD_BYTES: usize = 7;
/// The last byte of every frame.
pub(super) const FRAME_END: u8 = 0xce;
/// Longest method or content header that is read whole. Of a longer one as much is read.
pub(super) const MAX_READ_BYTES: usize = 16 << 10;
/// Longest payload that is believed. Brokers allow 128 KiB unless told otherwise.
pub(super) const MAX_PAYLOAD_BYTES: u32 = 256 << 20;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Method,
    Header,
    Body,
    Heartbeat,
}

/// The beginning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) channel: u16,
    /// Bytes of the payload.
    pub(super) size: u32,
}

impl Head {
    /// Returns the beginning of a frame that `bytes` begin with; an error where no frame begins so.
    ///
    /// `Ok(None)` says that it is not there whole.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, &'static str> {
        let kind = match bytes.first() {
            None => return Ok(None),
            Some(1) => Kind::Method,
            Some(2) => Kind::Header,
            Some(3) => Kind::Body,
            Some(8) => Kind::Heartbeat,
            Some(_) => return Err("unknown type of frame"),
        };
        let mut fields = Fields(bytes.get(1..).unwrap_or_default());
        let (Some(channel), Some(size)) = (fields.short(), fields.long()) else { return Ok(None) };
        let is_sound = match kind {
            // Class, method; class, weight, body size, flags.
            Kind::Method => size >= 4,
            Kind::Header => size >= 14 && channel > 0,
            Kind::Body => channel > 0,
            Kind::Heartbeat => size == 0 && channel == 0,
        };
        if !is_sound || size > MAX_PAYLOAD_BYTES {
            return Err("frame of an impossible size");
        }
        Ok(Some(Self { kind, channel, size }))
    }

    /// Returns the bytes of the whole frame.
    pub(super) fn frame_bytes(self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.size) + 1
    }
}

/// Fields that are read one after the other. What is not there whole is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn octet(&mut self) -> Option<u8> {
        let (&octet, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(octet)
    }

    pub(super) fn short(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn long(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn long_long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn short_string(&mut self) -> Option<&'a [u8]> {
        let length = self.octet()?;
        self.take(usize::from(length))
    }

    /// Returns a long string, or a table or array, which begin alike.
    pub(super) fn long_string(&mut self) -> Option<&'a [u8]> {
        let length = self.long()?;
        self.take(usize::try_from(length).ok()?)
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// The entries of a table whose values are texts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Table<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Table<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut fields = Fields(self.0);
        while !fields.0.is_empty() {
            let name = fields.short_string()?;
            let value = text_or_other(&mut fields)?;
            self.0 = fields.0;
            if let Some(text) = value {
                return Some((name, text));
            }
        }
        None
    }
}

/// Reads a value; returns it where it is a text. None where it is not there whole, or of an unknown type.
///
/// The types are those that RabbitMQ knows; tables in tables tell their length, so that nothing is descended into.
fn text_or_other<'a>(fields: &mut Fields<'a>) -> Option<Option<&'a [u8]>> {
    let length = match fields.octet()? {
        b'S' | b'x' => return fields.long_string().map(Some),
        b'A' | b'F' => return fields.long_string().map(|_| None),
        b't' | b'b' | b'B' => 1,
        b's' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'l' | b'L' | b'd' | b'T' => 8,
        b'D' => 5,
        b'V' => 0,
        _ => return None,
    };
    fields.take(length).map(|_| None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_from_other_bytes() {
        let head = Head { kind: Kind::Method, channel: 1, size: 4 };
        assert_eq!(Head::read(b"\x01\x00\x01\x00\x00\x00\x04"), Ok(Some(head)));
        assert_eq!(head.frame_bytes(), 12);
        assert_eq!(Head::read(b"\x01\x00\x01\x00\x00\x00"), Ok(None));
        for wrong in [
            &b"\x04\x00"[..],
            b"\x08\x00\x00\x00\x00\x00\x01",
            b"\x03\x00\x00\x00\x00\x00\x01",
            b"\x01\x00\x01\xff\x00\x00\x00",
        ] {
            assert!(Head::read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn tables_tell_their_texts_and_nothing_beyond_their_end() {
        let table = b"\x01nI\x00\x00\x00\x07\x01aS\x00\x00\x00\x02xy\x01fF\x00\x00\x00\x03\x00V\x01\x01vV\x01bx\x00\x00\x00\x01z";
        let texts: Vec<_> = Table(table).collect();
        assert_eq!(texts, [(&b"a"[..], &b"xy"[..]), (b"b", b"z")]);
        for end in 0..table.len() {
            assert!(Table(&table[..end]).count() <= 2);
        }
        assert_eq!(Table(b"\x01aS\xff\xff\xff\xff").count(), 0);
        assert_eq!(Table(b"\x01a?\x00").count(), 0);
    }
}
