//! The header: found room for in the first request of a connection before TCP gets it.

mod http1;
mod http2;

use aya_ebpf::macros::sk_msg;
use aya_ebpf::programs::SkMsgContext;
use remora_abi::{
    CARRIER_WAITING, HEADER_FIELD_BYTES, HEADER_LINE_BYTES, HEADERS_ON, MAX_HEADER_VIEW, MAX_JOINED_BYTES,
    MEMBERSHIP_BRIEF, OPTION_ROOM, WRITER_DONE, WRITER_OPENED, WRITER_READY, Write, Writer,
};

use super::context::Context;
use super::sockets::{acknowledges_late, has_received, is_waiting, is_zero_copy};
use super::{count, settings};
use crate::maps::{WRITERS, offsets};
use crate::read::{Scan, View};
use crate::{read, thread};
use http2::{Block, Found};

/// `SK_PASS`
const PASS: u32 = 1;

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
    let is_opened = writer.stage == WRITER_OPENED;
    if writer.stage != WRITER_READY && !is_opened {
        return Ok(());
    }
    if settings().membership == MEMBERSHIP_BRIEF {
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
    if is_opened && has_received(sock, writer) {
        return Err(Write::Answered);
    }
    let size = context.size();
    let position = read::kernel::<u32>(sock, offsets().tcp_write_seq).ok_or(Write::NoRoom)?;
    if is_opened && !has_left(sock, writer, position) {
        return Err(Write::Partial);
    }
    let seen = if size > MAX_HEADER_VIEW { MAX_HEADER_VIEW } else { size };
    read::pull(context, 0, seen).map_err(|_| Write::NotHttp)?;
    let view = View::of(context);
    if !is_opened && http1::is_request(&view) {
        return write_line(context, &view, sock, writer, position);
    }
    match http2::request(&view, size, is_opened, &mut Scan(&mut writer.scan))? {
        Found::Opening => stay(sock, writer, position.wrapping_add(size)),
        Found::Request(block) => write_field(context, &view, block, sock, writer, position),
    }
}

/// Returns whether the opening has left as one, and nothing else is before `position`: what waits to be sent might take the
/// room of the first segment, which the header must be in.
#[inline(always)]
fn has_left(sock: u64, writer: &Writer, position: u32) -> bool {
    let sent = read::kernel::<u32>(sock, offsets().tcp_snd_nxt).unwrap_or(!position);
    // One comparison: the verifier would follow both sides of two.
    core::hint::black_box((position ^ writer.opened_until) | (position ^ sent)) == 0
}

/// Lets a socket stay in the socket map until its first request, as long as nothing comes in and no read waits.
#[inline(always)]
fn stay(sock: u64, writer: &mut Writer, opened_until: u32) -> Result<(), Write> {
    if is_waiting(sock) || acknowledges_late(sock) {
        return Err(Write::Waits);
    }
    if writer.stage == WRITER_DONE {
        writer.stage = WRITER_OPENED;
        writer.opened_until = opened_until;
    }
    Ok(())
}

/// Writes the line behind the first of an HTTP/1 request.
#[inline(always)]
fn write_line(
    context: &SkMsgContext,
    view: &View,
    sock: u64,
    writer: &mut Writer,
    position: u32,
) -> Result<(), Write> {
    let line = http1::request_line(view, &mut Scan(&mut writer.scan))?;
    check_room(sock, writer, line + HEADER_LINE_BYTES)?;
    insert_line(context, line, &Context::of(writer.first_egress, writer.first_ingress, position))?;
    writer.has_written = 1;
    count(Write::Header);
    thread::note_insertion(sock, position.wrapping_add(line), HEADER_LINE_BYTES);
    Ok(())
}

/// Writes the field behind the others of an HTTP/2 request.
#[inline(always)]
fn write_field(
    context: &SkMsgContext,
    view: &View,
    block: Block,
    sock: u64,
    writer: &mut Writer,
    position: u32,
) -> Result<(), Write> {
    check_room(sock, writer, block.end + HEADER_FIELD_BYTES)?;
    let begins_at = position.wrapping_add(block.frame);
    let before = view.byte(block.end - 1).ok_or(Write::NoRoom)?;
    insert_field(context, block, before, &Context::of(writer.first_egress, writer.first_ingress, begins_at))?;
    writer.has_written = 1;
    count(Write::Field);
    thread::note_insertion(sock, position.wrapping_add(block.end), HEADER_FIELD_BYTES);
    Ok(())
}

/// Checks that the header, with what stands before it and perhaps the TCP option, fits into the first segment: a call that
/// cannot send all of its bytes has then sent the header too, so that the kernel counts right what of the call is left.
#[inline(always)]
fn check_room(sock: u64, writer: &Writer, until: u32) -> Result<(), Write> {
    let option = if writer.carrier == CARRIER_WAITING { OPTION_ROOM } else { 0 };
    let segment = read::kernel::<u32>(sock, offsets().tcp_mss_cache).unwrap_or(0);
    if until + option > segment { Err(Write::NoRoom) } else { Ok(()) }
}

/// Makes room behind the request line, and writes the line there.
#[inline(always)]
fn insert_line(context: &SkMsgContext, line: u32, written: &Context) -> Result<(), Write> {
    if context.push_data(line, HEADER_LINE_BYTES, 0).is_err() {
        return Err(Write::NoRoom);
    }
    let is_written = read::pull(context, line, line + HEADER_LINE_BYTES).is_ok()
        && View::of(context).write(0, &written.line());
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

/// Makes room at the end of a header block, and writes the field there, and the new length into the frame's header.
///
/// The kernel makes no room behind the last byte of a call: where the block ends there, the room is made before that byte,
/// `before`, which is then written anew.
#[inline(always)]
fn insert_field(context: &SkMsgContext, block: Block, before: u8, written: &Context) -> Result<(), Write> {
    let size = context.size();
    let end = block.end;
    let room = if end == size { end - 1 } else { end };
    if context.push_data(room, HEADER_FIELD_BYTES, 0).is_err() {
        return Err(Write::NoRoom);
    }
    let grown = end + HEADER_FIELD_BYTES;
    // In one piece, for the reason that `insert_line` has.
    let joined =
        if size + HEADER_FIELD_BYTES <= MAX_JOINED_BYTES { size + HEADER_FIELD_BYTES } else { grown };
    let is_written =
        read::pull(context, 0, joined).is_ok() && View::of(context).write(end - 1, &written.field(before));
    if !is_written {
        let _ = context.pop_data(room, HEADER_FIELD_BYTES, 0);
        return Err(Write::NoRoom);
    }
    // The frame's header is before what was just written.
    View::of(context).write(block.frame, &block.grown());
    Ok(())
}
