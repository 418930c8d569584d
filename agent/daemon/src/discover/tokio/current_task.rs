//! Where a thread keeps the id of the task that it runs: `current_task_id` in the `Context` of `tokio::runtime::context`,
//! which is thread-local. Its place within differs between versions and compilers, but two functions do hardly more than
//! write to it; so it is read from their instructions.

use std::collections::BTreeSet;

use object::ObjectSection as _;

use crate::discover::process::TokioOffsets;

/// Longest function that is read, in bytes.
const MAX_FUNCTION_BYTES: u64 = 4096;
/// Largest `Context` that is believed, in bytes.
const MAX_STORAGE_BYTES: u64 = 4096;

/// The thread-local `Context`, as the file states it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage {
    /// From the begin of the program's thread-local storage.
    pub address: u64,
    /// In bytes.
    pub length: u64,
}

/// Addresses and lengths of the functions that write to it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Functions {
    /// `TaskIdGuard::enter`, which writes the task's id and returns the one before; where it is a function of its own.
    pub enter: Option<(u64, u64)>,
    /// `TaskIdGuard::drop`, which writes that back.
    pub leave: Option<(u64, u64)>,
}

/// Returns where the id is, from the thread pointer; none unless all instructions agree.
pub(super) fn find<'a>(
    elf: &impl object::Object<'a>,
    storage: Storage,
    functions: Functions,
) -> Option<TokioOffsets> {
    if storage.length > MAX_STORAGE_BYTES {
        return None;
    }
    // x86-64 puts the program's own storage right before the thread pointer.
    let base = i64::try_from(storage.address).ok()? - i64::try_from(storage_before_pointer(elf)?).ok()?;
    let places = Places { base, length: storage.length };
    let mut written = places.accessed(code(elf, functions.leave?)?, STORE);
    if let Some(enter) = functions.enter {
        let enter = code(elf, enter)?;
        let replaced = &places.accessed(enter, STORE) & &places.accessed(enter, LOAD);
        written.retain(|within| replaced.contains(within));
    }
    let within = written.pop_first().filter(|_| written.is_empty())?;
    let offset = base.checked_add(i64::try_from(within).ok()?)?;
    Some(TokioOffsets { current_task: i16::try_from(offset).ok()? })
}

/// Returns the length of the thread-local storage that the program brings along, as far as the thread pointer.
fn storage_before_pointer<'a>(elf: &impl object::Object<'a>) -> Option<u64> {
    let sections = elf.sections().filter(|section| is_thread_local(section.flags()));
    let (mut start, mut end, mut align) = (u64::MAX, 0, 1);
    for section in sections {
        start = start.min(section.address());
        end = end.max(section.address().checked_add(section.size())?);
        align = align.max(section.align());
    }
    let is_aligned = align.is_power_of_two() && start.is_multiple_of(align);
    (start < end && is_aligned).then(|| (end - start).checked_next_multiple_of(align)).flatten()
}

fn is_thread_local(flags: object::SectionFlags) -> bool {
    matches!(flags, object::SectionFlags::Elf { sh_flags, .. } if sh_flags.contains(object::elf::SHF_TLS))
}

fn code<'a>(elf: &impl object::Object<'a>, (address, length): (u64, u64)) -> Option<&'a [u8]> {
    if length > MAX_FUNCTION_BYTES {
        return None;
    }
    elf.sections().find_map(|section| section.data_range(address, length).ok().flatten())
}

/// `MOV r/m64, r64` and `MOV r64, r/m64` (Intel SDM, volume 2).
const STORE: u8 = 0x89;
const LOAD: u8 = 0x8b;

/// The `Context`, from the thread pointer.
struct Places {
    base: i64,
    length: u64,
}

impl Places {
    /// Returns where within the `Context` a function may move 64 bits by these instructions. Bytes that only look like such
    /// an instruction count too.
    fn accessed(&self, code: &[u8], opcode: u8) -> BTreeSet<u64> {
        (0..code.len()).filter_map(|at| self.place(code.get(at..)?, opcode)).collect()
    }

    fn place(&self, code: &[u8], opcode: u8) -> Option<u64> {
        /// With a 64-bit operand, and any registers.
        const REX_W: u8 = 0x48;
        /// The segment of the thread pointer.
        const FS: u8 = 0x64;
        let (is_of_thread, code) = match code.strip_prefix(&[FS]) {
            Some(rest) => (true, rest),
            None => (false, code),
        };
        let &[rex, found, modrm, ref rest @ ..] = code else { return None };
        if rex & 0xf8 != REX_W || found != opcode {
            return None;
        }
        let within = match (modrm >> 6, modrm & 7) {
            // `fs:disp32`
            (0, 4) if is_of_thread && rest.first() == Some(&0x25) => {
                i64::from(i32::from_le_bytes(*rest.get(1..)?.first_chunk()?)).checked_sub(self.base)?
            }
            (0, 4 | 5) | (1 | 2, 4) | (3, _) => return None,
            (0, _) => 0,
            (1, _) => i64::from(rest.first()?.cast_signed()),
            (_, _) => i64::from(i32::from_le_bytes(*rest.first_chunk()?)),
        };
        let within = u64::try_from(within).ok()?;
        (within.is_multiple_of(8) && within.checked_add(8)? <= self.length).then_some(within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places { base: -0x150, length: 80 };

    #[test]
    fn moves_of_both_forms_are_found() {
        // mov 0x30(%rax),%rcx; mov %rbx,0x30(%rax); mov %rcx,%rax
        let enter = [0x48, 0x8b, 0x48, 0x30, 0x48, 0x89, 0x58, 0x30, 0x48, 0x89, 0xc8];
        assert_eq!(PLACES.accessed(&enter, LOAD), BTreeSet::from([0x30]));
        assert_eq!(PLACES.accessed(&enter, STORE), BTreeSet::from([0x30]));
        // mov %rdi,%fs:0xfffffffffffffee0
        let leave = [0x64, 0x48, 0x89, 0x3c, 0x25, 0xe0, 0xfe, 0xff, 0xff];
        assert_eq!(PLACES.accessed(&leave, STORE), BTreeSet::from([0x30]));
    }

    #[test]
    fn moves_elsewhere_do_not_count() {
        // mov %rax,0x8(%rsp); mov %rax,-0x8(%rbp); mov %rax,0x50(%rdi); mov %rax,0x31(%rdi); movb $0,0x48(%r14)
        let code = [
            0x48, 0x89, 0x44, 0x24, 0x08, 0x48, 0x89, 0x45, 0xf8, 0x48, 0x89, 0x47, 0x50, 0x48, 0x89, 0x47,
            0x31, 0x41, 0xc6, 0x46, 0x48, 0x00,
        ];
        assert_eq!(PLACES.accessed(&code, STORE), BTreeSet::new());
        for length in 0..code.len() {
            assert_eq!(PLACES.accessed(&code[..length], LOAD), BTreeSet::new(), "{length}");
        }
    }
}
