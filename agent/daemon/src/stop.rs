//! The wish to end, shared by all threads.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Exit code of a process that is ended by a second Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Whether to end. Clones are handles to the same wish.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    flag: AtomicBool,
    /// Held while the flag is set, so that no waiter misses it.
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Returns a wish that Ctrl-C and `SIGTERM` set. A second signal ends the process at once.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        let wish = stop.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let listen = move || {
            for _ in signals.forever() {
                if wish.is_set() {
                    std::process::exit(INTERRUPTED);
                }
                wish.set();
            }
        };
        std::thread::Builder::new().name("remora-signals".to_owned()).spawn(listen)?;
        Ok(stop)
    }

    /// Wishes to end.
    pub fn set(&self) {
        let _guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.flag.store(true, Ordering::Release);
        self.0.changed.notify_all();
    }

    /// Returns whether to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.flag.load(Ordering::Acquire)
    }

    /// Returns the wish for those who only look at it now and then.
    #[must_use]
    pub fn flag(&self) -> &AtomicBool {
        &self.0.flag
    }

    /// Waits for the wish, at most for `patience`. Returns whether to end.
    pub fn wait(&self, patience: Duration) -> bool {
        let guard = self.0.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let _waited = self.0.changed.wait_timeout_while(guard, patience, |()| !self.is_set());
        self.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_wish() {
        let stop = Stop::default();
        assert!(!stop.wait(Duration::ZERO));
        let other = stop.clone();
        let thread = std::thread::spawn(move || other.wait(Duration::from_secs(20)));
        stop.set();
        assert!(thread.join().unwrap());
        assert!(stop.is_set());
    }
}
