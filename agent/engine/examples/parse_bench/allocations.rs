//! How much is allocated.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

use mimalloc::MiMalloc;

static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The agent's allocator, counted.
pub(crate) struct Counting;

/// Not atomic as a whole, which would cost more than the allocation: the bench has one thread.
fn count(bytes: usize) {
    COUNT.store(COUNT.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    BYTES.store(BYTES.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
}

// SAFETY: every call goes to mimalloc as it came; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` or `realloc` above, and so from mimalloc, with this layout.
        unsafe { MiMalloc.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the pointer came from mimalloc with this layout; the caller vouches for the size.
        unsafe { MiMalloc.realloc(pointer, layout, size) }
    }
}

/// Allocations so far, growth of older ones included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allocations {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Allocations {
    /// Returns those of the whole process since it began.
    pub(crate) fn now() -> Self {
        Self { count: COUNT.load(Ordering::Relaxed), bytes: BYTES.load(Ordering::Relaxed) }
    }

    /// Returns the share of each of so many.
    pub(crate) fn each(self, count: u64) -> Self {
        Self { count: self.count / count, bytes: self.bytes / count }
    }

    /// Returns those since `before`.
    pub(crate) fn since(before: Self) -> Self {
        let Self { count, bytes } = Self::now();
        Self { count: count - before.count, bytes: bytes - before.bytes }
    }
}
