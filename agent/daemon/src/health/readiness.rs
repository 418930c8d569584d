//! Whether the agent does its work.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Conditions that must all hold before the agent is ready. Clones are handles to the same conditions.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    conditions: Mutex<BTreeMap<&'static str, Result<(), String>>>,
    changed: Condvar,
}

impl Readiness {
    /// Says that `condition` holds.
    pub fn holds(&self, condition: &'static str) {
        self.set(condition, Ok(()));
    }

    /// Says that `condition` does not hold, and why.
    pub fn fails(&self, condition: &'static str, why: impl Into<String>) {
        self.set(condition, Err(why.into()));
    }

    /// Returns `Ok` if every condition holds.
    ///
    /// # Errors
    /// One line for each that does not.
    pub fn check(&self) -> Result<(), String> {
        lines(&self.lock())
    }

    /// Waits until every condition holds, or `patience` is over. Returns whether they hold.
    #[must_use]
    pub fn wait(&self, patience: Duration) -> bool {
        let fails = |conditions: &mut BTreeMap<_, _>| lines(conditions).is_err();
        let waited = self.0.changed.wait_timeout_while(self.lock(), patience, fails);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn set(&self, condition: &'static str, state: Result<(), String>) {
        self.lock().insert(condition, state);
        self.0.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Result<(), String>>> {
        self.0.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lines(conditions: &BTreeMap<&'static str, Result<(), String>>) -> Result<(), String> {
    let failed = conditions.iter().filter_map(|(condition, state)| Some((condition, state.as_ref().err()?)));
    let lines: String = failed.map(|(condition, why)| format!("{condition}: {why}\n")).collect();
    if lines.is_empty() { Ok(()) } else { Err(lines) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_condition_is_enough() {
        let readiness = Readiness::default();
        readiness.fails("capture", "programs are being loaded");
        readiness.holds("export");
        assert_eq!(readiness.check(), Err("capture: programs are being loaded\n".to_owned()));
        assert!(!readiness.wait(Duration::ZERO));
        readiness.holds("capture");
        assert_eq!(readiness.check(), Ok(()));
    }

    #[test]
    fn waiting_ends_when_the_last_condition_holds() {
        let readiness = Readiness::default();
        readiness.fails("capture", "loading");
        let other = readiness.clone();
        let thread = std::thread::spawn(move || other.wait(Duration::from_secs(20)));
        readiness.holds("capture");
        assert!(thread.join().unwrap());
    }
}
