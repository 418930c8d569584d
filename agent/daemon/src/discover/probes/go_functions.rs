//! The function table that every Go program carries (`runtime.pcHeader`, section `.gopclntab`), also when stripped.

use std::fs::File;

use object::{Architecture, Object as _, ObjectSection as _, ObjectSegment as _, ReadRef};

use super::elf::symbol_in;
use super::emulated::Convention;
use super::returns::Text;
use super::{Places, Purpose};
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

/// A function that tells something.
struct Function {
    name: &'static str,
    /// Where the function begins,
    entered: Option<Purpose>,
    /// and where it returns.
    returned: Option<Purpose>,
}

impl Function {
    const fn entered(name: &'static str, purpose: Purpose) -> Self {
        Self { name, entered: Some(purpose), returned: None }
    }
}

const FUNCTIONS: &[Function] = &[
    Function::entered("net/http.(*persistConn).roundTrip", Purpose::GoRoundTrip),
    Function {
        name: "google.golang.org/grpc/internal/transport.(*http2Client).createHeaderFields",
        entered: None,
        returned: Some(Purpose::GrpcHeaderMade),
    },
    Function::entered(
        "google.golang.org/grpc/internal/transport.(*loopyWriter).writeHeader",
        Purpose::GrpcHeaderWritten,
    ),
    Function::entered("google.golang.org/grpc.(*Server).handleStream", Purpose::GrpcStreamServed),
    Function::entered("net/http.(*http2serverConn).runHandler", Purpose::GoHttp2Served),
    Function::entered("net/http/internal/http2.(*serverConn).runHandler", Purpose::GoHttp2Served),
    Function::entered("golang.org/x/net/http2.(*serverConn).runHandler", Purpose::GoHttp2Served),
    Function {
        name: "crypto/tls.(*Conn).Write",
        entered: Some(Purpose::TlsGoWrite),
        returned: Some(Purpose::TlsGoReturned),
    },
    Function {
        name: "crypto/tls.(*Conn).Read",
        entered: Some(Purpose::TlsGoRead),
        returned: Some(Purpose::TlsGoReturned),
    },
    Function {
        name: "crypto/tls.(*Conn).clientHandshake",
        entered: Some(Purpose::TlsGoHandshake),
        returned: Some(Purpose::TlsGoHandshaken),
    },
    Function {
        name: "crypto/tls.(*Conn).serverHandshake",
        entered: Some(Purpose::TlsGoHandshake),
        returned: Some(Purpose::TlsGoHandshaken),
    },
];

/// Returns what there is in a Go program.
pub(super) fn in_file(file: &File) -> Places {
    let bounded = Bounded::new(file);
    let elf = object::File::parse(&bounded).ok().filter(|elf| elf.architecture() == Architecture::X86_64);
    let Some(elf) = elf else { return Places::new() };
    FUNCTIONS.iter().filter_map(|function| places(&elf, function)).flatten().collect()
}

/// Returns the places of one function: none of them, if not all can be told.
fn places<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, function: &Function) -> Option<Places> {
    let extent = extent(elf, function.name)?;
    // The symbol is believed rather than the table, where a linker of C has moved the text.
    let address = symbol_in(elf, function.name).unwrap_or(extent.address);
    let text = Text::of_function(text_of(elf, address, extent.length)?, address)?;
    let returns = if function.returned.is_some() { text.returns(address)? } else { Vec::new() };
    text.spots(address, returns, Convention::Go).places(elf, function.entered, function.returned)
}

fn text_of<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, address: u64, length: u64) -> Option<&'a [u8]> {
    elf.segments().find_map(|segment| segment.data_range(address, length).ok().flatten())
}

fn extent<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>, name: &str) -> Option<Extent> {
    let is_table = |name: &str| name.ends_with(".gopclntab");
    let mut sections = elf.sections().take(MAX_SECTIONS);
    let section = sections.find(|section| section.name().is_ok_and(is_table))?;
    let text = elf.section_by_name(".text")?.address();
    find(section.data().ok()?, text, name)
}

/// Where a function lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    address: u64,
    /// Bytes to the next function.
    length: u64,
}

/// Returns where a function lies. `text` stands in for the address that the table leaves to the linker.
fn find(table: &[u8], text: u64, name: &str) -> Option<Extent> {
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
        if rest.first() != Some(&0) {
            return None;
        }
        // Behind the last function, the table has the end of the text.
        let next = u32_at(functions, 8 * (index + 1))?;
        let length = u64::from(next.checked_sub(entry)?);
        Some(Extent { address: start.checked_add(u64::from(entry))?, length })
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
        // Entries, the end of the text, then the two `_func`s.
        for number in [0x10_u32, 20, 0x20, 28, 0x38, 0x10, 0, 0x20, 10] {
            table.extend(number.to_le_bytes());
        }
        table
    }

    #[test]
    fn functions_are_found_by_their_whole_names() {
        let extent = |address, length| Some(Extent { address, length });
        assert_eq!(find(&table(0x1000), 0, "main.f"), extent(0x1020, 0x18));
        assert_eq!(find(&table(0x1000), 0, "main.main"), extent(0x1010, 0x10));
        assert_eq!(find(&table(0), 0x4000, "main.main"), extent(0x4010, 0x10));
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
