//! Which sockets may write: those that selected processes connect to servers which are asked by HTTP/1.
//!
//! All of this happens in the programs' hook of a cgroup (`sockops`), with the socket locked.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB, BPF_SOCK_OPS_HDR_OPT_LEN_CB, BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG,
    BPF_SOCK_OPS_PARSE_HDR_OPT_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG,
};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;
use remora_abi::{
    FAMILY_INET, FAMILY_INET6, HEADERS_ON, MEMBERSHIP_BRIEF, PROCESS_OBSERVE, ServerAddress,
    WRITER_CONNECTING, WRITER_CONTROL, WRITER_DONE, WRITER_READY, Write, Writer,
};

use super::{count, settings};
use crate::maps::{EARLY_READERS, PROCESSES, SERVERS, WRITER_SOCKETS, WRITERS, leave_socket_map, offsets};
use crate::read;

/// `TCP_CLOSE` of `include/net/tcp_states.h`.
const TCP_CLOSE: u32 = 7;
/// `TCPHDR_FIN` and `TCPHDR_RST`.
const FIN_OR_RESET: u32 = 0x05;
/// `ECONNRESET` and `ETIMEDOUT`.
const RESET: i32 = 104;
const TIMED_OUT: i32 = 110;

/// The calls that are wanted of a socket that is in the socket map: before a segment is built, with each segment that
/// comes in, and at the end.
const WHILE_READY: u32 =
    BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG;

/// What happens to the TCP sockets of a cgroup.
#[sock_ops]
pub(crate) fn follow_sockets(context: SockOpsContext) -> u32 {
    let _ = follow(&context);
    1
}

