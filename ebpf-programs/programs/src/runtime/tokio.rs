//! Tokio: the task that a thread runs, which tasks it makes, and which it wakes.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{DATA_TOKEN, KIND_SPAWN, KIND_WAKE, ProcessPolicy, TASKS_TOKIO};

use super::{Task, thread_pointer, tokens};
use crate::arch::Registers;
use crate::read;
use crate::socket::transfer::observed_process;

/// Tasks are counted from 1 on. What is larger is none.
const MAX_ID: u64 = 1 << 40;
/// Offset of `vtable` in `runtime::task::Header` (tokio 1.0 to 1.54), which is `repr(C)`.
const HEADER_VTABLE: u64 = 16;
/// Words of `runtime::task::raw::Vtable` (tokio 1.23 to 1.54): seven functions, then offsets in the task's cell.
const TRAILER_OFFSET: usize = 7;
const SCHEDULER_OFFSET: usize = 8;
const ID_OFFSET: usize = 9;
/// Bytes between the scheduler and the id: a pointer, or none.
const MAX_SCHEDULER: u64 = 64;
/// Bytes of a `Header`, at least and at most.
const MIN_HEADER: u64 = 24;
const MAX_HEADER: u64 = 256;

/// Returns the task that the running thread runs.
#[inline(always)]
pub(super) fn task(process: &ProcessPolicy) -> Task {
    match current(process) {
        0 => Task::UNKNOWN,
        id => Task { flags: u64::from(DATA_TOKEN), id: 0, parent: id },
    }
}

#[inline(always)]
fn current(process: &ProcessPolicy) -> u64 {
    let place = thread_pointer().wrapping_add_signed(i64::from(process.first_offset as i16));
    read::user::<u64>(place).filter(|&id| id < MAX_ID).unwrap_or(0)
}

/// Functions that a new task is handed to: `OwnedTasks::bind_inner` and others, second argument `NonNull<Header>`.
#[uprobe(multi)]
pub(crate) fn tokio_spawn(context: ProbeContext) -> u32 {
    tell(KIND_SPAWN, Registers::of(context.regs.cast()).second());
    0
}

/// `runtime::task::waker::{wake_by_val, wake_by_ref}(ptr: *const Header)`
#[uprobe(multi)]
pub(crate) fn tokio_wake(context: ProbeContext) -> u32 {
    tell(KIND_WAKE, Registers::of(context.regs.cast()).first());
    0
}

/// Tells that the running task has to do with another. Wakes by the runtime's own drivers are nobody's.
#[inline(always)]
fn tell(kind: u8, header: u64) {
    let Some(process) = observed_process() else { return };
    if process.tasks != TASKS_TOKIO {
        return;
    }
    let giver = task(&process);
    if giver.parent == 0 {
        return;
    }
    if let Some(id) = id_of(header)
        && id != giver.parent
    {
        tokens::tell(kind, id, 0, giver);
    }
}

/// Returns the id of the task at `header`; none where the table does not look like one of tokio's.
#[inline(always)]
fn id_of(header: u64) -> Option<u64> {
    let table = read::user::<u64>(header.wrapping_add(HEADER_VTABLE))?;
    let words = read::user::<[u64; 10]>(table)?;
    let (trailer, scheduler, id) = (words[TRAILER_OFFSET], words[SCHEDULER_OFFSET], words[ID_OFFSET]);
    let is_table = (MIN_HEADER..=MAX_HEADER).contains(&scheduler)
        && id >= scheduler
        && id - scheduler <= MAX_SCHEDULER
        && trailer > id;
    if !is_table {
        return None;
    }
    let id = read::user::<u64>(header.wrapping_add(id))?;
    if id == 0 || id >= MAX_ID { None } else { Some(id) }
}
