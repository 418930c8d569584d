//! What is known of the servers that connections are made to.

use remora_abi::{DOUBT_LOSSES, DOUBT_NS, Doubt, FAMILY_INET, FAMILY_INET6, ServerAddress};

use crate::maps::{DOUBTED, offsets};
use crate::read;

/// Returns the address that a socket is connected to.
#[inline(always)]
pub(super) fn of(sock: u64) -> Option<ServerAddress> {
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

/// Returns whether the address is of a network that is no part of the internet (RFC 1918, RFC 6598, RFC 4193, and those
/// that are local to a link), on another host than this one.
#[inline(always)]
pub(super) fn is_private(server: &ServerAddress) -> bool {
    let [a, b, .., mapped, also_mapped, c, d, _, _] = server.address;
    if mapped & also_mapped != 0xff {
        return a & 0xfe == 0xfc || (a == 0xfe && b & 0xc0 == 0x80);
    }
    match c {
        10 => true,
        100 => d & 0xc0 == 64,
        169 => d == 254,
        172 => d & 0xf0 == 16,
        192 => d == 168,
        _ => false,
    }
}

/// Returns whether the segments with an option that were sent to a server last were lost.
#[inline(always)]
pub(super) fn is_doubted(server: &ServerAddress) -> bool {
    let Some(doubt) = DOUBTED.get_ptr(server) else { return false };
    // SAFETY: the pointer is that of a map entry.
    let doubt = unsafe { *doubt };
    doubt.losses >= DOUBT_LOSSES && read::now_ns().wrapping_sub(doubt.lost_at_ns) < DOUBT_NS
}

/// Notes that a segment with an option was lost on its way to the server of a socket, or the word of its arrival.
#[inline(always)]
pub(super) fn doubt(sock: u64) {
    let Some(server) = of(sock) else { return };
    // SAFETY: the pointer is that of a map entry.
    let losses = DOUBTED.get_ptr(&server).map_or(0, |doubt| unsafe { (*doubt).losses });
    let doubt = Doubt { lost_at_ns: read::now_ns(), losses: losses.saturating_add(1), padding: 0 };
    let _ = DOUBTED.insert(&server, &doubt, 0);
}

/// Notes that one arrived.
#[inline(always)]
pub(super) fn trust(sock: u64) {
    let Some(server) = of(sock) else { return };
    let _ = DOUBTED.remove(&server);
}
