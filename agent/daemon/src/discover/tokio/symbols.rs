//! The symbols of an ELF file for 64-bit machines, read at once: one by one takes a system call for each name.

use object::ObjectSection as _;

/// Tables beyond this size are not read.
const MAX_TABLE_BYTES: u64 = 512 << 20;

/// A symbol that the file defines.
#[derive(Clone, Copy, Debug)]
pub(in crate::discover) struct Symbol<'a> {
    pub name: &'a str,
    /// In thread-local storage, its place there.
    pub address: u64,
    /// In bytes.
    pub length: u64,
    pub is_thread_local: bool,
}

/// Returns all symbols whose names are text; none where the file is stripped.
pub(in crate::discover) fn of<'a>(elf: &impl object::Object<'a>) -> Option<impl Iterator<Item = Symbol<'a>>> {
    let table = |name| {
        let section = elf.section_by_name(name).filter(|section| section.size() <= MAX_TABLE_BYTES)?;
        section.data().ok()
    };
    let names = table(".strtab")?;
    let (entries, _) = table(".symtab")?.as_chunks::<ENTRY_BYTES>();
    Some(entries.iter().filter_map(|entry| symbol(entry, names)))
}

/// Returns whether a file wants a symbol of its libraries, or has one for others; none where it is linked statically.
pub(in crate::discover) fn imports<'a>(elf: &impl object::Object<'a>, name: &[u8]) -> Option<bool> {
    let names = elf.section_by_name(".dynstr").filter(|section| section.size() <= MAX_TABLE_BYTES)?;
    Some(names.data().ok()?.split(|&byte| byte == 0).any(|found| found == name))
}

/// Size of `Elf64_Sym`.
const ENTRY_BYTES: usize = 24;

fn symbol<'a>(entry: &[u8; ENTRY_BYTES], names: &'a [u8]) -> Option<Symbol<'a>> {
    const STT_TLS: u8 = 6;
    const SHN_UNDEF: [u8; 2] = [0, 0];
    let [n0, n1, n2, n3, info, _, s0, s1, rest @ ..] = *entry;
    if [s0, s1] == SHN_UNDEF {
        return None;
    }
    let start = usize::try_from(u32::from_le_bytes([n0, n1, n2, n3])).ok()?;
    let name = names.get(start..)?.split(|&byte| byte == 0).next()?;
    let (value, size) = rest.split_first_chunk::<8>()?;
    Some(Symbol {
        name: str::from_utf8(name).ok()?,
        address: u64::from_le_bytes(*value),
        length: u64::from_le_bytes(*size.first_chunk()?),
        is_thread_local: info & 0xf == STT_TLS,
    })
}
