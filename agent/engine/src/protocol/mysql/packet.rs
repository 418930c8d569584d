//! Packets, and the values in them (MySQL internals manual, "MySQL Packets" and "Protocol Basics").

/// Length in three bytes, and the number of the packet.
pub(super) const HEADER_BYTES: usize = 4;
/// Length of a packet that another one continues.
pub(super) const FULL_BYTES: usize = 0xff_ff_ff;

/// First byte of a packet that says all is well.
pub(super) const OK: u8 = 0x00;
/// First byte of a request for a local file.
pub(super) const LOCAL_INFILE: u8 = 0xfb;
/// First byte of the packet that ends definitions or rows.
pub(super) const END: u8 = 0xfe;
/// First byte of an error.
pub(super) const ERROR: u8 = 0xff;
/// Length of a packet that ends definitions or rows, of servers that send an own kind for it: first byte, warnings and
/// status.
pub(super) const EOF_BYTES: usize = 5;

/// The beginning of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes behind the header.
    pub(super) length: usize,
    /// Number of the packet in its exchange, modulo 256.
    pub(super) sequence: u8,
}

impl Header {
    /// Returns the header that `bytes` begin with; none where there are too few.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let &[low, middle, high, sequence] = bytes.first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        Some(Self { length, sequence })
    }

    /// Returns whether the next packet continues this one.
    pub(super) fn is_full(self) -> bool {
        self.length == FULL_BYTES
    }

    /// Returns the bytes of the packet with its header.
    pub(super) fn whole(self) -> usize {
        HEADER_BYTES + self.length
    }
}

/// Reads values one after the other; none where bytes are missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what was not read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// Returns a number whose first byte says its length ("length-encoded integer").
    pub(super) fn number(&mut self) -> Option<u64> {
        match self.u8()? {
            0xfc => self.u16().map(u64::from),
            0xfd => {
                self.chunk().map(|[low, middle, high]| u64::from(u32::from_le_bytes([low, middle, high, 0])))
            }
            0xfe => self.chunk().map(u64::from_le_bytes),
            0xfb | 0xff => None,
            small => Some(u64::from(small)),
        }
    }

    /// Returns bytes whose length stands before them ("length-encoded string").
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        self.take(length)
    }

    /// Returns the bytes before a zero byte, which is passed over.
    pub(super) fn zero_ended(&mut self) -> Option<&'a [u8]> {
        let text = self.take(memchr::memchr(0, self.rest)?)?;
        self.take(1)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_little_endian() {
        assert_eq!(Header::of(b"\x01\x02\x03\x04\x05"), Some(Header { length: 0x03_02_01, sequence: 4 }));
        assert_eq!(Header::of(b"\x01\x02\x03"), None);
        assert!(
            Header::of(b"\xff\xff\xff\0")
                .is_some_and(|header| header.is_full() && header.whole() == 0x100_0003)
        );
    }

    #[test]
    fn numbers_say_their_length() {
        for (bytes, expected) in [
            (&b"\xfa"[..], Some(250)),
            (b"\xfc\xfb\x00", Some(251)),
            (b"\xfd\x00\x00\x01", Some(0x1_0000)),
            (b"\xfe\x00\x00\x00\x00\x01\x00\x00\x00", Some(1 << 32)),
            (b"\xfb", None),
            (b"\xff", None),
            (b"\xfc\x01", None),
            (b"", None),
        ] {
            assert_eq!(Reader::new(bytes).number(), expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn texts_end_where_they_say() {
        let mut reader = Reader::new(b"\x02abc\0d");
        assert_eq!(
            (reader.text(), reader.zero_ended(), reader.rest()),
            (Some(&b"ab"[..]), Some(&b"c"[..]), &b"d"[..])
        );
        assert_eq!(Reader::new(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffx").text(), None);
        assert_eq!(Reader::new(b"abc").zero_ended(), None);
    }
}
