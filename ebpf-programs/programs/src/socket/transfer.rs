//! Calls that move bytes: what is remembered at entry, and what is told at exit.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use remora_abi::{
    Count, DATA_COUNTED, DATA_EOF, DATAGRAM_FRAMING, DIRECTION_EGRESS, DIRECTION_INGRESS, DataEvent,
    FAMILIES_COUNTED, FAMILY_DATAGRAM, KIND_DATA, PROCESS_IGNORE, ProcessPolicy, SOCKET_IGNORE, SocketState,
    TASKS_LIBUV, TASKS_NONE,
};

use crate::arch::Registers;
use crate::emit;
use crate::maps::{PROCESSES, SETTINGS, SOCKET_POLICIES, SOCKETS, count, offsets};
use crate::read;
use crate::runtime;
use crate::socket::call::{Call, memory};
use crate::socket::find::{Found, find_any};
use crate::socket::{open, peer, pipe, segments};
use crate::thread::{self, Thread};
use crate::tls;

/// `EINPROGRESS`
const IN_PROGRESS: i64 = -115;

/// The memory a call names.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// `memory::*`.
    pub(crate) kind: u8,
    /// Address.
    pub(crate) address: u64,
    /// Number of elements there.
    pub(crate) elements: u32,
    /// Address of the other end's address, where the call takes one; else 0.
    pub(crate) name: u64,
    /// Whether the call works on sockets only (`recv` and relatives, not `read`).
    pub(crate) is_of_socket: bool,
}

/// Returns the policy of the running process, or none if it is not observed.
#[inline(always)]
pub(crate) fn observed_process() -> Option<ProcessPolicy> {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let policy = match PROCESSES.get_ptr(&tgid) {
        // SAFETY: the pointer is that of a map entry; a torn copy mixes two policies of one process.
        Some(policy) => unsafe { *policy },
        None => ProcessPolicy {
            mode: SETTINGS.get(0)?.default_process_mode,
            tasks: TASKS_NONE,
            first_offset: 0,
            second_offset: 0,
            has_tokens: 0,
            reads_pipes: 0,
        },
    };
    if policy.mode == PROCESS_IGNORE {
        count(Count::Ignored, 1);
        return None;
    }
    Some(policy)
}

/// Handles the entry of a call that moves bytes through `descriptor`, or connects it.
#[inline(always)]
pub(crate) fn enter(registers: &Registers, descriptor: u64, direction: u8, memory: Memory) {
    let Some(process) = observed_process() else { return };
    let Some(found) = find_any(descriptor, || peer::target_port(&memory, direction)) else {
        // libuv's threads wake its loop through an eventfd.
        let is_message = memory.is_of_socket || process.tasks == TASKS_LIBUV;
        if is_message && direction == DIRECTION_INGRESS {
            thread::turn_away();
        }
        let is_read = direction == DIRECTION_INGRESS && memory.kind == memory::BUFFER;
        if process.reads_pipes != 0 && is_read && !memory.is_of_socket {
            pipe::enter(descriptor, memory.address);
        }
        return;
    };
    #[cfg(feature = "propagation")]
    if direction == DIRECTION_INGRESS && found.family & FAMILIES_COUNTED == 0 {
        crate::propagation::note_read(found.sock, found.file);
    }
    let Some(thread) = thread::this() else { return };
    let call = &mut thread.call;
    if direction == DIRECTION_EGRESS {
        call.time_ns = read::now_ns();
    }
    call.sock = found.sock;
    call.inode = found.inode;
    call.family = found.family;
    call.address = memory.address;
    call.name = memory.name;
    call.elements = memory.elements;
    call.memory = memory.kind;
    call.direction = direction;
    call.inserted = 0;
    // Without a branch: 2 for the bit, 0 without it.
    call.framing = u32::from(found.family & FAMILY_DATAGRAM) / (FAMILY_DATAGRAM as u32 / DATAGRAM_FRAMING);
    if !apply_policy(call) {
        count(Count::Ignored, 1);
        // What the thread does next may be about what it reads here.
        if direction == DIRECTION_INGRESS {
            thread.turn = thread.turn.wrapping_add(1);
        }
        return;
    }
    if memory.kind != memory::CONNECT {
        locate(call, &found);
    }
    call.task = runtime::task(registers, &process);
    if memory.kind != memory::CONNECT {
        let sent_ns = if direction == DIRECTION_EGRESS { call.time_ns } else { 0 };
        tls::note_socket(&found, &call.task, thread.tls_depth, sent_ns);
    }
    // A datagram that is received may be about anything.
    let is_datagram = call.framing / DATAGRAM_FRAMING;
    thread.turn = thread.turn.wrapping_add(is_datagram * u32::from(direction));
    thread.is_in_call = 1;
}

/// Applies what user space said about the socket; returns whether it is observed at all.
#[inline(always)]
fn apply_policy(call: &mut Call) -> bool {
    call.skips = 0;
    call.capture_bytes = emit::usual_capture();
    let Some(policy) = SOCKET_POLICIES.get_ptr(&call.sock) else { return true };
    // SAFETY: the pointer is that of a map entry; a torn copy mixes two policies of one socket.
    let policy = unsafe { *policy };
    if policy.inode != call.inode {
        return true;
    }
    let is_egress = call.direction == DIRECTION_EGRESS;
    call.capture_bytes = if is_egress { policy.capture_bytes[0] } else { policy.capture_bytes[1] };
    if policy.skip_valid & (1 << call.direction) != 0 {
        call.skips = 1;
        call.skip_until = if is_egress { policy.skip_until[0] } else { policy.skip_until[1] };
    }
    policy.mode != SOCKET_IGNORE
}

