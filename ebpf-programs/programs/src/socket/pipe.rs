//! What worker processes read from pipes: their master hands them work there.

use remora_abi::{KIND_PIPE, Loss, PIPE_BYTES, PipeEvent};

use crate::maps::lose;
use crate::socket::call::{Call, memory};
use crate::socket::find;
use crate::{emit, read, thread};

/// Handles the entry of a call that reads from `descriptor` to `address`, if that is a pipe.
#[inline(always)]
pub(super) fn enter(descriptor: u64, address: u64) {
    let Some(pipe) = find::pipe(descriptor) else { return };
    let Some(thread) = thread::this() else { return };
    thread.call.sock = pipe;
    thread.call.address = address;
    thread.call.memory = memory::PIPE;
    thread.is_in_call = 1;
}

/// Tells what the call has read.
#[inline(always)]
pub(super) fn tell(call: &Call, turn: u32, result: i64) {
    if result <= 0 {
        return;
    }
    let now_ns = read::now_ns();
    let length = result as u32;
    let is_told = emit::record::<PipeEvent>(|event| {
        event.header = emit::header(KIND_PIPE, now_ns);
        event.header.sock = call.sock;
        event.turn = turn;
        event.length = length;
        event.padding = 0;
        let is_read = read::user_bytes(&mut event.bytes, length, call.address);
        let most = PIPE_BYTES as u32;
        event.captured = if !is_read {
            0
        } else if length > most {
            most
        } else {
            length
        };
    });
    if !is_told {
        lose(Loss::Handover);
    }
}
