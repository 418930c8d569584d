//! Units of work that threads hand to each other: a thread *gives* one for the sake of whom it works for, another
//! *takes* it. Who does so is told by probes, or by a part inside the process.

use remora_abi::{
    CLAIM_POSITION, CLAIM_STREAM, ClaimEvent, DATA_TOKEN, GiftEvent, KIND_ASK, KIND_CLAIM, KIND_GIFT,
    KIND_SHARE, Loss, MARK_ASK, MARK_CLAIM, MARK_GIVE, MARK_HEAR, MARK_LEAVE, MARK_SHARE, MARK_STREAM,
    MARK_STREAM_DESCRIPTORS, MARK_TAKE, MARK_TLS, ProcessPolicy, SHARE_BASE,
};

use super::Task;
use crate::arch::Registers;
use crate::maps::lose;
use crate::socket::find::find;
use crate::socket::transfer::{observed_process, written_position};
use crate::{emit, read, thread, tls};

/// From here on, the running thread executes this unit of work; 0 for none.
#[inline(always)]
pub(crate) fn take(token: u64) {
    let thread = if token == 0 { thread::known() } else { thread::this() };
    if let Some(thread) = thread {
        thread.token = token;
    }
}

/// Whoever takes this unit of work does so for whom the running thread works for.
#[inline(always)]
pub(crate) fn give(token: u64, registers: &Registers, process: &ProcessPolicy) {
    tell(KIND_GIFT, token, 0, super::task(registers, process));
}

/// Tells what one unit of work has to do with another, or with a stream of that number; `kind` is that of a `GiftEvent`.
#[inline(always)]
pub(super) fn tell(kind: u8, token: u64, number: u32, giver: Task) {
    let now_ns = read::now_ns();
    let is_told = emit::record::<GiftEvent>(|event| {
        event.header = emit::header(kind, now_ns);
        event.header.flags = giver.flags as u8;
        event.token = token;
        event.task = giver.id;
        event.task_parent = giver.parent;
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.number = number;
    });
    if !is_told {
        lose(Loss::Handover);
    }
}

/// What is written to a socket from so many bytes ahead on, or the stream of a number, is written for this unit of work; 0
/// for none. `what` is the flag that says which.
///
/// A program of its own for the verifier, which would go through all of it again for each way that leads here.
#[inline(never)]
fn claim(token: u64, descriptor: u64, what: u8, number: u32) {
    let Some(found) = find(descriptor) else { return };
    let position = if what == CLAIM_STREAM { number } else { written_position(&found).wrapping_add(number) };
    let now_ns = read::now_ns();
    let is_told = emit::record::<ClaimEvent>(|event| {
        event.header = emit::header(KIND_CLAIM, now_ns);
        event.header.flags = if token == 0 { what } else { what | DATA_TOKEN };
        event.header.family = found.family;
        event.header.inode = found.inode;
        event.header.sock = found.sock;
        event.task = 0;
        event.task_parent = token;
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.position = position;
    });
    if !is_told {
        lose(Loss::Handover);
    }
}

/// So many bytes of what the running thread writes next are written for the unit that it has taken.
#[inline(always)]
fn share(bytes: u32) {
    tell(KIND_SHARE, taken(), bytes, Task::UNKNOWN);
}

/// Whoever takes this unit of work does so for whom the message was sent that the running thread has received last.
#[inline(always)]
fn hear(token: u64) {
    let heard = thread::known().map_or(0, |thread| thread.heard);
    if heard != 0 {
        tell(KIND_GIFT, token, 0, Task { flags: u64::from(DATA_TOKEN), id: 0, parent: heard });
    }
}

/// Returns the unit of work that the running thread has taken; 0 for none.
#[inline(always)]
pub(super) fn taken() -> u64 {
    thread::known().map_or(0, |thread| thread.token)
}

/// Handles `kill(token, mark)`. The signal is none, so that the kernel does nothing with it.
#[inline(always)]
pub(crate) fn marked(registers: &Registers) {
    let (token, mark) = (registers.first(), registers.second());
    let descriptor = mark.wrapping_sub(MARK_STREAM);
    let is_stream = descriptor < MARK_STREAM_DESCRIPTORS;
    if !is_stream && !(MARK_TAKE..=MARK_HEAR).contains(&mark) {
        return;
    }
    let Some(process) = observed_process() else { return };
    if process.has_tokens == 0 {
        return;
    }
    if is_stream {
        return claim(taken(), descriptor, CLAIM_STREAM, (token as u32).wrapping_sub(SHARE_BASE));
    }
    match mark {
        MARK_TAKE => take(token),
        MARK_GIVE => give(token, registers, &process),
        MARK_LEAVE => take(0),
        MARK_TLS => tls::marked(registers.third()),
        MARK_ASK => tell(KIND_ASK, token, 0, Task::UNKNOWN),
        MARK_HEAR => hear(token),
        MARK_SHARE => share((token as u32).wrapping_sub(SHARE_BASE)),
        _ => {
            let unit = if mark == MARK_CLAIM { token } else { 0 };
            claim(unit, registers.third(), CLAIM_POSITION, registers.fourth() as u32);
        }
    }
}

/// Returns who executes, with the unit of work that the thread has taken.
#[inline(always)]
pub(super) fn with_token(task: Task) -> Task {
    match thread::known() {
        Some(thread) if thread.token != 0 => {
            Task { flags: task.flags | u64::from(DATA_TOKEN), id: task.id, parent: thread.token }
        }
        _ => task,
    }
}
