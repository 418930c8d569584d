//! Time that this thread has used: on a machine that others use too, what it waits for them does not count.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment in the life of the thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Duration);

impl Clock {
    /// Returns this moment.
    pub(crate) fn now() -> Self {
        Self(used())
    }

    /// Returns the time that the thread has used since.
    pub(crate) fn elapsed(self) -> Duration {
        used().saturating_sub(self.0)
    }
}

fn used() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), u32::try_from(used.tv_nsec).unwrap_or(0))
}
