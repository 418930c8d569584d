//! What the JDK's own TLS (JSSE) encrypts and has decrypted: told to the programs in the kernel, with what they join it to
//! its connection by.
//!
//! An engine works on buffers: the first bytes of each record are told, as they are in the ciphertext. A socket has a
//! descriptor. Buffers are only looked at, and what is found is copied, as far as one record goes.

mod bytes;
mod ids;
mod room;

use crate::fields::Fields;
use crate::jni::{Env, Object};
use crate::natives::{identity, with_thread};
use crate::system_call::{self, TlsMark};
use bytes::{Bytes, Place};
use ids::Ids;
use room::{Ciphertext, Gathered, ROOMS, Room};

/// Says that a mark has no socket.
const NO_DESCRIPTOR: i32 = -1;
/// Set in what an engine is known by, so that it is no address.
const ENGINE: u64 = 1 << 63;

static ENGINE_FIELDS: Fields<1> = Fields::new([(c"conContext", c"Lsun/security/ssl/TransportContext;")]);
static STREAM: Fields<1> = Fields::new([(c"this$0", c"Lsun/security/ssl/SSLSocketImpl;")]);
static SOCKET: Fields<2> =
    Fields::new([(c"self", c"Ljava/net/Socket;"), (c"impl", c"Ljava/net/SocketImpl;")]);
static PLAIN_SOCKET: Fields<1> = Fields::new([(c"impl", c"Ljava/net/SocketImpl;")]);

/// Finds what is needed of the JDK. Returns whether it is all there.
pub(crate) fn begin(env: Env) -> bool {
    ids::find(env) && ROOMS.prepare().is_ok()
}

/// Runs something with what is needed of the JDK, the thread's room, and how often virtual threads changed on it. The JVM
/// frees the references that it makes when the hook returns.
fn with_room(run: impl FnOnce(&Ids, &mut Room, u32) -> Option<()>) {
    with_thread(|thread| {
        let Some(ids) = ids::known() else { return };
        let switches = thread.switches();
        ROOMS.with_this(|room| {
            run(ids, room, switches);
        });
    });
}

/// Returns what an engine is known by: the identities of two objects, which no other engine has both.
fn engine_id(env: Env, engine: Object) -> Option<u64> {
    let context = ENGINE_FIELDS.of(env, engine).and_then(|[context]| env.object(engine, context));
    let number = |object| identity(object).and_then(|identity| u64::try_from(identity).ok());
    let second = context.and_then(number).unwrap_or(0);
    Some(ENGINE | number(engine)? << 31 | second)
}

/// `wrapBegins(sources, first, count)`: where each of several buffers is read from will not be known later.
pub(crate) extern "system" fn wrap_begins(env: Env, _: Object, sources: Object, first: i32, count: i32) {
    note_positions(env, sources, first, count);
}

fn note_positions(env: Env, buffers: Object, first: i32, count: i32) {
    if buffers.is_null() || count <= 1 {
        return;
    }
    with_room(|ids, room, switches| {
        room.begin(switches, first, count);
        for index in 0..count {
            let at = first.checked_add(index)?;
            room.note(env.int(env.element(buffers, at)?, ids.position))?;
        }
        Some(())
    });
}

/// `wrapped(result, engine, sources, first, count, target)`
pub(crate) extern "system" fn wrapped(
    env: Env,
    _: Object,
    result: Object,
    engine: Object,
    sources: Object,
    first: i32,
    count: i32,
    target: Object,
) {
    if [result, engine, sources, target].iter().any(|object| object.is_null()) {
        return;
    }
    with_room(|ids, room, switches| {
        let (consumed, produced) = (env.int(result, ids.consumed), env.int(result, ids.produced));
        if produced <= 0 {
            return None;
        }
        let begin = env.int(target, ids.position).checked_sub(produced)?;
        let ciphertext = Bytes::of(env, ids, target, begin, produced)?;
        let ciphertext = room.beginning(env, &ciphertext);
        let plaintext = gather(env, ids, room, Buffers { array: sources, first, count, switches }, consumed);
        system_call::tell(&ciphertext.with(TlsMark {
            object: engine_id(env, engine)?,
            descriptor: NO_DESCRIPTOR,
            ..plaintext.mark()
        }));
        Some(())
    });
}

/// `unwrapBegins(engine, source, targets, first, count)`: what is decrypted takes the place of the ciphertext. Where that is
/// in an array its beginning is kept, and told with the plaintext.
pub(crate) extern "system" fn unwrap_begins(
    env: Env,
    _: Object,
    engine: Object,
    source: Object,
    targets: Object,
    first: i32,
    count: i32,
) {
    note_positions(env, targets, first, count);
    if engine.is_null() || source.is_null() {
        return;
    }
    with_room(|ids, room, switches| {
        room.keep(Ciphertext::default(), switches);
        let begin = env.int(source, ids.position);
        let length = env.int(source, ids.limit).checked_sub(begin).filter(|length| *length > 0)?;
        let bytes = Bytes::of(env, ids, source, begin, length)?;
        let ciphertext = room.beginning(env, &bytes);
        if matches!(bytes.place, Place::Array(..)) {
            room.keep(ciphertext, switches);
            return Some(());
        }
        system_call::tell(&ciphertext.with(TlsMark {
            object: engine_id(env, engine)?,
            descriptor: NO_DESCRIPTOR,
            is_ingress: 1,
            ..TlsMark::default()
        }));
        Some(())
    });
}

