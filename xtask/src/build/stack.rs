//! How much of the stack BPF programs need, with all that they call. Kernels before 6.13 give them 512 bytes together, and
//! the kernel of whoever builds may be a later one, which gives as many to each.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
};

/// `MAX_BPF_STACK` of `include/linux/filter.h`.
const MOST: u32 = 512;
/// To what the verifier rounds each function's part (`check_max_stack_depth`).
const UNIT: u32 = 32;
/// `MAX_CALL_FRAMES` of `include/linux/bpf_verifier.h`.
const MAX_FRAMES: usize = 8;

/// Instructions of `include/uapi/linux/bpf.h`.
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const MOVE: u8 = 0xbf;
const ADD_NUMBER: u8 = 0x07;
const WIDE_LOAD: u8 = 0x18;
const INSTRUCTION_BYTES: usize = 8;
/// The register that holds the frame's end.
const FRAME: u8 = 10;

/// A place in the object.
type Place = (SectionIndex, u64);

/// What is known of a function.
#[derive(Debug, Default, PartialEq, Eq)]
struct Function {
    name: String,
    /// Bytes of its own frame.
    frame: u32,
    /// Where the functions begin that it calls.
    calls: Vec<Place>,
}

/// Fails if a program of the object needs more than old kernels give.
pub(super) fn check(path: &Path) -> Result<()> {
    let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    let functions = functions(&bytes).with_context(|| format!("read {}", path.display()))?;
    for place in functions.keys() {
        let (needed, way) = need(&functions, place, 1)?;
        ensure!(
            needed <= MOST,
            "{} needs {needed} bytes of stack, and Linux before 6.13 gives {MOST}: give one of them a program of its own \
             that is not below the others, or keep what it has in a map",
            way.join(" -> ")
        );
    }
    Ok(())
}

/// Returns what a function and those below it need together at most, and by which way.
fn need(functions: &HashMap<Place, Function>, place: &Place, frames: usize) -> Result<(u32, Vec<String>)> {
    let function = functions.get(place).with_context(|| format!("no function begins at {place:?}"))?;
    ensure!(frames <= MAX_FRAMES, "{} is called {frames} calls deep", function.name);
    let mut most = (0, Vec::new());
    for called in &function.calls {
        let below = need(functions, called, frames + 1)?;
        if below.0 >= most.0 {
            most = below;
        }
    }
    let own = function.frame.max(1).next_multiple_of(UNIT);
    let mut way = vec![format!("{} ({own})", function.name)];
    way.extend(most.1);
    Ok((own + most.0, way))
}

fn functions(bytes: &[u8]) -> Result<HashMap<Place, Function>> {
    let file = object::File::parse(bytes)?;
    let mut relocations = HashMap::new();
    for section in file.sections() {
        for (offset, relocation) in section.relocations() {
            if let RelocationTarget::Symbol(index) = relocation.target() {
                let symbol = file.symbol_by_index(index)?;
                if let Some(target) = symbol.section_index() {
                    relocations.insert((section.index(), offset), (target, symbol.address()));
                }
            }
        }
    }
    let mut functions = HashMap::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let index = symbol.section_index().context("a function in no section")?;
        let code = file.section_by_index(index)?.data()?;
        let end = symbol.address() + symbol.size();
        let code =
            code.get(symbol.address() as usize..end as usize).context("a function beyond its section")?;
        let name = symbol.name()?.to_owned();
        let calls = calls(code)
            .map(|(at, number)| {
                let at = symbol.address() + at as u64;
                // Of the instruction behind the call, or of the symbol, whose number is less by that one.
                let (section, base) = relocations.get(&(index, at)).copied().unwrap_or((index, at));
                (section, base.wrapping_add_signed((i64::from(number) + 1) * INSTRUCTION_BYTES as i64))
            })
            .collect();
        functions.insert((index, symbol.address()), Function { name, frame: frame(code), calls });
    }
    Ok(functions)
}

/// Returns where a function calls others, and the number in each call.
fn calls(code: &[u8]) -> impl Iterator<Item = (usize, i32)> {
    instructions(code).filter_map(|(at, instruction)| {
        let is_call = instruction.code == CALL && instruction.source == PSEUDO_CALL;
        is_call.then_some((at, instruction.number))
    })
}

/// Returns how far below its end a function uses its frame: what is loaded or stored there, and addresses in it.
fn frame(code: &[u8]) -> u32 {
    let mut deepest = 0;
    let mut is_frame = [false; 16];
    for (_, instruction) in instructions(code) {
        let Instruction { code, destination, source, offset, number } = instruction;
        // `BPF_LDX`, `BPF_ST` and `BPF_STX`.
        let is_used = match code & 7 {
            1 => source == FRAME,
            2 | 3 => destination == FRAME,
            _ => false,
        };
        if is_used && offset < 0 {
            deepest = deepest.max(u32::from(offset.unsigned_abs()));
        }
        let register = &mut is_frame[usize::from(destination)];
        if code == MOVE {
            *register = source == FRAME;
        } else if code == ADD_NUMBER && *register {
            *register = false;
            if number < 0 {
                deepest = deepest.max(number.unsigned_abs());
            }
        }
    }
    deepest
}

#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i16,
    number: i32,
}

/// Returns the instructions, each with its place.
fn instructions(code: &[u8]) -> impl Iterator<Item = (usize, Instruction)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes: [u8; INSTRUCTION_BYTES] = code.get(at..at + INSTRUCTION_BYTES)?.try_into().ok()?;
        let [code, registers, low, high, number @ ..] = bytes;
        let instruction = Instruction {
            code,
            destination: registers & 15,
            source: registers >> 4,
            offset: i16::from_le_bytes([low, high]),
            number: i32::from_le_bytes(number),
        };
        let place = at;
        at += if code == WIDE_LOAD { 2 * INSTRUCTION_BYTES } else { INSTRUCTION_BYTES };
        Some((place, instruction))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `r2 = r10; r2 += -48; *(u64 *)(r10 - 16) = r1; call +3; exit`
    const CODE: [[u8; 8]; 5] = [
        [0xbf, 0xa2, 0, 0, 0, 0, 0, 0],
        [0x07, 0x02, 0, 0, 0xd0, 0xff, 0xff, 0xff],
        [0x7b, 0x1a, 0xf0, 0xff, 0, 0, 0, 0],
        [0x85, 0x10, 0, 0, 3, 0, 0, 0],
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];

    #[test]
    fn a_frame_ends_with_the_deepest_address() {
        let code = CODE.concat();
        assert_eq!(frame(&code), 48);
        assert_eq!(frame(&code[16..]), 16);
        assert_eq!(calls(&code).collect::<Vec<_>>(), [(24, 3)]);
    }

    #[test]
    fn the_deepest_way_counts() {
        let section = SectionIndex(1);
        let function = |name: &str, frame, calls: &[u64]| Function {
            name: name.to_owned(),
            frame,
            calls: calls.iter().map(|at| (section, *at)).collect(),
        };
        let functions = HashMap::from([
            ((section, 0), function("entry", 0, &[8, 16])),
            ((section, 8), function("deep", 376, &[])),
            ((section, 16), function("middle", 33, &[24])),
            ((section, 24), function("last", 280, &[])),
        ]);
        let (needed, way) = need(&functions, &(section, 0), 1).unwrap();
        assert_eq!(needed, 32 + 384);
        assert_eq!(way, ["entry (32)", "deep (384)"]);
        assert_eq!(need(&functions, &(section, 16), 1).unwrap().0, 64 + 288);
    }
}
