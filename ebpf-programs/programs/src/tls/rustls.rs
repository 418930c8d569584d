//! rustls: where it takes plaintext, and where it encrypts and decrypts records.
//!
//! Its objects have no place of their own: they are moved while they live. What stays where it is are the two that encrypt
//! and decrypt, each of which counts its records from 0 in every use of its address. It does no I/O: the record that a call
//! has made or taken is told, and joins the object to its connection where it is found on the wire.
//!
//! What is read here of Rust's structs is believed only for that reason: bytes that are no record are on no wire.

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use remora_abi::{
    CiphertextEvent, DIRECTION_EGRESS, DIRECTION_INGRESS, FINGERPRINT_BYTES, KIND_CIPHERTEXT, KIND_PLAINTEXT,
    PlaintextEvent, TLS_ONE_WAY,
};

use super::{
    Buffer, HAS_BIO, TlsCall, TlsObject, budget, call, caller, key, note_call, object, object_from,
    returning, tell_end, tells_ciphertext,
};
use crate::arch::Registers;
use crate::maps::{TLS_CALLS, TLS_OBJECTS};
use crate::runtime::{self, Task};
use crate::socket::transfer::observed_process;
use crate::{emit, read, thread};

/// Longest record (RFC 5246, 6.2.3), and the shortest that has something in it.
const RECORD_BYTES: core::ops::RangeInclusive<u64> = 17..=(1 << 14) + 2048;
/// Pieces of one write that are told one by one. What is in the others is counted.
const MAX_PIECES: u64 = 8;
/// Size of `struct iovec`, which `IoSlice` is.
const PIECE_BYTES: u64 = 16;
/// `ContentType` of application data (RFC 8446, 5.1).
const APPLICATION_DATA: u8 = 23;
/// Bytes of a record's header.
const HEADER_BYTES: u32 = 5;
/// Bytes by which a record is known.
const BEGINNING_BYTES: u32 = HEADER_BYTES + 16;

/// By how much a record is longer than what is in it: in TLS 1.3 by a tag and its type, in TLS 1.2 by a tag and, with GCM, the
/// part of the nonce that is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suite {
    Tls13 = 17,
    Tls12Gcm = 24,
    Tls12ChaCha = 16,
}

/// `fn write(&mut self, buf: &[u8]) -> io::Result<usize>` of `PlaintextSink`
#[uprobe(multi)]
pub(crate) fn rustls_write(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    enter(registers, 0, registers.second(), registers.third(), 0, DIRECTION_EGRESS);
    0
}

/// `fn write_vectored(&mut self, bufs: &[io::IoSlice<'_>]) -> io::Result<usize>` of `PlaintextSink`
#[uprobe(multi)]
pub(crate) fn rustls_write_vectored(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    enter(registers, 0, registers.second(), 0, registers.third(), DIRECTION_EGRESS);
    0
}

/// Notes that the running thread begins a call: of a write, `pieces` counts the elements of an array, and is 0 where there is
/// none.
#[inline(always)]
fn enter(registers: &Registers, object: u64, address: u64, length: u64, pieces: u64, direction: u8) {
    if observed_process().is_none() {
        return;
    }
    let Some(thread) = thread::this() else { return };
    // `moved` is of no use here: it says how many pieces there are.
    let buffer = Buffer { address, length, moved: pieces };
    if note_call(caller(1), object, registers.stack(), buffer, direction) {
        thread.tls_depth = 1;
        if let Some(call) = call() {
            // No socket that is used meanwhile is the connection's.
            call.bio = HAS_BIO;
        }
    }
}

/// `fn encrypt(&mut self, msg: OutboundPlainMessage<'_>, seq: u64) -> Result<OutboundOpaqueMessage, Error>` of
/// `MessageEncrypter`, whose first argument is where the result goes.
#[uprobe(multi)]
pub(crate) fn rustls_encrypt(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    if observed_process().is_none() {
        return 0;
    }
    let encrypter = registers.second();
    begin(encrypter, registers.fourth_of_function(), DIRECTION_EGRESS);
    // Outside of writes there are handshakes and alerts only.
    if let Some(call) = call().filter(|call| call.direction == DIRECTION_EGRESS && call.bio == HAS_BIO) {
        call.object = encrypter;
    }
    0
}

