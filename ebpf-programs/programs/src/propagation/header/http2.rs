//! The beginning of a connection of HTTP/2, and the header block of its first request (RFC 9113, RFC 7541).

use remora_abi::{HEADER_FIELD_BYTES, MAX_FRAME_BYTES, Write};

use crate::read::{Scan, View};

const PREFACE: &[u8; PREFACE_BYTES] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PREFACE_BYTES: usize = 24;

/// Bytes of a frame's header, and of its length, with which it begins.
const FRAME_HEADER_BYTES: u32 = 9;
const HEADERS: u8 = 1;
/// What may stand before the first request: PRIORITY, SETTINGS, PING, WINDOW_UPDATE and PRIORITY_UPDATE, a bit for each
/// type.
const BEFORE_REQUESTS: u32 = 1 << 2 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 16;
/// Flags of HEADERS.
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;
/// What the flag above puts before the header block.
const PRIORITY_BYTES: u32 = 5;

/// Frames before the first request that are passed over.
const MAX_FRAMES: u32 = 8;
/// Steps of one integer: one for a field that the tables know, up to three for others.
const MAX_STEPS: u32 = 160;

/// What `traceparent` takes with its length.
type Name = [u32; 3];

/// At the beginning of a frame.
const SCAN_FRAME: u32 = 0;
/// At the beginning of a field, of a field's name, and of its value.
const SCAN_FIELD: u32 = 1;
const SCAN_NAME: u32 = 2;
const SCAN_VALUE: u32 = 3;
/// The bytes end with a frame, and hold no request.
const SCAN_OPENED: u32 = 4;
const SCAN_COMPLETE: u32 = 5;
const SCAN_CONTEXT: u32 = 6;
const SCAN_NOT_HTTP: u32 = 7;
const SCAN_UNUSUAL: u32 = 8;

/// Where reading has come to.
#[derive(Clone, Copy)]
struct Cursor {
    /// The next byte.
    at: u32,
    /// Where the request begins.
    frame: u32,
    /// Where its header block ends.
    end: u32,
    /// `SCAN_*`.
    state: u32,
}

/// What the bytes of a call are.
pub(super) enum Found {
    /// What opens a connection, and no request yet.
    Opening,
    /// A request that can take one more field.
    Request(Block),
}

/// A header block that one frame holds.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// Where the frame begins.
    pub(super) frame: u32,
    /// Where the block ends, and the frame with it.
    pub(super) end: u32,
}

impl Block {
    /// Returns the length of the frame with one field more, as it stands in its header.
    #[inline(always)]
    pub(super) fn grown(self) -> [u8; 3] {
        let [_, high, middle, low] =
            (self.end - self.frame - FRAME_HEADER_BYTES + HEADER_FIELD_BYTES).to_be_bytes();
        [high, middle, low]
    }
}

/// Reads `size` bytes, as far as the view shows them: the beginning of a connection, or what follows that where
/// `is_opened`.
#[inline(always)]
pub(super) fn request(view: &View, size: u32, is_opened: bool, scan: &mut Scan<'_>) -> Result<Found, Write> {
    if !is_opened && !has_preface(view) {
        return Err(Write::NotHttp);
    }
    let at = if is_opened { 0 } else { PREFACE_BYTES as u32 };
    store(scan, Cursor { at, frame: 0, end: 0, state: SCAN_FRAME });
    for _ in 0..MAX_FRAMES {
        if !pass_frame(view, size, scan) {
            break;
        }
    }
    for _ in 0..MAX_STEPS {
        if !step(view, scan) {
            break;
        }
    }
    let Cursor { frame, end, state, .. } = load(scan);
    match state {
        SCAN_OPENED => Ok(Found::Opening),
        SCAN_COMPLETE => Ok(Found::Request(Block { frame, end })),
        SCAN_CONTEXT => Err(Write::HasContext),
        SCAN_NOT_HTTP => Err(Write::NotHttp),
        SCAN_UNUSUAL => Err(Write::Unusual),
        _ => Err(Write::Partial),
    }
}

#[inline(always)]
fn has_preface(view: &View) -> bool {
    let Some(window) = view.window::<PREFACE_BYTES>(0) else { return false };
    let mut differing = 0;
    let mut at = 0;
    while at < PREFACE_BYTES {
        let expected = [PREFACE[at], PREFACE[at + 1], PREFACE[at + 2], PREFACE[at + 3]];
        differing |= window.word(at) ^ u32::from_le_bytes(expected);
        at += 4;
    }
    differing == 0
}

