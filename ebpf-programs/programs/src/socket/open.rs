//! Announcing a socket: once, with its addresses, before anything else is said about it.

use core::num::NonZero;

use aya_ebpf::helpers::bpf_get_current_comm;
use remora_abi::{
    DATA_TOKEN, FAMILY_DATAGRAM, FAMILY_INET, FAMILY_INET6, FAMILY_UNIX, KIND_OPENED, Loss, MAX_UNIX_PATH,
    OPENED_POSITIONS, OpenedEvent, ROLE_ACCEPTED, ROLE_CONNECTED, ROLE_UNKNOWN, SocketState,
};

use crate::emit;
use crate::maps::{SOCKETS, lose, offsets};
use crate::socket::find;
use crate::{read, thread};

/// Length of `sockaddr_un::sun_family`, which `unix_address::len` includes.
const FAMILY_LENGTH: u32 = 2;

/// Makes sure that user space knows the socket; returns its state.
#[inline(always)]
pub(crate) fn ensure_announced(sock: u64, inode: u32, family: u8, time_ns: u64) -> Option<*mut SocketState> {
    if let Some(state) = SOCKETS.get_ptr_mut(&sock) {
        // SAFETY: the pointer is that of a map entry.
        if unsafe { (*state).inode } == inode {
            return Some(state);
        }
    }
    announce(sock, inode, family, ROLE_UNKNOWN, time_ns);
    SOCKETS.get_ptr_mut(&sock)
}

/// Tells user space about a socket, whether or not it was known. Where the ring has no room, the socket stays unknown,
/// so that its next call tries again.
#[inline(always)]
pub(crate) fn announce(sock: u64, inode: u32, family: u8, role: u8, time_ns: u64) {
    let is_told = emit::record::<OpenedEvent>(|event| {
        event.header = emit::header(KIND_OPENED, time_ns);
        event.header.family = family;
        event.header.inode = inode;
        event.header.sock = sock;
        event.local_address = [0; 16];
        event.peer_address = [0; 16];
        event.local_port = 0;
        event.peer_port = 0;
        event.role = role;
        event.path_length = 0;
        event.padding = [0; 2];
        event.peer_sock = 0;
        event.token = if role == ROLE_CONNECTED { token() } else { 0 };
        event.comm = bpf_get_current_comm().unwrap_or_default();
        event.turn = thread::known().map_or(0, |thread| thread.turn);
        event.first_egress = 0;
        event.first_ingress = 0;
        if family == FAMILY_UNIX {
            fill_unix(event, sock, role);
        } else {
            fill_inet(event, sock, family);
        }
    });
    if is_told {
        let state = SocketState { inode, family, padding: [0; 3], seen: [0; 2] };
        if SOCKETS.insert(&sock, &state, 0).is_err() {
            lose(Loss::SocketMapFull);
        }
    } else {
        // What is there may be another socket's at the same address.
        let _ = SOCKETS.remove(&sock);
    }
}

/// Returns the unit of work in which the running thread makes its call.
#[inline(always)]
fn token() -> u64 {
    let Some(thread) = thread::known() else { return 0 };
    let task = &thread.call.task;
    if task.flags & u64::from(DATA_TOKEN) == 0 { 0 } else { task.parent }
}

#[inline(always)]
fn fill_inet(event: &mut OpenedEvent, sock: u64, family: u8) {
    let offsets = offsets();
    event.local_port = read::kernel(sock, offsets.sock_num).unwrap_or(0);
    event.peer_port = u16::from_be(read::kernel(sock, offsets.sock_dport).unwrap_or(0));
    // Straight into the record: stack is scarce here, which is called from programs with much of their own. What cannot be
    // read stays zero.
    let internet = family & !FAMILY_DATAGRAM;
    let (local, peer, length) = if internet == FAMILY_INET {
        (offsets.sock_rcv_saddr, offsets.sock_daddr, 4)
    } else if internet == FAMILY_INET6 {
        (offsets.sock_v6_rcv_saddr, offsets.sock_v6_daddr, 16)
    } else {
        return;
    };
    read::kernel_bytes(&mut event.local_address, length, sock + u64::from(local));
    read::kernel_bytes(&mut event.peer_address, length, sock + u64::from(peer));
    if family & FAMILY_DATAGRAM != 0 {
        fill_datagram_role(event);
    } else if event.role != ROLE_CONNECTED {
        fill_first_positions(event, sock);
    }
}

