//! Big-endian numbers out of and into borrowed bytes.

use super::Refusal;

/// Reads a class file, or a part of it.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader at the first byte.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.position >= self.bytes.len()
    }

    /// Returns what was read since a position.
    pub(crate) fn since(&self, begin: usize) -> Result<&'a [u8], Refusal> {
        self.between(begin, self.position)
    }

    pub(crate) fn between(&self, begin: usize, end: usize) -> Result<&'a [u8], Refusal> {
        self.bytes.get(begin..end).ok_or(Refusal::Malformed)
    }

    /// Returns what is not read yet.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or(&[])
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Refusal> {
        let end = self.position.checked_add(length).ok_or(Refusal::Malformed)?;
        let taken = self.between(self.position, end)?;
        self.position = end;
        Ok(taken)
    }

    pub(crate) fn skip(&mut self, length: usize) -> Result<(), Refusal> {
        self.take(length).map(|_| ())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Refusal> {
        self.take(1)?.first().copied().ok_or(Refusal::Malformed)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Refusal> {
        let bytes = self.take(2)?.try_into().map_err(|_| Refusal::Malformed)?;
        Ok(u16::from_be_bytes(bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Refusal> {
        let bytes = self.take(4)?.try_into().map_err(|_| Refusal::Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }
}

/// Writes a class file into a buffer of a fixed length.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
}

impl<'a> Writer<'a> {
    /// Returns a writer at the first byte.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, length: 0 }
    }

    pub(crate) fn length(&self) -> usize {
        self.length
    }

    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let end = self.length.checked_add(bytes.len()).ok_or(Refusal::TooLong)?;
        let room = self.out.get_mut(self.length..end).ok_or(Refusal::TooLong)?;
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.length = end;
        Ok(())
    }

    pub(crate) fn u8(&mut self, value: u8) -> Result<(), Refusal> {
        self.put(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> Result<(), Refusal> {
        self.put(&value.to_be_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> Result<(), Refusal> {
        self.put(&value.to_be_bytes())
    }

    /// Leaves room for a length, and returns where.
    pub(crate) fn length_later(&mut self) -> Result<usize, Refusal> {
        let at = self.length;
        self.u32(0)?;
        Ok(at)
    }

    /// Fills in how many bytes were written behind the room for their length.
    pub(crate) fn fill_length(&mut self, at: usize) -> Result<(), Refusal> {
        let behind = at.checked_add(4).ok_or(Refusal::TooLong)?;
        let length = self.length.checked_sub(behind).ok_or(Refusal::Malformed)?;
        let length = u32::try_from(length).map_err(|_| Refusal::TooLong)?.to_be_bytes();
        let room = self.out.get_mut(at..behind).ok_or(Refusal::TooLong)?;
        for (to, from) in room.iter_mut().zip(length) {
            *to = from;
        }
        Ok(())
    }
}
