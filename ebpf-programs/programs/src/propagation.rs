//! Contexts written into what selected processes send: the only programs that change anything.
//!
//! There are two manners. A TCP option tells the other end where the connection begins, so that both know the ids of all
//! its requests; it is beside the stream, and touches nothing of it (`option`). A header is for those behind a proxy.
//!
//! A socket may write one header, into the first request of its connection. The kernel offers a program the bytes of
//! a call before TCP gets them (`sk_msg`) if the socket is in a socket map, and a socket in such a map is not what it
//! was: its reads take another way, and on newer kernels `FIONREAD` tells 0. So a socket is in the map only while
//! there is nothing to be read: from the end of the handshake until its first request goes out, or other bytes come in.
//! What opens a connection of HTTP/2 is no request: where no read waits, the socket stays for the one that follows.

pub(crate) mod context;
pub(crate) mod header;
mod option;
mod server;
pub(crate) mod sockets;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use remora_abi::{MEMBERSHIP_BRIEF, PropagationSettings, WRITER_OPENED, WRITER_READY, Write};

use crate::maps::{EARLY_READERS, PROPAGATION, WRITERS, WRITES, add, offsets};
use crate::read;

/// `O_NONBLOCK`
const NON_BLOCKING: u32 = 0o4000;

#[inline(always)]
fn settings() -> PropagationSettings {
    match PROPAGATION.get(0) {
        Some(settings) => *settings,
        None => PropagationSettings {
            headers: 0,
            option: 0,
            membership: 0,
            any_server: 0,
            control: 0,
            padding: [0; 3],
        },
    }
}

#[inline(always)]
fn count(what: Write) {
    add(&WRITES, what as u32, 1);
}

/// Notes a read that is about to begin: one that waits on a socket in the socket map is not told of a reset (the kernel's
/// `tcp_bpf_recvmsg` says `EAGAIN`). Who speaks HTTP has no reason to wait before the request; a process that does so
/// all the same, by a thread for reading, is left alone from then on.
#[inline(always)]
pub(crate) fn note_read(sock: u64, file: u64) {
    let Some(writer) = WRITERS.get_ptr(&sock) else { return };
    // SAFETY: the pointer is that of a map entry.
    let stage = unsafe { (*writer).stage };
    if (stage != WRITER_READY && stage != WRITER_OPENED) || settings().membership != MEMBERSHIP_BRIEF {
        return;
    }
    if read::kernel::<u32>(file, offsets().file_flags).unwrap_or(0) & NON_BLOCKING == 0 {
        let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        let _ = EARLY_READERS.insert(&tgid, &read::now_ns(), 0);
        count(Write::EarlyRead);
    }
}

/// Forgets what was noted of the running process, which runs another program, or ends.
#[inline(always)]
pub(crate) fn forget_process() {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let _ = EARLY_READERS.remove(&tgid);
}
