//! Record batches, and message sets of before 2017 (documentation, "Record Batch"; "Old Message Format").

use std::borrow::Cow;

use super::reader::{Failure, Field, Reader};
use crate::protocol::inflate;

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
const GZIP: i16 = 1;
const SNAPPY: i16 = 2;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;
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

    /// Returns at most `max` bytes of the records, as they were before the beginning that is `shown` was compressed; none
    /// where that is broken, or compressed by something unknown.
    pub(super) fn unpacked<'a>(&self, shown: &'a [u8], max: usize) -> Option<Cow<'a, [u8]>> {
        Some(Cow::Owned(match self.attributes & COMPRESSION_MASK {
            0 => return Some(Cow::Borrowed(shown)),
            GZIP => inflate::gzip(shown, max),
            SNAPPY => inflate::snappy_stream(shown, max)?,
            LZ4 => inflate::lz4(shown, max)?,
            ZSTD => inflate::zstd(shown, max),
            _ => return None,
        }))
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
