//! The native methods of the helper class: what the hooks call.

use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, Ordering};

use crate::fields::Fields;
use crate::hooks::Call;
use crate::jni::{Env, Failed, NativeMethod, Object, Tools};
use crate::system_call::{self, Linux};
use crate::thread::Thread;
use crate::threads::THREADS;
use crate::{claims, jsse};

/// Which attachment this is; 0 while the part is not attached.
static ATTACHMENT: AtomicU32 = AtomicU32::new(0);
/// How often the part was attached.
static ATTACHMENTS: AtomicU32 = AtomicU32::new(0);
/// The last unit that was never seen before.
static FRESH: AtomicI32 = AtomicI32::new(0);
/// Whom identities are asked of, where there is no bytecode to do it.
static TOOLS: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());

/// Lets the methods tell what they are called with.
pub(crate) fn begin(tools: Tools) {
    TOOLS.store(tools.as_ptr(), Ordering::Release);
    let attachment = ATTACHMENTS.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    ATTACHMENT.store(attachment, Ordering::Release);
}

/// Has the methods do nothing. Returns the tools that they used.
pub(crate) fn end() -> Option<Tools> {
    ATTACHMENT.store(0, Ordering::Release);
    let tools = TOOLS.swap(core::ptr::null_mut(), Ordering::AcqRel);
    // SAFETY: the pointer was stored by `begin`, and whoever takes it out disposes it.
    (!tools.is_null()).then(|| unsafe { Tools::from_ptr(tools) })
}

/// Begins or ends the part's work.
pub(crate) type Control = extern "system" fn(Env, Object) -> i32;

/// Registers the methods, and those that begin and end the work.
pub(crate) fn register(
    env: Env,
    class: Object,
    [start, start_with_tls, stop]: [Control; 3],
) -> Result<(), Failed> {
    let of_identity = c"(I)V";
    let of_object = c"(Ljava/lang/Object;)V";
    let of_nothing = c"()V";
    let methods = [
        native(c"start", c"()I", start as *const c_void),
        native(c"startWithTls", c"()I", start_with_tls as *const c_void),
        native(c"stop", c"()I", stop as *const c_void),
        native(c"give", of_identity, give as *const c_void),
        native(c"pass", of_identity, pass as *const c_void),
        native(c"enter", of_identity, enter as *const c_void),
        native(c"fresh", of_nothing, fresh as *const c_void),
        native(c"leave", of_nothing, leave as *const c_void),
        native(c"enterHandler", of_object, enter_handler as *const c_void),
        native(c"take", of_identity, take as *const c_void),
        native(c"drop", of_nothing, drop as *const c_void),
        native(c"mount", of_identity, mount as *const c_void),
        native(c"unmount", of_nothing, unmount as *const c_void),
        native(c"claimHttp", of_object, claim_http as *const c_void),
        native(c"claimNetty", of_object, claim_netty as *const c_void),
        native(c"wrapBegins", c"(Ljava/lang/Object;II)V", jsse::wrap_begins as *const c_void),
        native(
            c"wrapped",
            c"(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;IILjava/lang/Object;)V",
            jsse::wrapped as *const c_void,
        ),
        native(
            c"unwrapBegins",
            c"(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;II)V",
            jsse::unwrap_begins as *const c_void,
        ),
        native(
            c"unwrapped",
            c"(Ljava/lang/Object;Ljava/lang/Object;Ljava/lang/Object;II)V",
            jsse::unwrapped as *const c_void,
        ),
        native(c"socketBegins", of_object, jsse::socket_begins as *const c_void),
        native(
            c"socketWrites",
            c"(Ljava/lang/Object;Ljava/lang/Object;II)V",
            jsse::socket_writes as *const c_void,
        ),
        native(
            c"socketHasRead",
            c"(ILjava/lang/Object;Ljava/lang/Object;II)V",
            jsse::socket_has_read as *const c_void,
        ),
    ];
    const { assert!(Call::ALL.len() + 3 == 22) };
    env.register_natives(class, &methods)
}

fn native(name: &CStr, descriptor: &CStr, function: *const c_void) -> NativeMethod {
    NativeMethod { name: name.as_ptr(), descriptor: descriptor.as_ptr(), function }
}

/// Runs something with the state of the present thread, while the part is attached.
pub(crate) fn with_thread(run: impl FnOnce(&mut Thread)) {
    let attachment = ATTACHMENT.load(Ordering::Acquire);
    if attachment != 0 {
        THREADS.with_this(|thread| {
            thread.join(attachment, &Linux);
            run(thread);
        });
    }
}

extern "system" fn give(_: Env, _: Object, unit: i32) {
    with_thread(|thread| thread.give(unit, &Linux));
}

extern "system" fn pass(_: Env, _: Object, unit: i32) {
    with_thread(|thread| thread.pass(unit, &Linux));
}

extern "system" fn enter(_: Env, _: Object, unit: i32) {
    with_thread(|thread| thread.enter(unit, &Linux));
}

extern "system" fn fresh(_: Env, _: Object) {
    with_thread(|thread| thread.enter(fresh_unit(), &Linux));
}

extern "system" fn leave(_: Env, _: Object) {
    with_thread(|thread| thread.leave(&Linux));
}

extern "system" fn enter_handler(env: Env, _: Object, owner: Object) {
    // What is left later has to be entered, whatever is known of it.
    with_thread(|thread| thread.enter(handler_unit(env, owner).unwrap_or_else(fresh_unit), &Linux));
}

fn handler_unit(env: Env, owner: Object) -> Option<i32> {
    static OWNER: Fields<1> = Fields::new([(c"handler", c"Lio/vertx/core/Handler;")]);
    env.in_frame(|| {
        let [handler] = OWNER.of(env, owner)?;
        identity(env.object(owner, handler)?)
    })
}

extern "system" fn take(_: Env, _: Object, unit: i32) {
    with_thread(|thread| thread.take(unit, &Linux));
}

extern "system" fn drop(_: Env, _: Object) {
    with_thread(|thread| thread.drop(&Linux));
}

extern "system" fn mount(_: Env, _: Object, unit: i32) {
    with_thread(|thread| thread.mount(unit, &Linux));
}

extern "system" fn unmount(_: Env, _: Object) {
    with_thread(|thread| thread.unmount(&Linux));
}

extern "system" fn claim_http(env: Env, _: Object, request: Object) {
    let mut found = None;
    with_thread(|_| {
        found = env.in_frame(|| {
            let (owner, place) = claims::of_http(env, request)?;
            Some((identity(owner)?, place))
        });
    });
    if let Some((unit, place)) = found {
        system_call::claim(Some(unit), place.descriptor, place.ahead);
    }
}

extern "system" fn claim_netty(env: Env, _: Object, buffer: Object) {
    let mut unit = None;
    let mut found = None;
    with_thread(|thread| {
        unit = thread.unit();
        found = env.in_frame(|| claims::of_netty(env, buffer));
    });
    if let Some(place) = found {
        system_call::claim(unit, place.descriptor, place.ahead);
    }
}

fn fresh_unit() -> i32 {
    let next = FRESH.fetch_add(1, Ordering::Relaxed).wrapping_add(1) & i32::MAX;
    next.max(1)
}

/// Returns what `System.identityHashCode` returns of an object.
pub(crate) fn identity(object: Object) -> Option<i32> {
    let tools = TOOLS.load(Ordering::Acquire);
    if tools.is_null() {
        return None;
    }
    // SAFETY: the pointer was stored by `begin`, and is taken out before the environment is disposed.
    unsafe { Tools::from_ptr(tools) }.identity(object)
}
