//! What a library of OpenSSL's kind moves to and from memory (BIO) within its calls: ciphertext, by which its socket is
//! found.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{CiphertextEvent, DIRECTION_EGRESS, DIRECTION_INGRESS, FINGERPRINT_BYTES, KIND_CIPHERTEXT};

use super::{HAS_BIO, TlsCall, UNKNOWN_BEGINNING, call, key, object_from, tells_ciphertext};
use crate::arch::Registers;
use crate::maps::TLS_OBJECTS;
use crate::{emit, read};

/// Bytes of a record's header (RFC 8446, 5.1), which is read by itself.
const HEADER_BYTES: usize = 5;

/// Returns the call in which the running thread is, if its object is without a socket, and ciphertext of this direction is
/// still to be told.
#[inline(always)]
fn unjoined(direction: u8) -> Option<&'static mut TlsCall> {
    let call = call().filter(|call| call.sock == 0)?;
    // It may not be known yet.
    let Some(object) = TLS_OBJECTS.get_ptr_mut(&key(call.object)) else { return Some(call) };
    // SAFETY: the pointer is that of a map entry.
    let object = unsafe { &mut *object };
    (object.sock == 0 && tells_ciphertext(object, direction, false)).then_some(call)
}

/// Notes that the running thread's call begins to read or write ciphertext, by one of these functions or several one within
/// the other.
#[inline(always)]
fn begin() {
    if let Some(call) = call() {
        call.bio = HAS_BIO | call.bio.wrapping_add(1);
    }
}

#[inline(always)]
fn end(call: &mut TlsCall) {
    if call.bio != HAS_BIO && call.bio != 0 {
        call.bio -= 1;
    }
}

/// `int BIO_write(BIO *b, const void *data, int dlen)`
#[uprobe(multi)]
pub(crate) fn bio_write(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    begin();
    if let Some(call) = unjoined(DIRECTION_EGRESS) {
        let ciphertext = Ciphertext { header: 0, address: registers.second() };
        tell(call, DIRECTION_EGRESS, ciphertext, registers.third() as i32);
    }
    0
}

/// Where `BIO_write` returns.
#[uprobe(multi)]
pub(crate) fn bio_write_returned(_: ProbeContext) -> u32 {
    if let Some(call) = call() {
        end(call);
    }
    0
}

/// `int BIO_read(BIO *b, void *data, int dlen)`
#[uprobe(multi)]
pub(crate) fn bio_read(context: ProbeContext) -> u32 {
    begin();
    if let Some(call) = unjoined(DIRECTION_INGRESS) {
        call.ciphertext = Registers::of(context.regs.cast()).second();
    }
    0
}

/// Where `BIO_read` returns.
#[uprobe(multi)]
pub(crate) fn bio_read_returned(context: ProbeContext) -> u32 {
    let Some(call) = call() else { return 0 };
    end(call);
    let address = call.ciphertext;
    let moved = Registers::of(context.regs.cast()).returned() as i32;
    if address == 0 || moved <= 0 {
        return 0;
    }
    call.ciphertext = 0;
    if moved as usize == HEADER_BYTES {
        // Eight bytes: the others are room that the library has for the record.
        call.header = read::user::<u64>(address).unwrap_or(0);
        call.has_header = 1;
        return 0;
    }
    let header = if call.has_header != 0 { call.header } else { 0 };
    call.has_header = 0;
    tell(call, DIRECTION_INGRESS, Ciphertext { header, address }, moved);
    0
}

/// A piece of ciphertext.
struct Ciphertext {
    /// Its header, where that was read before; else 0. Not an `Option`, of which the verifier would mind the holes.
    header: u64,
    address: u64,
}

/// Returns whether bytes begin as a record does (RFC 8446, 5.1). Certificates and messages of handshakes go through memory
/// too.
#[inline(always)]
fn is_record(header: u64) -> bool {
    const TYPES: core::ops::RangeInclusive<u8> = 20..=23;
    const MAJOR_VERSION: u8 = 3;
    let [kind, major, ..] = header.to_le_bytes();
    TYPES.contains(&kind) && major == MAJOR_VERSION
}

/// Returns whether a record is one of a handshake, which is said to be nothing else once there are keys (TLS 1.3).
#[inline(always)]
fn is_handshake(header: u64) -> bool {
    const HANDSHAKE: u8 = 22;
    header.to_le_bytes()[0] == HANDSHAKE
}

#[inline(always)]
fn tell(call: &TlsCall, direction: u8, ciphertext: Ciphertext, moved: i32) {
    let Ciphertext { header, address } = ciphertext;
    let kind = if header != 0 { header } else { read::user::<u64>(address).unwrap_or(0) };
    if moved <= HEADER_BYTES as i32 || !is_record(kind) {
        return;
    }
    let begin = if is_handshake(kind) { 0 } else { UNKNOWN_BEGINNING };
    let Some(object) = object_from(&key(call.object), begin) else { return };
    tells_ciphertext(object, direction, true);
    // What is written is told with the time of its call, by which the two find each other.
    let time_ns = if direction == DIRECTION_EGRESS { call.time_ns } else { read::now_ns() };
    let number = call.object;
    let length = moved as u32;
    emit::record::<CiphertextEvent>(|event| {
        event.header = emit::header(KIND_CIPHERTEXT, time_ns);
        event.header.direction = direction;
        event.object = number;
        let before = fill(&mut event.bytes, header, address, length);
        let most = FINGERPRINT_BYTES as u32;
        event.length = length + before;
        event.captured = if event.length < most { event.length } else { most };
    });
}

/// Copies the beginning of a piece of ciphertext; returns how many bytes of its header were read before.
#[inline(always)]
fn fill(bytes: &mut [u8; FINGERPRINT_BYTES], header: u64, address: u64, length: u32) -> u32 {
    const BODY_BYTES: usize = FINGERPRINT_BYTES - HEADER_BYTES;
    if header == 0 {
        read::user_bytes(bytes, length, address);
        return 0;
    }
    let [first, second, third, fourth, fifth, ..] = header.to_le_bytes();
    bytes[0] = first;
    bytes[1] = second;
    bytes[2] = third;
    bytes[3] = fourth;
    bytes[4] = fifth;
    if let Some(body) = bytes.last_chunk_mut::<BODY_BYTES>() {
        read::user_bytes(body, length, address);
    }
    HEADER_BYTES as u32
}
