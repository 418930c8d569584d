//! Python: the current `Context` (PEP 567), which every asyncio task has of its own.

mod queue;

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{
    DATA_CONTEXT, KIND_TASK, KIND_TASK_END, Loss, ProcessPolicy, TASKS_PYTHON, TaskEndEvent, TaskEvent,
};

use super::{Task, claim, thread_pointer};
use crate::arch::Registers;
use crate::maps::lose;
use crate::socket::transfer::observed_process;
use crate::{emit, read, thread};

/// Returns the current context, of which `PyThreadState` has a pointer; the thread's own storage has one to that.
#[inline(always)]
pub(super) fn task(process: &ProcessPolicy) -> Task {
    match current(process) {
        0 => Task::UNKNOWN,
        context => Task { flags: u64::from(DATA_CONTEXT), id: context, parent: 0 },
    }
}

#[inline(always)]
fn current(process: &ProcessPolicy) -> u64 {
    let thread_state =
        read::user::<u64>(thread_pointer().wrapping_add_signed(i64::from(process.first_offset as i16)))
            .unwrap_or(0);
    if thread_state == 0 {
        return 0;
    }
    read::user::<u64>(thread_state + u64::from(process.second_offset)).unwrap_or(0)
}

/// Offset of `_handle` in uvloop's `UVHandle`, behind `PyObject` and the table of methods.
const UV_HANDLE: u64 = 24;
/// Offset of `io_watcher.fd` in libuv's `uv_stream_t` (1.x).
const STREAM_DESCRIPTOR: u64 = 184;

/// `UVStream._initiate_write(self)` of uvloop: what the task writes is kept until the end of the loop's round.
#[uprobe(multi)]
pub(crate) fn uvloop_write(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    if process.tasks != TASKS_PYTHON {
        return 0;
    }
    let stream = Registers::of(context.regs.cast()).first();
    let handle = read::user::<u64>(stream + UV_HANDLE).unwrap_or(0);
    if let Some(descriptor) = read::user::<u32>(handle + STREAM_DESCRIPTOR) {
        claim(u64::from(descriptor), task(&process));
    }
    0
}

/// `PyObject *PyContext_CopyCurrent(void)`, where it returns.
#[uprobe(multi)]
pub(crate) fn python_context_copied(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    let made = Registers::of(context.regs.cast()).returned();
    if made == 0 {
        return 0;
    }
    let is_known = process.tasks == TASKS_PYTHON;
    let (maker, pointer) = if is_known {
        (super::task(Registers::of(context.regs.cast()), &process), 0)
    } else {
        (Task::UNKNOWN, thread_pointer())
    };
    let now_ns = read::now_ns();
    let is_told = emit::record::<TaskEvent>(|event| {
        event.header = emit::header(KIND_TASK, now_ns);
        event.header.flags = maker.flags as u8;
        event.task = made;
        event.maker = maker.id;
        event.maker_parent = maker.parent;
        event.thread_pointer = pointer;
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.padding = 0;
    });
    if !is_told {
        lose(Loss::Handover);
    }
    0
}

/// `context_tp_dealloc(PyContext *self)`: another context may have its address next, made in whatever way.
#[uprobe(multi)]
pub(crate) fn python_free_context(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    if process.tasks != TASKS_PYTHON {
        return 0;
    }
    let freed = Registers::of(context.regs.cast()).first();
    let now_ns = read::now_ns();
    let is_told = emit::record::<TaskEndEvent>(|event| {
        event.header = emit::header(KIND_TASK_END, now_ns);
        event.task = freed;
    });
    if !is_told {
        lose(Loss::Handover);
    }
    0
}
