//! The end of a socket.

use remora_abi::{ClosedEvent, FAMILIES_COUNTED, KIND_CLOSED, SocketState};

use crate::emit;
use crate::maps::{SOCKET_POLICIES, SOCKETS, offsets};
use crate::socket::find::find_any;
use crate::{read, thread};

/// Handles `close`: with the last descriptor of its file, a socket ends for its programs.
#[inline(always)]
pub(crate) fn handle_close(descriptor: u64, time_ns: u64) {
    let Some(found) = find_any(descriptor, || 0) else { return };
    let references = read::kernel::<u64>(found.file, offsets().file_count);
    if references == Some(u64::from(offsets().file_count_last)) {
        end(found.sock, time_ns, true);
    }
}

/// Handles a TCP socket that reached `TCP_CLOSE`, where no `close` was seen (the end of a process).
#[inline(always)]
pub(crate) fn handle_tcp_end(sock: u64, time_ns: u64) {
    end(sock, time_ns, false);
}

#[inline(always)]
fn end(sock: u64, time_ns: u64, is_call: bool) {
    let Some(state) = SOCKETS.get_ptr(&sock) else { return };
    // SAFETY: the pointer is that of a map entry, which is removed only below.
    let state: SocketState = unsafe { *state };
    let offsets = offsets();
    let is_tcp = state.family & FAMILIES_COUNTED == 0;
    emit::record::<ClosedEvent>(|event| {
        event.header = emit::header(KIND_CLOSED, time_ns);
        event.header.family = state.family;
        event.header.inode = state.inode;
        event.header.sock = sock;
        event.bytes_received = 0;
        event.sequence_sent = 0;
        if is_tcp {
            event.bytes_received = read::kernel(sock, offsets.tcp_bytes_received).unwrap_or(0);
            event.sequence_sent = sequence_sent(sock);
        }
        event.seen_ingress = state.seen[1];
        event.turn = if is_call { thread::known().map_or(0, |thread| thread.turn) } else { 0 };
        event.is_call = u8::from(is_call);
        event.padding = [0; 3];
    });
    // What the kernel ended may still be read from; its next user is told apart by its inode.
    if is_call {
        let _ = SOCKETS.remove(&sock);
        let _ = SOCKET_POLICIES.remove(&sock);
    }
}

#[inline(always)]
fn sequence_sent(sock: u64) -> u64 {
    let offsets = offsets();
    let acknowledged = read::kernel::<u64>(sock, offsets.tcp_bytes_acked).unwrap_or(0);
    let written = read::kernel::<u32>(sock, offsets.tcp_write_seq).unwrap_or(0);
    let unacknowledged = read::kernel::<u32>(sock, offsets.tcp_snd_una).unwrap_or(written);
    acknowledged + u64::from(written.wrapping_sub(unacknowledged))
}
