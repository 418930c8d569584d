//! The state of each thread, kept in its own storage (POSIX `pthread_key_create`).

use core::ffi::{c_int, c_uint, c_void};
use core::marker::PhantomData;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::jni::Failed;
use crate::thread::Thread;

// Every libc has these, under these names.
unsafe extern "C" {
    fn pthread_key_create(key: *mut c_uint, at_end: Option<unsafe extern "C" fn(*mut c_void)>) -> c_int;
    fn pthread_getspecific(key: c_uint) -> *mut c_void;
    fn pthread_setspecific(key: c_uint, value: *const c_void) -> c_int;
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn free(memory: *mut c_void);
}

/// A state that each thread has for itself, from its first use on until it ends. All noughts are a state, the first one.
pub(crate) struct OfThread<T> {
    /// The key, and one more; 0 where there is none yet.
    key: AtomicU32,
    state: PhantomData<fn(T)>,
}

/// What a type must be to be the state of a thread.
///
/// # Safety
/// All noughts are a value of the type, and it needs no drop.
pub(crate) unsafe trait FromNoughts {}

/// For whom threads work.
pub(crate) static THREADS: OfThread<Thread> = OfThread::new();

impl<T: FromNoughts> OfThread<T> {
    pub(crate) const fn new() -> Self {
        Self { key: AtomicU32::new(0), state: PhantomData }
    }

    /// Makes room for states, once.
    pub(crate) fn prepare(&self) -> Result<(), Failed> {
        if self.key.load(Ordering::Acquire) != 0 {
            return Ok(());
        }
        let mut key = 0;
        // SAFETY: the result has room for a key.
        if unsafe { pthread_key_create(&raw mut key, Some(forget)) } != 0 {
            return Err(Failed);
        }
        self.key.store(key.checked_add(1).ok_or(Failed)?, Ordering::Release);
        Ok(())
    }

    /// Runs something with the state of the present thread; nothing where memory is out.
    pub(crate) fn with_this(&self, run: impl FnOnce(&mut T)) {
        let Some(key) = self.key.load(Ordering::Acquire).checked_sub(1) else { return };
        // SAFETY: the key was created.
        let mut state = unsafe { pthread_getspecific(key) }.cast::<T>();
        if state.is_null() {
            let Some(made) = make(key, size_of::<T>()) else { return };
            state = made.cast();
        }
        // SAFETY: the state is the thread's own, and nothing that runs with it comes back here.
        run(unsafe { &mut *state });
    }
}

fn make(key: c_uint, size: usize) -> Option<*mut c_void> {
    // SAFETY: memory of a fixed size is asked for. All noughts are a valid state.
    let state = unsafe { calloc(1, size) };
    if state.is_null() {
        return None;
    }
    // SAFETY: the key was created.
    if unsafe { pthread_setspecific(key, state) } != 0 {
        // SAFETY: the memory was got above, and nobody else has seen it.
        unsafe { free(state) };
        return None;
    }
    Some(state)
}

/// Frees the state of a thread that ends.
unsafe extern "C" fn forget(state: *mut c_void) {
    // SAFETY: the state was allocated by `make`, and its thread is gone.
    unsafe { free(state) };
}
