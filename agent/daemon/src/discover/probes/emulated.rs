//! Which instruction stands in for a function's first one, and for one by which it returns.
//!
//! The kernel has two ways to go on behind a breakpoint. A few instructions it emulates
//! (`arch/x86/kernel/uprobes.c`: `branch_setup_xol_ops`, `push_setup_xol_ops`). All others it has executed elsewhere, one step at
//! a time, which costs a second exception; under a hypervisor that is an exit from the virtual machine, for each call. Near
//! the beginnings and ends of most functions is one that is emulated: a push, or a jump that checks an argument or the
//! stack protector. A breakpoint there tells the same, if that instruction is executed exactly once for each call, and what
//! is looked at is still, or already, where it is looked for. What cannot be shown to be so stays where it was.
//!
//! Calls are emulated too, and never used: a shadow stack would not have the address to which they return.

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, OpAccess, OpKind, Register};
use object::ReadRef;

use super::elf::offset_of;
use super::returns::{Flow, Text};
use super::{Places, Purpose};

/// Instructions between a place and the one that stands in for it.
const MAX_DISTANCE: usize = 24;

/// How arguments are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Convention {
    /// In the order of the System V ABI; also Rust's.
    C,
    /// Go's own (`abi-internal.md`), with the goroutine.
    Go,
}

impl Convention {
    /// Returns the registers that are looked at where a function is entered, as 64-bit ones.
    fn arguments(self) -> &'static [Register] {
        use Register::{R8, R9, R10, R11, R14, RAX, RBX, RCX, RDI, RDX, RSI};
        match self {
            Convention::C => &[RDI, RSI, RDX, RCX, R8, R9],
            Convention::Go => &[RAX, RBX, RCX, RDI, RSI, R8, R9, R10, R11, R14, RDX],
        }
    }
}

/// Where a function is probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spots {
    /// For its entry.
    pub(super) entry: u64,
    /// For each of its returns.
    pub(super) returns: Vec<u64>,
}

impl Spots {
    /// Returns what is learned at them, as offsets in the file.
    pub(super) fn places<'a, R: ReadRef<'a>>(
        &self,
        elf: &object::File<'a, R>,
        entered: Option<Purpose>,
        returned: Option<Purpose>,
    ) -> Option<Places> {
        let entries = entered.map(|entered| (entered, self.entry));
        let returns = self.returns.iter().filter_map(|address| Some((returned?, *address)));
        let place = |(purpose, address)| Some((purpose, offset_of(elf, address)?));
        entries.into_iter().chain(returns).map(place).collect()
    }
}

/// An emulated instruction, and how many bytes lower the stack pointer is there than at the function's first one.
type Spot = (u64, i64);

impl Text<'_> {
    /// Returns where to probe the function at `entry`, of which `returns` are told. The stack pointer is the same at all of
    /// these places, whichever they are: it tells which return belongs to which entry.
    pub(super) fn spots(&self, entry: u64, returns: Vec<u64>, convention: Convention) -> Spots {
        let Some(flow) = self.flow(entry).filter(|flow| !flow.is_indirect) else {
            return Spots { entry, returns };
        };
        let entries = entries(&flow, entry, convention);
        if returns.is_empty() {
            let entry = entries.first().map_or(entry, |(address, _)| *address);
            return Spots { entry, returns };
        }
        // What it leaves for returns with the stack pointer of the entry.
        let moved = if flow.are_all { self.before_returns(&flow, &returns) } else { None };
        for (returns, lowered) in moved.into_iter().chain([(returns.clone(), 0)]) {
            if let Some((entry, _)) = entries.iter().find(|(_, other)| *other == lowered) {
                return Spots { entry: *entry, returns };
            }
        }
        Spots { entry, returns }
    }

    /// Returns what stands in for all returns, and how much lower the stack pointer is there; none where one has nothing, or
    /// another stack pointer.
    fn before_returns(&self, flow: &Flow, returns: &[u64]) -> Option<(Vec<u64>, i64)> {
        let spots: Option<Vec<Spot>> = returns.iter().map(|end| self.before_return(flow, *end)).collect();
        let spots = spots?;
        let (_, lowered) = *spots.first()?;
        let is_alike = spots.iter().all(|(_, other)| *other == lowered);
        is_alike.then(|| (spots.into_iter().map(|(address, _)| address).collect(), lowered))
    }

    /// Returns the instruction that stands in for a return: the last jump on the only way there, if it is taken only by what
    /// never returns, as that of the stack protector is.
    fn before_return(&self, flow: &Flow, end: u64) -> Option<Spot> {
        let mut lowered = 0;
        let mut next = end;
        for _ in 0..MAX_DISTANCE {
            if flow.targets.contains(&next) {
                return None;
            }
            let (_, instruction) = flow.instructions.range(..next).next_back()?;
            if instruction.next_ip() != next {
                return None;
            }
            match instruction.flow_control() {
                FlowControl::Next if !writes_result(instruction) => lowered -= stack_change(instruction)?,
                FlowControl::ConditionalBranch => {
                    let elsewhere = self.flow(instruction.near_branch_target())?;
                    let never_returns = elsewhere.returns.is_empty() && elsewhere.are_all;
                    let spot = (instruction.ip(), -lowered);
                    return (is_emulated(instruction) && never_returns).then_some(spot);
                }
                _ => return None,
            }
            next = instruction.ip();
        }
        None
    }
}

