//! What connections have shown that others of the same kind need: names behind ids that are told once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A handle to what is known; all clones share it.
#[derive(Clone, Debug, Default)]
#[expect(dead_code, reason = "no protocol has shared anything yet")]
pub struct Learned {
    known: Arc<Mutex<Known>>,
}

/// What is known. Each part bounds itself.
#[derive(Debug, Default)]
pub(super) struct Known {}

#[expect(dead_code, reason = "no protocol has shared anything yet")]
impl Learned {
    /// Returns what is known, for one look or one addition.
    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // What a panic left behind is still a set of names.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
