//! Record batches, and message sets of before 2017 (documentation, "Record Batch"; "Old Message Format").

use super::reader::{Failure, Field, Reader};

/// Bytes before the version of the format, in all versions.
pub(super) const MAGIC_END: usize = 17;
/// Bytes of the header of a batch of version 2.
pub(super) const HEADER_BYTES: usize = 61;
/// Offset and length, which the length does not count.
const UNCOUNTED_BYTES: u64 = 12;
/// Shortest message of version 0: checksum, magic, attributes, and two lengths.
const MIN_MESSAGE_BYTES: u64 = 14;

/// `attributes`: compression, and records that are no messages.
const COMPRESSION_MASK: i16 = 0x07;
const CONTROL: i16 = 0x20;

/// The header of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the batch in all.
    pub(super) total: u64,
    /// What it says of its records; none of a message of version 0 or 1.
    pub(super) records: Option<Records>,
}

/// What the header of a batch of version 2 says of its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Records {
    /// Offset of the first one. The producer does not know it.
    pub(super) base_offset: i64,
    /// Timestamp of the first one, in milliseconds since 1970.
    pub(super) base_timestamp: i64,
    pub(super) count: u32,
    attributes: i16,
}

impl Records {
    /// Returns whether the batch only says how a transaction ended.
    pub(super) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Returns whether the records can be read as they are.
    pub(super) fn is_plain(&self) -> bool {
        self.attributes & COMPRESSION_MASK == 0
    }
}

impl Header {
    /// Reads the header that `bytes` begin with.
    pub(super) fn read(bytes: &[u8]) -> Field<Self> {
        let mut reader = Reader::new(bytes, false);
        let base_offset = reader.int64()?;
        let length = u64::try_from(reader.int32()?).map_err(|_| Failure::Wrong)?;
        reader.int32()?;
        let magic = reader.int8()?;
        let total = length + UNCOUNTED_BYTES;
        match magic {
            0 | 1 if length >= MIN_MESSAGE_BYTES => Ok(Self { total, records: None }),
            2 if total >= HEADER_BYTES as u64 => {
                let records = Self::records(base_offset, &mut reader)?;
                Ok(Self { total, records: Some(records) })
            }
            _ => Err(Failure::Wrong),
        }
    }

    fn records(base_offset: i64, reader: &mut Reader<'_>) -> Field<Records> {
        reader.bytes(4)?;
        let attributes = reader.int16()?;
        reader.bytes(4)?;
        let base_timestamp = reader.int64()?;
        // Last timestamp, producer's id and epoch, first sequence number.
        reader.bytes(8 + 8 + 2 + 4)?;
        let count = u32::try_from(reader.int32()?).map_err(|_| Failure::Wrong)?;
        Ok(Records { base_offset, base_timestamp, count, attributes })
    }
}
