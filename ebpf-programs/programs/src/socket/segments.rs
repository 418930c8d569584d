//! The memory that a call moved bytes from or to, segment by segment, each told with its own position.

use remora_abi::{DataEvent, FRAME_BYTES, Loss, MAX_SEGMENTS};

use crate::emit::{self, GATHERED_BYTES};
use crate::maps::{lose, segments};
use crate::read;
use crate::socket::call::{Call, Cursor, memory};
use crate::socket::peer;

/// The beginning of `struct msghdr`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct MessageHeader {
    pub(super) name: u64,
    name_length: u32,
    padding: u32,
    vector: u64,
    entries: u64,
}

/// Offset of `msg_len` in `struct mmsghdr`, and its size.
const MESSAGE_LENGTH_OFFSET: u64 = 56;
const MESSAGE_STRIDE: u64 = 64;
/// Messages of one call whose lengths are added up behind those that are followed.
const MAX_MESSAGES: u32 = 64;
/// Short segments that are told together where as many or more are left.
const MAX_GATHERED: u32 = 8;

/// A piece of user memory; `address` is 0 where the bytes are not in user memory.
#[derive(Clone, Copy)]
struct Segment {
    address: u64,
    length: u64,
}

/// Tells all bytes that the call moved: `moved` bytes, or `moved` messages.
#[inline(always)]
pub(crate) fn tell(call: &mut Call, mut event: DataEvent, moved: u64) {
    begin(call, moved);
    let mut is_complete = false;
    for index in 0..MAX_SEGMENTS {
        // The verifier knows the number, and looks no further.
        if index >= segments() {
            break;
        }
        let mut cursor = load(call);
        if are_gathered(call, &cursor) && gather(call, &mut event, cursor.position) {
            continue;
        }
        let Some(segment) = next(call, &mut cursor) else {
            is_complete = true;
            break;
        };
        if segment.length != 0 {
            event.position = cursor.position;
            account_for_insertion(call, &mut event, segment.length as u32);
            if call.framing != 0 {
                peer::tell(call, &event, cursor.name);
            }
            emit_segment(call, &mut event, segment, &mut cursor.budget);
            cursor.position = cursor.position.wrapping_add(segment.length as u32).wrapping_add(call.framing);
            cursor.total += segment.length + u64::from(call.framing);
        }
        store(call, cursor);
    }
    if !is_complete {
        tell_rest(call, event);
    }
}

/// Bytes that the programs have written into the call's own are told where they stand, and shift what follows.
#[cfg(feature = "propagation")]
#[inline(always)]
fn account_for_insertion(call: &Call, event: &mut DataEvent, length: u32) {
    event.inserted = 0;
    event.inserted_at = 0;
    if call.inserted == 0 {
        return;
    }
    let at = call.inserted_position.wrapping_sub(event.position);
    if at as i32 <= 0 {
        event.position = event.position.wrapping_add(call.inserted);
    } else if at <= length {
        event.inserted = call.inserted as u16;
        event.inserted_at = at as u16;
    }
}

#[cfg(not(feature = "propagation"))]
#[inline(always)]
fn account_for_insertion(_: &Call, _: &mut DataEvent, _: u32) {}

#[inline(always)]
fn load(call: &Call) -> Cursor {
    let cursor = &raw const call.cursor;
    // SAFETY: the pointer is that of a field of a map entry.
    unsafe { cursor.read_volatile() }
}

#[inline(always)]
fn store(call: &mut Call, value: Cursor) {
    let cursor = &raw mut call.cursor;
    // SAFETY: the pointer is that of a field of a map entry.
    unsafe { cursor.write_volatile(value) };
}

#[inline(always)]
fn begin(call: &mut Call, moved: u64) {
    let mut cursor = Cursor {
        left: moved,
        vector: call.address,
        name: call.name,
        entries: call.elements,
        position: call.position,
        budget: call.capture_bytes,
        ..Cursor::UNSET
    };
    if call.memory == memory::MESSAGE {
        enter_message(&mut cursor, call.address);
    } else if call.memory == memory::MESSAGES {
        cursor.left = 0;
        cursor.message = call.address;
        cursor.messages = moved as u32;
    }
    store(call, cursor);
}

#[inline(always)]
fn enter_message(cursor: &mut Cursor, address: u64) {
    cursor.entries = 0;
    cursor.name = 0;
    if let Some(header) = read::user::<MessageHeader>(address) {
        if header.name_length >= peer::SHORTEST_NAME {
            cursor.name = header.name;
        }
        cursor.vector = header.vector;
        cursor.entries = header.entries as u32;
    }
}

/// Returns the next segment and moves the cursor behind it; none at the end.
#[inline(always)]
fn next(call: &Call, cursor: &mut Cursor) -> Option<Segment> {
    if cursor.left == 0 {
        if cursor.messages == 0 {
            return None;
        }
        cursor.messages -= 1;
        let message = cursor.message;
        cursor.message += MESSAGE_STRIDE;
        enter_message(cursor, message);
        cursor.left = u64::from(read::user::<u32>(message + MESSAGE_LENGTH_OFFSET).unwrap_or(0));
        return Some(Segment { address: 0, length: 0 });
    }
    let segment = if call.memory == memory::BUFFER {
        Segment { address: call.address, length: cursor.left }
    } else if cursor.entries == 0 {
        Segment { address: 0, length: cursor.left }
    } else {
        let [address, length] = read::user::<[u64; 2]>(cursor.vector).unwrap_or([0, u64::MAX]);
        cursor.vector += 16;
        cursor.entries -= 1;
        Segment { address, length: if length > cursor.left { cursor.left } else { length } }
    };
    cursor.left -= segment.length;
    Some(segment)
}

