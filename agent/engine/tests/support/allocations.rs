//! What the thread of a test has allocated and not freed.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counted for each thread.
pub struct Counting;

/// A thread that ends has no count any more, and frees what is left.
fn count(bytes: usize, sign: isize) {
    let _ = LIVE.try_with(|live| live.set(live.get() + sign * bytes as isize));
}

// SAFETY: every call goes to the system's allocator as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the pointer came from `alloc`, and so from the system's allocator, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Returns the bytes that this thread holds: what it has allocated less what it has freed.
pub fn live_bytes() -> isize {
    LIVE.with(Cell::get)
}
