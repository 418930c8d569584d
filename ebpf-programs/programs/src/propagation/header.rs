//! The header line: found room for in an HTTP/1 request before TCP gets it.

use aya_ebpf::macros::sk_msg;
use aya_ebpf::programs::SkMsgContext;
use remora_abi::{
    CARRIER_WAITING, HEADER_LINE_BYTES, HEADERS_ON, MAX_HEADER_VIEW, MAX_JOINED_BYTES, OPTION_ROOM,
    WRITER_DONE, WRITER_READY, Write,
};

use super::context::Context;
use super::sockets::is_zero_copy;
use super::{count, settings};
use crate::maps::{WRITERS, offsets};
use crate::read::Cursor;
use crate::read::{Scan, View, WINDOW, Window};
use crate::{read, thread};

/// `SK_PASS`
const PASS: u32 = 1;
/// Steps of eight bytes, and one more for each line.
const MAX_STEPS: u32 = MAX_HEADER_VIEW / 8 + 96;
/// Shorter calls hold no request with a header.
const SHORTEST: u32 = 28;
const CRLF: u32 = u32::from_le_bytes(*b"\r\n\0\0");

const SCAN_NOT_HTTP: u32 = 1;
const SCAN_CONTEXT: u32 = 2;
const SCAN_COMPLETE: u32 = 3;

/// The bytes of a call on a socket that is in the socket map.
#[sk_msg]
pub(crate) fn write_header(context: SkMsgContext) -> u32 {
    if let Err(reason) = write(&context) {
        count(reason);
    }
    PASS
}

#[inline(always)]
fn write(context: &SkMsgContext) -> Result<(), Write> {
    let Some(sock) = read::socket_of_message(context) else { return Ok(()) };
    let Some(writer) = WRITERS.get_ptr_mut(&sock) else { return Ok(()) };
    // SAFETY: the pointer is that of a map entry, and the socket is locked.
    let writer = unsafe { &mut *writer };
    if writer.stage != WRITER_READY {
        return Ok(());
    }
    if settings().membership == remora_abi::MEMBERSHIP_BRIEF {
        writer.stage = WRITER_DONE;
    }
    if settings().headers != HEADERS_ON {
        return Ok(());
    }
    if is_zero_copy(sock) {
        // In one piece it is one call that the process is told of.
        let _ = read::pull(context, 0, context.size());
        return Ok(());
    }
    let line = request_line(context, &mut Scan(&mut writer.scan))?;
    let room = if writer.carrier == CARRIER_WAITING { OPTION_ROOM } else { 0 };
    let positions = positions(sock, line + room)?;
    insert(context, line, Context::of(positions.0, positions.1))?;
    writer.has_written = 1;
    count(Write::Header);
    thread::note_insertion(sock, positions.0.wrapping_add(line), HEADER_LINE_BYTES);
    Ok(())
}

/// Returns the positions of both directions, if header and what else is wanted (request line, TCP option) fit into the first segment: a call that cannot
/// send all of its bytes has then sent the header too, so that the kernel counts right what of the call is left.
#[inline(always)]
fn positions(sock: u64, wanted: u32) -> Result<(u32, u32), Write> {
    let offsets = offsets();
    let segment = read::kernel::<u32>(sock, offsets.tcp_mss_cache).unwrap_or(0);
    if wanted + HEADER_LINE_BYTES > segment {
        return Err(Write::NoRoom);
    }
    let position = read::kernel::<u32>(sock, offsets.tcp_write_seq).ok_or(Write::NoRoom)?;
    let reverse = read::kernel::<u32>(sock, offsets.tcp_copied_seq).ok_or(Write::NoRoom)?;
    Ok((position, reverse))
}

/// Returns the length of the request line, if the call begins with an HTTP/1 request whose headers are all there and
/// hold no `traceparent`.
#[inline(always)]
fn request_line(context: &SkMsgContext, scan: &mut Scan<'_>) -> Result<u32, Write> {
    let size = context.size();
    let seen = if size > MAX_HEADER_VIEW { MAX_HEADER_VIEW } else { size };
    if seen < SHORTEST || read::pull(context, 0, seen).is_err() {
        return Err(Write::NotHttp);
    }
    let view = View::of(context);
    let Some(first) = view.window(0) else { return Err(Write::NotHttp) };
    if !is_method(first.word(0)) {
        return Err(Write::NotHttp);
    }
    scan.set(Cursor { at: 0, line: 0, state: 0 });
    for _ in 0..MAX_STEPS {
        if !step(&view, scan) {
            break;
        }
    }
    finish(&view, scan);
    let end = scan.cursor();
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
    let mut cursor = scan.cursor();
    let Some(window) = view.window(cursor.at) else { return false };
    let Some(offset) = line_end(window.long(0)) else {
        cursor.at += 8;
        scan.set(cursor);
        return true;
    };
    let end = cursor.at + offset;
    cursor.at = end;
    if cursor.line == 0 {
        if !ends_with_version(view, end) {
            cursor.state = SCAN_NOT_HTTP;
            scan.set(cursor);
            return false;
        }
        cursor.line = end + 1;
    }
    scan.set(cursor);
    // Where a line ends in the last bytes, what follows is left to `finish`.
    let Some(next) = view.window(end + 1) else { return false };
    cursor.at = end + 1;
    if next.word(0) & 0xffff == CRLF {
        cursor.state = SCAN_COMPLETE;
    }
    if is_context(&next) {
        cursor.state = SCAN_CONTEXT;
    }
    scan.set(cursor);
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
    let Some(window) = view.window(end.wrapping_sub(10)) else { return false };
    let differing = window.word(0) ^ u32::from_le_bytes(*b" HTT")
        | window.word(4) ^ u32::from_le_bytes(*b"P/1.")
        | u32::from(window.byte(9) ^ b'\r');
    differing == 0 && end >= 14
}

/// `traceparent`, in any case.
#[inline(always)]
fn is_context(line: &Window) -> bool {
    const LOWER: u32 = 0x2020_2020;
    let differing = (line.word(0) | LOWER) ^ u32::from_le_bytes(*b"trac")
        | (line.word(4) | LOWER) ^ u32::from_le_bytes(*b"epar")
        | (line.word(7) | LOWER) ^ u32::from_le_bytes(*b"rent");
    differing == 0
}

/// Looks at the last bytes, fewer than a window. No context fits there but a broken one, which is told by how it begins.
#[inline(always)]
fn finish(view: &View, scan: &mut Scan<'_>) {
    let mut cursor = scan.cursor();
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
    scan.set(cursor);
}

/// Makes room behind the request line, and writes the header there.
#[inline(always)]
fn insert(context: &SkMsgContext, line: u32, written: Context) -> Result<(), Write> {
    if context.push_data(line, HEADER_LINE_BYTES, 0).is_err() {
        return Err(Write::NoRoom);
    }
    let is_written = read::pull(context, line, line + HEADER_LINE_BYTES).is_ok()
        && View::of(context).write(&written.line());
    if !is_written {
        // The room holds whatever was in that memory.
        let _ = context.pop_data(line, HEADER_LINE_BYTES, 0);
        return Err(Write::NoRoom);
    }
    if context.size() <= MAX_JOINED_BYTES {
        // The call's bytes and the header would else leave as three segments, the second of which waits for the
        // receiver's word on the first (Nagle's algorithm). Where there is no memory, so be it.
        let _ = read::pull(context, 0, line + HEADER_LINE_BYTES + 1);
    }
    Ok(())
}
