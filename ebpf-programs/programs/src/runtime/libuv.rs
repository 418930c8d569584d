//! Node: timers and `setImmediate` run in the turn of what was read before them, and have nothing to do with it.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::socket::transfer::observed_process;
use crate::thread;

/// `node::Environment::RunTimers(uv_timer_s*)`, `node::Environment::CheckImmediate(uv_check_s*)`
#[uprobe(multi)]
pub(crate) fn node_turn(_context: ProbeContext) -> u32 {
    if observed_process().is_some() {
        thread::turn_away();
    }
    0
}
