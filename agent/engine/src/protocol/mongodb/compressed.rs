//! Beginnings of compressed messages (`OP_COMPRESSED`): no more is decompressed than is read.

mod snappy;

/// Greatest window of a Zstandard frame, as a power of two: what the format asks every decoder for (RFC 8878, section
/// 3.1.1.1.2).
const MAX_WINDOW_LOG: u32 = 23;

/// `compressorId`.
const NOOP: u8 = 0;
const SNAPPY: u8 = 1;
const ZLIB: u8 = 2;
const ZSTD: u8 = 3;

/// Returns at most `max` bytes of what was compressed, as many as the beginning that `compressed` is tells; none where
/// it is broken or compressed by something unknown.
pub(super) fn beginning(compressor: u8, compressed: &[u8], max: usize) -> Option<Vec<u8>> {
    match compressor {
        NOOP => Some(compressed.get(..max).unwrap_or(compressed).to_vec()),
        SNAPPY => snappy::beginning(compressed, max),
        ZLIB => read(flate2::bufread::ZlibDecoder::new(compressed), max),
        ZSTD => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed).ok()?;
            decoder.window_log_max(MAX_WINDOW_LOG).ok()?;
            read(decoder, max)
        }
        _ => None,
    }
}

fn read(mut decoder: impl std::io::Read, max: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 1024];
    while bytes.len() < max {
        // It fails where the rest is not there.
        let Ok(read @ 1..) = decoder.read(&mut buffer) else { break };
        bytes.extend_from_slice(buffer.get(..read)?);
    }
    bytes.truncate(max);
    (!bytes.is_empty()).then_some(bytes)
}
