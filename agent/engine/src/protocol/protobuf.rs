//! Messages of Protocol Buffers, read field by field without their schema (Protocol Buffers, "Encoding").

/// Longest number, in bytes: seven bits in each.
const MAX_VARINT_BYTES: usize = 10;

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// The number by which the schema knows it.
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// `VARINT`: a number, a truth value.
    Number(u64),
    /// `I32` and `I64`, which nobody asks for.
    Fixed,
    /// `LEN`: a text, bytes, a message.
    Bytes(&'a [u8]),
    /// The same, of which the end is not there, and its whole length.
    Beginning(&'a [u8], u64),
}

impl<'a> Value<'a> {
    /// Returns the bytes, as far as they are there.
    pub(super) fn shown(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) | Value::Beginning(bytes, _) => Some(bytes),
            Value::Number(_) | Value::Fixed => None,
        }
    }

    /// Returns the bytes, if all of them are there.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            Value::Number(_) | Value::Fixed | Value::Beginning(..) => None,
        }
    }

    /// Returns how many bytes there are, shown or not.
    pub(super) fn length(self) -> Option<u64> {
        match self {
            Value::Bytes(bytes) => Some(bytes.len() as u64),
            Value::Beginning(_, length) => Some(length),
            Value::Number(_) | Value::Fixed => None,
        }
    }

    /// Returns the number.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Value::Number(number) => Some(number),
            Value::Fixed | Value::Bytes(_) | Value::Beginning(..) => None,
        }
    }
}

/// The fields of a message, in the order in which they stand; they end where the bytes are no fields.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    is_cut: bool,
}

impl<'a> Fields<'a> {
    /// Returns the fields of a message.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message, is_cut: false }
    }

    /// Returns whether all that there was has been read.
    pub(super) fn is_over(&self) -> bool {
        self.rest.is_empty() && !self.is_cut
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let (tag, rest) = varint(self.rest)?;
        let number = tag >> 3;
        let (value, rest) = match tag & 7 {
            0 => varint(rest).map(|(number, rest)| (Value::Number(number), rest))?,
            1 => (Value::Fixed, rest.get(8..)?),
            2 => self.delimited(rest)?,
            5 => (Value::Fixed, rest.get(4..)?),
            // Groups went out of use before these services came.
            _ => return None,
        };
        self.rest = rest;
        (number != 0).then_some(Field { number, value })
    }

    fn delimited(&mut self, bytes: &'a [u8]) -> Option<(Value<'a>, &'a [u8])> {
        let (length, bytes) = varint(bytes)?;
        match usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length)) {
            Some((value, rest)) => Some((Value::Bytes(value), rest)),
            None => {
                self.is_cut = true;
                Some((Value::Beginning(bytes, length), &[]))
            }
        }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            (self.rest, self.is_cut) = (&[], true);
        }
        field
    }
}

/// Returns a number and what follows it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number: u64 = 0;
    for (place, &byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        // What the tenth byte has beyond 64 bits is dropped, as everyone does.
        number |= u64::from(byte & 0x7f) << (place * 7);
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Vec<Field<'_>>, bool) {
        let mut fields = Fields::of(bytes);
        let found = fields.by_ref().collect();
        (found, fields.is_over())
    }

    fn field(number: u64, value: Value<'_>) -> Field<'_> {
        Field { number, value }
    }

    #[test]
    fn fields_of_all_kinds_are_read() {
        let bytes = b"\x08\x96\x01\x12\x07testing\x19\0\0\0\0\0\0\0\0\x25\0\0\0\0\x2a\0";
        let expected = vec![
            field(1, Value::Number(150)),
            field(2, Value::Bytes(b"testing")),
            field(3, Value::Fixed),
            field(4, Value::Fixed),
            field(5, Value::Bytes(b"")),
        ];
        assert_eq!(read(bytes), (expected, true));
        assert_eq!(read(b""), (vec![], true));
    }

    #[test]
    fn a_message_may_be_cut_anywhere() {
        let bytes = b"\x08\x96\x01\x12\x07testing";
        let first = field(1, Value::Number(150));
        for cut in 1..bytes.len() {
            let (found, is_over) = read(&bytes[..cut]);
            let expected = match cut {
                0..=2 => vec![],
                3 | 4 => vec![first],
                _ => vec![first, field(2, Value::Beginning(&bytes[5..cut], 7))],
            };
            assert_eq!((found, is_over), (expected, cut == 3), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_message_ends() {
        for bytes in [
            &b"\x0b\x0c"[..],
            b"\x00\x01",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x",
            b"\x19\0\0",
        ] {
            let (found, is_over) = read(bytes);
            assert!(!is_over && found.iter().all(|field| field.value.bytes().is_none()), "{bytes:?}");
        }
    }
}
