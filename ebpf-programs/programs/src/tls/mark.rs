//! What a part inside a process tells of TLS that has no library: the JVM's.

use remora_abi::{
    CiphertextEvent, DIRECTION_EGRESS, DIRECTION_INGRESS, FINGERPRINT_BYTES, KIND_CIPHERTEXT, Loss, TlsMark,
};

use super::{Moved, Mover, TlsObject, UNKNOWN_BEGINNING, key, object_from, tell};
use crate::maps::lose;
use crate::runtime::task_of_thread;
use crate::socket::find::find;
use crate::socket::transfer::observed_process;
use crate::{emit, read};

/// Handles `kill(any, MARK_TLS, address)`.
///
/// A program of its own for the verifier, which would go through all of it again for each way that leads here.
#[inline(never)]
pub(crate) fn marked(address: u64) {
    let Some(process) = observed_process() else { return };
    let Some(mark) = read::user::<TlsMark>(address) else { return lose(Loss::UserMemory) };
    // Not an `Option`, of which the verifier would mind the holes.
    let (mut sock, mut inode, mut family) = (0, 0, 0);
    if mark.descriptor >= 0
        && let Some(found) = find(mark.descriptor as u64)
    {
        (sock, inode, family) = (found.sock, found.inode, found.family);
    }
    let number = if sock == 0 { mark.object } else { sock };
    if number == 0 {
        return;
    }
    let header = if mark.ciphertext == 0 || mark.header != 0 {
        mark.header
    } else {
        read::user::<u64>(mark.ciphertext).unwrap_or(0)
    };
    let is_handshake = is_hello(header) || mark.length == 0 && sock != 0;
    let begin = if is_handshake { 0 } else { UNKNOWN_BEGINNING };
    let direction = if mark.direction == 0 { DIRECTION_EGRESS } else { DIRECTION_INGRESS };
    let Some(object) = object_from(&key(number), begin) else { return };
    if sock != 0 {
        if object.sock != 0 && object.inode != inode {
            object.moved = [begin; 2];
        }
        object.sock = sock;
        object.inode = inode;
        object.family = family;
    }
    // Behind the plaintext that it encrypts, and before that which was encrypted.
    let is_ingress = direction == DIRECTION_INGRESS;
    let has_record = is_application_data(header);
    if has_record && is_ingress {
        tell_ciphertext(number, direction, read::now_ns(), &mark);
    }
    if mark.length == 0 {
        return;
    }
    // By its time, what is written and its record find each other.
    let now_ns = read::now_ns();
    tell_plaintext(number, direction, now_ns, object, &mark, task_of_thread(&process));
    if has_record && !is_ingress {
        tell_ciphertext(number, direction, now_ns, &mark);
    }
}

#[inline(always)]
fn tell_plaintext(
    number: u64,
    direction: u8,
    now_ns: u64,
    object: &mut TlsObject,
    mark: &TlsMark,
    task: crate::runtime::Task,
) {
    let mover = Mover { object: number, direction, time_ns: now_ns, sent_ns: 0 };
    let moved = Moved {
        address: mark.plaintext,
        length: mark.length,
        ends_record: mark.ends_record != 0,
        received: false,
        together: mark.together,
        end: mark.end,
    };
    tell(&mover, object, moved, task);
}

/// The beginning of a record (RFC 8446, 5.1).
#[inline(always)]
fn is_application_data(header: u64) -> bool {
    let [kind, major, ..] = header.to_le_bytes();
    kind == 23 && major == 3
}

/// The first message of a client or a server, which is not encrypted (RFC 8446, 4).
#[inline(always)]
fn is_hello(header: u64) -> bool {
    let [kind, major, _, _, _, message, ..] = header.to_le_bytes();
    kind == 22 && major == 3 && (message == 1 || message == 2)
}

/// A program of its own, as [`marked`].
#[inline(never)]
fn tell_ciphertext(number: u64, direction: u8, now_ns: u64, mark: &TlsMark) {
    emit::record::<CiphertextEvent>(|event| {
        event.header = emit::header(KIND_CIPHERTEXT, now_ns);
        event.header.direction = direction;
        event.object = number;
        event.length = mark.ciphertext_length;
        let most = FINGERPRINT_BYTES as u32;
        let is_read = read::user_bytes(&mut event.bytes, event.length, mark.ciphertext);
        event.captured = if !is_read {
            0
        } else if event.length < most {
            event.length
        } else {
            most
        };
    });
}