#[inline(always)]
fn follow(context: &SockOpsContext) -> Option<()> {
    match context.op() {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(read::socket_of_operations(context)?),
        BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB => established(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_HDR_OPT_LEN_CB => sending(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_PARSE_HDR_OPT_CB => receiving(context, read::socket_of_operations(context)?),
        BPF_SOCK_OPS_STATE_CB if context.arg(1) == TCP_CLOSE => {
            ended(read::socket_of_operations(context)?);
            Some(())
        }
        _ => None,
    }
}

/// The process calls `connect`: the only moment at which it is known whose socket it is.
#[inline(always)]
fn connecting(sock: u64) -> Option<()> {
    let settings = settings();
    if settings.headers != HEADERS_ON || !is_selected()? {
        return None;
    }
    let offsets = offsets();
    if is_zero_copy(sock) {
        return None;
    }
    // MPTCP, TLS in the kernel, and whatever else stands between the socket and TCP.
    if read::kernel::<u64>(sock, offsets.inet_ulp_ops)? != 0 {
        return None;
    }
    if settings.any_server == 0 {
        SERVERS.get_ptr(&server(sock)?)?;
    }
    let writer = Writer { stage: WRITER_CONNECTING, has_written: 0, scan: [0; 3] };
    WRITERS.insert(&sock, &writer, 0).ok()
}

/// Only a process that was judged writes; what the default would make of it does not matter.
#[inline(always)]
fn is_selected() -> Option<bool> {
    let tgid = read::kernel::<u32>(read::task(), offsets().task_tgid)?;
    let policy = PROCESSES.get_ptr(&tgid)?;
    // SAFETY: the pointer is that of a map entry.
    let is_observed = unsafe { (*policy).mode } == PROCESS_OBSERVE;
    Some(is_observed && EARLY_READERS.get_ptr(&tgid).is_none())
}

/// Returns whether the process wants to be told when its memory is free again: the kernel tells it of each piece in
/// which the bytes of a socket in the socket map are sent, rather than of each call.
#[inline(always)]
pub(super) fn is_zero_copy(sock: u64) -> bool {
    let offsets = offsets();
    let flags = read::kernel::<u64>(sock, offsets.sock_flags).unwrap_or(0);
    flags >> (offsets.sock_zero_copy & 63) & 1 != 0
}

#[inline(always)]
fn server(sock: u64) -> Option<ServerAddress> {
    let offsets = offsets();
    let port = u32::from(u16::from_be(read::kernel(sock, offsets.sock_dport)?));
    let family = read::kernel::<u16>(sock, offsets.sock_family)?;
    let address = if family == u16::from(FAMILY_INET) {
        let [a, b, c, d] = read::kernel::<[u8; 4]>(sock, offsets.sock_daddr)?;
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
    } else if family == u16::from(FAMILY_INET6) {
        read::kernel::<[u8; 16]>(sock, offsets.sock_v6_daddr)?
    } else {
        return None;
    };
    Some(ServerAddress { address, port })
}

/// The handshake is complete: nothing was sent (a Fast Open would have) and nothing came, so that nobody notices the
/// socket map.
#[inline(always)]
fn established(context: &SockOpsContext, sock: u64) -> Option<()> {
    let writer = WRITERS.get_ptr_mut(&sock)?;
    if read::segments_with_data(context) != (0, 0) {
        let _ = WRITERS.remove(&sock);
        return None;
    }
    if is_control() {
        // SAFETY: the pointer is that of a map entry.
        unsafe { (*writer).stage = WRITER_CONTROL };
        let _ = context.set_cb_flags((context.cb_flags() | BPF_SOCK_OPS_STATE_CB_FLAG) as i32);
        return None;
    }
    let wanted = match settings().membership {
        MEMBERSHIP_BRIEF => WHILE_READY,
        _ => BPF_SOCK_OPS_STATE_CB_FLAG,
    };
    // In this order: a socket in the map is one whose leaving is seen to.
    if context.set_cb_flags((context.cb_flags() | wanted) as i32).is_err()
        || read::enter_socket_map(&WRITER_SOCKETS, context, sock).is_err()
    {
        count(Write::Refused);
        let _ = context.set_cb_flags((context.cb_flags() & !WHILE_READY) as i32);
        let _ = WRITERS.remove(&sock);
        return None;
    }
    // SAFETY: the pointer is that of a map entry.
    unsafe { (*writer).stage = WRITER_READY };
    count(Write::Enrolled);
    Some(())
}

/// Returns whether the next connection is one of the few that are left alone.
#[inline(always)]
fn is_control() -> bool {
    let every = u32::from(settings().control);
    // SAFETY: the helper has no preconditions.
    every != 0 && unsafe { bpf_get_prandom_u32() } % every == 0
}

/// A segment is about to be built. If it is of the bytes that were looked at, the socket leaves the map, before anybody
/// could answer them.
#[inline(always)]
fn sending(context: &SockOpsContext, sock: u64) -> Option<()> {
    // SAFETY: the pointer is that of a map entry.
    let stage = WRITERS.get_ptr(&sock).map_or(WRITER_DONE, |writer| unsafe { (*writer).stage });
    if stage == WRITER_DONE {
        leave(context, sock, Write::Left);
    }
    Some(())
}

/// A segment came in: where the server speaks first, there will be bytes to read, and no reason to be in the map.
#[inline(always)]
fn receiving(context: &SockOpsContext, sock: u64) -> Option<()> {
    let (payload, flags) = read::incoming_segment(context)?;
    if payload != 0 || flags & FIN_OR_RESET != 0 {
        leave(context, sock, Write::LeftUnused);
    }
    Some(())
}

#[inline(always)]
fn leave(context: &SockOpsContext, sock: u64, how: Write) {
    leave_socket_map(sock);
    let kept = context.cb_flags() & !(WHILE_READY & !BPF_SOCK_OPS_STATE_CB_FLAG);
    let _ = context.set_cb_flags(kept as i32);
    count(how);
}

/// How the connections that were enrolled end tells whether they are well.
#[inline(always)]
fn ended(sock: u64) {
    let Some(writer) = WRITERS.get_ptr(&sock) else { return };
    // SAFETY: the pointer is that of a map entry, which is removed only below.
    let is_control = unsafe { (*writer).stage } == WRITER_CONTROL;
    let _ = WRITERS.remove(&sock);
    let error = read::kernel::<i32>(sock, offsets().sock_err);
    let (ended, reset, timed_out) = if is_control {
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
}