/// Goes behind the next frame, or into the header block of a request; returns whether to go on.
#[inline(always)]
fn pass_frame(view: &View, size: u32, scan: &mut Scan<'_>) -> bool {
    let mut cursor = load(scan);
    if cursor.at == size {
        cursor.state = SCAN_OPENED;
        store(scan, cursor);
        return false;
    }
    let Some(header) = view.window::<{ FRAME_HEADER_BYTES as usize }>(cursor.at) else { return false };
    let length = header.word(0).swap_bytes() >> 8;
    let (kind, flags) = (header.byte(3), header.byte(4));
    let start = cursor.at + FRAME_HEADER_BYTES;
    let end = start + length;
    if kind == HEADERS {
        cursor.frame = cursor.at;
        cursor.at = if flags & PRIORITY != 0 { start + PRIORITY_BYTES } else { start };
        cursor.end = end;
        // An incomplete block stays at the beginning of a frame.
        if flags & PADDED != 0 || cursor.at > end {
            cursor.state = SCAN_UNUSUAL;
        } else if flags & END_HEADERS != 0
            && length <= MAX_FRAME_BYTES - HEADER_FIELD_BYTES
            && shows(view, end)
        {
            cursor.state = SCAN_FIELD;
        }
        store(scan, cursor);
        return false;
    }
    if kind >= 32 || BEFORE_REQUESTS >> kind & 1 == 0 {
        cursor.state = SCAN_NOT_HTTP;
    }
    cursor.at = end;
    let goes_on = cursor.state == SCAN_FRAME && shows(view, end);
    store(scan, cursor);
    goes_on
}

/// Returns whether all bytes before `end` can be seen.
#[inline(always)]
fn shows(view: &View, end: u32) -> bool {
    end <= remora_abi::MAX_HEADER_VIEW && view.byte(end - 1).is_some()
}

/// Reads the next integer of the header block, and goes behind it and the string whose length it is; returns whether to go
/// on.
///
/// Without a branch where one can be avoided: the verifier would follow both sides of each, in every step.
#[inline(always)]
fn step(view: &View, scan: &mut Scan<'_>) -> bool {
    let mut cursor = load(scan);
    if cursor.state == SCAN_FRAME || cursor.state > SCAN_VALUE {
        return false;
    }
    // 0 at the beginning of a field, 1 at that of a string.
    let is_string = cursor.state >> 1;
    let name: Name = view.words(cursor.at);
    let [first, second, third, _] = name[0].to_le_bytes();
    let Integer { value, length, is_endless } = integer([first, second, third], is_string);
    let is_past = cursor.at.wrapping_add(length) > cursor.end;
    if cursor.at == cursor.end && is_string == 0 {
        cursor.state = SCAN_COMPLETE;
    } else if is_past || is_endless {
        cursor.state = SCAN_UNUSUAL;
    } else if cursor.state == SCAN_NAME && is_context(name) {
        cursor.state = SCAN_CONTEXT;
    } else {
        cursor.at += length + value * is_string;
        cursor.state =
            if is_string != 0 { 1 + (cursor.state & 1 ^ 1) * 2 } else { after_field(first, value) };
    }
    store(scan, cursor);
    cursor.state <= SCAN_VALUE
}

/// An integer of a header block.
struct Integer {
    value: u32,
    /// Bytes that it takes.
    length: u32,
    /// It is longer than any that belongs here.
    is_endless: bool,
}

/// Returns the integer with which a field or a string begins (RFC 7541, 5.1 and 6).
#[inline(always)]
fn integer([first, second, third]: [u8; 3], is_string: u32) -> Integer {
    let first = u32::from(first);
    let index = first >> 7;
    let added = (first >> 6 | index) & 1;
    let resized = (first >> 5 | added) & 1;
    let mask = 0x0f | resized << 4 | added << 5 | index << 6 | (is_string * 0x7f);
    let prefix = first & mask;
    // 1 where the prefix is full, and more bytes follow.
    let has_second = core::hint::black_box(prefix ^ mask).wrapping_sub(1) >> 31;
    let has_third = has_second & u32::from(second >> 7);
    Integer {
        value: prefix + has_second * u32::from(second & 0x7f) + has_third * (u32::from(third & 0x7f) << 7),
        length: 1 + has_second + has_third,
        is_endless: has_third & u32::from(third >> 7) != 0,
    }
}

/// Returns what follows the index of a field: its name and value, its value, or nothing where it is known, or no field but
/// a new size of the table.
#[inline(always)]
fn after_field(first: u8, index: u32) -> u32 {
    if first & 0x80 != 0 || first & 0xe0 == 0x20 {
        SCAN_FIELD
    } else if index == 0 {
        SCAN_NAME
    } else {
        SCAN_VALUE
    }
}

/// Returns whether a name is `traceparent` with its length, in any case, or by the code of RFC 7541, appendix B, which has one
/// form.
#[inline(always)]
fn is_context([first, second, third]: Name) -> bool {
    const LOWER: u32 = 0x2020_2020;
    let plain = (first | LOWER << 8) ^ u32::from_le_bytes(*b"\x0btra")
        | (second | LOWER) ^ u32::from_le_bytes(*b"cepa")
        | (third | LOWER) ^ u32::from_le_bytes(*b"rent");
    let coded = first ^ u32::from_le_bytes([0x88, 0x4d, 0x83, 0x21])
        | second ^ u32::from_le_bytes([0x6b, 0x1d, 0x85, 0xa9])
        | (third ^ 0x3f) & 0xff;
    // The optimiser would compare part by part, and the verifier follow all combinations.
    core::hint::black_box(plain) == 0 || core::hint::black_box(coded) == 0
}

#[inline(always)]
fn load(scan: &Scan<'_>) -> Cursor {
    let [at, frame, end, state] = scan.load();
    Cursor { at, frame, end, state }
}

#[inline(always)]
fn store(scan: &mut Scan<'_>, cursor: Cursor) {
    scan.store([cursor.at, cursor.frame, cursor.end, cursor.state]);
}
