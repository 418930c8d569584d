//! What is remembered of a thread, for as long as it lives.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use remora_abi::Loss;

use crate::maps::{THREADS, lose};
use crate::socket::call::Call;

/// A thread that has used a socket or waited for events. Only the thread itself changes it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Thread {
    /// How often it has waited for events.
    pub(crate) turn: u32,
    /// 1 between the entry and the exit of the call below.
    pub(crate) is_in_call: u32,
    /// In how many calls into TLS libraries it is, one within the other, at most 2.
    pub(crate) tls_depth: u64,
    /// The unit of work that it has taken; 0 where none.
    pub(crate) token: u64,
    /// Node: the unit of work for which the message was sent that it has received last; 0 where none.
    pub(crate) heard: u64,
    /// Python: the queue from which it takes its units of work.
    pub(crate) queue: u64,
    /// Python: the stack pointer where it entered the queue, while it is there; else 0.
    pub(crate) frame: u64,
    /// Its present or last socket call.
    pub(crate) call: Call,
}

/// A thread of which nothing is known. It lies in the program file, since the stack has no room for it.
static NEW: Thread = Thread {
    turn: 0,
    is_in_call: 0,
    tls_depth: 0,
    token: 0,
    heard: 0,
    queue: 0,
    frame: 0,
    call: Call::UNSET,
};

/// Returns the running thread, if anything is known of it.
#[inline(always)]
pub(crate) fn known() -> Option<&'static mut Thread> {
    let thread = THREADS.get_ptr_mut(&bpf_get_current_pid_tgid())?;
    // SAFETY: the entry is the running thread's own, and stays until the thread ends.
    Some(unsafe { &mut *thread })
}

/// Returns the running thread; none where the map is full, which is counted.
#[inline(always)]
pub(crate) fn this() -> Option<&'static mut Thread> {
    if let Some(thread) = known() {
        return Some(thread);
    }
    if THREADS.insert(&bpf_get_current_pid_tgid(), &NEW, 0).is_err() {
        lose(Loss::ThreadMapFull);
        return None;
    }
    known()
}

/// Begins a new turn: the thread has received a datagram or the like, which is not observed, and works on whatever that
/// is about.
#[inline(always)]
pub(crate) fn turn_away() {
    if let Some(thread) = known() {
        thread.turn = thread.turn.wrapping_add(1);
    }
}

/// Forgets the running thread, which runs another program, and was called `before` until now: it takes the place of the
/// process's first thread.
#[inline(always)]
pub(crate) fn restart(before: u32) {
    let key = bpf_get_current_pid_tgid();
    let _ = THREADS.remove(&key);
    let _ = THREADS.remove(&(key & !0xffff_ffff | u64::from(before)));
}

/// Forgets the running thread, which ends.
#[inline(always)]
pub(crate) fn forget() {
    let _ = THREADS.remove(&bpf_get_current_pid_tgid());
}

/// Notes that bytes of the programs' own were written into the stream during the running thread's call.
#[cfg(feature = "propagation")]
#[inline(always)]
pub(crate) fn note_insertion(sock: u64, position: u32, length: u32) {
    let Some(thread) = known() else { return };
    if thread.is_in_call != 0 && thread.call.sock == sock {
        thread.call.inserted_position = position;
        thread.call.inserted = length;
    }
}
