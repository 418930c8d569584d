//! The protobuf wire format, as far as OTLP needs it: written once, front to back, without messages in between.
//!
//! Generated types would want every key and value as a string of its own: three times the work for each span.

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH_DELIMITED: u32 = 2;
const FIXED32: u32 = 5;

/// A message that is being written. Fields that hold their default are left out, as proto3 does.
#[derive(Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// Returns an empty message with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// Returns the bytes.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Returns the number of bytes so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.set_bytes(field, bytes);
        }
    }

    /// Writes the field also where it is empty: for members of a `oneof`.
    pub(super) fn set_bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, LENGTH_DELIMITED);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// Writes the number also where it is 0: for members of a `oneof`.
    pub(super) fn set_number(&mut self, field: u32, number: u64) {
        self.key(field, VARINT);
        self.varint(number);
    }

    pub(super) fn fixed64(&mut self, field: u32, number: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, field: u32, number: u32) {
        self.key(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    /// Writes a message inside this one.
    pub(super) fn nested(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        self.key(field, LENGTH_DELIMITED);
        // Most lengths fit one byte; for the others the content moves up.
        let start = self.0.len();
        self.0.push(0);
        write(self);
        let length = self.0.len() - start - 1;
        let mut prefix = [0; 10];
        let size = encode_varint(length as u64, &mut prefix);
        if size > 1 {
            let end = self.0.len();
            self.0.resize(end + size - 1, 0);
            self.0.copy_within(start + 1..end, start + size);
        }
        self.0[start..start + size].copy_from_slice(&prefix[..size]);
    }

    /// Writes a message inside this one whose fields are there already, in parts.
    pub(super) fn nested_parts(&mut self, field: u32, parts: [&Self; 3]) {
        self.key(field, LENGTH_DELIMITED);
        self.varint(parts.iter().map(|part| part.len() as u64).sum());
        for part in parts {
            self.0.extend_from_slice(&part.0);
        }
    }

    fn key(&mut self, field: u32, kind: u32) {
        self.varint(u64::from(field << 3 | kind));
    }

    fn varint(&mut self, number: u64) {
        let mut bytes = [0; 10];
        let size = encode_varint(number, &mut bytes);
        self.0.extend_from_slice(bytes.get(..size).unwrap_or_default());
    }
}

/// Writes a number in groups of seven bits, lowest first. Returns the bytes used.
fn encode_varint(mut number: u64, bytes: &mut [u8; 10]) -> usize {
    let mut size = 0;
    for byte in bytes {
        size += 1;
        if number < 0x80 {
            *byte = number as u8;
            break;
        }
        *byte = number as u8 | 0x80;
        number >>= 7;
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prost_writes_them() {
        for number in [0, 1, 127, 128, 300, 16_383, 16_384, u64::from(u32::MAX), u64::MAX] {
            let mut expected = Vec::new();
            prost::encoding::encode_varint(number, &mut expected);
            let mut bytes = [0; 10];
            let size = encode_varint(number, &mut bytes);
            assert_eq!(bytes[..size], expected[..], "{number}");
        }
    }

    #[test]
    fn a_nested_message_of_any_length_has_its_length_before_it() {
        for length in [0, 1, 125, 126, 127, 128, 200, 16_380, 16_384, 70_000] {
            let mut message = Message::default();
            message.nested(1, |inner| inner.set_bytes(2, &vec![7; length]));
            let bytes = message.into_bytes();
            let mut rest = &bytes[1..];
            let declared = prost::encoding::decode_varint(&mut rest).unwrap();
            assert_eq!(declared, rest.len() as u64, "{length}");
        }
    }
}
