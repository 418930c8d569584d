//! Snappy's raw format (google/snappy, "Snappy compressed format description"), of which a beginning is enough.

use super::repeat;

/// Most bytes of the length before the data.
const MAX_VARINT_BYTES: usize = 5;
/// What a stream of blocks begins with (xerial/snappy-java, `SnappyOutputStream`), before its version and the oldest that
/// can read it.
const STREAM: &[u8] = b"\x82SNAPPY\0";
const STREAM_VERSIONS_BYTES: usize = 8;

/// Returns at most `max` bytes of a stream of blocks, each behind its length, or else of one block.
pub(in crate::protocol) fn stream(compressed: &[u8], max: usize) -> Option<Vec<u8>> {
    let Some(stream) = compressed.strip_prefix(STREAM) else { return beginning(compressed, max) };
    let mut rest = stream.get(STREAM_VERSIONS_BYTES..)?;
    let mut bytes = Vec::new();
    while bytes.len() < max
        && let Some((&length, block)) = rest.split_first_chunk()
    {
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        let shown = block.get(..length).unwrap_or(block);
        let Some(unpacked) = beginning(shown, max - bytes.len()) else { break };
        bytes.extend_from_slice(&unpacked);
        rest = block.get(length..).unwrap_or_default();
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// Returns at most `max` bytes of what was compressed; none where it is broken.
pub(in crate::protocol) fn beginning(compressed: &[u8], max: usize) -> Option<Vec<u8>> {
    let length = compressed.iter().take(MAX_VARINT_BYTES).position(|byte| byte & 0x80 == 0)?;
    let mut rest = compressed.get(length + 1..)?;
    let mut bytes = Vec::with_capacity(max.min(compressed.len().saturating_mul(4)));
    while bytes.len() < max {
        let Some((&tag, after)) = rest.split_first() else { break };
        let Some(element) = Element::read(tag, after) else { break };
        rest = match element {
            Element::Literal { length, head } => {
                let literal = after.get(head..)?;
                let shown = literal.get(..length).unwrap_or(literal);
                bytes.extend_from_slice(shown);
                literal.get(shown.len()..)?
            }
            Element::Copy { offset, length, head } => {
                repeat(&mut bytes, offset, length)?;
                after.get(head..)?
            }
        };
    }
    bytes.truncate(max);
    (!bytes.is_empty()).then_some(bytes)
}

/// What a tag stands for; `head` is the number of bytes that belong to the tag.
enum Element {
    Literal { length: usize, head: usize },
    Copy { offset: usize, length: usize, head: usize },
}

impl Element {
    /// Returns nothing where the bytes behind the tag are missing.
    fn read(tag: u8, after: &[u8]) -> Option<Self> {
        let high = usize::from(tag >> 2);
        let number = |bytes: usize| {
            let bytes = after.get(..bytes)?;
            Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
        };
        Some(match tag & 3 {
            0 if high < 60 => Element::Literal { length: high + 1, head: 0 },
            0 => {
                let head = high - 59;
                Element::Literal { length: number(head)?.checked_add(1)?, head }
            }
            1 => Element::Copy { offset: (high >> 3) << 8 | number(1)?, length: (high & 7) + 4, head: 1 },
            2 => Element::Copy { offset: number(2)?, length: high + 1, head: 2 },
            _ => Element::Copy { offset: number(4)?, length: high + 1, head: 4 },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies_are_undone() {
        // The letters, then all again from three places back, eight bytes long.
        assert_eq!(beginning(b"\x0b\x08abc\x11\x03", 100).unwrap(), b"abcabcabcab"[..11].to_vec());
        assert_eq!(beginning(b"\x0b\x08abc\x1e\x03\x00", 100).unwrap(), b"abcabcabcab".to_vec());
        assert_eq!(beginning(b"\x0b\x08abc\x1f\x03\x00\x00\x00", 5).unwrap(), b"abcab".to_vec());
        assert_eq!(beginning(b"\x03\xf0\x02abc", 100).unwrap(), b"abc".to_vec());
    }

    #[test]
    fn a_beginning_is_enough() {
        assert_eq!(beginning(b"\x80\x01\xf0\x7fabc", 100).unwrap(), b"abc".to_vec());
        assert_eq!(beginning(b"\x0b\x08abc\x1e", 100).unwrap(), b"abc".to_vec());
    }

    #[test]
    fn streams_are_one_block_after_the_other() {
        let blocks = b"\0\0\0\x05\x03\x08abc\0\0\0\x05\x03\x08def";
        let packed = [STREAM, &[0, 0, 0, 1, 0, 0, 0, 1], blocks].concat();
        assert_eq!(stream(&packed, 100).unwrap(), b"abcdef");
        assert_eq!(stream(&packed, 4).unwrap(), b"abcd");
        assert_eq!(stream(&packed[..packed.len() - 1], 100).unwrap(), b"abcde");
        assert_eq!(stream(b"\x03\x08abc", 100).unwrap(), b"abc");
        assert_eq!(stream(STREAM, 100), None);
        assert_eq!(stream(&[STREAM, &[0; 12]].concat(), 100), None);
    }

    #[test]
    fn hostile_input_is_refused() {
        for bytes in [&b""[..], b"\xff\xff\xff\xff\xff\x01", b"\x03", b"\x0b\x11\x03", b"\x0b\x08abc\x11\x00"]
        {
            assert_eq!(beginning(bytes, 100), None, "{}", bytes.escape_ascii());
        }
    }
}
