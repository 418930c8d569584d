//! Which sockets may write: those that selected processes connect, for the header to servers that are asked by HTTP.
//!
//! All of this happens in the programs' hook of a cgroup (`sockops`), with the socket locked.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB, BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG,
    BPF_SOCK_OPS_PARSE_HDR_OPT_CB, BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG,
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RETRANS_CB, BPF_SOCK_OPS_RETRANS_CB_FLAG,
    BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
    BPF_SOCK_OPS_WRITE_HDR_OPT_CB, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG,
};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use remora_abi::{
    CARRIER_NONE, CARRIER_SENT, CARRIER_WAITING, CARRIER_WATCHED, HEADERS_ON, MEMBERSHIP_BRIEF, OPTION_ON,
    PROCESS_OBSERVE, SOCKET_FILE_OFFSET, WRITER_CONNECTING, WRITER_CONTROL, WRITER_DONE, WRITER_OPENED,
    WRITER_OUTSIDE, WRITER_READY, Write, Writer,
};

use super::{NON_BLOCKING, count, option, server, settings};
use crate::maps::{EARLY_READERS, PROCESSES, SERVERS, WRITER_SOCKETS, WRITERS, leave_socket_map, offsets};
use crate::read;

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u32 = 7;
/// `TCPHDR_FIN` and `TCPHDR_RST`.
const FIN_OR_RESET: u32 = 0x05;
/// `ECONNRESET` and `ETIMEDOUT`.
const RESET: i32 = 104;
const TIMED_OUT: i32 = 110;

/// The calls that are wanted of a socket that is in the socket map: before a segment is built, and with each segment that
/// comes in.
const WHILE_READY: u32 = BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG;
/// All calls that are ever wanted of a socket that may write.
const ALL_CALLS: u32 = WHILE_READY | BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG;

/// What happens to the TCP sockets of a cgroup.
#[sock_ops]
pub(crate) fn follow_sockets(context: SockOpsContext) -> u32 {
    let _ = follow(&context);
    1
}

