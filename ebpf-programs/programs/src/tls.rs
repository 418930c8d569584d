//! Plaintext on its way into and out of TLS libraries: what their functions take and give, and by which socket.
//!
//! A library that does its own I/O shows its socket by the system calls within its calls. One that works on memory
//! (OpenSSL's memory BIO) shows ciphertext there, by which user space finds the socket that carries it. No field of a
//! library's structs is read.

mod functions;
mod mark;
mod memory;
mod rustls;

pub(crate) use mark::marked;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use remora_abi::{
    DATA_GOROUTINE, DATA_TOKEN, DIRECTION_EGRESS, DIRECTION_INGRESS, FRAME_BYTES, KIND_PLAINTEXT,
    KIND_TLS_END, Loss, MAX_FINGERPRINTS, PlaintextEvent, SOCKET_IGNORE, TlsEndEvent,
};

use crate::arch::Registers;
use crate::maps::{SOCKET_POLICIES, TLS_CALLS, TLS_OBJECTS, lose};
use crate::runtime::Task;
use crate::socket::find::{Found, find};
use crate::socket::transfer::observed_process;
use crate::{emit, read, runtime, thread};

/// `TlsCall::direction` of a handshake, which moves no plaintext.
const DIRECTION_NONE: u8 = 2;

/// What an object is said to have moved before it was first seen, unless it was seen to begin: as if a byte was missed.
const UNKNOWN_BEGINNING: u64 = 1;

/// How often ciphertext is told of an object that has used up its [`MAX_FINGERPRINTS`], so that plaintext finds its place
/// again after a hole.
const FINGERPRINT_PERIOD_NS: u64 = 100_000_000;

/// Bit of `TlsCall::bio`.
const HAS_BIO: u8 = 0x80;

/// A call into a TLS library between its entry and its return.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TlsCall {
    /// The object that it is made for.
    object: u64,
    /// The stack pointer at its entry, which is the same where it returns.
    frame: u64,
    /// Where the plaintext is, or goes.
    buffer: u64,
    /// Bytes there.
    length: u64,
    /// Where the function says how many of them it has moved (`size_t *`); 0 where it returns that.
    moved: u64,
    /// Entry, `CLOCK_MONOTONIC`.
    time_ns: u64,
    /// When it has last begun to write to its socket; 0 for never.
    sent_ns: u64,
    /// The socket that was used within the call; 0 for none.
    sock: u64,
    /// Number of its inode.
    inode: u32,
    /// `FAMILY_*`
    family: u8,
    /// `DIRECTION_*`
    direction: u8,
    /// 1 where `header` is that of the record that is read next.
    has_header: u8,
    /// How many functions for memory and sockets (BIO) it is in; [`HAS_BIO`] once it was in any.
    bio: u8,
    /// Where ciphertext is being read to; of rustls the first bytes of a record behind its header.
    ciphertext: u64,
    /// The header of a record, in the first bytes; of rustls the next bytes of a record.
    header: u64,
}

/// An object by its address in a process.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TlsKey {
    tgid: u64,
    object: u64,
}

/// What is remembered of an object.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TlsObject {
    /// Plaintext bytes so far, by direction.
    moved: [u64; 2],
    /// The socket that was used last within its calls, or that it was given; 0 for none.
    sock: u64,
    /// Number of its inode.
    inode: u32,
    /// `FAMILY_*`
    family: u8,
    /// Pieces of ciphertext that were told, by direction.
    fingerprints: [u8; 2],
    padding: u8,
    /// When the first of the writes since the last success began; 0 for none.
    tried_ns: u64,
    /// How many bytes it was to write; 0 for none.
    tried_length: u64,
    /// For which unit of work; 0 for none.
    tried_token: u64,
    /// When ciphertext was last told, by direction.
    told_ns: [u64; 2],
}

/// An object that has moved nothing. It lies in the program file, since the stack has no room for it.
static NEW: TlsObject = TlsObject {
    moved: [0; 2],
    sock: 0,
    inode: 0,
    family: 0,
    fingerprints: [0; 2],
    padding: 0,
    tried_ns: 0,
    tried_length: 0,
    tried_token: 0,
    told_ns: [0; 2],
};

