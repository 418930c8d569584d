//! How much memory live spans may take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use super::error::AppendError;

/// How long a batch waits for room: a seal often ends within this, and waiting is cheaper than sending again.
const PATIENCE: Duration = Duration::from_millis(1000);

/// A number of bytes that is given out and comes back.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: AtomicUsize,
    freed: Notify,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0), freed: Notify::new() }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes bytes if they are there. One batch alone may be larger than the limit.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<(), AppendError> {
        let take =
            |used: usize| (used == 0 || used.saturating_add(bytes) <= self.limit).then_some(used + bytes);
        let taken = self.used.try_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.map(|_| ()).map_err(|_| AppendError::LiveFull { limit_bytes: self.limit })
    }

    /// Takes bytes, or waits for them as long as it has patience.
    pub(crate) async fn take(&self, bytes: usize) -> Result<(), AppendError> {
        let taken = async {
            loop {
                let freed = self.freed.notified();
                tokio::pin!(freed);
                freed.as_mut().enable();
                if self.try_take(bytes).is_ok() {
                    return;
                }
                freed.await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, taken).await;
        taken.map_err(|_| AppendError::LiveFull { limit_bytes: self.limit })
    }

    /// Takes bytes that are already there, whatever the limit says.
    pub(crate) fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        self.freed.notify_waiters();
    }
}
