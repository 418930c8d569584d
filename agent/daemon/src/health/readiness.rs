//! Whether the agent does its work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Conditions that must all hold before the agent is ready. Clones are handles to the same conditions.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Readiness {
    /// Says that `condition` holds.
    pub fn holds(&self, condition: &'static str) {
        self.lock().insert(condition, Ok(()));
    }

    /// Says that `condition` does not hold, and why.
    pub fn fails(&self, condition: &'static str, why: impl Into<String>) {
        self.lock().insert(condition, Err(why.into()));
    }

    /// Returns `Ok` if every condition holds, else one line for each that does not.
    ///
    /// # Errors
    /// The lines.
    pub fn check(&self) -> Result<(), String> {
        let lines: Vec<String> = self
            .lock()
            .iter()
            .filter_map(|(condition, state)| {
                state
                    .as_ref()
                    .err()
                    .map(|why| format!("{condition}: {why}\n"))
            })
            .collect();
        if lines.is_empty() {
            Ok(())
        } else {
            Err(lines.concat())
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Result<(), String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_condition_is_enough() {
        let readiness = Readiness::default();
        readiness.fails("capture", "programs are being loaded");
        readiness.holds("export");
        assert_eq!(
            readiness.check(),
            Err("capture: programs are being loaded\n".to_owned())
        );
        readiness.holds("capture");
        assert_eq!(readiness.check(), Ok(()));
    }
}
