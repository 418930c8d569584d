//! Fields of objects, looked up once for each class.

use core::cell::UnsafeCell;
use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

use crate::jni::{Env, Field, Object};

/// Classes that are remembered: the same one may be loaded several times, and several may have the same fields.
const MAX_CLASSES: usize = 8;

/// Some fields that belong together.
pub(crate) struct Fields<const COUNT: usize> {
    /// Names and types.
    wanted: [(&'static CStr, &'static CStr); COUNT],
    known: [Known<COUNT>; MAX_CLASSES],
    /// How many are known. They are only ever added.
    count: AtomicUsize,
    is_adding: AtomicBool,
}

struct Known<const COUNT: usize> {
    /// A reference that does not keep the class alive.
    class: AtomicPtr<c_void>,
    /// Nulls where the class has no such fields.
    fields: UnsafeCell<[Field; COUNT]>,
}

// SAFETY: what is in the cell is written by the one that holds `is_adding`, before `count` lets others see it.
unsafe impl<const COUNT: usize> Sync for Fields<COUNT> {}

impl<const COUNT: usize> Fields<COUNT> {
    pub(crate) const fn new(wanted: [(&'static CStr, &'static CStr); COUNT]) -> Self {
        Self {
            wanted,
            known: [const {
                Known {
                    class: AtomicPtr::new(ptr::null_mut()),
                    fields: UnsafeCell::new([ptr::null_mut(); COUNT]),
                }
            }; MAX_CLASSES],
            count: AtomicUsize::new(0),
            is_adding: AtomicBool::new(false),
        }
    }

    /// Returns the fields of an object's class, if it has them all.
    pub(crate) fn of(&self, env: Env, object: Object) -> Option<[Field; COUNT]> {
        let class = env.class_of(object);
        let known = self.known.iter().take(self.count.load(Ordering::Acquire));
        for known in known {
            if env.is_same(known.class.load(Ordering::Relaxed), class) {
                // SAFETY: the entry is below `count`, so that nobody writes it any more.
                return all(unsafe { *known.fields.get() });
            }
        }
        let mut fields = [ptr::null_mut(); COUNT];
        for (field, (name, kind)) in fields.iter_mut().zip(self.wanted) {
            *field = env.field(class, name, kind).unwrap_or(ptr::null_mut());
        }
        self.add(env, class, fields);
        all(fields)
    }

    /// Remembers fields, unless somebody else is at it, or there is no more room.
    fn add(&self, env: Env, class: Object, fields: [Field; COUNT]) {
        if self.is_adding.swap(true, Ordering::Acquire) {
            return;
        }
        let count = self.count.load(Ordering::Relaxed);
        if let Some(room) = self.known.get(count)
            && let Some(class) = env.weak(class)
        {
            room.class.store(class, Ordering::Relaxed);
            // SAFETY: `is_adding` is held, and nobody reads entries from `count` on.
            unsafe { *room.fields.get() = fields };
            self.count.store(count.saturating_add(1), Ordering::Release);
        }
        self.is_adding.store(false, Ordering::Release);
    }
}

fn all<const COUNT: usize>(fields: [Field; COUNT]) -> Option<[Field; COUNT]> {
    let has_all = fields.iter().all(|field| !field.is_null());
    has_all.then_some(fields)
}
