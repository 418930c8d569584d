//! The build information that the Go linker leaves in every executable, stripped ones included.
//!
//! Layout since Go 1.18 (`debug/buildinfo`): 16-byte aligned, 14 bytes of magic, pointer size, flags, padding to 32,
//! then the version as a varint length and its bytes. Older versions store pointers instead and are not understood.

use std::fs::File;

use object::read::elf::{ElfFile32, ElfFile64};
use object::{FileKind, Object as _, ObjectSection as _, ObjectSegment as _, ReadRef, SegmentFlags};

use crate::discover::bounded::Bounded;

const MAGIC: &[u8; 14] = b"\xff Go buildinf:";
const HEADER_BYTES: usize = 32;
const ALIGNMENT: usize = 16;
/// Flag that says that the strings follow the header.
const INLINE_STRINGS: u8 = 2;
/// Longest version that is believed.
const MAX_VERSION_BYTES: usize = 128;
/// How much of the data segment is searched where the section headers are gone, as Go's own reader does.
const MAX_SEARCH_BYTES: u64 = 1 << 20;

/// Returns the version and whether the program is 64-bit; none if the file is no Go program.
pub(super) fn version(file: &File) -> Option<(String, bool)> {
    let bounded = Bounded::new(file);
    match FileKind::parse(&bounded).ok()? {
        FileKind::Elf64 => Some((find(&ElfFile64::<object::Endianness, _>::parse(&bounded).ok()?)?, true)),
        FileKind::Elf32 => Some((find(&ElfFile32::<object::Endianness, _>::parse(&bounded).ok()?)?, false)),
        _ => None,
    }
}

fn find<'data, Elf, R>(file: &object::read::elf::ElfFile<'data, Elf, R>) -> Option<String>
where
    Elf: object::read::elf::FileHeader,
    R: ReadRef<'data>,
{
    if let Some(section) = file.section_by_name(".go.buildinfo") {
        let length = section.size().min((HEADER_BYTES + MAX_VERSION_BYTES + 10) as u64);
        return parse(section.data_range(section.address(), length).ok()??);
    }
    // Without section headers: the information is at the beginning of the first writable segment.
    let data = file.segments().find(|segment| is_writable(segment.flags()))?;
    let bytes = data.data_range(data.address(), data.file_range().1.min(MAX_SEARCH_BYTES)).ok()??;
    (0..bytes.len()).step_by(ALIGNMENT).find_map(|at| parse(bytes.get(at..)?))
}

fn is_writable(flags: SegmentFlags) -> bool {
    matches!(flags, SegmentFlags::Elf { p_flags, .. } if p_flags.0 & object::elf::PF_W.0 != 0)
}

fn parse(bytes: &[u8]) -> Option<String> {
    let header = bytes.get(..HEADER_BYTES)?;
    let has_inline_strings = header.get(15)? & INLINE_STRINGS != 0;
    if !header.starts_with(MAGIC) || !has_inline_strings {
        return None;
    }
    let (length, eaten) = varint(bytes.get(HEADER_BYTES..)?)?;
    let length = usize::try_from(length).ok().filter(|&length| length <= MAX_VERSION_BYTES)?;
    let start = HEADER_BYTES + eaten;
    let text = std::str::from_utf8(bytes.get(start..start + length)?).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Reads an unsigned LEB128 number. Returns it and the bytes it took.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(version: &str) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([8, INLINE_STRINGS]);
        bytes.resize(HEADER_BYTES, 0);
        bytes.push(u8::try_from(version.len()).unwrap());
        bytes.extend(version.as_bytes());
        bytes
    }

    #[test]
    fn the_inline_version_is_read() {
        assert_eq!(parse(&blob("go1.22.3 X:loopvar")).as_deref(), Some("go1.22.3 X:loopvar"));
    }

    #[test]
    fn broken_information_is_none() {
        let good = blob("go1.22.3");
        for length in 0..good.len() {
            assert_eq!(parse(&good[..length]), None, "{length}");
        }
        let mut pointers = good.clone();
        pointers[15] = 0;
        assert_eq!(parse(&pointers), None);
        let mut long = good;
        long.splice(HEADER_BYTES..=HEADER_BYTES, [0xff; 10]);
        assert_eq!(parse(&long), None);
    }

    #[test]
    fn this_test_is_not_written_in_go() {
        assert_eq!(version(&File::open("/proc/self/exe").unwrap()), None);
    }
}
