//! Fields and a method of the JDK's own classes: looked up by name, once.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::jni::{Env, Field, Method};

/// What is needed of the JDK's classes. They are never unloaded.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    /// `java.nio.Buffer`
    pub(super) position: Field,
    pub(super) limit: Field,
    pub(super) address: Field,
    /// `java.nio.ByteBuffer`
    pub(super) array: Field,
    pub(super) offset: Field,
    /// `javax.net.ssl.SSLEngineResult`
    pub(super) consumed: Field,
    pub(super) produced: Field,
    /// `java.io.FileDescriptor`
    pub(super) descriptor: Field,
    /// `java.net.SocketImpl`
    pub(super) get_descriptor: Method,
}

struct Known {
    ids: UnsafeCell<Ids>,
    are_found: AtomicBool,
}

// SAFETY: the ids are written before `are_found` says so, by the JVM's only thread that attaches, and not any more after.
unsafe impl Sync for Known {}

static KNOWN: Known = Known {
    ids: UnsafeCell::new(Ids {
        position: ptr::null_mut(),
        limit: ptr::null_mut(),
        address: ptr::null_mut(),
        array: ptr::null_mut(),
        offset: ptr::null_mut(),
        consumed: ptr::null_mut(),
        produced: ptr::null_mut(),
        descriptor: ptr::null_mut(),
        get_descriptor: ptr::null_mut(),
    }),
    are_found: AtomicBool::new(false),
};

/// Looks everything up. Returns whether it is all there.
pub(super) fn find(env: Env) -> bool {
    if known().is_some() {
        return true;
    }
    let Some(ids) = look_up(env) else { return false };
    // SAFETY: nobody reads them before `are_found` says so, and only one thread attaches.
    unsafe { *KNOWN.ids.get() = ids };
    KNOWN.are_found.store(true, Ordering::Release);
    true
}

/// Returns what was found.
pub(super) fn known() -> Option<&'static Ids> {
    // SAFETY: they are not written any more once they are found.
    KNOWN.are_found.load(Ordering::Acquire).then(|| unsafe { &*KNOWN.ids.get() })
}

fn look_up(env: Env) -> Option<Ids> {
    env.in_frame(|| {
        let field = |class: &CStr, name, kind| env.field(env.find_class(class)?, name, kind);
        let (buffer, result) = (c"java/nio/ByteBuffer", c"javax/net/ssl/SSLEngineResult");
        let socket = env.find_class(c"java/net/SocketImpl")?;
        Some(Ids {
            position: field(buffer, c"position", c"I")?,
            limit: field(buffer, c"limit", c"I")?,
            address: field(buffer, c"address", c"J")?,
            array: field(buffer, c"hb", c"[B")?,
            offset: field(buffer, c"offset", c"I")?,
            consumed: field(result, c"bytesConsumed", c"I")?,
            produced: field(result, c"bytesProduced", c"I")?,
            descriptor: field(c"java/io/FileDescriptor", c"fd", c"I")?,
            get_descriptor: env.method(socket, c"getFileDescriptor", c"()Ljava/io/FileDescriptor;")?,
        })
    })
}
