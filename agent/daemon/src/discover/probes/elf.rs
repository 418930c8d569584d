//! Symbols of ELF files. The files are the observed programs': anything may be in them.

use std::fs::File;

use object::read::elf::{ElfFile64, FileHeader, Sym as _, SymbolTable};
use object::{Endianness, Object as _, ObjectSection as _, ObjectSegment as _, ReadRef};

use crate::discover::bounded::Bounded;

/// Returns the offsets in the file of the functions with these names.
pub(super) fn function_offsets(file: &File, names: &[&str]) -> Vec<Option<u64>> {
    let bounded = Bounded::new(file);
    match object::File::parse(&bounded) {
        Ok(elf) => {
            let offset = |address: Option<u64>| offset_of(&elf, address?);
            addresses_in(&elf, names).into_iter().map(offset).collect()
        }
        Err(_) => vec![None; names.len()],
    }
}

/// Returns the address of a symbol, as the file states it.
pub(super) fn symbol_address(file: &File, name: &str) -> Option<u64> {
    let bounded = Bounded::new(file);
    symbol_in(&object::File::parse(&bounded).ok()?, name)
}

/// Returns the address of a symbol that the file defines.
pub(super) fn symbol_in<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, name: &str) -> Option<u64> {
    addresses_in(elf, &[name]).into_iter().next().flatten()
}

/// Returns the addresses of symbols that a file for 64-bit machines defines.
pub(super) fn addresses_in<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    names: &[&str],
) -> Vec<Option<u64>> {
    let mut addresses = vec![None; names.len()];
    let object::File::Elf64(elf) = elf else { return addresses };
    // The dynamic symbols are few: mostly they will do.
    for table in [elf.elf_dynamic_symbol_table(), elf.elf_symbol_table()] {
        if addresses.contains(&None) {
            look_up(elf, table, names, &mut addresses);
        }
    }
    addresses
}

/// All names are read at once: one by one, they would be as many allocations.
fn look_up<'a, R: ReadRef<'a>>(
    elf: &ElfFile64<'a, Endianness, R>,
    table: &SymbolTable<'a, object::elf::FileHeader64<Endianness>, R>,
    names: &[&str],
    addresses: &mut [Option<u64>],
) {
    let Ok(section) = elf.section_by_index(table.string_section()) else { return };
    let Ok(strings) = section.data() else { return };
    let Ok(endian) = elf.elf_header().endian() else { return };
    for symbol in table.iter() {
        let (address, is_defined) =
            (symbol.st_value(endian), symbol.st_shndx(endian) != object::elf::SHN_UNDEF);
        let text = usize::try_from(symbol.st_name(endian)).ok().and_then(|at| strings.get(at..));
        let Some(text) = text.filter(|_| is_defined && address != 0) else { continue };
        let is_called =
            |name: &str| text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
        for (found, _) in addresses.iter_mut().zip(names).filter(|(_, name)| is_called(name)) {
            found.get_or_insert(address);
        }
    }
}

/// Returns the address of the file's first byte that is mapped.
pub(super) fn first_address(file: &File) -> Option<u64> {
    let bounded = Bounded::new(file);
    let elf = object::File::parse(&bounded).ok()?;
    let starts = elf.segments().map(|segment| segment.address().wrapping_sub(segment.file_range().0));
    starts.min()
}

/// Returns where in the file the byte is that is mapped to an address.
pub(in crate::discover) fn offset_of<'a>(elf: &impl object::Object<'a>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let (offset, size) = segment.file_range();
        let inside = address.checked_sub(segment.address())?;
        (inside < size).then_some(offset.checked_add(inside)?)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn functions_of_this_program_are_found() {
        let file = File::open("/proc/self/exe").unwrap();
        let offsets = function_offsets(&file, &["main", "no such function", "_start"]);
        assert!(offsets[0].is_some() && offsets[1].is_none() && offsets[2].is_some(), "{offsets:?}");
        assert_ne!(offsets[0], offsets[2]);
    }

    /// A file with a table of symbols that claims to be larger than any memory, and is, as holes cost nothing.
    fn monstrous() -> File {
        const SECTION_BYTES: usize = 64;
        let mut bytes = vec![0; 64 + 3 * SECTION_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"\x7fELF\x02\x01\x01");
        put(16, &[3, 0, 62, 0, 1]);
        // `e_shoff`, `e_ehsize`, `e_phentsize`, `e_shentsize`, `e_shnum`.
        put(40, &64_u64.to_le_bytes());
        put(52, &[64, 0, 56, 0, 0, 0, 64, 0, 3, 0]);
        for (section, kind) in [(1, 2_u32), (2, 3)] {
            let at = 64 + section * SECTION_BYTES;
            put(at + 4, &kind.to_le_bytes());
            put(at + 24, &4096_u64.to_le_bytes());
            put(at + 32, &(1_u64 << 40).to_le_bytes());
            put(at + 40, &2_u32.to_le_bytes());
            put(at + 56, &24_u64.to_le_bytes());
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file.set_len(1 << 41).unwrap();
        file
    }

    #[test]
    fn a_monstrous_table_is_not_read() {
        let file = monstrous();
        assert!(object::File::parse(&Bounded::new(&file)).is_err());
        assert_eq!(function_offsets(&file, &["main"]), [None]);
        assert_eq!(symbol_address(&file, "main"), None);
    }
}
