//! One test at a time where tests share the host.

use std::sync::{Mutex, MutexGuard, PoisonError};

static HOST: Mutex<()> = Mutex::new(());

/// The right to observe the host. Tests of one binary run in parallel; two agents would each see the other's test.
#[derive(Debug)]
pub struct Exclusive(#[expect(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Exclusive {
    /// Waits until no other test of this binary has it. That such a test failed is no reason not to run.
    #[must_use]
    pub fn wait() -> Self {
        Self(HOST.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
