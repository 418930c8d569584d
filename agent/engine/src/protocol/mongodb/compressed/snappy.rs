//! Snappy's raw format (google/snappy, "Snappy compressed format description"), of which a beginning is enough.

/// Most bytes of the length before the data.
const MAX_VARINT_BYTES: usize = 5;

/// Returns at most `max` bytes of what was compressed; none where it is broken.
pub(super) fn beginning(compressed: &[u8], max: usize) -> Option<Vec<u8>> {
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
                copy(&mut bytes, offset, length)?;
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

/// Repeats what was written before; it may overlap what is written.
fn copy(bytes: &mut Vec<u8>, offset: usize, length: usize) -> Option<()> {
    let start = bytes.len().checked_sub(offset).filter(|_| offset > 0)?;
    let mut left = length;
    while left > 0 {
        // What was repeated is there to be repeated in turn.
        let piece = left.min(bytes.len() - start);
        bytes.extend_from_within(start..start + piece);
        left -= piece;
    }
    Some(())
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
    fn hostile_input_is_refused() {
        for bytes in [&b""[..], b"\xff\xff\xff\xff\xff\x01", b"\x03", b"\x0b\x11\x03", b"\x0b\x08abc\x11\x00"]
        {
            assert_eq!(beginning(bytes, 100), None, "{}", bytes.escape_ascii());
        }
    }
}