/// `unwrapped(result, engine, targets, first, count)`
pub(crate) extern "system" fn unwrapped(
    env: Env,
    _: Object,
    result: Object,
    engine: Object,
    targets: Object,
    first: i32,
    count: i32,
) {
    if [result, engine, targets].iter().any(|object| object.is_null()) {
        return;
    }
    with_room(|ids, room, switches| {
        let ciphertext = room.take_kept(switches);
        let produced = env.int(result, ids.produced);
        if produced <= 0 {
            return None;
        }
        let plaintext = gather(env, ids, room, Buffers { array: targets, first, count, switches }, produced);
        system_call::tell(&ciphertext.with(TlsMark {
            object: engine_id(env, engine)?,
            descriptor: NO_DESCRIPTOR,
            is_ingress: 1,
            // An engine decrypts one record after the other.
            ends_record: 1,
            ..plaintext.mark()
        }));
        Some(())
    });
}

/// Several buffers of an engine's call.
#[derive(Clone, Copy)]
struct Buffers {
    array: Object,
    first: i32,
    count: i32,
    switches: u32,
}

/// Gathers the bytes that a call has moved out of buffers, or into them, one after the other.
fn gather(env: Env, ids: &Ids, room: &mut Room, buffers: Buffers, moved: i32) -> Gathered {
    let Buffers { array, first, count, switches } = buffers;
    let moved = moved.max(0);
    let mut gathered = Gathered::of(moved.cast_unsigned());
    if moved == 0 {
        return gathered;
    }
    let is_noted = count > 1 && room.has_begun(switches, first, count);
    let mut left = moved;
    for index in 0..count {
        let Some(buffer) = first.checked_add(index).and_then(|at| env.element(array, at)) else { break };
        let end = env.int(buffer, ids.position);
        let begin = match count {
            1 => end.checked_sub(moved),
            _ => room.noted(index).filter(|_| is_noted),
        };
        let length =
            begin.and_then(|begin| end.checked_sub(begin)).filter(|length| (0..=left).contains(length));
        let (Some(begin), Some(length)) = (begin, length) else { break };
        left -= length;
        if length == 0 {
            continue;
        }
        match Bytes::of(env, ids, buffer, begin, length) {
            Some(bytes) => room.gather(env, &mut gathered, &bytes),
            None => break,
        }
        if left == 0 {
            return gathered;
        }
    }
    gathered.give_up();
    gathered
}

/// `socketBegins(socket)`
pub(crate) extern "system" fn socket_begins(env: Env, _: Object, socket: Object) {
    if socket.is_null() {
        return;
    }
    with_room(|ids, _, _| {
        let descriptor = descriptor(env, ids, socket)?;
        system_call::tell(&TlsMark { descriptor, ..TlsMark::default() });
        Some(())
    });
}

/// `socketWrites(stream, array, offset, length)`
pub(crate) extern "system" fn socket_writes(
    env: Env,
    _: Object,
    stream: Object,
    array: Object,
    offset: i32,
    length: i32,
) {
    tell_socket(env, stream, (array, offset, length), TlsMark::default());
}

/// `socketHasRead(read, stream, array, offset, length)`: it gives what is left of a record, or as much as is asked for.
pub(crate) extern "system" fn socket_has_read(
    env: Env,
    _: Object,
    read: i32,
    stream: Object,
    array: Object,
    offset: i32,
    length: i32,
) {
    let ends_record = u32::from(read < length);
    let mark = TlsMark { is_ingress: 1, ends_record, ..TlsMark::default() };
    tell_socket(env, stream, (array, offset, read), mark);
}

fn tell_socket(env: Env, stream: Object, (array, offset, length): (Object, i32, i32), how: TlsMark) {
    if stream.is_null() || array.is_null() || length <= 0 {
        return;
    }
    with_room(|ids, room, _| {
        let [socket] = STREAM.of(env, stream)?;
        let descriptor = descriptor(env, ids, env.object(stream, socket)?)?;
        let mut gathered = Gathered::of(length.cast_unsigned());
        room.gather(env, &mut gathered, &Bytes::of_array(array, offset, length));
        let TlsMark { is_ingress, ends_record, .. } = how;
        system_call::tell(&TlsMark { descriptor, is_ingress, ends_record, ..gathered.mark() });
        Some(())
    });
}

/// Returns the descriptor of a TLS socket, or of the one that it was put over.
fn descriptor(env: Env, ids: &Ids, socket: Object) -> Option<i32> {
    let [below, own] = SOCKET.of(env, socket)?;
    let below = env.object(socket, below)?;
    let implementation = if env.is_same(below, socket) {
        env.object(socket, own)?
    } else {
        let [own] = PLAIN_SOCKET.of(env, below)?;
        env.object(below, own)?
    };
    let descriptor = env.call_object(implementation, ids.get_descriptor)?;
    let number = env.int(descriptor, ids.descriptor);
    (number >= 0).then_some(number)
}
