//! Symbols of ELF files. The files are the observed programs': anything may be in them.

use std::fs::File;

use object::read::ReadCache;
use object::{Object as _, ObjectSegment as _, ObjectSymbol as _, ReadRef};

/// Returns the offsets in the file of the functions with these names.
pub(super) fn function_offsets(file: &File, names: &[&str]) -> Vec<Option<u64>> {
    let mut offsets = vec![None; names.len()];
    let cache = ReadCache::new(file);
    let Ok(elf) = object::File::parse(&cache) else { return offsets };
    // The dynamic symbols are few: mostly they will do.
    for symbol in elf.dynamic_symbols().chain(elf.symbols()) {
        if !offsets.contains(&None) {
            break;
        }
        let Ok(found) = symbol.name() else { continue };
        for (offset, _) in
            offsets.iter_mut().zip(names).filter(|(offset, name)| offset.is_none() && **name == found)
        {
            *offset = (symbol.is_definition()).then(|| offset_of(&elf, symbol.address())).flatten();
        }
    }
    offsets
}

/// Returns the address of a symbol, as the file states it.
pub(super) fn symbol_address(file: &File, name: &str) -> Option<u64> {
    let cache = ReadCache::new(file);
    symbol_in(&object::File::parse(&cache).ok()?, name)
}

/// Returns the address of a symbol that the file defines.
pub(super) fn symbol_in<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, name: &str) -> Option<u64> {
    let found = |symbol: &object::Symbol<'a, '_, R>| symbol.name() == Ok(name) && symbol.address() != 0;
    elf.dynamic_symbols().chain(elf.symbols()).find(found).map(|symbol| symbol.address())
}

/// Returns the address of the file's first byte that is mapped.
pub(super) fn first_address(file: &File) -> Option<u64> {
    let cache = ReadCache::new(file);
    let elf = object::File::parse(&cache).ok()?;
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
