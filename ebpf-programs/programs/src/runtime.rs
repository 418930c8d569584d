//! Who is executing, where a program schedules by itself: goroutines, Python's contexts, the turns of libuv,
//! units of work that are handed over, the tasks of tokio.

mod go;
mod libuv;
mod node;
mod python;
pub(crate) mod tokens;
mod tokio;

use remora_abi::{ClaimEvent, KIND_CLAIM, Loss, ProcessPolicy, TASKS_GO, TASKS_PYTHON, TASKS_TOKIO};

use crate::arch::Registers;
use crate::maps::{lose, offsets};
use crate::socket::find::find;
use crate::{emit, read, thread};

/// The task that executes. Its fields are wide, so that copies have no holes that the verifier would mind.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Task {
    /// `DATA_GOROUTINE`, `DATA_CONTEXT`, `DATA_TOKEN`.
    pub(crate) flags: u64,
    /// As in `DataEvent::task`.
    pub(crate) id: u64,
    /// As in `DataEvent::task_parent`.
    pub(crate) parent: u64,
}

impl Task {
    /// No task, or none that can be told.
    pub(crate) const UNKNOWN: Self = Self { flags: 0, id: 0, parent: 0 };
}

/// Returns who executes. The registers are those of user space.
#[inline(always)]
pub(crate) fn task(registers: &Registers, process: &ProcessPolicy) -> Task {
    match process.tasks {
        TASKS_GO => go::task(registers, process),
        _ => task_of_thread(process),
    }
}

/// Returns who executes, as far as it does not take registers to tell.
#[inline(always)]
pub(crate) fn task_of_thread(process: &ProcessPolicy) -> Task {
    let task = match process.tasks {
        TASKS_TOKIO => return tokio::task(process),
        TASKS_PYTHON => python::task(process),
        _ => Task::UNKNOWN,
    };
    if process.has_tokens == 0 { task } else { tokens::with_token(task) }
}

/// Returns the thread pointer of user space.
#[inline(always)]
fn thread_pointer() -> u64 {
    read::kernel(read::task(), offsets().task_thread_pointer).unwrap_or(0)
}

/// Tells that what is written to a socket next is written for this task, by whichever task writes it.
#[inline(always)]
fn claim(descriptor: u64, task: Task) {
    let Some(found) = find(descriptor) else { return };
    let now_ns = read::now_ns();
    let is_told = emit::record::<ClaimEvent>(|event| {
        event.header = emit::header(KIND_CLAIM, now_ns);
        event.header.flags = task.flags as u8;
        event.header.family = found.family;
        event.header.inode = found.inode;
        event.header.sock = found.sock;
        event.task = task.id;
        event.task_parent = task.parent;
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.position = 0;
    });
    if !is_told {
        lose(Loss::Handover);
    }
}