/// Returns whether short segments may be told together: where there are many, and each byte of them is told.
#[inline(always)]
fn are_gathered(call: &Call, cursor: &Cursor) -> bool {
    let skips = call.skips != 0 && call.skip_until.wrapping_sub(cursor.position) as i32 > 0;
    cursor.entries >= MAX_GATHERED && cursor.left != 0 && call.framing == 0 && call.inserted == 0 && !skips
}

/// Tells the short segments that come next as one, and moves the cursor behind them; returns whether there were any.
///
/// Frames of HTTP/2 are written piece by piece by some, which makes hundreds of segments of a few bytes.
#[inline(always)]
fn gather(call: &mut Call, event: &mut DataEvent, position: u32) -> bool {
    event.position = position;
    event.inserted = 0;
    event.inserted_at = 0;
    emit::gathered(event, |bytes| {
        for _ in 0..MAX_GATHERED {
            let mut cursor = load(call);
            if !gather_one(bytes, position, &mut cursor) {
                break;
            }
            store(call, cursor);
        }
        let mut cursor = load(call);
        let filled = cursor.position.wrapping_sub(position);
        cursor.budget -= if filled < cursor.budget { filled } else { cursor.budget };
        store(call, cursor);
        filled
    })
}

/// Copies the next segment if it is short, and moves the cursor behind it; returns whether it has.
///
/// There are as many entries as rounds, and an empty segment is none. Each branch here counts a thousand times for the
/// verifier.
#[inline(always)]
fn gather_one(bytes: &mut [u8; emit::GATHERED_ROOM], position: u32, cursor: &mut Cursor) -> bool {
    let filled = cursor.position.wrapping_sub(position);
    if filled > GATHERED_BYTES {
        return false;
    }
    let [address, length] = read::user_or_ones(cursor.vector);
    let length = if length > cursor.left { cursor.left } else { length };
    if length > u64::from(FRAME_BYTES) || !read::user_bytes_at(bytes, filled, length as u32, address) {
        return false;
    }
    cursor.vector += 16;
    cursor.entries -= 1;
    cursor.left -= length;
    cursor.position = cursor.position.wrapping_add(length as u32);
    cursor.total += length;
    true
}

/// Emits one segment: all of it counted, the part that is wanted copied.
#[inline(always)]
fn emit_segment(call: &Call, event: &mut DataEvent, segment: Segment, budget: &mut u32) {
    let mut address = segment.address;
    let mut length = segment.length as u32;
    let mut wanted = if address == 0 { 0 } else { length };
    if call.framing != 0 && wanted > *budget {
        // One datagram is one record.
        wanted = 0;
    }
    if call.skips != 0 {
        let skip = call.skip_until.wrapping_sub(event.position);
        // Half of the numbers lie ahead of a position, the other half behind it.
        let is_ahead = skip as i32 > 0;
        if is_ahead && skip >= length {
            wanted = 0;
        } else if is_ahead {
            event.length = skip;
            emit::counted(event);
            address += u64::from(skip);
            event.position = event.position.wrapping_add(skip);
            length -= skip;
            wanted = if wanted == 0 { 0 } else { length };
        }
    }
    if wanted <= FRAME_BYTES || wanted <= *budget {
        *budget -= if wanted < *budget { wanted } else { *budget };
        event.length = length;
        emit::data(event, address, wanted);
    } else {
        emit_cut(event, address, length, budget);
    }
}

/// Emits a segment that the budget does not cover: its beginning, and its end, which often ends a message.
#[inline(always)]
fn emit_cut(event: &mut DataEvent, address: u64, length: u32, budget: &mut u32) {
    let beginning = length - FRAME_BYTES;
    let wanted = if beginning < *budget { beginning } else { *budget };
    *budget -= wanted;
    let (inserted_at, inserted) = (event.inserted_at, event.inserted);
    let is_inserted_later = u32::from(inserted_at) > beginning;
    if is_inserted_later {
        event.inserted = 0;
    }
    event.length = beginning;
    emit::data(event, address, wanted);
    event.position = event.position.wrapping_add(beginning);
    if is_inserted_later {
        event.inserted = inserted;
        event.inserted_at = inserted_at.wrapping_sub(beginning as u16);
    } else {
        event.position = event.position.wrapping_add(u32::from(inserted));
        event.inserted = 0;
    }
    event.length = FRAME_BYTES;
    emit::frame(event, address + u64::from(beginning), FRAME_BYTES);
}

/// The walk ended before the bytes did: the rest is told as one segment that was not captured.
#[inline(always)]
fn tell_rest(call: &mut Call, mut event: DataEvent) {
    let mut cursor = load(call);
    if cursor.left == 0 && cursor.messages == 0 {
        return;
    }
    lose(Loss::Segments);
    if call.framing != 0 {
        return;
    }
    let mut left = cursor.left;
    for index in 0..MAX_MESSAGES {
        if index >= cursor.messages {
            break;
        }
        let message = cursor.message + u64::from(index) * MESSAGE_STRIDE;
        left += u64::from(read::user::<u32>(message + MESSAGE_LENGTH_OFFSET).unwrap_or(0));
    }
    event.position = cursor.position;
    event.length = left as u32;
    account_for_insertion(call, &mut event, left as u32);
    cursor.total += left;
    store(call, cursor);
    emit::counted(&event);
}