/// Notes the positions of both directions.
#[inline(always)]
fn locate(call: &mut Call, found: &Found) {
    let (written, read) = if found.family & FAMILIES_COUNTED != 0 {
        counted_positions(found)
    } else {
        let offsets = offsets();
        (
            read::kernel(found.sock, offsets.tcp_write_seq).unwrap_or(0),
            read::kernel(found.sock, offsets.tcp_copied_seq).unwrap_or(0),
        )
    };
    (call.position, call.reverse_position) =
        if call.direction == DIRECTION_EGRESS { (written, read) } else { (read, written) };
}

/// Returns the position of the byte that is written to a socket next.
#[inline(always)]
pub(crate) fn written_position(found: &Found) -> u32 {
    if found.family & FAMILIES_COUNTED != 0 {
        counted_positions(found).0
    } else {
        read::kernel(found.sock, offsets().tcp_write_seq).unwrap_or(0)
    }
}

#[inline(always)]
fn counted_positions(found: &Found) -> (u32, u32) {
    match SOCKETS.get_ptr(&found.sock) {
        // SAFETY: the pointer is that of a map entry; the counters are independent.
        Some(state) if unsafe { (*state).inode } == found.inode => {
            // SAFETY: as above.
            let seen = unsafe { (*state).seen };
            (seen[0] as u32, seen[1] as u32)
        }
        _ => (0, 0),
    }
}

/// Handles the exit of a call, if its entry was remembered.
#[inline(always)]
pub(crate) fn exit(result: i64) {
    let Some(thread) = thread::known() else { return };
    if thread.is_in_call == 0 {
        return;
    }
    thread.is_in_call = 0;
    let (turn, call) = (thread.turn, &mut thread.call);
    if call.memory == memory::PIPE {
        return pipe::tell(call, turn, result);
    }
    if call.memory == memory::CONNECT {
        if result == 0 || result == IN_PROGRESS {
            open::announce(call.sock, call.inode, call.family, remora_abi::ROLE_CONNECTED, call.time_ns);
        }
        return;
    }
    if result < 0 || (result == 0 && call.direction == DIRECTION_EGRESS) {
        return;
    }
    let is_ingress = call.direction == DIRECTION_INGRESS;
    let time_ns = if is_ingress { read::now_ns() } else { call.time_ns };
    if let Some(state) = open::ensure_announced(call.sock, call.inode, call.family, time_ns) {
        tell(thread, state, result, time_ns);
    }
}

/// Tells what the running thread's call has moved, which ends with `result`.
///
/// A program of its own: what announces the socket before needs much of the stack too.
#[inline(never)]
fn tell(thread: &mut Thread, state: *mut SocketState, result: i64, time_ns: u64) {
    let (turn, call) = (thread.turn, &mut thread.call);
    if call.framing != 0 {
        relocate(call, state);
    }
    widen(call, state);
    let mut event = describe(call, turn, time_ns);
    if call.direction == DIRECTION_INGRESS {
        event.reverse_position = reverse_of_ingress(call, state);
    }
    if result == 0 && call.framing != 0 {
        return;
    }
    if result == 0 {
        event.header.flags |= DATA_EOF;
        emit::counted(&event);
        return;
    }
    segments::tell(call, event, result as u64);
    count_seen(call, state);
}

#[inline(always)]
fn describe(call: &Call, turn: u32, time_ns: u64) -> DataEvent {
    let mut event = emit::data_event(KIND_DATA, time_ns, &call.task);
    event.header.direction = call.direction;
    event.header.family = call.family;
    event.header.inode = call.inode;
    event.header.sock = call.sock;
    if call.family & FAMILIES_COUNTED != 0 {
        event.header.flags |= DATA_COUNTED;
    }
    event.position = call.position;
    event.reverse_position = call.reverse_position;
    event.turn = turn;
    event
}

/// A reader may have entered its call before the last response was written: the other direction counts at exit.
#[inline(always)]
fn reverse_of_ingress(call: &Call, state: *const SocketState) -> u32 {
    if call.family & FAMILIES_COUNTED != 0 {
        // SAFETY: the pointer is that of a map entry.
        return unsafe { (*state).seen[0] } as u32;
    }
    read::kernel(call.sock, offsets().tcp_write_seq).unwrap_or(call.reverse_position)
}

/// Datagrams have no place in a stream: they are counted in the order in which their calls ended, since several threads
/// may wait for the next one.
#[inline(always)]
fn relocate(call: &mut Call, state: *const SocketState) {
    // SAFETY: the pointer is that of a map entry; the counters are independent.
    let [written, read] = unsafe { (*state).seen };
    call.position = if call.direction == DIRECTION_EGRESS { written as u32 } else { read as u32 };
}

/// Decides how much is copied of a call: the first bytes of a connection come faster than user space can say how many of
/// them it needs.
#[inline(always)]
fn widen(call: &mut Call, state: *const SocketState) {
    // SAFETY: the pointer is that of a map entry; the counters are independent.
    let [written, read] = unsafe { (*state).seen };
    let seen = if call.direction == DIRECTION_EGRESS { written } else { read };
    call.capture_bytes = emit::wide(call.capture_bytes, seen);
}

/// Two threads that write to one socket at the same time may lose an addition; the target has no atomics.
#[inline(always)]
fn count_seen(call: &Call, state: *mut SocketState) {
    // SAFETY: the pointer is that of a map entry.
    let seen = unsafe { &mut (*state).seen };
    if call.direction == DIRECTION_EGRESS {
        seen[0] += call.cursor.total;
    } else {
        seen[1] += call.cursor.total;
    }
}
