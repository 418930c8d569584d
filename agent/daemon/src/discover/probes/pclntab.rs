//! The function table that every Go program carries (`runtime.pcHeader`, section `.gopclntab`), also when stripped.

use object::{Object as _, ObjectSection as _, ReadRef};

use super::data::Data;
use super::elf::symbol_in;

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
/// Words of `runtime.moduledata` (Go 1.18 to 1.27).
mod module {
    pub(super) const NAMES: u64 = 1;
    pub(super) const FUNCTION_TABLE: u64 = 16;
    pub(super) const FUNCTIONS: u64 = 17;
    pub(super) const FIRST_FUNCTION: u64 = 20;
    pub(super) const TEXT: u64 = 22;
}

/// Where a function lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) address: u64,
    /// Bytes to the next function.
    pub(super) length: u64,
}

/// Returns where the functions with these names lie.
pub(super) fn extents<'a, R: ReadRef<'a>>(
    elf: &object::File<'a, R>,
    names: &[&str],
) -> Option<Vec<Option<Extent>>> {
    let is_table = |name: &str| name.ends_with(".gopclntab");
    let mut sections = elf.sections().take(MAX_SECTIONS);
    let section = sections.find(|section| section.name().is_ok_and(is_table))?;
    let table = Table::parse(section.data().ok()?)?;
    // The table says where the text begins up to Go 1.25. A linker of C puts code of its own before it.
    let start = table
        .start
        .or_else(|| text_of_module(&Data::of(elf), section.address(), &table))
        .or_else(|| symbol_in(elf, "runtime.text"))?;
    Some(table.extents(start, names))
}

/// Returns where the text of the module begins that has this table, as `runtime.moduledata` says.
fn text_of_module(data: &Data, address: u64, table: &Table<'_>) -> Option<u64> {
    let first = u64::from(u32_at(table.functions, 0)?);
    data.places(address).find_map(|module| {
        let word = |index: u64| data.word(module.checked_add(8 * index)?);
        let text = word(module::TEXT)?;
        let expected = [
            (module::NAMES, address.checked_add(table.names_at)),
            (module::FUNCTION_TABLE, address.checked_add(table.functions_at)),
            (module::FUNCTIONS, table.count.checked_add(1)),
            (module::FIRST_FUNCTION, text.checked_add(first)),
        ];
        expected.iter().all(|(index, value)| value.is_some() && word(*index) == *value).then_some(text)
    })
}

/// The table, of which nothing is believed but its bounds.
struct Table<'a> {
    /// Where the text begins, as far as the table says so.
    start: Option<u64>,
    /// How many functions it claims to have.
    count: u64,
    /// Offset of their names, and what is there.
    names_at: u64,
    names: &'a [u8],
    /// Offset of where they begin, and what is there.
    functions_at: u64,
    functions: &'a [u8],
}

impl<'a> Table<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let magic = u32_at(bytes, 0)?;
        let pointer_size = *bytes.get(7)?;
        if !(magic == MAGIC_1_18 || magic == MAGIC_1_20) || pointer_size != 8 {
            return None;
        }
        let word = |index: usize| u64_at(bytes, 8 + 8 * index);
        let behind = |at: u64| bytes.get(usize::try_from(at).ok()?..);
        let (names_at, functions_at) = (word(word::NAMES)?, word(word::FUNCTION_TABLE)?);
        Some(Self {
            start: Some(word(word::TEXT_START)?).filter(|&start| start != 0),
            count: word(word::FUNCTIONS)?,
            names_at,
            names: behind(names_at)?,
            functions_at,
            functions: behind(functions_at)?,
        })
    }

    fn extents(&self, start: u64, names: &[&str]) -> Vec<Option<Extent>> {
        let count = usize::try_from(self.count).unwrap_or(usize::MAX).min(self.functions.len() / 8);
        let mut extents = vec![None; names.len()];
        for index in 0..count {
            let Some(named) = self.name(index) else { continue };
            let is_called =
                |name: &str| named.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
            for (extent, _) in extents.iter_mut().zip(names).filter(|(_, name)| is_called(name)) {
                *extent = extent.or_else(|| self.extent(start, index));
            }
        }
        extents
    }

    /// Returns what begins with the name of a function.
    fn name(&self, index: usize) -> Option<&'a [u8]> {
        let function = usize::try_from(u32_at(self.functions, 8 * index + 4)?).ok()?;
        let name_at = u32_at(self.functions, function.checked_add(4)?)?;
        self.names.get(usize::try_from(name_at).ok()?..)
    }

    fn extent(&self, start: u64, index: usize) -> Option<Extent> {
        let entry = u32_at(self.functions, 8 * index)?;
        // Behind the last function, the table has the end of the text.
        let next = u32_at(self.functions, 8 * (index + 1))?;
        let length = u64::from(next.checked_sub(entry)?);
        Some(Extent { address: start.checked_add(u64::from(entry))?, length })
    }
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
        // Entries, the end of the text, then the two `_func`s.
        for number in [0x10_u32, 20, 0x20, 28, 0x38, 0x10, 0, 0x20, 10] {
            table.extend(number.to_le_bytes());
        }
        table
    }

    fn find(bytes: &[u8], name: &str) -> Option<Extent> {
        let table = Table::parse(bytes)?;
        table.extents(table.start.unwrap_or(0x4000), &["not there", name]).pop()?
    }

    #[test]
    fn functions_are_found_by_their_whole_names() {
        let extent = |address, length| Some(Extent { address, length });
        assert_eq!(find(&table(0x1000), "main.f"), extent(0x1020, 0x18));
        assert_eq!(find(&table(0x1000), "main.main"), extent(0x1010, 0x10));
        assert_eq!(find(&table(0), "main.main"), extent(0x4010, 0x10));
        assert_eq!(find(&table(0x1000), "main"), None);
    }

    #[test]
    fn no_cut_or_changed_table_is_trusted() {
        let whole = table(0x1000);
        for length in 0..whole.len() {
            assert_eq!(find(&whole[..length], "main.f"), None, "{length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] = 0xff;
            let _no_panic = find(&changed, "main.f");
        }
    }

    /// `runtime.moduledata` of that table, which lies at 0x9000.
    fn module() -> Vec<u64> {
        let mut words = vec![0; 24];
        words[0] = 0x9000;
        for (index, value) in [
            (module::NAMES, 0x9000 + 72),
            (module::FUNCTION_TABLE, 0x9000 + 89),
            (module::FUNCTIONS, 3),
            (module::FIRST_FUNCTION, 0x5010),
            (module::TEXT, 0x5000),
        ] {
            words[usize::try_from(index).unwrap()] = value;
        }
        words
    }

    #[test]
    fn the_text_begins_where_the_module_says() {
        let bytes = table(0);
        let table = Table::parse(&bytes).unwrap();
        // Another pointer to the table comes first.
        let mut words = vec![0x9000, 0];
        words.extend(module());
        assert_eq!(text_of_module(&Data::at(0x1_0000, words.clone()), 0x9000, &table), Some(0x5000));
        for at in 2..words.len() {
            let mut changed = words.clone();
            changed[at] ^= 8;
            let text = text_of_module(&Data::at(0x1_0000, changed), 0x9000, &table);
            assert!(text.is_none() || words[at] == 0, "{at}: {text:?}");
        }
    }
}
