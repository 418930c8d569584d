//! Node: messages between its threads. One is the same object in memory from where it is sent to where it is received, so
//! that nothing has to be counted, and nothing that a program sees is changed.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use super::tokens;
use crate::arch::Registers;
use crate::maps::THREAD_MESSAGES;
use crate::socket::transfer::observed_process;
use crate::thread;

/// `node::worker::Message::Serialize(Environment*, Local<Context>, Local<Value>, TransferList const&, Local<Object>)`
///
/// Only what the main thread sends is followed: what comes back from a worker may be an answer, whose reader goes on with
/// what waited for the worker.
#[uprobe(multi)]
pub(crate) fn node_message_sent(context: ProbeContext) -> u32 {
    let Some(message) = message(&context) else { return 0 };
    let thread = bpf_get_current_pid_tgid();
    let is_main = thread as u32 == (thread >> 32) as u32;
    let token = if is_main { tokens::taken() } else { 0 };
    if token == 0 {
        let _ = THREAD_MESSAGES.remove(&message);
    } else {
        let _ = THREAD_MESSAGES.insert(&message, &token, 0);
    }
    0
}

/// `node::worker::Message::Deserialize(Environment*, Local<Context>, Local<Value>*)`
#[uprobe(multi)]
pub(crate) fn node_message_received(context: ProbeContext) -> u32 {
    let Some(message) = message(&context) else { return 0 };
    // SAFETY: the value is copied at once; only the sending thread of this very message has written it.
    let token = unsafe { THREAD_MESSAGES.get(&message) }.copied().unwrap_or(0);
    let thread = if token == 0 { thread::known() } else { thread::this() };
    if let Some(thread) = thread {
        thread.heard = token;
    }
    0
}

/// Returns which message a function is called on, in a process that tells for whom it works.
#[inline(always)]
fn message(context: &ProbeContext) -> Option<[u64; 2]> {
    if observed_process()?.has_tokens == 0 {
        return None;
    }
    Some([bpf_get_current_pid_tgid() >> 32, Registers::of(context.regs.cast()).first()])
}