/// Where `encrypt` returns.
#[uprobe(multi)]
pub(crate) fn rustls_encrypted(context: ProbeContext) -> u32 {
    /// Where a `Vec` is in the result, behind its tag and its capacity: its address, and its length.
    const VEC: u64 = 16;
    let registers = Registers::of(context.regs.cast());
    let Some(call) = call().filter(|call| call.direction == DIRECTION_EGRESS && call.bio == HAS_BIO) else {
        return 0;
    };
    let Some(object) = object(&key(call.object)) else { return 0 };
    if !tells_ciphertext(object, DIRECTION_EGRESS, false) {
        return 0;
    }
    let Some([address, length]) = read::user::<[u64; 2]>(registers.returned() + VEC) else { return 0 };
    let Some(length) = length.checked_sub(HEADER_BYTES.into()).filter(|length| RECORD_BYTES.contains(length))
    else {
        return 0;
    };
    // There is room for the header before, which is written later.
    if let Some(beginning) = read::user::<[u64; 2]>(address + u64::from(HEADER_BYTES)) {
        tells_ciphertext(object, DIRECTION_EGRESS, true);
        tell_record(call, DIRECTION_EGRESS, length as u32, beginning);
    }
    0
}

/// Where `write` or `write_vectored` returns: two integers, of which the first is 0 and the second says how many bytes were
/// taken, or an error.
#[uprobe(multi)]
pub(crate) fn rustls_written(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    let Some(process) = observed_process() else { return 0 };
    let Some((caller, call)) = returning(registers) else { return 0 };
    let _ = TLS_CALLS.remove(&caller);
    let moved = registers.returned_second();
    // What is not encrypted at once is written before the handshake is over.
    if registers.returned() != 0 || call.object == 0 || moved == 0 || moved > u64::from(u32::MAX) {
        return 0;
    }
    let Some(object) = object(&key(call.object)) else { return 0 };
    let task = runtime::task(registers, &process);
    if call.moved == 0 {
        if moved <= call.length {
            tell(&call, object, call.buffer, moved as u32, false, &task);
        }
        return 0;
    }
    let mut left = moved;
    let mut at = 0;
    while at < MAX_PIECES && at < call.moved && left != 0 {
        let [address, length] =
            read::user::<[u64; 2]>(call.buffer + at * PIECE_BYTES).unwrap_or([0, u64::MAX]);
        at += 1;
        let is_last = at == MAX_PIECES || at == call.moved || length >= left;
        let (address, length) = if is_last && length < left { (0, left) } else { (address, length) };
        let length = if length > left { left } else { length };
        left -= length;
        if length != 0 {
            tell(&call, object, address, length as u32, left != 0, &task);
        }
    }
    0
}

/// `fn decrypt<'a>(&mut self, msg: InboundOpaqueMessage<'a>, seq: u64) -> Result<InboundPlainMessage<'a>, Error>` of
/// `MessageDecrypter`, whose first argument is where the result goes.
#[uprobe(multi)]
pub(crate) fn rustls_decrypt(context: ProbeContext) -> u32 {
    let registers = Registers::of(context.regs.cast());
    if observed_process().is_none() {
        return 0;
    }
    let decrypter = registers.second();
    let Some([address, length]) = read::user::<[u64; 2]>(registers.third()) else { return 0 };
    if !RECORD_BYTES.contains(&length) {
        return 0;
    }
    let Some([first, second]) = read::user::<[u64; 2]>(address) else { return 0 };
    let sequence = registers.fourth_of_function();
    begin(decrypter, sequence, DIRECTION_INGRESS);
    enter(registers, decrypter, address, length, sequence, DIRECTION_INGRESS);
    if let Some(call) = call() {
        // What is decrypted takes its place.
        call.ciphertext = first;
        call.header = second;
    }
    0
}

/// Where the `decrypt` of TLS 1.3 returns.
#[uprobe(multi)]
pub(crate) fn rustls_decrypted(context: ProbeContext) -> u32 {
    decrypted(Registers::of(context.regs.cast()), Suite::Tls13);
    0
}

/// Where the `decrypt` of TLS 1.2 with GCM returns.
#[uprobe(multi)]
pub(crate) fn rustls_decrypted_gcm(context: ProbeContext) -> u32 {
    decrypted(Registers::of(context.regs.cast()), Suite::Tls12Gcm);
    0
}

/// Where the `decrypt` of TLS 1.2 with ChaCha20 returns.
#[uprobe(multi)]
pub(crate) fn rustls_decrypted_chacha(context: ProbeContext) -> u32 {
    decrypted(Registers::of(context.regs.cast()), Suite::Tls12ChaCha);
    0
}