/// Bytes that a call has moved.
struct Moved {
    address: u64,
    length: u32,
    ends_record: bool,
    /// As in [`PlaintextEvent::received`].
    received: bool,
    /// Bytes that can be read at the address.
    together: u32,
    /// Address of the last [`FRAME_BYTES`] bytes; 0 where they cannot be read.
    end: u64,
}

/// Whose bytes are moved, which way, and since when.
struct Mover {
    /// The object.
    object: u64,
    /// `DIRECTION_*`
    direction: u8,
    /// When the call began.
    time_ns: u64,
    /// As in [`TlsCall::sent_ns`].
    sent_ns: u64,
}

#[inline(always)]
fn key(object: u64) -> TlsKey {
    TlsKey { tgid: bpf_get_current_pid_tgid() >> 32, object }
}

/// Returns what is remembered of an object, from now on if nothing was: it was not seen to begin.
#[inline(always)]
fn object(key: &TlsKey) -> Option<&'static mut TlsObject> {
    object_from(key, UNKNOWN_BEGINNING)
}

/// Notes that an object begins: nothing of what it will move was missed.
#[inline(always)]
fn begins(object: u64) {
    if observed_process().is_some() {
        let _ = object_from(&key(object), 0);
    }
}

/// Returns whether one more piece of an object's ciphertext is to be told, and that it was.
#[inline(always)]
fn tells_ciphertext(object: &mut TlsObject, direction: u8, is_told: bool) -> bool {
    let way = usize::from(direction & 1);
    let has_more = object.fingerprints[way] < MAX_FINGERPRINTS;
    if has_more && !is_told {
        return true;
    }
    let now_ns = read::now_ns();
    let is_due = has_more || now_ns.wrapping_sub(object.told_ns[way]) >= FINGERPRINT_PERIOD_NS;
    if is_due && is_told {
        object.fingerprints[way] = object.fingerprints[way].saturating_add(1);
        object.told_ns[way] = now_ns;
    }
    is_due
}

/// Returns what is remembered of an object, which has moved `begin` bytes in either direction if nothing was.
#[inline(always)]
fn object_from(key: &TlsKey, begin: u64) -> Option<&'static mut TlsObject> {
    let known = TLS_OBJECTS.get_ptr_mut(key).or_else(|| {
        let _ = TLS_OBJECTS.insert(key, &NEW, 0);
        let new = TLS_OBJECTS.get_ptr_mut(key)?;
        // SAFETY: the pointer is that of a map entry.
        unsafe { (*new).moved = [begin; 2] };
        Some(new)
    });
    // SAFETY: the pointer is that of a map entry. Where two goroutines write at once, one's bytes may go uncounted.
    known.map(|object| unsafe { &mut *object })
}

/// Returns the innermost call into a TLS library in which the running thread is.
#[inline(always)]
fn call() -> Option<&'static mut TlsCall> {
    let depth = thread::known()?.tls_depth;
    if depth == 0 { None } else { call_of(caller(depth)) }
}

/// Returns under which number the running thread's call of a depth is remembered, 1 or 2: a library calls back, and is called
/// from there. Processes have numbers below 2²².
#[inline(always)]
fn caller(depth: u64) -> u64 {
    const WITHIN: u64 = 1 << 63;
    let thread = bpf_get_current_pid_tgid();
    if depth == 2 { thread | WITHIN } else { thread }
}

#[inline(always)]
fn call_of(caller: u64) -> Option<&'static mut TlsCall> {
    let call = TLS_CALLS.get_ptr_mut(&caller)?;
    // SAFETY: the entry is the running thread's own, or the running goroutine's.
    Some(unsafe { &mut *call })
}

/// Returns under which number the calls of a goroutine are remembered: it may go on in another thread. Threads have numbers
/// below 2²².
#[inline(always)]
fn goroutine(task: &Task) -> u64 {
    const GOROUTINE: u64 = 1 << 31;
    bpf_get_current_pid_tgid() >> 32 << 32 | GOROUTINE | task.id & (GOROUTINE - 1)
}

