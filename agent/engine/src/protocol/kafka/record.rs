//! Records of a batch (documentation, "Record").

use super::reader::{Failure, Field, Reader};
use crate::protocol::{WireContext, context};

/// Most records of one batch that are looked at.
const MAX_RECORDS: u32 = 64;
/// Most headers of one record that are looked at.
const MAX_HEADERS: i64 = 64;

/// A record, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Record<'a> {
    pub(super) key: Option<&'a [u8]>,
    /// It says that what the key names is no more.
    pub(super) is_tombstone: bool,
    headers: Vec<(&'a [u8], &'a [u8])>,
}

impl Record<'_> {
    /// Returns the context of who made the record.
    pub(super) fn context(&self) -> Option<WireContext> {
        if self.headers.is_empty() {
            return None;
        }
        context::of_fields(|name| {
            let is_named = move |(other, _): &&(&[u8], &[u8])| other.eq_ignore_ascii_case(name.as_bytes());
            self.headers.iter().filter(is_named).map(|(_, value)| *value)
        })
    }
}

/// Shows the first records of `bytes` to `see`, as far as they are whole; there are `count`.
pub(super) fn walk<'a>(bytes: &'a [u8], count: u32, mut see: impl FnMut(&Record<'a>)) {
    let mut reader = Reader::new(bytes, false);
    for _ in 0..count.min(MAX_RECORDS) {
        let Ok(record) = read(&mut reader) else { return };
        see(&record);
    }
}

fn read<'a>(reader: &mut Reader<'a>) -> Field<Record<'a>> {
    let length = usize::try_from(reader.varint()?).map_err(|_| Failure::Wrong)?;
    let mut fields = Reader::new(reader.bytes(length)?, false);
    fields.int8()?;
    // Timestamp and offset, from those of the batch.
    fields.varint()?;
    fields.varint()?;
    let key = bytes(&mut fields)?;
    let is_tombstone = bytes(&mut fields)?.is_none();
    let count = fields.varint()?;
    let mut headers = Vec::new();
    for _ in 0..count.min(MAX_HEADERS) {
        let name = bytes(&mut fields)?.ok_or(Failure::Wrong)?;
        headers.push((name, bytes(&mut fields)?.unwrap_or_default()));
    }
    Ok(Record { key, is_tombstone, headers })
}

/// Reads bytes after their length, which is -1 where there are none.
fn bytes<'a>(reader: &mut Reader<'a>) -> Field<Option<&'a [u8]>> {
    match reader.varint()? {
        -1 => Ok(None),
        length => reader.bytes(usize::try_from(length).map_err(|_| Failure::Wrong)?).map(Some),
    }
}
