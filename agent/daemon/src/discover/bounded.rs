//! Files of observed programs, read within limits: anything may be in them, and a few bytes can claim to be gigabytes.

use std::cell::Cell;
use std::fs::File;
use std::ops::Range;

use object::read::{ReadCache, ReadRef};

/// Bytes that are read of one file in one search, and hence most of what it takes in memory. Node's symbols and their
/// names are some 40 MiB, the function table of a large Go program 60 MiB.
const MAX_READ_BYTES: u64 = 256 << 20;
/// What a text of unknown length counts as: it is read in pieces of so many bytes.
const TEXT_BYTES: u64 = 256;

/// A file, and how much of it may still be read.
#[derive(Debug)]
pub(super) struct Bounded<'f> {
    cache: ReadCache<&'f File>,
    left: Cell<u64>,
}

impl<'f> Bounded<'f> {
    /// Returns a file of which nothing is read yet. Reading a reference to it fails where the limit is reached, as it
    /// does behind the file's end.
    pub(super) fn new(file: &'f File) -> Self {
        Self { cache: ReadCache::new(file), left: Cell::new(MAX_READ_BYTES) }
    }

    fn take(&self, bytes: u64) -> Result<(), ()> {
        self.left.set(self.left.get().checked_sub(bytes).ok_or(())?);
        Ok(())
    }
}

impl<'a> ReadRef<'a> for &'a Bounded<'_> {
    fn len(self) -> Result<u64, ()> {
        (&self.cache).len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'a [u8], ()> {
        self.take(size)?;
        (&self.cache).read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'a [u8], ()> {
        self.take(TEXT_BYTES)?;
        (&self.cache).read_bytes_at_until(range, delimiter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_limit_is_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(64 * MAX_READ_BYTES).unwrap();
        let bounded = Bounded::new(&file);
        assert!((&bounded).read_bytes_at(0, MAX_READ_BYTES + 1).is_err());
        assert!((&bounded).read_bytes_at(7, 16).is_ok());
        assert!((&bounded).read_bytes_at(0, MAX_READ_BYTES - 15).is_err());
        let texts = (0..).take_while(|at| (&bounded).read_bytes_at_until(*at..at + 1024, 0).is_ok()).count();
        assert_eq!(texts as u64, (MAX_READ_BYTES - 16) / TEXT_BYTES);
    }
}
