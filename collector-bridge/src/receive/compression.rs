//! Content encodings, unpacked up to a limit: what does not fit is never in memory.

use std::io::{self, Read};

use super::intake::IntakeError;

/// Returns the content of a body; `encoding` is the `Content-Encoding` header.
pub(super) fn unpack(encoding: &str, body: &[u8], limit: usize) -> Result<Vec<u8>, IntakeError> {
    match encoding {
        "gzip" => read(flate2::read::MultiGzDecoder::new(body), limit),
        "zstd" => read(zstd::Decoder::new(body).map_err(IntakeError::Compression)?, limit),
        other => Err(IntakeError::Encoding(other.to_owned())),
    }
}

fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, IntakeError> {
    let mut content = Vec::new();
    let result: io::Result<usize> = decoder.take(limit as u64 + 1).read_to_end(&mut content);
    result.map_err(IntakeError::Compression)?;
    if content.len() > limit { Err(IntakeError::TooLarge { limit }) } else { Ok(content) }
}
