//! The data of a program as the loader leaves it, at the addresses that the file states.

use object::{Object as _, ObjectSegment as _, ReadRef, RelocationFlags, SegmentFlags, elf};

/// Segments beyond this size are not read.
const MAX_SEGMENT_BYTES: u64 = 64 << 20;

/// The segments that the loader may write to.
#[derive(Debug, Default)]
pub(in crate::discover) struct Data {
    /// Address and content of each, in words.
    segments: Vec<(u64, Vec<u64>)>,
}

impl Data {
    /// Reads them.
    pub(super) fn of<'a, R: ReadRef<'a>>(file: &object::File<'a, R>) -> Self {
        let mut data = Self::default();
        for segment in file.segments() {
            let SegmentFlags::Elf { p_flags, .. } = segment.flags() else { continue };
            let is_aligned = segment.address().is_multiple_of(8);
            if !p_flags.contains(elf::PF_W) || segment.file_range().1 > MAX_SEGMENT_BYTES || !is_aligned {
                continue;
            }
            data.segments.push((segment.address(), words(segment.data().unwrap_or_default())));
        }
        data.relocated(file)
    }

    /// Takes these bytes for a segment at an address.
    pub(in crate::discover) fn from_bytes<'a, R: ReadRef<'a>>(
        file: &object::File<'a, R>,
        address: u64,
        bytes: &[u8],
    ) -> Self {
        Self { segments: vec![(address, words(bytes))] }.relocated(file)
    }

    /// Fills in the addresses that depend on where the file is mapped (`R_X86_64_RELATIVE`). In files without such
    /// relocations, and with the packed ones of `.relr.dyn`, they stand there already.
    fn relocated<'a, R: ReadRef<'a>>(mut self, file: &object::File<'a, R>) -> Self {
        for (place, relocation) in file.dynamic_relocations().into_iter().flatten() {
            let is_relative = relocation.flags() == RelocationFlags::Elf { r_type: elf::R_X86_64_RELATIVE };
            if let Some(word) = self.word_mut(place).filter(|_| is_relative) {
                *word = relocation.addend().cast_unsigned();
            }
        }
        self
    }

    #[cfg(test)]
    pub(in crate::discover) fn at(address: u64, words: Vec<u64>) -> Self {
        Self { segments: vec![(address, words)] }
    }

    /// Returns the word at an address.
    pub(in crate::discover) fn word(&self, address: u64) -> Option<u64> {
        let found = self.segments.iter().find_map(|(start, words)| words.get(index(*start, address)?));
        found.copied()
    }

    /// Returns where a word stands.
    pub(super) fn places(&self, wanted: u64) -> impl Iterator<Item = u64> {
        self.segments.iter().flat_map(move |(start, words)| {
            let found = words.iter().zip(0_u64..).filter(move |(word, _)| **word == wanted);
            found.map(move |(_, index)| start.wrapping_add(8 * index))
        })
    }

    fn word_mut(&mut self, address: u64) -> Option<&mut u64> {
        self.segments.iter_mut().find_map(|(start, words)| words.get_mut(index(*start, address)?))
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
}

fn index(start: u64, address: u64) -> Option<usize> {
    let distance = address.checked_sub(start).filter(|distance| distance.is_multiple_of(8))?;
    usize::try_from(distance / 8).ok()
}
