//! Beginnings of compressed messages (`OP_COMPRESSED`): no more is decompressed than is read.

use crate::protocol::inflate;

/// `compressorId`.
const NOOP: u8 = 0;
const SNAPPY: u8 = 1;
const ZLIB: u8 = 2;
const ZSTD: u8 = 3;

/// Returns at most `max` bytes of what was compressed, as many as the beginning that `compressed` is tells; none where
/// it is broken or compressed by something unknown.
pub(super) fn beginning(compressor: u8, compressed: &[u8], max: usize) -> Option<Vec<u8>> {
    let unpacked = match compressor {
        NOOP => return Some(compressed.get(..max).unwrap_or(compressed).to_vec()),
        SNAPPY => return inflate::snappy(compressed, max),
        ZLIB => inflate::zlib(compressed, max),
        ZSTD => inflate::zstd(compressed, max),
        _ => return None,
    };
    (!unpacked.is_empty()).then_some(unpacked)
}
