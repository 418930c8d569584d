//! LZ4's frames and blocks (lz4/lz4, "LZ4 Frame Format Description", "LZ4 Block Format Description"), of which a beginning
//! is enough. Checksums are not looked at.

use super::repeat;

/// What a frame begins with.
const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// `FLG`: the version and its value, what stands behind each block, and what behind the descriptor.
const VERSION: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const BLOCK_CHECKSUMS: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const DICTIONARY_ID: u8 = 0x01;
/// The bit of a block's size that says that the block is not compressed.
const IS_PLAIN: u32 = 1 << 31;
/// Shortest match.
const MIN_MATCH_BYTES: usize = 4;

/// Returns at most `max` bytes of a frame; none where it is broken.
pub(in crate::protocol) fn beginning(frame: &[u8], max: usize) -> Option<Vec<u8>> {
    let (&flags, rest) = frame.strip_prefix(&MAGIC)?.split_first()?;
    if flags & VERSION != VERSION_1 || flags & DICTIONARY_ID != 0 {
        return None;
    }
    let size_bytes = if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
    let checksum_bytes = if flags & BLOCK_CHECKSUMS != 0 { 4 } else { 0 };
    // `BD`, the size of the content, and the checksum of the descriptor.
    let mut rest = rest.get(1 + size_bytes + 1..)?;
    let mut bytes = Vec::with_capacity(max.min(frame.len().saturating_mul(4)));
    while bytes.len() < max
        && let Some((&size, block)) = rest.split_first_chunk()
    {
        let size = u32::from_le_bytes(size);
        let length = usize::try_from(size & !IS_PLAIN).ok()?;
        if size == 0 {
            break;
        }
        let shown = block.get(..length).unwrap_or(block);
        match size & IS_PLAIN {
            0 => unpack(shown, max, &mut bytes)?,
            _ => bytes.extend_from_slice(shown),
        }
        rest = block.get(length + checksum_bytes..).unwrap_or_default();
    }
    bytes.truncate(max);
    (!bytes.is_empty()).then_some(bytes)
}

/// Appends what a block holds, until it ends or there is enough; none where it is broken.
fn unpack(block: &[u8], max: usize, bytes: &mut Vec<u8>) -> Option<()> {
    let mut rest = block;
    while bytes.len() < max
        && let Some((&token, after)) = rest.split_first()
    {
        let Some((length, after)) = length(usize::from(token >> 4), after) else { break };
        let literals = after.get(..length).unwrap_or(after);
        bytes.extend_from_slice(literals);
        // The last literals have no match behind them.
        let Some((&offset, after)) = after.get(literals.len()..).and_then(<[u8]>::split_first_chunk) else {
            break;
        };
        let Some((length, after)) = self::length(usize::from(token & 0xf), after) else { break };
        // No more than is wanted: the length may say anything.
        let length = length.saturating_add(MIN_MATCH_BYTES).min(max.saturating_sub(bytes.len()));
        repeat(bytes, usize::from(u16::from_le_bytes(offset)), length)?;
        rest = after;
    }
    Some(())
}

/// Returns a length that begins in a token, and what follows it; none where it ends beyond what is shown.
fn length(of_token: usize, mut rest: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = of_token;
    if of_token == 0xf {
        loop {
            let (&more, after) = rest.split_first()?;
            length += usize::from(more);
            rest = after;
            if more != u8::MAX {
                break;
            }
        }
    }
    Some((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(flags: u8, parts: &[&[u8]]) -> Vec<u8> {
        [&MAGIC[..], &[flags, 0x40], &parts.concat()].concat()
    }

    fn block(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).expect("short").to_le_bytes(), bytes].concat()
    }

    /// Three letters, then ten bytes from three places back, then one letter.
    const PACKED: &[u8] = b"\x36abc\x03\0\x10x";

    #[test]
    fn literals_and_matches_are_undone() {
        let whole = frame(0x40, &[&[0x82], &block(PACKED), &[0; 4]]);
        assert_eq!(beginning(&whole, 100).unwrap(), b"abcabcabcabcax");
        assert_eq!(beginning(&whole, 5).unwrap(), b"abcab");
        let with_all = frame(0x5c, &[&[0; 8], &[0x82], &block(PACKED), b"sum!", &block(b"\x10y"), b"sum!"]);
        assert_eq!(beginning(&with_all, 100).unwrap(), b"abcabcabcabcaxy");
        let plain = frame(0x40, &[&[0x82], &(3 | IS_PLAIN).to_le_bytes(), b"abc"]);
        assert_eq!(beginning(&plain, 100).unwrap(), b"abc");
        let long: Vec<u8> = [&[0xf0, 255, 30][..], &[7; 300]].concat();
        assert_eq!(beginning(&frame(0x40, &[&[0x82], &block(&long)]), 1000).unwrap(), [7; 300]);
    }

    #[test]
    fn a_beginning_is_enough() {
        let whole = frame(0x40, &[&[0x82], &block(PACKED)]);
        for length in 0..whole.len() {
            let bytes = beginning(&whole[..length], 100).unwrap_or_default();
            assert!(b"abcabcabcabcax".starts_with(&bytes), "{length}: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn hostile_input_is_refused() {
        for bytes in [
            &b""[..],
            b"\x04\x22\x4d\x18",
            &frame(0x80, &[&[0x82], &block(PACKED)]),
            &frame(0x41, &[&[0; 5], &block(PACKED)]),
            // A match before the beginning, and one of nothing.
            &frame(0x40, &[&[0x82], &block(b"\x10a\x02\0\0")]),
            &frame(0x40, &[&[0x82], &block(b"\x10a\0\0\0")]),
        ] {
            assert_eq!(beginning(bytes, 100), None, "{}", bytes.escape_ascii());
        }
        let bomb = [&b"\x1fa\x01\0"[..], &[255; 4000]].concat();
        assert!(
            beginning(&frame(0x40, &[&[0x82], &block(&bomb)]), 100).is_some_and(|bytes| bytes.len() <= 100)
        );
    }
}
