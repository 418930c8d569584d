//! The TCP option: where a connection begins as the end that opened it counts, once, in the header of the first segment
//! with data.
//!
//! Both ends derive the ids of every request from where the connection begins and where the request does. If something on
//! the way rewrites sequence numbers, the receiver knows from the option by how much. The option is beside the stream, so
//! that neither program sees it, TLS or not. A segment that is lost is sent again without it: a way that swallows unknown
//! options costs a connection one such delay, and its server gets no more of them for a while.

use aya_ebpf::programs::SockOpsContext;
use remora_abi::{
    BeginningEvent, CARRIER_LOST, CARRIER_NONE, CARRIER_SENT, CARRIER_WAITING, CARRIER_WATCHED, EventHeader,
    KIND_BEGINNING, OPTION_BYTES, OPTION_EXPERIMENT, OPTION_KIND, OPTION_ON, Write, Writer,
};

use super::{count, server, settings};
use crate::emit;
use crate::maps::offsets;
use crate::read;
use crate::socket::open::first_positions;

/// The option, in network byte order.
type Option14 = [u8; OPTION_BYTES as usize];

/// Bytes of the option by which it is found.
const MARK_BYTES: u8 = 6;
/// `ENOMSG`: the segment has no such option. `EPERM`: there is no segment.
const NO_OPTION: i64 = -42;
const NO_SEGMENT: i64 = -1;

/// Returns `CARRIER_*` of a socket that is being connected.
#[inline(always)]
pub(super) fn carrier(sock: u64) -> u32 {
    let settings = settings();
    if settings.option != OPTION_ON {
        return CARRIER_NONE;
    }
    let Some(server) = server::of(sock) else { return CARRIER_NONE };
    if settings.any_server == 0 && !server::is_private(&server) {
        return CARRIER_NONE;
    }
    if server::is_doubted(&server) {
        count(Write::OptionDoubted);
        return CARRIER_NONE;
    }
    CARRIER_WAITING
}

/// Asks for room where the kernel wants to know how much a segment may hold, and in the first segment with data. Segments
/// of both are made by the same measure. Returns whether that was given up.
#[inline(always)]
pub(super) fn reserve(context: &SockOpsContext, writer: &mut Writer) -> bool {
    if writer.carrier != CARRIER_WAITING {
        return false;
    }
    let is_measuring = read::is_measuring(context);
    if !is_measuring && read::outgoing_bytes(context) == 0 {
        return false;
    }
    let is_refused = read::reserve_option(context, OPTION_BYTES).is_err() && !is_measuring;
    if is_refused {
        count(Write::OptionNoRoom);
        writer.carrier = CARRIER_NONE;
    }
    is_refused
}

/// Writes the option.
#[inline(always)]
pub(super) fn store(context: &SockOpsContext, writer: &mut Writer) {
    if writer.carrier != CARRIER_WAITING {
        return;
    }
    if read::store_option(context, &encode(writer.first_egress, writer.first_ingress)).is_ok() {
        count(Write::Option);
        writer.carrier = CARRIER_SENT;
    } else {
        count(Write::OptionNoRoom);
        writer.carrier = CARRIER_NONE;
    }
}

/// Something was sent again, from this position on.
#[inline(always)]
pub(super) fn sent_again(sock: u64, writer: &mut Writer, position: u32) {
    if position != writer.first_egress {
        return;
    }
    if writer.carrier == CARRIER_SENT {
        count(Write::OptionLost);
        writer.carrier = CARRIER_LOST;
        server::doubt(sock);
    } else if writer.carrier == CARRIER_WATCHED {
        count(Write::OptionWatchedLost);
        writer.carrier = CARRIER_LOST;
    }
}

/// The connection has ended. One that was reset before its first segment had arrived speaks against the way, as a lost
/// one does.
#[inline(always)]
pub(super) fn end(sock: u64, writer: &Writer, is_reset: bool) {
    if writer.carrier != CARRIER_SENT {
        return;
    }
    if read::kernel::<u32>(sock, offsets().tcp_snd_una).unwrap_or(0) != writer.first_egress {
        server::trust(sock);
    } else if is_reset {
        server::doubt(sock);
    }
}

/// A segment came in that has options which TCP does not know: the other end's, perhaps. What is sent as one piece and
/// cut later has the option in all its parts, of which only the first matters.
#[inline(always)]
pub(super) fn receive(context: &SockOpsContext, sock: u64) {
    if read::kernel::<u32>(sock, offsets().tcp_bytes_received) != Some(0) {
        return;
    }
    let mut option = encode(0, 0);
    option[1] = MARK_BYTES;
    match read::load_option(context, &mut option) {
        Ok(OPTION_BYTES) => tell(sock, &option),
        Err(NO_OPTION | NO_SEGMENT) => {}
        _ => count(Write::OptionStrange),
    }
}

/// Tells user space where the connection begins for the other end, if that is not where it begins here.
#[inline(always)]
fn tell(sock: u64, option: &Option14) {
    let Some((own_egress, own_ingress)) = first_positions(sock) else { return };
    let [_, _, _, _, _, _, a, b, c, d, e, f, g, h] = *option;
    let told_ingress = u32::from_be_bytes([a, b, c, d]);
    let told_egress = u32::from_be_bytes([e, f, g, h]);
    if (told_egress, told_ingress) == (own_egress, own_ingress) {
        count(Write::OptionSame);
        return;
    }
    count(Write::OptionRead);
    emit::record::<BeginningEvent>(|event| {
        event.header = EventHeader {
            kind: KIND_BEGINNING,
            flags: 0,
            direction: 0,
            family: 0,
            tgid: 0,
            tid: 0,
            inode: 0,
            sock,
            time_ns: read::now_ns(),
        };
        event.own_egress = own_egress;
        event.own_ingress = own_ingress;
        event.told_egress = told_egress;
        event.told_ingress = told_ingress;
    });
}

#[inline(always)]
fn encode(first_egress: u32, first_ingress: u32) -> Option14 {
    let [m, n, o, p] = OPTION_EXPERIMENT;
    let [a, b, c, d] = first_egress.to_be_bytes();
    let [e, f, g, h] = first_ingress.to_be_bytes();
    [OPTION_KIND, OPTION_BYTES as u8, m, n, o, p, a, b, c, d, e, f, g, h]
}
