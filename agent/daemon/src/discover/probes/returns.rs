//! Where a function returns. A breakpoint there tells what it returned, and leaves its stack alone.
//!
//! Nothing is guessed: a breakpoint inside an instruction would change what the program does. The instructions are
//! followed from the function's first one, along every direct jump, and never past the beginning of another function,
//! which `.eh_frame_hdr` tells of stripped files too. A file without that table tells only how long the functions are that
//! have a name: there, the instructions are followed to the function's end, and no further.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, ReadRef};

/// Instructions of one function that are followed.
const MAX_INSTRUCTIONS: usize = 16_384;
/// Returns of one function that are worth a breakpoint each.
const MAX_RETURNS: usize = 32;
/// Segments beyond this size are not read.
const MAX_SEGMENT_BYTES: u64 = 256 << 20;

/// The instructions of one file, as they are mapped.
#[derive(Debug)]
pub(super) struct Text<'a> {
    /// Address of the first.
    start: u64,
    bytes: &'a [u8],
    /// Where functions begin, and parts that the compiler has split off, in order.
    beginnings: Vec<u64>,
    /// Functions that others know by name: whoever jumps there leaves its own for good.
    exported: HashSet<u64>,
    /// Where the functions end that have a name, if nothing tells of the others.
    ends: Option<HashMap<u64, u64>>,
}

impl<'a> Text<'a> {
    /// Returns the instructions around an address of an x86-64 file.
    pub(super) fn around<R: ReadRef<'a>>(elf: &object::File<'a, R>, address: u64) -> Option<Self> {
        if elf.architecture() != object::Architecture::X86_64 {
            return None;
        }
        let segment = elf.segments().find(|segment| {
            let end = segment.address().checked_add(segment.file_range().1);
            segment.address() <= address && end.is_some_and(|end| address < end)
        })?;
        if segment.file_range().1 > MAX_SEGMENT_BYTES {
            return None;
        }
        let exported = elf.dynamic_symbols().map(|symbol| symbol.address()).collect();
        let (beginnings, ends) = match elf.section_by_name(".eh_frame_hdr") {
            Some(header) => (beginnings(header.address(), header.data().ok()?)?, None),
            None => {
                let ends = ends(elf);
                let mut beginnings: Vec<u64> = ends.iter().flat_map(|(start, end)| [*start, *end]).collect();
                beginnings.sort_unstable();
                (beginnings, Some(ends))
            }
        };
        Some(Self { start: segment.address(), bytes: segment.data().ok()?, beginnings, exported, ends })
    }

    /// Returns the instructions of one function, which ends where the next begins.
    pub(super) fn of_function(bytes: &'a [u8], start: u64) -> Option<Self> {
        let end = start.checked_add(u64::try_from(bytes.len()).ok()?)?;
        Some(Self { start, bytes, beginnings: vec![start, end], exported: HashSet::new(), ends: None })
    }

    /// Returns the addresses at which the function at `entry` returns, as far as its own instructions do: where it ends
    /// by a jump to an exported function or by an indirect one, that function returns for it.
    pub(super) fn returns(&self, entry: u64) -> Option<Vec<u64>> {
        self.ways_out(entry).map(|(returns, _)| returns)
    }

    /// Returns the addresses at which the function at `entry` returns; none where it ends in other ways too, or may.
    pub(super) fn all_returns(&self, entry: u64) -> Option<Vec<u64>> {
        self.ways_out(entry).filter(|(_, are_all)| *are_all).map(|(returns, _)| returns)
    }

    /// Returns the addresses at which a function of `length` bytes returns, of a compiler that puts nothing but instructions
    /// between its first one and its end; none where one of them is no instruction.
    pub(super) fn returns_within(&self, entry: u64, length: u64) -> Option<Vec<u64>> {
        let at = usize::try_from(entry.checked_sub(self.start)?).ok()?;
        let end = at.checked_add(usize::try_from(length).ok()?)?;
        let decoder = Decoder::with_ip(64, self.bytes.get(at..end)?, entry, DecoderOptions::NONE);
        let mut returns = Vec::new();
        for (count, instruction) in decoder.into_iter().enumerate() {
            if instruction.is_invalid() || count >= MAX_INSTRUCTIONS {
                return None;
            }
            let is_return = instruction.flow_control() == FlowControl::Return;
            returns.extend(is_return.then(|| instruction.ip()));
        }
        (1..=MAX_RETURNS).contains(&returns.len()).then_some(returns)
    }

    /// Returns the addresses at which the function at `entry` returns, and whether it has no other way out.
    fn ways_out(&self, entry: u64) -> Option<(Vec<u64>, bool)> {
        let Flow { returns, are_all, .. } = self.flow(entry)?;
        (1..=MAX_RETURNS).contains(&returns.len()).then(|| (returns.into_iter().collect(), are_all))
    }

    /// Returns what is executed from `entry` on; none where that leads to what is no instruction.
    pub(super) fn flow(&self, entry: u64) -> Option<Flow> {
        let mut flow = Flow { are_all: true, ..Flow::default() };
        let mut paths = vec![entry];
        let own = match &self.ends {
            Some(ends) => entry..*ends.get(&entry)?,
            None => 0..u64::MAX,
        };
        while let Some(path) = paths.pop() {
            flow.are_all &= own.contains(&path) && self.follow(path, &mut flow, &mut paths)?;
        }
        Some(flow)
    }

    /// Follows one path to its end; returns whether that is known, none where it leads to what is no instruction.
    fn follow(&self, path: u64, flow: &mut Flow, paths: &mut Vec<u64>) -> Option<bool> {
        let at = usize::try_from(path.checked_sub(self.start)?).ok()?;
        let mut decoder = Decoder::with_ip(64, self.bytes.get(at..)?, path, DecoderOptions::NONE);
        while decoder.can_decode() {
            let instruction = decoder.decode();
            if flow.instructions.insert(instruction.ip(), instruction).is_some() {
                return Some(true);
            }
            if instruction.is_invalid() || flow.instructions.len() > MAX_INSTRUCTIONS {
                return None;
            }
            let target = instruction.near_branch_target();
            match instruction.flow_control() {
                FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall => {}
                FlowControl::ConditionalBranch => {
                    flow.targets.insert(target);
                    paths.push(target);
                }
                FlowControl::UnconditionalBranch => {
                    let is_own = !self.exported.contains(&target);
                    flow.targets.insert(target);
                    paths.extend(is_own.then_some(target));
                    return Some(is_own);
                }
                FlowControl::Return if instruction.mnemonic() == Mnemonic::Ret => {
                    flow.returns.insert(instruction.ip());
                    return Some(true);
                }
                FlowControl::IndirectBranch => {
                    flow.is_indirect = true;
                    return Some(false);
                }
                FlowControl::Exception | FlowControl::Interrupt => return Some(true),
                _ => return None,
            }
            // The function that was called last does not return.
            if self.beginnings.binary_search(&instruction.next_ip()).is_ok() {
                return Some(true);
            }
        }
        None
    }
}

