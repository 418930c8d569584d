//! `_queue.SimpleQueue`, through which the threads of a `ThreadPoolExecutor` get their work (Python 3.7 to 3.14).
//!
//! Only items that are work are followed: a queue may as well be a pool of connections, and who puts one back does not
//! work for whom takes it next.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::arch::Registers;
use crate::runtime::tokens;
use crate::socket::transfer::observed_process;
use crate::{read, thread};

/// Offset of `ob_type` in `PyObject`, and of `tp_name` in `PyTypeObject`.
const OBJECT_TYPE: u64 = 8;
const TYPE_NAME: u64 = 24;
/// `concurrent.futures.thread._WorkItem`: in the executor's queue from `submit` until a worker executes it.
const WORK_ITEM: [u8; 10] = *b"_WorkItem\0";

/// `_queue_SimpleQueue_put(self, args, nargs, kwnames)`
#[uprobe(multi)]
pub(crate) fn python_queue_put(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    if process.has_tokens == 0 {
        return 0;
    }
    let registers = Registers::of(context.regs.cast());
    let item = read::user::<u64>(registers.second()).unwrap_or(0);
    if is_work(item) {
        tokens::give(item, registers, &process);
    }
    0
}

/// `_queue_SimpleQueue_get(self, …)`, `_queue_SimpleQueue_get_nowait(self, …)`: a worker has done its work, and looks for
/// more. What it gets from other queues meanwhile is no work of its own.
#[uprobe(multi)]
pub(crate) fn python_queue_get(context: ProbeContext) -> u32 {
    let Some(process) = observed_process() else { return 0 };
    if process.has_tokens == 0 {
        return 0;
    }
    let registers = Registers::of(context.regs.cast());
    let Some(thread) = thread::this() else { return 0 };
    thread.frame = 0;
    if thread.token == 0 || thread.queue == registers.first() {
        thread.token = 0;
        thread.queue = registers.first();
        thread.frame = registers.stack();
    }
    0
}

/// Any of the places where the two return.
#[uprobe(multi)]
pub(crate) fn python_queue_got(context: ProbeContext) -> u32 {
    let Some(thread) = thread::known() else { return 0 };
    let registers = Registers::of(context.regs.cast());
    // The same place may end a function that another one called.
    if thread.frame == 0 || thread.frame != registers.stack() {
        return 0;
    }
    thread.frame = 0;
    let item = registers.returned();
    if is_work(item) {
        thread.token = item;
    }
    0
}

#[inline(always)]
fn is_work(item: u64) -> bool {
    let Some(name) = read::user::<u64>(item.wrapping_add(OBJECT_TYPE))
        .and_then(|kind| read::user::<u64>(kind.wrapping_add(TYPE_NAME)))
        .and_then(read::user::<[u8; WORK_ITEM.len()]>)
    else {
        return false;
    };
    name == WORK_ITEM
}
