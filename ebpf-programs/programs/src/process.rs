//! Processes: begin, program, end; and the end of TCP sockets, which needs no process.

use aya_ebpf::helpers::{bpf_get_current_cgroup_id, bpf_get_current_comm, bpf_get_current_pid_tgid};
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use aya_log_ebpf::{debug, warn};
use remora_abi::{
    ExecEvent, ExitEvent, ForkEvent, KIND_EXEC, KIND_EXIT, KIND_FORK, KIND_MAPPED, KIND_THREAD,
    KIND_THREAD_END, Loss, MAX_ARGUMENTS, MappedEvent, ProcessPolicy, TASKS_GO, TASKS_LIBUV, TASKS_NONE,
    ThreadEndEvent, ThreadEvent,
};

use crate::emit;
use crate::maps::{PROCESSES, SETTINGS, lose, offsets};
use crate::socket::close;
use crate::socket::transfer::observed_process;
use crate::{read, runtime, thread};

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u64 = 7;

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn sched_process_exec(context: RawTracePointContext) -> i32 {
    let (task, now_ns) = (read::task(), read::now_ns());
    reset_policy();
    thread::restart(context.arg::<u64>(1) as u32);
    #[cfg(feature = "propagation")]
    crate::propagation::forget_process();
    let is_told = emit::record::<ExecEvent>(|event| {
        event.header = emit::header(KIND_EXEC, now_ns);
        // SAFETY: the helper has no preconditions.
        event.cgroup_id = unsafe { bpf_get_current_cgroup_id() };
        event.comm = bpf_get_current_comm().unwrap_or_default();
        event.parent = parent(task).unwrap_or(0);
        event.arguments_length = arguments(task, &mut event.arguments).unwrap_or(0);
    });
    if !is_told {
        debug!(&context, "process {} runs a new program, which the full ring has no room to tell", tgid());
    }
    0
}

/// Tells that the running process has mapped a file with code: perhaps a library that is worth probes.
#[inline(always)]
pub(crate) fn tell_mapped() {
    let is_wanted = SETTINGS.get(0).is_some_and(|settings| settings.tells_mappings != 0);
    if !is_wanted || observed_process().is_none() {
        return;
    }
    let now_ns = read::now_ns();
    emit::record::<MappedEvent>(|event| event.header = emit::header(KIND_MAPPED, now_ns));
}

#[inline(always)]
fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// A new program is not what the policy was made for.
#[inline(always)]
fn reset_policy() {
    let tgid = tgid();
    if SETTINGS.get(0).is_some_and(|settings| settings.exec_resets_policy != 0) {
        let _ = PROCESSES.remove(&tgid);
    } else if let Some(policy) = PROCESSES.get_ptr_mut(&tgid) {
        // SAFETY: the pointer is that of a map entry.
        unsafe { (*policy).tasks = TASKS_NONE };
    }
}

#[inline(always)]
fn parent(task: u64) -> Option<u32> {
    let offsets = offsets();
    let parent = read::pointer(task, offsets.task_real_parent)?;
    read::kernel(parent, offsets.task_tgid)
}

#[inline(always)]
fn arguments(task: u64, target: &mut [u8; MAX_ARGUMENTS]) -> Option<u32> {
    let offsets = offsets();
    let memory = read::pointer(task, offsets.task_mm)?;
    let start = read::kernel::<u64>(memory, offsets.mm_arg_start)?;
    let end = read::kernel::<u64>(memory, offsets.mm_arg_end)?;
    let length = end.saturating_sub(start);
    let length = if length > MAX_ARGUMENTS as u64 { MAX_ARGUMENTS as u32 } else { length as u32 };
    (length > 0 && read::user_bytes(target, length, start)).then_some(length)
}

/// `sched_process_fork(struct task_struct *parent, struct task_struct *child)`
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub(crate) fn sched_process_fork(context: RawTracePointContext) -> i32 {
    let _ = handle_fork(&context);
    0
}

#[inline(always)]
fn handle_fork(context: &RawTracePointContext) -> Option<()> {
    let child = context.arg::<u64>(1);
    let offsets = offsets();
    let child_tid = read::kernel::<u32>(child, offsets.task_pid)?;
    let child_tgid = read::kernel::<u32>(child, offsets.task_tgid)?;
    let tgid = tgid();
    if child_tgid == tgid {
        tell_thread(child_tid);
        return None;
    }
    if let Some(policy) = PROCESSES.get_ptr(&tgid) {
        // SAFETY: the pointer is that of a map entry.
        let policy = unsafe { *policy };
        if PROCESSES.insert(&child_tgid, &policy, 0).is_err() {
            lose(Loss::ProcessMapFull);
            warn!(
                context,
                "process {}: its child {} is observed by the default: too many processes", tgid, child_tgid
            );
        }
    }
    let now_ns = read::now_ns();
    emit::record::<ForkEvent>(|event| {
        event.header = emit::header(KIND_FORK, now_ns);
        event.child_tid = child_tid;
        event.child_tgid = child_tgid;
    });
    Some(())
}

/// Tells of a new thread, which may work for whom its maker works for. Where a runtime schedules by itself, threads mean
/// nothing.
#[inline(always)]
fn tell_thread(child_tid: u32) {
    let Some(process) = observed_process().filter(has_meaning) else { return };
    let (maker, now_ns) = (runtime::task_of_thread(&process), read::now_ns());
    let is_told = emit::record::<ThreadEvent>(|event| {
        event.header = emit::header(KIND_THREAD, now_ns);
        event.header.flags = maker.flags as u8;
        event.task = maker.id;
        event.task_parent = maker.parent;
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.child_tid = child_tid;
    });
    if !is_told {
        lose(Loss::Handover);
    }
}

#[inline(always)]
fn has_meaning(process: &ProcessPolicy) -> bool {
    process.tasks != TASKS_GO && process.tasks != TASKS_LIBUV
}

#[inline(always)]
fn tell_thread_end() {
    if observed_process().is_some_and(|process| has_meaning(&process)) {
        let now_ns = read::now_ns();
        if !emit::record::<ThreadEndEvent>(|event| event.header = emit::header(KIND_THREAD_END, now_ns)) {
            lose(Loss::Handover);
        }
    }
}

/// `sched_process_exit(struct task_struct *p, …)`
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn sched_process_exit(_context: RawTracePointContext) -> i32 {
    thread::forget();
    let (task, now_ns) = (read::task(), read::now_ns());
    if !is_last_thread(task) {
        tell_thread_end();
        return 0;
    }
    let tgid = tgid();
    let _ = PROCESSES.remove(&tgid);
    #[cfg(feature = "propagation")]
    crate::propagation::forget_process();
    emit::record::<ExitEvent>(|event| event.header = emit::header(KIND_EXIT, now_ns));
    0
}

/// `do_exit` has counted the thread off before the tracepoint.
#[inline(always)]
fn is_last_thread(task: u64) -> bool {
    let offsets = offsets();
    let Some(signal) = read::pointer(task, offsets.task_signal) else { return false };
    read::kernel::<i32>(signal, offsets.signal_live) == Some(0)
}

/// `inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate)`
#[raw_tracepoint(tracepoint = "inet_sock_set_state")]
pub(crate) fn inet_sock_set_state(context: RawTracePointContext) -> i32 {
    if context.arg::<u64>(2) & 0xffff_ffff == TCP_CLOSE {
        close::handle_tcp_end(context.arg::<u64>(0), read::now_ns());
    }
    0
}