/// Returns the instructions that may stand in for a function's first one, which may be among them.
fn entries(flow: &Flow, entry: u64, convention: Convention) -> Vec<Spot> {
    let mut spots = Vec::new();
    let (mut next, mut lowered) = (entry, 0);
    for _ in 0..MAX_DISTANCE {
        let is_met_again = next != entry && flow.targets.contains(&next);
        let Some(instruction) = flow.instructions.get(&next).filter(|_| !is_met_again) else { break };
        if is_emulated(instruction) {
            spots.push((next, lowered));
        }
        if instruction.flow_control() != FlowControl::Next || changes_arguments(instruction, convention) {
            break;
        }
        let Some(change) = stack_change(instruction) else { break };
        lowered -= change;
        next = instruction.next_ip();
    }
    spots
}

/// Returns whether the kernel emulates an instruction that is no call. Prefixes that make it longer are left alone.
fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.code() {
        Code::Jmp_rel8_64 | Code::Nopd => instruction.len() == instruction_length(instruction),
        Code::Jmp_rel32_64 => instruction.len() == 5,
        Code::Push_r64 => instruction.len() == 1 + usize::from(instruction.op0_register() >= Register::R8),
        _ if instruction.is_jcc_short() => instruction.len() == 2,
        _ if instruction.is_jcc_near() => instruction.len() == 6,
        _ => false,
    }
}

/// Returns the length without prefixes of a short jump or of the one-byte `nop`.
fn instruction_length(instruction: &Instruction) -> usize {
    if instruction.code() == Code::Nopd { 1 } else { 2 }
}

/// Returns by how many bytes an instruction raises the stack pointer; none where that is not known.
fn stack_change(instruction: &Instruction) -> Option<i64> {
    let by = || match instruction.op1_kind() {
        OpKind::Immediate8to64 | OpKind::Immediate32to64 => Some(instruction.immediate(1).cast_signed()),
        _ => None,
    };
    match instruction.code() {
        Code::Push_r64 => Some(-8),
        Code::Pop_r64 if instruction.op0_register() != Register::RSP => Some(8),
        Code::Add_rm64_imm8 | Code::Add_rm64_imm32 if instruction.op0_register() == Register::RSP => by(),
        Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32 if instruction.op0_register() == Register::RSP => {
            by()?.checked_neg()
        }
        _ => (!sets(instruction, &[Register::RSP])).then_some(0),
    }
}

/// Returns whether an instruction writes to one of these registers, or to a part of one.
fn sets(instruction: &Instruction, registers: &[Register]) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(instruction).used_registers();
    used.iter().any(|used| is_write(used.access()) && registers.contains(&used.register().full_register()))
}

fn is_write(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}

/// Returns whether an instruction changes what is looked at where a function is entered: registers, or memory that is not
/// the function's own.
fn changes_arguments(instruction: &Instruction, convention: Convention) -> bool {
    sets(instruction, convention.arguments()) || writes_memory(instruction, Register::RSP)
}

/// Returns whether an instruction changes what is looked at where a function returns.
fn writes_result(instruction: &Instruction) -> bool {
    sets(instruction, &[Register::RAX]) || writes_memory(instruction, Register::None)
}