/// Plaintext in the memory of a process, as a function's arguments name it.
#[derive(Clone, Copy)]
struct Buffer {
    address: u64,
    length: u64,
    /// As in [`TlsCall::moved`].
    moved: u64,
}

impl Buffer {
    const NONE: Self = Self { address: 0, length: 0, moved: 0 };
}

/// Notes that the running thread begins a call into a TLS library, whose first argument is the object.
#[inline(always)]
fn enter(registers: &Registers, buffer: Buffer, direction: u8) {
    if observed_process().is_none() {
        return;
    }
    let Some(thread) = thread::this() else { return };
    let mut depth = 1;
    if thread.tls_depth != 0
        && let Some(outer) = call_of(caller(1))
        && outer.frame > registers.stack()
    {
        // What a function does by others of its library is a part of it, and so is a handshake.
        let is_part = outer.object == registers.first() && outer.direction == direction;
        if is_part || direction == DIRECTION_NONE {
            return;
        }
        depth = 2;
    }
    if note_call(caller(depth), registers.first(), registers.stack(), buffer, direction) {
        thread.tls_depth = depth;
    }
}

/// Notes that the running goroutine begins such a call. Its stack may move meanwhile.
#[inline(always)]
fn enter_as_goroutine(registers: &Registers, buffer: Buffer, direction: u8) {
    let Some(process) = observed_process() else { return };
    let task = runtime::task(registers, &process);
    let caller = goroutine(&task);
    let is_within = direction == DIRECTION_NONE && call_of(caller).is_some();
    if task.flags & u64::from(DATA_GOROUTINE) != 0 && !is_within {
        note_call(caller, registers.go_first(), 0, buffer, direction);
    }
}

#[inline(always)]
fn note_call(caller: u64, object: u64, frame: u64, buffer: Buffer, direction: u8) -> bool {
    let call = TlsCall {
        object,
        frame,
        buffer: buffer.address,
        length: buffer.length,
        moved: buffer.moved,
        time_ns: read::now_ns(),
        sent_ns: 0,
        sock: 0,
        inode: 0,
        family: 0,
        direction,
        has_header: 0,
        bio: 0,
        ciphertext: 0,
        header: 0,
    };
    TLS_CALLS.insert(&caller, &call, 0).is_ok()
}

/// Notes that the running thread uses a socket: what it has to do with a call into a TLS library, if it is in one.
/// `sent_ns` says since when it writes, and is 0 where it reads.
#[inline(always)]
pub(crate) fn note_socket(found: &Found, task: &Task, depth: u64, sent_ns: u64) {
    let caller = if task.flags & u64::from(DATA_GOROUTINE) != 0 {
        goroutine(task)
    } else if depth != 0 {
        caller(depth)
    } else {
        return;
    };
    // A library that has functions for its I/O uses sockets there, and nowhere else: what it calls back uses others.
    if let Some(call) = call_of(caller)
        && call.bio != HAS_BIO
    {
        if call.sock != 0 && (call.sock != found.sock || call.inode != found.inode) {
            // Of two sockets, none is known to be the object's.
            call.bio = HAS_BIO;
            call.sock = 0;
            return;
        }
        call.sock = found.sock;
        call.inode = found.inode;
        call.family = found.family;
        if sent_ns != 0 {
            call.sent_ns = sent_ns;
        }
    }
}

/// Tells what the running thread's call has moved that returns now. The registers are those of user space.
#[inline(always)]
fn leave(registers: &Registers) {
    let Some(process) = observed_process() else { return };
    if let Some((caller, call)) = returning(registers) {
        finish(caller, &call, registers, runtime::task(registers, &process));
    }
}

/// Returns the running thread's call that returns now, and under which number it is remembered. The thread is not in it any
/// more.
#[inline(always)]
fn returning(registers: &Registers) -> Option<(u64, TlsCall)> {
    let thread = thread::known().filter(|thread| thread.tls_depth != 0)?;
    // Functions share the instructions by which they return. One within another may have returned unseen.
    for depth in [2, 1] {
        if depth > thread.tls_depth {
            continue;
        }
        let caller = caller(depth);
        let Some(call) = call_of(caller).copied() else {
            lose(Loss::TlsCalls);
            thread.tls_depth = depth - 1;
            continue;
        };
        if call.frame == registers.stack() {
            thread.tls_depth = depth - 1;
            return Some((caller, call));
        }
    }
    None
}

