//! Attaching to the JVM, and detaching from it.

use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::class_file::{self, Refusal};
use crate::hooks::Hook;
use crate::jni::{Env, Failed, Machine, Object, Tools};
use crate::{helper, hooks, jsse, natives, threads};

/// Name of the helper class, as the JVM's functions want it.
const HELPER: &CStr = c"java/lang/RemoraHandOver4";
const NATIVE: &CStr = c"remora/HandOver4";
const _: () = assert!(HELPER.count_bytes() == hooks::HELPER.len());
const _: () = assert!(NATIVE.count_bytes() == helper::NATIVE.len());

/// Classes that could not be changed in this attachment.
static REFUSED: AtomicU32 = AtomicU32::new(0);

/// Whether classes of JSSE are changed in this attachment.
static WITH_TLS: AtomicBool = AtomicBool::new(false);

/// What is answered to who attaches the part.
#[repr(i32)]
enum Answer {
    Done = 0,
    DoneWithoutTls = 1,
    NoInterface = 100,
    NoHelper = 101,
    NoHooks = 102,
    Early = 103,
}

/// Attaches the part, or detaches it if the options say `off`. The JVM calls it when it loads the library.
///
/// Returns 0, or what is missing: 1 what tells JSSE's plaintext, 100 an interface of the JVM, 101 the class that hooks call,
/// 102 the right to change classes, 103 the JVM's own start.
///
/// # Safety
/// The JVM calls it: `machine` is that JVM, `options` is null or a text that ends with a nought.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Agent_OnAttach(
    machine: Machine,
    options: *const c_char,
    _reserved: *mut c_void,
) -> i32 {
    // SAFETY: the JVM passes such a text, or null.
    let options = if options.is_null() { c"" } else { unsafe { CStr::from_ptr(options) } };
    // A class that is defined before there are modules ends a JVM. It hands out no tools before it lives (JVMTI, `GetEnv`).
    let Some(tools) = machine.tools() else { return Answer::Early as i32 };
    tools.dispose();
    let Some(env) = machine.env() else { return Answer::NoInterface as i32 };
    let is_off = options.to_bytes() == b"off";
    let begin = if options.to_bytes() == b"on,tls" { c"startWithTls" } else { c"start" };
    let helper = match env.find_class(HELPER) {
        // Its methods may be those of another library: the one that was loaded first stays responsible.
        Some(helper) => {
            let _ = env.call_static(helper, c"stop");
            Some(helper)
        }
        None if is_off => return Answer::Done as i32,
        None => helper_class(machine, env),
    };
    let Some(helper) = helper else { return Answer::NoHelper as i32 };
    if is_off {
        return Answer::Done as i32;
    }
    env.call_static(helper, begin).unwrap_or(Answer::NoHelper as i32)
}

/// Defines the classes that hooks call, with methods of this library.
fn helper_class(machine: Machine, env: Env) -> Option<Object> {
    let mut room = [0; helper::ROOM];
    let length = helper::write_native(&mut room).ok()?;
    let native = env.define_class(NATIVE, room.get(..length)?)?;
    natives::register(env, native, [start, start_with_tls, stop]).ok()?;
    let length = helper::write(&mut room).ok()?;
    let helper = env.define_class(HELPER, room.get(..length)?)?;
    // Before Java 9 there are no modules.
    let Some((module, other)) = env.module_of(helper).zip(env.module_of(native)) else { return Some(helper) };
    let tools = machine.tools()?;
    let added = tools.add_reads(module, other);
    tools.dispose();
    added.ok().map(|()| helper)
}

/// Begins the work of this library.
extern "system" fn start(env: Env, _: Object) -> i32 {
    attach(env, false) as i32
}

/// Begins the work of this library, and tells what JSSE encrypts.
extern "system" fn start_with_tls(env: Env, _: Object) -> i32 {
    attach(env, true) as i32
}

fn attach(env: Env, wants_tls: bool) -> Answer {
    let has_tls = wants_tls && jsse::begin(env);
    WITH_TLS.store(has_tls, Ordering::Release);
    match change_classes(env) {
        Ok(()) if wants_tls && !has_tls => Answer::DoneWithoutTls,
        Ok(()) => Answer::Done,
        Err(answer) => answer,
    }
}

