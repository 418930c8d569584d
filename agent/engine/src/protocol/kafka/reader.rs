//! Fields of requests and responses (Kafka protocol guide, "Protocol Primitive Types"; KIP-482 for the compact ones).

use crate::protocol::text;

/// Most tagged fields that one structure may have. No version has more than ten.
const MAX_TAGGED_FIELDS: u64 = 64;
/// Longest text that is taken from the wire; the rest is cut.
const MAX_TEXT_BYTES: usize = 256;

/// Why a field could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It ends beyond what is shown.
    Short,
    /// It breaks the protocol.
    Wrong,
}

/// What a field is, or why there is none.
pub(super) type Field<T> = Result<T, Failure>;

/// Reads fields from the front of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// Lengths are compact, and structures end with tagged fields.
    is_flexible: bool,
}

impl<'a> Reader<'a> {
    /// Returns a reader of `bytes`.
    pub(super) fn new(bytes: &'a [u8], is_flexible: bool) -> Self {
        Self { rest: bytes, is_flexible }
    }

    /// Returns what has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns the next `length` bytes.
    pub(super) fn bytes(&mut self, length: usize) -> Field<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Failure::Short)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Field<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Failure::Short)?;
        self.rest = rest;
        Ok(*bytes)
    }

    /// Returns an INT8.
    pub(super) fn int8(&mut self) -> Field<i8> {
        self.array().map(i8::from_be_bytes)
    }

    /// Returns an INT16.
    pub(super) fn int16(&mut self) -> Field<i16> {
        self.array().map(i16::from_be_bytes)
    }

    /// Returns an INT32.
    pub(super) fn int32(&mut self) -> Field<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Returns an INT64.
    pub(super) fn int64(&mut self) -> Field<i64> {
        self.array().map(i64::from_be_bytes)
    }

    /// Returns a UUID.
    pub(super) fn uuid(&mut self) -> Field<[u8; 16]> {
        self.array()
    }

    /// Returns an UNSIGNED_VARINT of at most 32 bits.
    pub(super) fn unsigned_varint(&mut self) -> Field<u64> {
        let value = self.unsigned_varlong()?;
        if value <= u64::from(u32::MAX) { Ok(value) } else { Err(Failure::Wrong) }
    }

    fn unsigned_varlong(&mut self) -> Field<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Failure::Wrong)
    }

    /// Returns a VARINT or VARLONG (zigzag), as records have them.
    pub(super) fn varint(&mut self) -> Field<i64> {
        let value = self.unsigned_varlong()?;
        Ok((value >> 1).cast_signed() ^ -((value & 1).cast_signed()))
    }

    /// Returns the length of a string; none where there is no string.
    fn string_length(&mut self) -> Field<Option<usize>> {
        if self.is_flexible {
            return self.compact_length();
        }
        match self.int16()? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| Failure::Wrong),
        }
    }

    fn compact_length(&mut self) -> Field<Option<usize>> {
        let length = self.unsigned_varint()?.checked_sub(1);
        length.map(|length| usize::try_from(length).map_err(|_| Failure::Wrong)).transpose()
    }

    /// Returns a (COMPACT_)(NULLABLE_)STRING.
    pub(super) fn string(&mut self) -> Field<Option<&'a [u8]>> {
        match self.string_length()? {
            Some(length) => self.bytes(length).map(Some),
            None => Ok(None),
        }
    }

    /// Returns a NULLABLE_STRING as headers have it in all versions.
    pub(super) fn plain_string(&mut self) -> Field<Option<&'a [u8]>> {
        Reader { is_flexible: false, ..*self }.string().inspect(|string| {
            let length = 2 + string.map_or(0, <[u8]>::len);
            self.rest = self.rest.get(length..).unwrap_or_default();
        })
    }

    /// Returns the number of elements of a (COMPACT_)ARRAY; 0 where there is none.
    pub(super) fn count(&mut self) -> Field<u32> {
        if self.is_flexible {
            let count = self.unsigned_varint()?.saturating_sub(1);
            return u32::try_from(count).map_err(|_| Failure::Wrong);
        }
        match self.int32()? {
            -1 => Ok(0),
            count => u32::try_from(count).map_err(|_| Failure::Wrong),
        }
    }

    /// Returns the length of (COMPACT_)(NULLABLE_)BYTES or RECORDS; 0 where there are none.
    pub(super) fn length(&mut self) -> Field<u64> {
        self.count().map(u64::from)
    }

    /// Passes over the tagged fields at the end of a structure.
    pub(super) fn tags(&mut self) -> Field<()> {
        if !self.is_flexible {
            return Ok(());
        }
        let count = self.unsigned_varint()?;
        if count > MAX_TAGGED_FIELDS {
            return Err(Failure::Wrong);
        }
        for _ in 0..count {
            self.unsigned_varint()?;
            let length = self.unsigned_varint()?;
            self.bytes(usize::try_from(length).map_err(|_| Failure::Wrong)?)?;
        }
        Ok(())
    }
}

/// Returns a text from the wire, cut where it is very long.
pub(super) fn text_of(bytes: &[u8]) -> String {
    text::lossy(bytes, MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_as_their_definition_has_them() {
        for (bytes, expected) in [
            (&[0][..], 0),
            (&[1], -1),
            (&[2], 1),
            (&[0x80, 0x01], 64),
            (&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], i64::MIN),
        ] {
            assert_eq!(Reader::new(bytes, false).varint(), Ok(expected), "{bytes:?}");
        }
        assert_eq!(Reader::new(&[0x80], false).varint(), Err(Failure::Short));
        assert_eq!(Reader::new(&[0xff; 10], false).varint(), Err(Failure::Wrong));
    }

    #[test]
    fn strings_and_counts_are_compact_where_the_version_is_flexible() {
        assert_eq!(Reader::new(b"\x00\x02ab", false).string(), Ok(Some(&b"ab"[..])));
        assert_eq!(Reader::new(b"\x03ab", true).string(), Ok(Some(&b"ab"[..])));
        assert_eq!(Reader::new(b"\xff\xff", false).string(), Ok(None));
        assert_eq!(Reader::new(b"\x00", true).string(), Ok(None));
        assert_eq!(Reader::new(b"\xff\xfe", false).string(), Err(Failure::Wrong));
        assert_eq!(Reader::new(b"\x00\x00\x00\x03", false).count(), Ok(3));
        assert_eq!(Reader::new(b"\x04", true).count(), Ok(3));
        assert_eq!(Reader::new(b"\xff\xff\xff\xff", false).count(), Ok(0));
        assert_eq!(Reader::new(b"\x80\x00\x00\x00", false).count(), Err(Failure::Wrong));
    }

    #[test]
    fn tagged_fields_are_passed_over() {
        let mut reader = Reader::new(b"\x02\x00\x01x\x07\x00rest", true);
        assert_eq!(reader.tags(), Ok(()));
        assert_eq!(reader.rest(), b"rest");
        assert_eq!(Reader::new(b"\x7f", true).tags(), Err(Failure::Wrong));
        assert_eq!(Reader::new(b"", false).tags(), Ok(()));
    }
}
