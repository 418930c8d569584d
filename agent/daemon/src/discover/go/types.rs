//! What a Go program says of its own structures: the descriptors of its types (`internal/abi.Type`), which stripped programs
//! have too, in a section of their own since Go 1.27. They tell where versions that are in no table keep what is read.

use std::fs::File;

use object::{Object as _, ObjectSection as _, ReadRef};

use crate::discover::GoOffsets;
use crate::discover::bounded::Bounded;
use crate::discover::probes::data::Data;

/// Sections of an executable that are looked at.
const MAX_SECTIONS: usize = 1024;
/// Fields of one structure that are looked at.
const MAX_FIELDS: u64 = 1024;

/// `abi.Type`, then `abi.StructType`: offsets of what is read.
const FLAGS: u64 = 20;
const KIND: u64 = 23;
const NAME: u64 = 40;
const PACKAGE: u64 = 48;
const FIELDS: u64 = 56;
const FIELD_COUNT: u64 = 64;
const STRUCT_BYTES: usize = 80;
/// `abi.StructField`: name, type, offset.
const FIELD_BYTES: u64 = 24;

/// `abi.TFlagExtraStar`: the name is that of the pointer to it.
const EXTRA_STAR: u8 = 1 << 1;
/// `abi.KindMask`.
const KIND_MASK: u8 = 0x1f;

/// `abi.Kind`, as far as they are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::discover) enum Kind {
    Int = 2,
    Uint32 = 10,
    Uint64 = 11,
    Uintptr = 12,
    Interface = 20,
    Pointer = 22,
    Struct = 25,
}

/// Where a structure must have a field.
#[derive(Clone, Copy, Debug)]
pub(in crate::discover) struct Place {
    /// Path of the package, and the structure's name with that of the package.
    pub(in crate::discover) structure: (&'static str, &'static str),
    pub(in crate::discover) field: (&'static str, Kind),
    pub(in crate::discover) offset: u64,
}

/// Returns where a goroutine keeps its id and its parent's, if its stack is where it always was.
pub(super) fn goroutine(file: &File) -> Option<GoOffsets> {
    const G: (&str, &str) = ("runtime", "runtime.g");
    const STACK: (&str, &str) = ("runtime", "runtime.stack");
    const BOUNDS: [Place; 3] = [
        Place { structure: G, field: ("stack", Kind::Struct), offset: 0 },
        Place { structure: STACK, field: ("lo", Kind::Uintptr), offset: 0 },
        Place { structure: STACK, field: ("hi", Kind::Uintptr), offset: 8 },
    ];
    let bounded = Bounded::new(file);
    let elf = object::File::parse(&bounded).ok()?;
    let types = Types::of(&elf)?;
    let offset = |field| u16::try_from(types.offset(G, (field, Kind::Uint64))?).ok();
    let (goid, parent_goid) = (offset("goid")?, offset("parentGoid")?);
    types.has(&BOUNDS).then_some(GoOffsets { goid, parent_goid, is_from_types: true })
}

/// The types of one program.
#[derive(Debug)]
pub(in crate::discover) struct Types<'a> {
    /// Address of the first. Their names are told as offsets from here.
    start: u64,
    bytes: &'a [u8],
    /// The same, as the loader leaves it.
    words: Data,
}

