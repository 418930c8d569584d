//! Contexts written into what selected processes send: the only programs that change anything.
//!
//! A socket may write one context, into the first request of its connection. The kernel offers a program the bytes of
//! a call before TCP gets them (`sk_msg`) if the socket is in a socket map, and a socket in such a map is not what it
//! was: its reads take another way, and on newer kernels `FIONREAD` tells 0. So a socket is in the map only while
//! there is nothing to be read: from the end of the handshake until its first bytes go out, or others come in.

pub(crate) mod context;
pub(crate) mod header;
pub(crate) mod sockets;

use remora_abi::{PropagationSettings, Write};

use crate::maps::{PROPAGATION, WRITES, add};

#[inline(always)]
fn settings() -> PropagationSettings {
    match PROPAGATION.get(0) {
        Some(settings) => *settings,
        None => PropagationSettings { headers: 0, membership: 0, any_server: 0, padding: 0 },
    }
}

#[inline(always)]
fn count(what: Write) {
    add(&WRITES, what as u32, 1);
}