/// Returns whether an instruction writes to memory at any other base.
fn writes_memory(instruction: &Instruction, own: Register) -> bool {
    let mut factory = InstructionInfoFactory::new();
    let used = factory.info(instruction).used_memory();
    used.iter().any(|used| is_write(used.access()) && (own == Register::None || used.base() != own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 0x1000;

    fn spots(code: &[u8], convention: Convention) -> (u64, Vec<u64>) {
        let text = Text::of_function(code, START).unwrap();
        let returns = text.returns(START).unwrap_or_default();
        let Spots { entry, returns } = text.spots(START, returns, convention);
        (entry - START, returns.into_iter().map(|address| address - START).collect())
    }

    /// `SSL_read` of OpenSSL 3.0 as a distribution compiles it, with short jumps.
    const PROTECTED: &[u8] = &[
        0x48, 0x83, 0xec, 0x18, // 0: sub $0x18,%rsp
        0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0, // 4: mov %fs:0x28,%rax
        0x48, 0x89, 0x44, 0x24, 0x08, // 13: mov %rax,0x8(%rsp)
        0x85, 0xd2, // 18: test %edx,%edx
        0x78, 0x02, // 20: js 24
        0x31, 0xc0, // 22: xor %eax,%eax
        0x48, 0x8b, 0x54, 0x24, 0x08, // 24: mov 0x8(%rsp),%rdx
        0x64, 0x48, 0x2b, 0x14, 0x25, 0x28, 0, 0, 0, // 29: sub %fs:0x28,%rdx
        0x75, 0x07, // 38: jne 47
        0x48, 0x83, 0xc4, 0x18, // 40: add $0x18,%rsp
        0x31, 0xd2, // 44: xor %edx,%edx
        0xc3, // 46: ret
        0xe8, 0, 0, 0, 0, // 47: call __stack_chk_fail
    ];

    #[test]
    fn the_checks_of_an_argument_and_of_the_stack_protector_stand_in() {
        assert_eq!(spots(PROTECTED, Convention::C), (20, vec![38]));
    }

    #[test]
    fn places_at_which_the_stack_pointer_is_another_do_not_belong_together() {
        // A return with its frame gone: nothing stands in for it, so only what has the whole frame may for the entry.
        let plain = [0x48, 0x83, 0xec, 0x08, 0x78, 0x00, 0x48, 0x83, 0xc4, 0x08, 0xc3];
        assert_eq!(spots(&plain, Convention::C), (0, vec![10]));
        // endbr64; push %rbx; …; pop %rbx; ret
        let pushed = [0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0x5b, 0xc3];
        assert_eq!(spots(&pushed, Convention::C), (4, vec![6]));
        // Without a return that is told, any place will do.
        let text = Text::of_function(&plain, START).unwrap();
        assert_eq!(text.spots(START, Vec::new(), Convention::C).entry, START + 4);
    }

    #[test]
    fn a_change_of_what_is_looked_at_ends_the_search() {
        // mov %rdi,%rsi; push %rbx; ret
        assert_eq!(spots(&[0x48, 0x89, 0xfe, 0x53, 0xc3], Convention::C), (0, vec![4]));
        // mov %esi,(%rdi); push %rbx; ret
        assert_eq!(spots(&[0x89, 0x37, 0x53, 0xc3], Convention::C), (0, vec![3]));
        // xor %eax,%eax; push %rbx; ret: of a function of Go, that is an argument.
        let code = [0x31, 0xc0, 0x53, 0xc3];
        assert_eq!(spots(&code, Convention::C), (2, vec![3]));
        assert_eq!(spots(&code, Convention::Go), (0, vec![3]));
        // The result is set behind the check.
        let mut late = PROTECTED.to_vec();
        late[44..46].copy_from_slice(&[0x31, 0xc0]);
        assert_eq!(spots(&late, Convention::C), (0, vec![46]));
    }

    #[test]
    fn what_is_met_again_or_not_always_is_left_alone() {
        // test %edi,%edi; then a loop of: dec %edi; jne to itself; ret
        assert_eq!(spots(&[0x85, 0xff, 0xff, 0xc8, 0x75, 0xfc, 0xc3], Convention::C), (0, vec![6]));
        // The jump before the return leads to another return.
        let mut other = PROTECTED.to_vec();
        other.truncate(47);
        other.extend([0x48, 0x83, 0xc4, 0x18, 0xc3]);
        assert_eq!(spots(&other, Convention::C), (0, vec![46, 51]));
        // push %rbx; jmp *%rax: whoever jumps by a table may jump anywhere.
        let text = Text::of_function(&[0xf3, 0x0f, 0x1e, 0xfa, 0x53, 0xff, 0xe0], START).unwrap();
        assert_eq!(text.spots(START, Vec::new(), Convention::C).entry, START);
    }

    #[test]
    fn calls_and_prefixes_are_not_taken() {
        // sub $8,%rsp; call …; add $8,%rsp; ret
        let call = [0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0xc4, 0x08, 0xc3];
        assert_eq!(spots(&call, Convention::C), (0, vec![13]));
        // jb with a branch hint; ret
        assert_eq!(spots(&[0x2e, 0x72, 0x00, 0xc3], Convention::C), (0, vec![3]));
        // pause is no nop.
        assert_eq!(spots(&[0xf3, 0x90, 0xc3], Convention::C), (0, vec![2]));
    }
}