#[inline(always)]
fn decrypted(registers: &Registers, suite: Suite) {
    let Some(process) = observed_process() else { return };
    let Some((caller, call)) = returning(registers) else { return };
    let _ = TLS_CALLS.remove(&caller);
    let Some(length) = call.length.checked_sub(suite as u64).filter(|length| *length != 0) else { return };
    if call.direction != DIRECTION_INGRESS || !is_application_data(&call, length, suite) {
        return;
    }
    let Some(object) = object(&key(call.object)) else { return };
    if tells_ciphertext(object, DIRECTION_INGRESS, true) {
        tell_record(&call, DIRECTION_INGRESS, call.length as u32, [call.ciphertext, call.header]);
    }
    tell(&call, object, call.buffer, length as u32, false, &runtime::task(registers, &process));
}

/// Returns whether what a call has decrypted is for the application: in TLS 1.3 the type is behind it, which is overwritten
/// where decryption has failed. In TLS 1.2 the first record is `Finished`, and an alert two bytes that begin with its level.
#[inline(always)]
fn is_application_data(call: &TlsCall, length: u64, suite: Suite) -> bool {
    const ALERT_BYTES: u64 = 2;
    const ALERT_LEVELS: core::ops::RangeInclusive<u8> = 1..=2;
    if suite == Suite::Tls13 {
        return read::user::<u8>(call.buffer + length) == Some(APPLICATION_DATA);
    }
    let is_alert = length == ALERT_BYTES
        && read::user::<u8>(call.buffer).is_none_or(|level| ALERT_LEVELS.contains(&level));
    call.moved != 0 && !is_alert
}

/// Notes that an object works on its record of this number. With the first, it is another than what was at its address.
#[inline(always)]
fn begin(address: u64, sequence: u64, direction: u8) {
    if sequence != 0 {
        return;
    }
    let key = key(address);
    if TLS_OBJECTS.get_ptr(&key).is_some() {
        let _ = TLS_OBJECTS.remove(&key);
        tell_end(address, TLS_ONE_WAY, direction);
    }
    let _ = object_from(&key, 0);
}

/// Tells how a record of application data begins, whose `length` does not count its header.
#[inline(always)]
fn tell_record(call: &TlsCall, direction: u8, length: u32, beginning: [u64; 2]) {
    const VERSION: u8 = 3;
    // What is written is told with the time of its call, by which the two find each other.
    let time_ns = if direction == DIRECTION_EGRESS { call.time_ns } else { read::now_ns() };
    let object = call.object;
    emit::record::<CiphertextEvent>(|event| {
        event.header = emit::header(KIND_CIPHERTEXT, time_ns);
        event.header.flags = TLS_ONE_WAY;
        event.header.direction = direction;
        event.object = object;
        event.length = length + HEADER_BYTES;
        event.captured = BEGINNING_BYTES;
        event.bytes = [0; FINGERPRINT_BYTES];
        let [high, low] = (length as u16).to_be_bytes();
        event.bytes[0] = APPLICATION_DATA;
        event.bytes[1] = VERSION;
        event.bytes[2] = VERSION;
        event.bytes[3] = high;
        event.bytes[4] = low;
        let [first, second] = beginning;
        let mut at = 0;
        while at < 8 {
            event.bytes[5 + at] = (first >> (8 * at)) as u8;
            event.bytes[13 + at] = (second >> (8 * at)) as u8;
            at += 1;
        }
    });
}

/// Tells of bytes that a call has moved.
#[inline(always)]
fn tell(call: &TlsCall, object: &mut TlsObject, address: u64, length: u32, continues: bool, task: &Task) {
    let now_ns = read::now_ns();
    let is_egress = call.direction == DIRECTION_EGRESS;
    let time_ns = if is_egress { call.time_ns } else { now_ns };
    let moved = if is_egress { &mut object.moved[0] } else { &mut object.moved[1] };
    let before = *moved;
    *moved = before.wrapping_add(length.into());
    let mut event = PlaintextEvent {
        data: emit::data_event(KIND_PLAINTEXT, time_ns, task),
        object: call.object,
        moved_ns: now_ns,
        ends_record: (!is_egress).into(),
        received: 0,
        continues: continues.into(),
    };
    event.data.header.flags |= TLS_ONE_WAY;
    event.data.header.direction = call.direction;
    event.data.position = before as u32;
    event.data.turn = thread::known().map_or(0, |thread| thread.turn);
    event.data.length = length;
    let budget = budget(object, call.direction, before);
    let wanted = if length > budget { budget } else { length };
    emit::data(&event, address, if address == 0 { 0 } else { wanted });
}