#[inline(always)]
fn follow(context: &SockOpsContext) -> Option<()> {
    let operation = context.op();
    match operation {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(read::socket_of_operations(context)?),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => accepted(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => sending(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_WRITE_HDR_OPT_CB => writing(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_PARSE_HDR_OPT_CB => receiving(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_RETRANS_CB => sent_again(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_STATE_CB if context.arg(1) == TCP_CLOSE => ended(read::socket_of_operations(context)?),
        _ => None,
    }
}

/// Returns what is noted of a socket that may write.
#[inline(always)]
fn writer(sock: u64) -> Option<&'static mut Writer> {
    let writer = WRITERS.get_ptr_mut(&sock)?;
    // SAFETY: the pointer is that of a map entry, and the socket is locked.
    Some(unsafe { &mut *writer })
}

/// The process calls `connect`: the only moment at which it is known whose socket it is.
#[inline(always)]
fn connecting(sock: u64) -> Option<()> {
    let tgid = read::kernel::<u32>(read::task(), offsets().task_tgid)?;
    // MPTCP, TLS in the kernel, and whatever else stands between the socket and TCP.
    if !is_selected(tgid)? || read::kernel::<u64>(sock, offsets().inet_ulp_ops)? != 0 {
        return None;
    }
    let stage = if may_write_header(sock, tgid) { WRITER_CONNECTING } else { WRITER_OUTSIDE };
    let carrier = option::carrier(sock);
    if stage == WRITER_OUTSIDE && carrier == CARRIER_NONE {
        return None;
    }
    let writer = Writer {
        stage,
        has_written: 0,
        scan: [0; 4],
        carrier,
        first_egress: 0,
        first_ingress: 0,
        opened_until: 0,
    };
    WRITERS.insert(&sock, &writer, 0).ok()
}

#[inline(always)]
fn may_write_header(sock: u64, tgid: u32) -> bool {
    let settings = settings();
    if settings.headers != HEADERS_ON || EARLY_READERS.get_ptr(&tgid).is_some() || is_zero_copy(sock) {
        return false;
    }
    settings.any_server != 0 || server::of(sock).is_some_and(|server| SERVERS.get_ptr(&server).is_some())
}

/// Only a process that was judged writes; what the default would make of it does not matter.
#[inline(always)]
fn is_selected(tgid: u32) -> Option<bool> {
    let policy = PROCESSES.get_ptr(&tgid)?;
    // SAFETY: the pointer is that of a map entry.
    Some(unsafe { (*policy).mode } == PROCESS_OBSERVE)
}

/// Returns whether the process wants to be told when its memory is free again: the kernel tells it of each piece in
/// which the bytes of a socket in the socket map are sent, rather than of each call.
#[inline(always)]
pub(super) fn is_zero_copy(sock: u64) -> bool {
    let offsets = offsets();
    let flags = read::kernel::<u64>(sock, offsets.sock_flags).unwrap_or(0);
    flags >> (offsets.sock_zero_copy & 63) & 1 != 0
}

/// Returns whether something has come in.
#[inline(always)]
pub(super) fn has_received(sock: u64, writer: &Writer) -> bool {
    read::kernel::<u32>(sock, offsets().tcp_rcv_nxt) != Some(writer.first_ingress)
}

/// Returns whether what comes in may be acknowledged later, rather than at once.
#[inline(always)]
pub(super) fn acknowledges_late(sock: u64) -> bool {
    read::kernel::<u8>(sock, offsets().inet_ack_pingpong) != Some(0)
}

/// Returns whether who reads from the socket waits until there is something.
#[inline(always)]
pub(super) fn is_waiting(sock: u64) -> bool {
    let Some(socket) = read::pointer(sock, offsets().sock_socket) else { return true };
    let Some(file) = read::pointer(socket, SOCKET_FILE_OFFSET) else { return true };
    read::kernel::<u32>(file, offsets().file_flags).unwrap_or(0) & NON_BLOCKING == 0
}

/// The handshake is complete: nothing was sent (a Fast Open would have) and nothing came, so that nobody notices the
/// socket map.
#[inline(always)]
fn established(context: &SockOpsContext, sock: u64) -> Option<()> {
    let writer = writer(sock)?;
    if read::segments_with_data(context) != (0, 0) || !note_beginning(sock, writer) {
        let _ = WRITERS.remove(&sock);
        return None;
    }
    if is_control() {
        writer.stage = WRITER_CONTROL;
        if writer.carrier == CARRIER_WAITING {
            writer.carrier = CARRIER_WATCHED;
            count(Write::OptionWatched);
        }
        let _ = ask(context, writer);
        return None;
    }
    let enters = writer.stage == WRITER_CONNECTING;
    if enters {
        writer.stage = WRITER_READY;
    }
    // In this order: a socket in the map is one whose leaving is seen to.
    let is_asked = ask(context, writer).is_ok();
    if is_asked && !enters {
        return Some(());
    }
    if !is_asked || read::enter_socket_map(&WRITER_SOCKETS, context, sock).is_err() {
        count(Write::Refused);
        let _ = context.set_cb_flags((context.cb_flags() & !ALL_CALLS) as i32);
        let _ = WRITERS.remove(&sock);
        return None;
    }
    count(Write::Enrolled);
    Some(())
}

/// Notes where the connection begins; returns whether that can be told.
#[inline(always)]
fn note_beginning(sock: u64, writer: &mut Writer) -> bool {
    let offsets = offsets();
    let (Some(egress), Some(ingress)) =
        (read::kernel(sock, offsets.tcp_snd_una), read::kernel(sock, offsets.tcp_rcv_nxt))
    else {
        return false;
    };
    writer.first_egress = egress;
    writer.first_ingress = ingress;
    true
}

/// Returns whether the socket is in the socket map.
#[inline(always)]
fn is_in_map(writer: &Writer) -> bool {
    matches!(writer.stage, WRITER_READY | WRITER_OPENED | WRITER_DONE)
}

/// Asks the kernel for the calls that are needed of a socket as it stands.
#[inline(always)]
fn ask(context: &SockOpsContext, writer: &Writer) -> Result<(), i32> {
    let mut wanted = BPF_SOCK_OPS_STATE_CB_FLAG;
    if is_in_map(writer) && settings().membership == MEMBERSHIP_BRIEF {
        wanted |= WHILE_READY;
    }
    match writer.carrier {
        CARRIER_WAITING => wanted |= BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_RETRANS_CB_FLAG,
        CARRIER_SENT | CARRIER_WATCHED => wanted |= BPF_SOCK_OPS_RETRANS_CB_FLAG,
        _ => {}
    }
    context.set_cb_flags((context.cb_flags() & !ALL_CALLS | wanted) as i32)
}

/// A server's handshake is complete, perhaps by a segment that has data already. The further ones are shown if they have
/// an option that TCP does not know.
#[inline(always)]
fn accepted(context: &SockOpsContext, sock: u64) -> Option<()> {
    if settings().option != OPTION_ON {
        return None;
    }
    let wanted = context.cb_flags() | BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG;
    let _ = context.set_cb_flags(wanted as i32);
    // What is there under the address was another socket's.
    let _ = WRITERS.remove(&sock);
    option::receive(context, sock);
    Some(())
}

/// Returns whether the next connection is one of the few that are left alone.
#[inline(always)]
fn is_control() -> bool {
    let every = u32::from(settings().control);
    // SAFETY: the helper has no preconditions.
    every != 0 && unsafe { bpf_get_prandom_u32() } % every == 0
}

/// A segment is about to be built. If it is of the first request, the socket leaves the map, before anybody could answer
/// it. If it acknowledges something, it leaves too: of bytes that are expected (`tcp_rcv_established` has a short way for
/// those) nothing else tells, and the first ones are acknowledged at once.
#[inline(always)]
fn sending(context: &SockOpsContext, sock: u64) -> Option<()> {
    let Some(writer) = writer(sock) else { return evicted(context, sock) };
    if writer.stage == WRITER_DONE {
        leave(context, sock, writer, Write::Left);
    } else if is_in_map(writer) && has_received(sock, writer) {
        leave_answered(context, sock, writer);
    }
    if option::reserve(context, writer) {
        let _ = ask(context, writer);
    }
    Some(())
}

/// Nothing is known of a socket any more.
#[inline(always)]
fn evicted(context: &SockOpsContext, sock: u64) -> Option<()> {
    leave_socket_map(sock);
    context.set_cb_flags((context.cb_flags() & !ALL_CALLS) as i32).ok()
}

/// A segment's header is being written.
#[inline(always)]
fn writing(context: &SockOpsContext, sock: u64) -> Option<()> {
    let writer = writer(sock)?;
    option::store(context, writer);
    ask(context, writer).ok()
}

/// A segment came in: where the server speaks first, there will be bytes to read, and no reason to be in the map.
#[inline(always)]
fn receiving(context: &SockOpsContext, sock: u64) -> Option<()> {
    let Some(writer) = writer(sock) else {
        if context.cb_flags() & WHILE_READY == WHILE_READY {
            return evicted(context, sock);
        }
        option::receive(context, sock);
        return Some(());
    };
    let (payload, flags) = read::incoming_segment(context)?;
    if is_in_map(writer) && (payload != 0 || flags & FIN_OR_RESET != 0) {
        leave_answered(context, sock, writer);
    }
    Some(())
}

/// Bytes that were sent are sent again.
#[inline(always)]
fn sent_again(context: &SockOpsContext, sock: u64) -> Option<()> {
    option::sent_again(sock, writer(sock)?, context.arg(0));
    Some(())
}

#[inline(always)]
fn leave(context: &SockOpsContext, sock: u64, writer: &mut Writer, how: Write) {
    leave_socket_map(sock);
    writer.stage = WRITER_OUTSIDE;
    let _ = ask(context, writer);
    count(how);
}

/// Something has come in before the first request went out.
#[inline(always)]
fn leave_answered(context: &SockOpsContext, sock: u64, writer: &mut Writer) {
    let is_opened = writer.stage == WRITER_OPENED;
    leave(context, sock, writer, if is_opened { Write::Answered } else { Write::LeftUnused });
}

/// How the connections that were enrolled end tells whether they are well.
#[inline(always)]
fn ended(sock: u64) -> Option<()> {
    let writer = *writer(sock)?;
    let _ = WRITERS.remove(&sock);
    let error = read::kernel::<i32>(sock, offsets().sock_err);
    option::end(sock, &writer, error == Some(RESET));
    let (ended, reset, timed_out) = if writer.stage == WRITER_CONTROL {
        (Write::ControlEnded, Write::ControlReset, Write::ControlTimedOut)
    } else {
        (Write::Ended, Write::Reset, Write::TimedOut)
    };
    count(ended);
    match error {
        Some(RESET) => count(reset),
        Some(TIMED_OUT) => count(timed_out),
        _ => {}
    }
    Some(())
}