/// Nobody is told who begins. Who waits at a port that is known, and for no peer in particular, is asked.
#[inline(always)]
fn fill_datagram_role(event: &mut OpenedEvent) {
    let is_server = event.peer_port == 0 && find::is_bound_to_observed(event.local_port);
    if event.role == ROLE_UNKNOWN {
        event.role = if is_server { ROLE_ACCEPTED } else { ROLE_CONNECTED };
    }
}

#[inline(always)]
fn fill_first_positions(event: &mut OpenedEvent, sock: u64) {
    if let Some((egress, ingress)) = first_positions(sock) {
        event.first_egress = egress;
        event.first_ingress = ingress;
        event.header.flags |= OPENED_POSITIONS;
    }
}

/// Returns the positions of the first bytes of a connection, of this end and of the other one.
///
/// The kernel counts from the first byte on, so that it can be told where the connection began. The counts may move
/// meanwhile: then they are read once more. A connection that is only being opened has none yet.
#[inline(always)]
pub(crate) fn first_positions(sock: u64) -> Option<(u32, u32)> {
    let before = counts(sock);
    let mut now = counts(sock);
    if before != now {
        let before = now;
        now = counts(sock);
        if before != now {
            return None;
        }
    }
    let Counts { acknowledged, acked_bytes, expected, received_bytes } = now;
    Some((acknowledged.wrapping_sub(acked_bytes), expected.wrapping_sub(received_bytes)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts {
    // Their lower halves: positions are of 32 bits.
    acked_bytes: u32,
    received_bytes: u32,
    acknowledged: u32,
    expected: u32,
}

#[inline(always)]
fn counts(sock: u64) -> Counts {
    let offsets = offsets();
    Counts {
        acked_bytes: read::kernel(sock, offsets.tcp_bytes_acked).unwrap_or(0),
        received_bytes: read::kernel(sock, offsets.tcp_bytes_received).unwrap_or(0),
        acknowledged: read::kernel(sock, offsets.tcp_snd_una).unwrap_or(0),
        expected: read::kernel(sock, offsets.tcp_rcv_nxt).unwrap_or(0),
    }
}

/// Only the listening side's socket, and each socket accepted from it, is bound to a name.
#[inline(always)]
fn fill_unix(event: &mut OpenedEvent, sock: u64, role: u8) {
    let offsets = offsets();
    let peer = read::pointer(sock, offsets.unix_peer);
    event.peer_sock = peer.map_or(0, NonZero::get);
    let own_name = read::pointer(sock, offsets.unix_addr);
    let peer_name = peer.and_then(|peer| read::pointer(peer, offsets.unix_addr));
    if role == ROLE_UNKNOWN && own_name.is_some() && peer_name.is_none() {
        event.role = ROLE_ACCEPTED;
    } else if role == ROLE_UNKNOWN && own_name.is_none() && peer_name.is_some() {
        event.role = ROLE_CONNECTED;
    }
    let Some(name) = peer_name.or(own_name) else { return };
    let length =
        read::kernel::<u32>(name, offsets.unix_address_len).unwrap_or(0).saturating_sub(FAMILY_LENGTH);
    if length == 0 || length > MAX_UNIX_PATH as u32 {
        return;
    }
    let start = name.get() + u64::from(offsets.unix_address_name + FAMILY_LENGTH);
    if read::kernel_bytes(&mut event.path, length, start) {
        event.path_length = length as u8;
    }
}