impl<'a> Types<'a> {
    pub(in crate::discover) fn of<R: ReadRef<'a>>(elf: &object::File<'a, R>) -> Option<Self> {
        let is_of_types = |name: &str| name == ".go.type" || name == ".data.rel.ro.go.type";
        let mut sections = elf.sections().take(MAX_SECTIONS);
        let section = sections.find(|section| section.name().is_ok_and(is_of_types))?;
        let (start, bytes) = (section.address(), section.data().ok()?);
        start.checked_add(u64::try_from(bytes.len()).ok()?)?;
        Some(Self { start, bytes, words: Data::from_bytes(elf, start, bytes) })
    }

    /// Returns whether all fields are where they must be.
    pub(in crate::discover) fn has(&self, places: &[Place]) -> bool {
        places.iter().all(|place| self.offset(place.structure, place.field) == Some(place.offset))
    }

    fn offset(&self, structure: (&str, &str), (field, kind): (&str, Kind)) -> Option<u64> {
        let structure = self.structure(structure)?;
        let count = self.words.word(structure + FIELD_COUNT).filter(|count| *count <= MAX_FIELDS)?;
        let fields = self.words.word(structure + FIELDS)?;
        let fields = (0..count).filter_map(|index| fields.checked_add(index * FIELD_BYTES));
        let mut named = fields.filter(|field_at| self.name(self.words.word(*field_at)) == Some(field));
        let found = named.next()?;
        let is_of_kind = self.kind(self.words.word(found.checked_add(8)?)?) == Some(kind as u8);
        self.words.word(found.checked_add(16)?).filter(|_| is_of_kind)
    }

    /// Returns the address of the only structure of a name.
    fn structure(&self, (package, name): (&str, &str)) -> Option<u64> {
        let last = self.bytes.len().checked_sub(STRUCT_BYTES)?;
        let addresses =
            (0..=last).step_by(8).filter_map(|at| self.start.checked_add(u64::try_from(at).ok()?));
        let is_struct = |address: &u64| self.kind(*address) == Some(Kind::Struct as u8);
        let is_of_package = |address: &u64| self.name(self.words.word(address + PACKAGE)) == Some(package);
        let is_called = |address: &u64| self.type_name(*address) == Some(name);
        let mut found = addresses.filter(is_struct).filter(is_of_package).filter(is_called);
        found.next().filter(|_| found.next().is_none())
    }

    fn kind(&self, address: u64) -> Option<u8> {
        Some(self.at(address.checked_add(KIND)?)?.first()? & KIND_MASK)
    }

    fn type_name(&self, address: u64) -> Option<&'a str> {
        let offset = u32::from_le_bytes(*self.at(address + NAME)?.first_chunk()?);
        let name = self.name(self.start.checked_add(u64::from(offset)))?;
        let has_star = self.at(address + FLAGS)?.first()? & EXTRA_STAR != 0;
        if has_star { name.strip_prefix('*') } else { Some(name) }
    }

    /// Reads an `abi.Name`: a byte of flags, the length as a varint, and the text.
    fn name(&self, address: Option<u64>) -> Option<&'a str> {
        let (_, rest) = self.at(address?)?.split_first()?;
        let (length, text) = match rest {
            [low @ ..=0x7f, text @ ..] => (usize::from(*low), text),
            [low, high @ ..=0x7f, text @ ..] => (usize::from(low & 0x7f) | usize::from(*high) << 7, text),
            _ => return None,
        };
        std::str::from_utf8(text.get(..length)?).ok()
    }

    fn at(&self, address: u64) -> Option<&'a [u8]> {
        self.bytes.get(usize::try_from(address.checked_sub(self.start)?).ok()?..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x5000;
    const G: (&str, &str) = ("runtime", "runtime.g");

    /// Names, the descriptor of `uint64`, and twice that of a structure with one field, as Go 1.27 lays them out. Only the
    /// first structure has the right package.
    fn section() -> Vec<u8> {
        let mut bytes = b"\0\0\0\0\0\0\0\0\0\x07runtime\0\x0a*runtime.g\0\x04goid\0\x05other".to_vec();
        bytes.resize(48, 0);
        bytes.resize(48 + 48, 0);
        bytes[48 + usize::try_from(KIND).unwrap()] = Kind::Uint64 as u8;
        for package in [8, 35] {
            let at = bytes.len();
            let mut words = [0; 13];
            // `TFlag`, `Kind_` with a flag of Go 1.23 and before, `Str`.
            words[2] = u64::from_le_bytes([0, 0, 0, 0, EXTRA_STAR, 8, 8, 0x20 | Kind::Struct as u8]);
            words[5] = 17;
            words[6..10].copy_from_slice(&[START + package, START + at as u64 + 80, 1, 1]);
            words[10..].copy_from_slice(&[START + 29, START + 48, 152]);
            bytes.extend(words.iter().flat_map(|word: &u64| word.to_le_bytes()));
        }
        bytes
    }

    fn types(start: u64, bytes: &[u8]) -> Types<'_> {
        let words = bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect();
        Types { start, bytes, words: Data::at(start, words) }
    }

    #[test]
    fn a_field_is_found_by_its_names_and_its_kind() {
        let bytes = section();
        let types = types(START, &bytes);
        assert_eq!(types.offset(G, ("goid", Kind::Uint64)), Some(152));
        assert_eq!(types.offset(G, ("goid", Kind::Uint32)), None);
        assert_eq!(types.offset(G, ("goi", Kind::Uint64)), None);
        assert_eq!(types.offset(("other", "runtime.g"), ("goid", Kind::Uint64)), Some(152));
        assert_eq!(types.offset(("runtime", "runtime.m"), ("goid", Kind::Uint64)), None);
        let place = Place { structure: G, field: ("goid", Kind::Uint64), offset: 152 };
        assert!(types.has(&[place]) && !types.has(&[place, Place { offset: 160, ..place }]));
    }

    #[test]
    fn of_two_structures_with_one_name_neither_is_believed() {
        let mut bytes = section();
        let second = bytes.len() - 104 + usize::try_from(PACKAGE).unwrap();
        bytes[second..second + 8].copy_from_slice(&(START + 8).to_le_bytes());
        assert_eq!(types(START, &bytes).offset(G, ("goid", Kind::Uint64)), None);
    }

    #[test]
    fn no_cut_or_changed_section_is_trusted_beyond_its_end() {
        let whole = section();
        for length in 0..whole.len() - 104 {
            assert_eq!(types(START, &whole[..length]).offset(G, ("goid", Kind::Uint64)), None, "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _no_panic = types(START, &changed).offset(G, ("goid", Kind::Uint64));
                let end = u64::MAX - changed.len() as u64;
                let _no_panic = types(end, &changed).offset(G, ("goid", Kind::Uint64));
            }
        }
    }
}
