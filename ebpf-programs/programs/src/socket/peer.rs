//! The other end of each datagram, for sockets that have no peer of their own: it stands in the memory of the call.

use remora_abi::{
    DIRECTION_EGRESS, DataEvent, FAMILY_DATAGRAM, FAMILY_INET, KIND_PEER, PeerEvent, SOCKADDR_BYTES,
};

use crate::socket::call::{Call, memory};
use crate::socket::segments::MessageHeader;
use crate::socket::transfer::Memory;
use crate::{emit, read};

/// Size of `struct sockaddr_in`.
pub(super) const SHORTEST_NAME: u32 = 16;

/// Returns the port that the call sends its first datagram to; 0 where it names none.
#[inline(always)]
pub(super) fn target_port(memory: &Memory, direction: u8) -> u16 {
    if direction != DIRECTION_EGRESS {
        return 0;
    }
    let name = if memory.kind == memory::MESSAGE || memory.kind == memory::MESSAGES {
        read::user::<MessageHeader>(memory.address).map_or(0, |header| header.name)
    } else {
        memory.name
    };
    if name == 0 {
        return 0;
    }
    // Family and port stand at the same places in all `struct sockaddr_in` and `struct sockaddr_in6`.
    read::user::<[u16; 2]>(name).map_or(0, |[_, port]| u16::from_be(port))
}

/// Tells the other end of the datagram that is told next.
#[inline(always)]
pub(super) fn tell(call: &Call, data: &DataEvent, name: u64) {
    if name == 0 {
        return;
    }
    let is_ipv4 = call.family & !FAMILY_DATAGRAM == FAMILY_INET;
    let length = if is_ipv4 { SHORTEST_NAME } else { SOCKADDR_BYTES as u32 };
    emit::record::<PeerEvent>(|event| {
        event.header = data.header;
        event.header.kind = KIND_PEER;
        event.position = data.position;
        event.name = [0; SOCKADDR_BYTES];
        read::user_bytes(&mut event.name, length, name);
    });
}