/// Tells what the running goroutine's call has moved that returns now: a handshake, or one that moves bytes.
#[inline(always)]
fn leave_as_goroutine(registers: &Registers, is_handshake: bool) {
    let Some(process) = observed_process() else { return };
    let task = runtime::task(registers, &process);
    let caller = goroutine(&task);
    if let Some(call) = call_of(caller).copied()
        && (call.direction == DIRECTION_NONE) == is_handshake
    {
        finish(caller, &call, registers, task);
    }
}

/// Notes that an object has the socket behind a descriptor.
#[inline(always)]
fn set_socket(address: u64, descriptor: u64) {
    if observed_process().is_none() {
        return;
    }
    if let Some(found) = find(descriptor)
        && let Some(object) = object_from(&key(address), 0)
    {
        use_socket(object, found.sock, found.inode, found.family);
    }
}

#[inline(always)]
fn use_socket(object: &mut TlsObject, sock: u64, inode: u32, family: u8) {
    if object.sock != 0 && (object.sock != sock || object.inode != inode) {
        // It is used again.
        object.moved = [0; 2];
        object.tried_ns = 0;
        object.tried_length = 0;
    }
    object.sock = sock;
    object.inode = inode;
    object.family = family;
}

#[inline(always)]
fn finish(caller: u64, call: &TlsCall, registers: &Registers, task: Task) {
    let _ = TLS_CALLS.remove(&caller);
    let returned = registers.returned() as i32;
    let moved = if call.direction == DIRECTION_NONE {
        0
    } else if call.moved == 0 {
        if returned > 0 { returned as u64 } else { 0 }
    } else if returned == 1 {
        read::user::<u64>(call.moved).unwrap_or(0)
    } else {
        0
    };
    let key = key(call.object);
    let is_owed = call.direction == DIRECTION_EGRESS && task.flags & u64::from(DATA_TOKEN) != 0;
    // The object may have ended meanwhile, by another's hand.
    if moved == 0 && call.direction != DIRECTION_NONE && !is_owed && TLS_OBJECTS.get_ptr(&key).is_none() {
        return;
    }
    let Some(object) = object(&key) else { return };
    if call.sock != 0 {
        use_socket(object, call.sock, call.inode, call.family);
    }
    let began_ns = begin(object, call, moved);
    let task = owner(object, call, moved, task);
    if moved == 0 || moved > call.length {
        return;
    }
    let ends_record = call.direction == DIRECTION_INGRESS && moved < call.length;
    let length = moved as u32;
    // Looked at only where there are more.
    let end = call.buffer.wrapping_add(moved).wrapping_sub(u64::from(FRAME_BYTES));
    // What the kernel sends from a file is nowhere.
    let together = if call.buffer == 0 { 0 } else { length };
    let received = call.direction == DIRECTION_INGRESS && call.sock != 0;
    let moved = Moved { address: call.buffer, length, ends_record, received, together, end };
    let mover =
        Mover { object: call.object, direction: call.direction, time_ns: began_ns, sent_ns: call.sent_ns };
    tell(&mover, object, moved, task);
}

/// Returns when what a call has moved began to be moved. A write that could not end is made again until it can, and some of
/// its records were sent before.
#[inline(always)]
fn begin(object: &mut TlsObject, call: &TlsCall, moved: u64) -> u64 {
    if call.direction != DIRECTION_EGRESS {
        return call.time_ns;
    }
    let began_ns = if object.tried_ns == 0 { call.time_ns } else { object.tried_ns };
    object.tried_ns = if moved == 0 && call.sock != 0 { began_ns } else { 0 };
    began_ns
}