fn change_classes(env: Env) -> Result<(), Answer> {
    let tools = env.machine().and_then(Machine::tools).ok_or(Answer::NoInterface)?;
    threads::THREADS.prepare().map_err(|Failed| Answer::NoInterface)?;
    if tools.watch_classes(class_file_load_hook).is_err() {
        tools.dispose();
        return Err(Answer::NoHooks);
    }
    REFUSED.store(0, Ordering::Relaxed);
    natives::begin(tools);
    transform(tools);
    Ok(())
}

/// Ends the work of this library: classes become what they were.
extern "system" fn stop(_: Env, _: Object) -> i32 {
    if let Some(tools) = natives::end() {
        let _ = tools.set_watching(false);
        transform(tools);
        tools.dispose();
    }
    Answer::Done as i32
}

/// Has all classes with hooks go through them anew: together if that is possible, since each time threads must stop.
fn transform(tools: Tools) {
    tools.with_classes(|classes| {
        let mut count: usize = 0;
        for index in 0..classes.len() {
            let Some(&class) = classes.get(index) else { continue };
            if has_hooks(tools, class) {
                if let Some(room) = classes.get_mut(count) {
                    *room = class;
                }
                count = count.saturating_add(1);
            }
        }
        let hooked = classes.get(..count).unwrap_or(&[]);
        if tools.retransform(hooked).is_err() {
            for class in hooked {
                if tools.retransform(core::slice::from_ref(class)).is_err() {
                    REFUSED.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    });
}

fn has_hooks(tools: Tools, class: Object) -> bool {
    let is_hooked = |signature: &[u8]| {
        let name = signature.strip_prefix(b"L").and_then(|name| name.strip_suffix(b";"));
        name.is_some_and(|name| !wanted_hooks(name).is_empty())
    };
    tools.with_signature(class, is_hooked).unwrap_or(false)
}

/// Returns the hooks of a class that are to be in it.
fn wanted_hooks(class: &[u8]) -> &'static [Hook] {
    let hooks = hooks::of_class(class);
    let is_wanted = WITH_TLS.load(Ordering::Acquire) || !hooks.iter().any(Hook::is_of_tls);
    if is_wanted { hooks } else { &[] }
}

/// Hands out the changed form of classes with hooks.
unsafe extern "system" fn class_file_load_hook(
    tools: Tools,
    _: Env,
    _class: Object,
    _loader: Object,
    name: *const c_char,
    _domain: Object,
    length: i32,
    class: *const u8,
    new_length: *mut i32,
    new_class: *mut *mut u8,
) {
    if name.is_null() || class.is_null() {
        return;
    }
    // SAFETY: the JVM passes a text that ends with a nought.
    let hooks = wanted_hooks(unsafe { CStr::from_ptr(name) }.to_bytes());
    let Ok(length) = usize::try_from(length) else { return };
    if hooks.is_empty() {
        return;
    }
    // SAFETY: the JVM says how long the class file is.
    let class = unsafe { core::slice::from_raw_parts(class, length) };
    let room = class_file::room(length);
    let Some(memory) = tools.allocate(room) else { return };
    // SAFETY: the JVM has allocated that many bytes. They are written before they are read, but for what is not used.
    let out = unsafe { core::slice::from_raw_parts_mut(memory, room) };
    let rewritten = class_file::rewrite(class, hooks, out);
    match rewritten.and_then(|length| i32::try_from(length).map_err(|_| Refusal::TooLong)) {
        Ok(length) => {
            // SAFETY: the JVM passes room for a pointer, and takes the memory over.
            unsafe { *new_class = memory };
            // SAFETY: the JVM passes room for a length.
            unsafe { *new_length = length };
        }
        Err(_) => {
            REFUSED.fetch_add(1, Ordering::Relaxed);
            // SAFETY: nobody has the memory.
            unsafe { tools.free(memory) };
        }
    }
}
