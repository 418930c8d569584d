//! The head of an HTTP/1 request (RFC 9112, 2.1): where its first line ends, and whether it has a context.

use remora_abi::{MAX_HEADER_VIEW, Write};

use crate::read::{Scan, View, Window};

/// Steps of eight bytes, and one more for each line.
const MAX_STEPS: u32 = MAX_HEADER_VIEW / 8 + 96;
/// Shorter calls hold no request with a header.
const SHORTEST: usize = 28;
/// Bytes that a step looks at.
const WINDOW: usize = 20;
const CRLF: u32 = u32::from_le_bytes(*b"\r\n\0\0");

const SCAN_NOT_HTTP: u32 = 1;
const SCAN_CONTEXT: u32 = 2;
const SCAN_COMPLETE: u32 = 3;

/// Where reading has come to.
#[derive(Clone, Copy)]
struct Cursor {
    /// The next byte.
    at: u32,
    /// Length of the request line with its end; 0 until it was seen.
    line: u32,
    /// `SCAN_*`; 0 while nothing is known.
    state: u32,
}

#[inline(always)]
fn load(scan: &Scan<'_>) -> Cursor {
    let [at, line, state, _] = scan.load();
    Cursor { at, line, state }
}

#[inline(always)]
fn store(scan: &mut Scan<'_>, cursor: Cursor) {
    scan.store([cursor.at, cursor.line, cursor.state, 0]);
}

/// Returns whether the bytes begin with a method.
#[inline(always)]
pub(super) fn is_request(view: &View) -> bool {
    view.window::<SHORTEST>(0).is_some_and(|first| is_method(first.word(0)))
}

/// Returns the length of the request line, if the headers of the request are all there and hold no `traceparent`.
#[inline(always)]
pub(super) fn request_line(view: &View, scan: &mut Scan<'_>) -> Result<u32, Write> {
    store(scan, Cursor { at: 0, line: 0, state: 0 });
    for _ in 0..MAX_STEPS {
        if !step(view, scan) {
            break;
        }
    }
    finish(view, scan);
    let end = load(scan);
    match end.state {
        SCAN_COMPLETE => Ok(end.line),
        SCAN_CONTEXT => Err(Write::HasContext),
        SCAN_NOT_HTTP => Err(Write::NotHttp),
        _ => Err(Write::Partial),
    }
}

#[inline(always)]
fn is_method(word: u32) -> bool {
    const METHODS: [&[u8; 4]; 7] = [b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"PATC", b"OPTI"];
    let mut is_known = false;
    for method in METHODS {
        is_known |= word == u32::from_le_bytes(*method);
    }
    is_known
}

/// Looks at the next eight bytes, or at the line that ends in them; returns whether to go on.
#[inline(always)]
fn step(view: &View, scan: &mut Scan<'_>) -> bool {
    let mut cursor = load(scan);
    let Some(window) = view.window::<WINDOW>(cursor.at) else { return false };
    let Some(offset) = line_end(window.long(0)) else {
        cursor.at += 8;
        store(scan, cursor);
        return true;
    };
    let end = cursor.at + offset;
    cursor.at = end;
    if cursor.line == 0 {
        if !ends_with_version(view, end) {
            cursor.state = SCAN_NOT_HTTP;
            store(scan, cursor);
            return false;
        }
        cursor.line = end + 1;
    }
    store(scan, cursor);
    // Where a line ends in the last bytes, what follows is left to `finish`.
    let Some(next) = view.window::<WINDOW>(end + 1) else { return false };
    cursor.at = end + 1;
    if next.word(0) & 0xffff == CRLF {
        cursor.state = SCAN_COMPLETE;
    }
    if is_context(&next) {
        cursor.state = SCAN_CONTEXT;
    }
    store(scan, cursor);
    cursor.state == 0
}

/// Returns where among eight bytes the first line ends.
#[inline(always)]
fn line_end(bytes: u64) -> Option<u32> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let differing = bytes ^ (ONES * b'\n' as u64);
    // The highest bit of each byte that is 0; of higher bytes it may be wrong, but the lowest is what counts.
    let zeros = differing.wrapping_sub(ONES) & !differing & (ONES << 7);
    if zeros == 0 {
        return None;
    }
    let lowest = zeros.isolate_lowest_one();
    // The set bit is at 8n + 7: the sum of what lies below it counts the bytes.
    let below = (lowest - 1) & ONES;
    Some((below.wrapping_mul(ONES) >> 56) as u32 - 1)
}

/// ` HTTP/1.x\r\n`
#[inline(always)]
fn ends_with_version(view: &View, end: u32) -> bool {
    let Some(window) = view.window::<WINDOW>(end.wrapping_sub(10)) else { return false };
    let differing = window.word(0) ^ u32::from_le_bytes(*b" HTT")
        | window.word(4) ^ u32::from_le_bytes(*b"P/1.")
        | u32::from(window.byte(9) ^ b'\r');
    differing == 0 && end >= 14
}

/// `traceparent`, in any case.
#[inline(always)]
fn is_context(line: &Window<WINDOW>) -> bool {
    const LOWER: u32 = 0x2020_2020;
    let differing = (line.word(0) | LOWER) ^ u32::from_le_bytes(*b"trac")
        | (line.word(4) | LOWER) ^ u32::from_le_bytes(*b"epar")
        | (line.word(7) | LOWER) ^ u32::from_le_bytes(*b"rent");
    differing == 0
}

/// Looks at the last bytes, fewer than a window. No context fits there but a broken one, which is told by how it begins.
#[inline(always)]
fn finish(view: &View, scan: &mut Scan<'_>) {
    let mut cursor = load(scan);
    if cursor.state != 0 || cursor.line == 0 {
        return;
    }
    for _ in 0..=WINDOW {
        let (Some(byte), Some(next), Some(second)) =
            (view.byte(cursor.at), view.byte(cursor.at + 1), view.byte(cursor.at + 2))
        else {
            break;
        };
        cursor.at += 1;
        if byte != b'\n' {
            continue;
        }
        if next == b'\r' && second == b'\n' {
            cursor.state = SCAN_COMPLETE;
            break;
        }
        if next | 0x20 == b't' && second | 0x20 == b'r' {
            cursor.state = SCAN_CONTEXT;
            break;
        }
    }
    store(scan, cursor);
}