/// Returns for whom a call has moved bytes. What could not be written is written again, as many bytes, by whichever call
/// comes next: what Node writes before the handshake is over, by one that reads.
#[inline(always)]
fn owner(object: &mut TlsObject, call: &TlsCall, moved: u64, task: Task) -> Task {
    if call.direction != DIRECTION_EGRESS {
        return task;
    }
    let token = if task.flags & u64::from(DATA_TOKEN) == 0 { 0 } else { task.parent };
    let is_again = object.tried_length != 0 && object.tried_length == call.length;
    if !is_again {
        object.tried_token = token;
    }
    object.tried_length = if moved == 0 { call.length } else { 0 };
    let tried = object.tried_token;
    if !is_again || tried == token {
        task
    } else if tried == 0 {
        Task { flags: task.flags & !u64::from(DATA_TOKEN), parent: 0, ..task }
    } else {
        Task { flags: task.flags | u64::from(DATA_TOKEN), parent: tried, ..task }
    }
}

#[inline(always)]
fn tell(call: &Mover, object: &mut TlsObject, moved: Moved, task: Task) {
    let now_ns = read::now_ns();
    let is_egress = call.direction == DIRECTION_EGRESS;
    let (own, other) = if is_egress { (0, 1) } else { (1, 0) };
    let time_ns = if is_egress { call.time_ns } else { now_ns };
    // The answer may be read before the call returns.
    let moved_ns = if is_egress && call.sent_ns != 0 { call.sent_ns } else { now_ns };
    let before = object.moved[own];
    object.moved[own] = before.wrapping_add(u64::from(moved.length));
    let mut event = PlaintextEvent {
        data: emit::data_event(KIND_PLAINTEXT, time_ns, &task),
        object: call.object,
        moved_ns,
        ends_record: moved.ends_record.into(),
        received: moved.received.into(),
        continues: 0,
    };
    event.data.header.direction = call.direction;
    event.data.header.family = object.family;
    event.data.header.inode = object.inode;
    event.data.header.sock = object.sock;
    event.data.position = before as u32;
    event.data.reverse_position = object.moved[other] as u32;
    event.data.turn = thread::known().map_or(0, |thread| thread.turn);
    let budget = budget(object, call.direction, before);
    let budget = if moved.together < budget { moved.together } else { budget };
    if moved.length <= budget || budget == 0 || moved.end == 0 {
        event.data.length = moved.length;
        emit::data(&event, moved.address, if moved.length < budget { moved.length } else { budget });
        return;
    }
    // The beginning, and the end, which often ends a message.
    let beginning = moved.length.saturating_sub(FRAME_BYTES);
    event.data.length = beginning;
    event.ends_record = 0;
    emit::data(&event, moved.address, if beginning < budget { beginning } else { budget });
    event.data.position = event.data.position.wrapping_add(beginning);
    event.data.length = moved.length - beginning;
    event.ends_record = moved.ends_record.into();
    event.received = 0;
    emit::frame(&event, moved.end, FRAME_BYTES);
}

/// Returns how many bytes of a call in this direction are copied, at least [`FRAME_BYTES`], or none.
#[inline(always)]
fn budget(object: &TlsObject, direction: u8, before: u64) -> u32 {
    let mut wanted = emit::usual_capture();
    if let Some(policy) = SOCKET_POLICIES.get_ptr(&object.sock) {
        // SAFETY: the pointer is that of a map entry; a torn copy mixes two policies of one socket.
        let policy = unsafe { *policy };
        if policy.inode == object.inode {
            if policy.mode == SOCKET_IGNORE {
                return 0;
            }
            wanted =
                if direction == DIRECTION_EGRESS { policy.capture_bytes[0] } else { policy.capture_bytes[1] };
        }
    }
    emit::wide(wanted, before).max(FRAME_BYTES)
}

/// Tells that an object ends.
#[inline(always)]
fn end(object: u64) {
    if observed_process().is_none() {
        return;
    }
    let _ = TLS_OBJECTS.remove(&key(object));
    tell_end(object, 0, 0);
}

#[inline(always)]
fn tell_end(object: u64, flags: u8, direction: u8) {
    let now_ns = read::now_ns();
    emit::record::<TlsEndEvent>(|event| {
        event.header = emit::header(KIND_TLS_END, now_ns);
        event.header.flags = flags;
        event.header.direction = direction;
        event.object = object;
    });
}

const _: () = assert!(DIRECTION_EGRESS == 0 && DIRECTION_INGRESS == 1);
