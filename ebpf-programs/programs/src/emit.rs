//! The only place that reserves ring space. A full ring counts the loss and changes nothing else.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_NO_WAKEUP};
use remora_abi::{
    Count, DataEvent, EventHeader, FRAME_BYTES, Loss, MAX_CAPTURE, PlaintextEvent, RING_BYTES, YOUNG_BYTES,
    YOUNG_CAPTURE_FACTOR,
};

use crate::maps::{EVENTS, SETTINGS, count, lose};
use crate::read;
use crate::runtime::Task;

/// User space drains the ring on a timer. A wake-up costs the traced program some 1.4 µs, a submit without one 25 ns.
const NO_WAKEUP: u64 = BPF_RB_NO_WAKEUP as u64;

/// Bytes captured of a call where user space has said nothing at all.
const DEFAULT_CAPTURE: u32 = 4096;

/// Returns the bytes that are captured of a call where nothing is known of its socket.
#[inline(always)]
pub(crate) fn usual_capture() -> u32 {
    SETTINGS.get(0).map_or(DEFAULT_CAPTURE, |settings| settings.capture_bytes)
}

/// Returns how much is captured of a call of a connection that has moved `seen` bytes before and of whose calls `asked`
/// bytes are asked for. Where user space is behind, more than usual would take the room of what all others say.
#[inline(always)]
pub(crate) fn wide(asked: u32, seen: u64) -> u32 {
    let usual = usual_capture();
    let factor = if seen < YOUNG_BYTES { YOUNG_CAPTURE_FACTOR } else { 1 };
    let wanted = (asked * factor).min(MAX_CAPTURE);
    if wanted > usual && EVENTS.query(BPF_RB_AVAIL_DATA.into()) >= u64::from(RING_BYTES / 4) {
        return usual;
    }
    wanted
}

/// Submits a record of fixed size, filled in by `fill`. Returns whether there was room.
#[inline(always)]
pub(crate) fn record<T: Copy + 'static>(fill: impl FnOnce(&mut T)) -> bool {
    let Some(mut entry) = EVENTS.reserve::<T>(0) else {
        lose(Loss::RingFull);
        return false;
    };
    let target = entry.as_mut_ptr();
    // SAFETY: the reservation is `size_of::<T>()` bytes and ours until submitted; all fields are integers, for
    // which any bytes that the ring held before are valid.
    fill(unsafe { &mut *target });
    entry.submit(NO_WAKEUP);
    count(Count::Records, 1);
    true
}

/// What is told together with bytes.
pub(crate) trait Moving: Copy {
    /// Returns what is told of the bytes.
    fn data(&mut self) -> &mut DataEvent;
}

impl Moving for DataEvent {
    #[inline(always)]
    fn data(&mut self) -> &mut DataEvent {
        self
    }
}

impl Moving for PlaintextEvent {
    #[inline(always)]
    fn data(&mut self) -> &mut DataEvent {
        &mut self.data
    }
}

/// A data record with room for `N` captured bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct Record<T, const N: usize> {
    event: T,
    bytes: [u8; N],
}

/// Submits a data record together with the first `wanted` bytes at `address` in user memory.
///
/// The ring takes sizes that the verifier knows, so that a record has one of six sizes.
#[inline(always)]
pub(crate) fn data<T: Moving + 'static>(event: &T, address: u64, wanted: u32) {
    if wanted == 0 {
        sized::<T, 0>(event, address, 0);
    } else if wanted <= FRAME_BYTES {
        frame(event, address, wanted);
    } else if wanted <= 952 {
        sized::<T, 952>(event, address, wanted);
    } else if wanted <= 4096 {
        sized::<T, 4096>(event, address, wanted);
    } else if wanted <= 16_384 {
        sized::<T, 16_384>(event, address, wanted);
    } else {
        sized::<T, { MAX_CAPTURE as usize }>(event, address, wanted);
    }
}

/// Submits a data record with the first `wanted` bytes, at most [`FRAME_BYTES`], at `address` in user memory.
#[inline(always)]
pub(crate) fn frame<T: Moving + 'static>(event: &T, address: u64, wanted: u32) {
    sized::<T, { FRAME_BYTES as usize }>(event, address, wanted);
}

/// Bytes of short segments after which no more are told together with them, and the room for them and one more.
pub(crate) const GATHERED_BYTES: u32 = 1023;
pub(crate) const GATHERED_ROOM: usize = 1280;

/// Submits a data record with the bytes that `fill` copies and counts. Returns whether there is one: where it copies none,
/// or there is no room, there is not.
#[inline(always)]
pub(crate) fn gathered(event: &DataEvent, fill: impl FnOnce(&mut [u8; GATHERED_ROOM]) -> u32) -> bool {
    let Some(mut entry) = EVENTS.reserve::<Record<DataEvent, GATHERED_ROOM>>(0) else {
        return false;
    };
    let target = entry.as_mut_ptr();
    // SAFETY: as in `record`.
    let target = unsafe { &mut *target };
    let captured = fill(&mut target.bytes);
    if captured == 0 {
        entry.discard(NO_WAKEUP);
        return false;
    }
    target.event = *event;
    target.event.length = captured;
    target.event.captured = captured;
    entry.submit(NO_WAKEUP);
    count(Count::Records, 1);
    count(Count::BytesMoved, u64::from(captured));
    count(Count::BytesCaptured, u64::from(captured));
    true
}

/// Submits a data record without bytes.
#[inline(always)]
pub(crate) fn counted(event: &DataEvent) {
    sized::<DataEvent, 0>(event, 0, 0);
}

#[inline(always)]
fn sized<T: Moving + 'static, const N: usize>(event: &T, address: u64, wanted: u32) {
    let Some(mut entry) = EVENTS.reserve::<Record<T, N>>(0) else {
        lose(Loss::RingFull);
        return;
    };
    let target = entry.as_mut_ptr();
    // SAFETY: as in `record`.
    let target = unsafe { &mut *target };
    target.event = *event;
    let captured = if N > 0 && wanted > 0 && read::user_bytes(&mut target.bytes, wanted, address) {
        if wanted > N as u32 { N as u32 } else { wanted }
    } else {
        0
    };
    let data = target.event.data();
    data.captured = captured;
    let length = data.length;
    entry.submit(NO_WAKEUP);
    if N > 0 && captured == 0 {
        lose(Loss::UserMemory);
    }
    count(Count::Records, 1);
    count(Count::BytesMoved, u64::from(length));
    count(Count::BytesCaptured, u64::from(captured));
}

/// Returns what is told of bytes that the running thread moves for a task now; what moves them has to complete it.
#[inline(always)]
pub(crate) fn data_event(kind: u8, time_ns: u64, task: &Task) -> DataEvent {
    let mut header = header(kind, time_ns);
    header.flags = task.flags as u8;
    DataEvent {
        header,
        position: 0,
        reverse_position: 0,
        length: 0,
        captured: 0,
        task: task.id,
        task_parent: task.parent,
        turn: 0,
        inserted_at: 0,
        inserted: 0,
    }
}

/// Returns a header for what the running thread does now.
#[inline(always)]
pub(crate) fn header(kind: u8, time_ns: u64) -> EventHeader {
    let id = aya_ebpf::helpers::bpf_get_current_pid_tgid();
    EventHeader {
        kind,
        flags: 0,
        direction: 0,
        family: 0,
        tgid: (id >> 32) as u32,
        tid: id as u32,
        inode: 0,
        sock: 0,
        time_ns,
    }
}
