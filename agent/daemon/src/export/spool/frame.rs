//! One batch in a segment: length, spans and checksum (little endian, 4 bytes each), then the payload.

use super::super::batch::Batch;

/// Bytes before the payload.
pub(super) const HEADER_BYTES: usize = 12;
/// Longest payload that is believed.
pub(super) const MAX_PAYLOAD_BYTES: u32 = 64 << 20;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub length: u32,
    pub spans: u32,
    pub checksum: u32,
}

impl Header {
    /// Reads a header; none if it cannot be one.
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let header = Self { length: number(0)?, spans: number(4)?, checksum: number(8)? };
        (header.length <= MAX_PAYLOAD_BYTES).then_some(header)
    }

    /// Returns whether the header and `payload` are as they were written.
    pub(super) fn matches(self, payload: &[u8]) -> bool {
        self.checksum == checksum(self.length, self.spans, payload)
    }
}

/// Returns a batch as it stands in a segment.
pub(super) fn encode(batch: &Batch) -> Vec<u8> {
    let length = u32::try_from(batch.payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + batch.payload.len());
    bytes.extend(length.to_le_bytes());
    bytes.extend(batch.spans.to_le_bytes());
    bytes.extend(checksum(length, batch.spans, &batch.payload).to_le_bytes());
    bytes.extend(&batch.payload);
    bytes
}

/// Returns the bytes that a batch takes in a segment.
pub(super) fn length(batch: &Batch) -> u64 {
    (HEADER_BYTES + batch.payload.len()) as u64
}

fn checksum(length: u32, spans: u32, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&length.to_le_bytes()), &spans.to_le_bytes());
    crc32c::crc32c_append(head, payload)
}
