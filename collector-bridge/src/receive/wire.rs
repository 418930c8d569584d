//! Protocol Buffers wire format (protobuf.dev, "Encoding"), read in place without copies.

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field says that it is longer than what is left.
    #[error("message ends inside a field")]
    Truncated,
    /// A number has more than ten bytes or 64 bits.
    #[error("number is too long")]
    Varint,
    /// A tag has the number 0, or one above 2^29.
    #[error("field number {0} is out of range")]
    FieldNumber(u64),
    /// A wire type that proto3 does not have.
    #[error("wire type {0} is not known")]
    WireType(u8),
    /// A known field comes with the wire type of another kind.
    #[error("field {0} has the wrong wire type")]
    Mismatch(u32),
    /// A text is not UTF-8.
    #[error("field {0} is not valid UTF-8")]
    Utf8(u32),
    /// Values are nested deeper than the limit.
    #[error("values are nested deeper than {0} levels")]
    Depth(usize),
}

/// One field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Payload<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    payload: Payload<'a>,
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], WireError> {
        match self.payload {
            Payload::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Mismatch(self.number)),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8(self.number))
    }

    pub(super) fn varint(self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Varint(number) => Ok(number),
            _ => Err(WireError::Mismatch(self.number)),
        }
    }

    /// Returns an `int32` or enum: the low 32 bits, as every decoder does with longer numbers.
    pub(super) fn int32(self) -> Result<i32, WireError> {
        self.varint().map(|number| number as i32)
    }

    pub(super) fn uint32(self) -> Result<u32, WireError> {
        self.varint().map(|number| number as u32)
    }

    pub(super) fn fixed64(self) -> Result<u64, WireError> {
        match self.payload {
            Payload::Fixed64(number) => Ok(number),
            _ => Err(WireError::Mismatch(self.number)),
        }
    }

    pub(super) fn fixed32(self) -> Result<u32, WireError> {
        match self.payload {
            Payload::Fixed32(number) => Ok(number),
            _ => Err(WireError::Mismatch(self.number)),
        }
    }
}

/// The fields of a message, in the order in which they were sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns the next field; none at the end.
    pub(super) fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.take_varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        let number = number.ok_or(WireError::FieldNumber(tag >> 3))?;
        let payload = match (tag & 7) as u8 {
            0 => Payload::Varint(self.take_varint()?),
            1 => Payload::Fixed64(u64::from_le_bytes(self.take_array()?)),
            2 => {
                let length = self.take_varint()?;
                Payload::Bytes(self.take(usize::try_from(length).map_err(|_| WireError::Truncated)?)?)
            }
            5 => Payload::Fixed32(u32::from_le_bytes(self.take_array()?)),
            other => return Err(WireError::WireType(other)),
        };
        Ok(Some(Field { number, payload }))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(WireError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| WireError::Truncated)
    }

    fn take_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            let is_overflow = index == 9 && *byte > 1;
            if is_overflow {
                return Err(WireError::Varint);
            }
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(number);
            }
        }
        Err(if self.rest.len() < 10 { WireError::Truncated } else { WireError::Varint })
    }
}
