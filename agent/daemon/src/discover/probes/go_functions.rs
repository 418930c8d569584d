//! The function table that every Go program carries (`runtime.pcHeader`, section `.gopclntab`), also when stripped.

use std::fs::File;

use object::{Object as _, ObjectSection as _};

use super::elf::offset_of;
use crate::discover::bounded::Bounded;

/// `runtime.pcHeader.magic` from Go 1.20, and from 1.18.
const MAGIC_1_20: u32 = 0xffff_fff1;
const MAGIC_1_18: u32 = 0xffff_fff0;
/// Sections of an executable that are looked at.
const MAX_SECTIONS: usize = 1024;
/// Words of the header behind its first eight bytes.
mod word {
    pub(super) const FUNCTIONS: usize = 0;
    pub(super) const TEXT_START: usize = 2;
    pub(super) const NAMES: usize = 3;
    pub(super) const FUNCTION_TABLE: usize = 7;
}

/// Returns the offset in the file of the function with this name.
pub(super) fn offset(file: &File, name: &str) -> Option<u64> {
    let bounded = Bounded::new(file);
    let elf = object::File::parse(&bounded).ok()?;
    let is_table = |name: &str| name.ends_with(".gopclntab");
    let mut sections = elf.sections().take(MAX_SECTIONS);
    let section = sections.find(|section| section.name().is_ok_and(is_table))?;
    let text = elf.section_by_name(".text")?.address();
    let address = find(section.data().ok()?, text, name)?;
    offset_of(&elf, address)
}

/// Returns the address of a function. `text` stands in for the address that the table leaves to the linker.
fn find(table: &[u8], text: u64, name: &str) -> Option<u64> {
    let magic = u32_at(table, 0)?;
    let pointer_size = *table.get(7)?;
    if !(magic == MAGIC_1_18 || magic == MAGIC_1_20) || pointer_size != 8 {
        return None;
    }
    let word = |index: usize| usize::try_from(u64_at(table, 8 + 8 * index)?).ok();
    let start = Some(u64_at(table, 8 + 8 * word::TEXT_START)?).filter(|&start| start != 0).unwrap_or(text);
    let names = table.get(word(word::NAMES)?..)?;
    let functions = table.get(word(word::FUNCTION_TABLE)?..)?;
    let count = word(word::FUNCTIONS)?.min(functions.len() / 8);
    (0..count).find_map(|index| {
        let entry = u32_at(functions, 8 * index)?;
        let function = usize::try_from(u32_at(functions, 8 * index + 4)?).ok()?;
        let name_at = usize::try_from(u32_at(functions, function.checked_add(4)?)?).ok()?;
        let rest = names.get(name_at..)?.strip_prefix(name.as_bytes())?;
        (rest.first() == Some(&0)).then_some(start.checked_add(u64::from(entry))?)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of two functions, laid out as by Go 1.20.
    fn table(text_start: u64) -> Vec<u8> {
        let names = b"main.main\0main.f\0";
        let functions_at = 72 + names.len();
        let mut table = MAGIC_1_20.to_le_bytes().to_vec();
        table.extend([0, 0, 1, 8]);
        for word in [2, 0, text_start, 72, 0, 0, 0, functions_at as u64] {
            table.extend(word.to_le_bytes());
        }
        table.extend(names);
        // Entries, then the two `_func`s.
        for number in [0x10_u32, 16, 0x20, 24, 0x10, 0, 0x20, 10] {
            table.extend(number.to_le_bytes());
        }
        table
    }

    #[test]
    fn functions_are_found_by_their_whole_names() {
        assert_eq!(find(&table(0x1000), 0, "main.f"), Some(0x1020));
        assert_eq!(find(&table(0x1000), 0, "main.main"), Some(0x1010));
        assert_eq!(find(&table(0), 0x4000, "main.main"), Some(0x4010));
        assert_eq!(find(&table(0x1000), 0, "main"), None);
    }

    #[test]
    fn no_cut_or_changed_table_is_trusted() {
        let whole = table(0x1000);
        for length in 0..whole.len() {
            assert_eq!(find(&whole[..length], 0, "main.f"), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            let _no_panic = find(&changed, u64::MAX, "main.f");
        }
    }
}