/// What is executed from one instruction on.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// All of it, by address.
    pub(super) instructions: BTreeMap<u64, Instruction>,
    /// Where direct jumps lead.
    pub(super) targets: HashSet<u64>,
    /// Where it returns.
    pub(super) returns: BTreeSet<u64>,
    /// It has no other way out.
    pub(super) are_all: bool,
    /// It has jumps of which nobody knows where they lead.
    pub(super) is_indirect: bool,
}

/// Returns where the functions with a name begin and end.
fn ends<'a, R: ReadRef<'a>>(elf: &object::File<'a, R>) -> HashMap<u64, u64> {
    let functions = elf.dynamic_symbols().chain(elf.symbols());
    let functions = functions.filter(|symbol| symbol.is_definition() && symbol.size() > 0);
    let extent = |symbol: object::Symbol<'a, '_, R>| {
        Some((symbol.address(), symbol.address().checked_add(symbol.size())?))
    };
    functions.filter_map(extent).collect()
}

/// Returns where functions begin, by the table for binary search (LSB, "Exception Frames").
fn beginnings(address: u64, header: &[u8]) -> Option<Vec<u64>> {
    /// `DW_EH_PE_pcrel | DW_EH_PE_sdata4`, `DW_EH_PE_udata4`, `DW_EH_PE_datarel | DW_EH_PE_sdata4`, as all linkers
    /// write them.
    const FORMAT: [u8; 4] = [1, 0x1b, 0x03, 0x3b];
    let (format, rest) = header.split_first_chunk::<4>()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let (count, table) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_le_bytes(*count)).ok()?;
    let (entries, _) = table.as_chunks::<8>();
    if *format != FORMAT || count > entries.len() {
        return None;
    }
    let beginning = |&[a, b, c, d, ..]: &[u8; 8]| {
        address.wrapping_add_signed(i64::from(i32::from_le_bytes([a, b, c, d])))
    };
    let mut beginnings: Vec<u64> = entries.iter().take(count).map(beginning).collect();
    beginnings.sort_unstable();
    Some(beginnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x1000;

    fn text<'a>(bytes: &'a [u8], beginnings: &[u64], exported: &[u64]) -> Text<'a> {
        Text {
            start: START,
            bytes,
            beginnings: beginnings.to_vec(),
            exported: exported.iter().copied().collect(),
            ends: None,
        }
    }

    #[test]
    fn every_way_out_is_found_and_no_byte_that_only_looks_like_one() {
        // test %eax,%eax; je +6; mov $0xc3c3c3c3,%eax; ret; jmp -8 (to the ret)
        let code = [0x85, 0xc0, 0x74, 0x06, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3, 0xeb, 0xfd];
        assert_eq!(text(&code, &[START], &[]).returns(START), Some(vec![START + 9]));
    }

    #[test]
    fn a_call_that_does_not_return_is_not_followed_into_the_next_function() {
        // je +1; ret; call …; | the next function: ret
        let code = [0x74, 0x01, 0xc3, 0xe8, 0, 0, 0, 0, 0xc3];
        assert_eq!(text(&code, &[START, START + 8], &[]).returns(START), Some(vec![START + 2]));
        assert_eq!(text(&code, &[START], &[]).returns(START), Some(vec![START + 2, START + 8]));
    }

    #[test]
    fn a_part_that_was_split_off_is_followed_and_an_exported_function_is_not() {
        // jne +1; ret; jmp +0 | the part: repz ret
        let code = [0x75, 0x01, 0xc3, 0xeb, 0x00, 0xf3, 0xc3];
        let split = text(&code, &[START, START + 5], &[]);
        assert_eq!(split.returns(START), Some(vec![START + 2, START + 5]));
        let exported = text(&code, &[START, START + 5], &[START + 5]);
        assert_eq!(exported.returns(START), Some(vec![START + 2]));
        assert_eq!(exported.all_returns(START), None);
        assert_eq!(split.all_returns(START), split.returns(START));
    }

    #[test]
    fn a_function_of_which_only_the_end_is_known_is_not_left() {
        // jne +1; ret; call …; | another function: ret
        let code = [0x75, 0x01, 0xc3, 0xe8, 0, 0, 0, 0, 0xc3];
        let mut bounded = text(&code, &[START, START + 8], &[]);
        bounded.ends = Some([(START, START + 8)].into());
        assert_eq!(bounded.all_returns(START), Some(vec![START + 2]));
        assert_eq!(bounded.returns(START + 8), None, "nobody knows how long it is");
        // jne +1; ret; jmp +0 | what may be a part of it, or another function: ret
        let code = [0x75, 0x01, 0xc3, 0xeb, 0x00, 0xc3];
        let mut bounded = text(&code, &[START, START + 5], &[]);
        bounded.ends = Some([(START, START + 5)].into());
        assert_eq!(bounded.returns(START), Some(vec![START + 2]));
        assert_eq!(bounded.all_returns(START), None);
    }

    #[test]
    fn what_is_no_instruction_makes_no_return() {
        for code in [&[0x06][..], &[0x74, 0x01, 0xc3, 0x06], &[0xe9, 0, 0, 0, 0x70], &[0x90], &[0x0f, 0x0b]] {
            assert_eq!(text(code, &[START], &[]).returns(START), None, "{code:x?}");
        }
        assert_eq!(text(&[0xc3], &[], &[]).returns(START - 1), None);
        assert_eq!(text(&[0xc3], &[], &[]).returns(u64::MAX), None);
    }

    #[test]
    fn the_table_of_functions_is_read_or_refused() {
        let mut header = vec![1, 0x1b, 0x03, 0x3b, 0, 0, 0, 0, 2, 0, 0, 0];
        for word in [-0x100_i32, 0, 0x20, 0] {
            header.extend(word.to_le_bytes());
        }
        assert_eq!(beginnings(0x2000, &header), Some(vec![0x1f00, 0x2020]));
        for length in 0..header.len() {
            assert_eq!(beginnings(0x2000, &header[..length]), None, "{length}");
        }
        header[3] = 0x1b;
        assert_eq!(beginnings(0x2000, &header), None);
    }
}
