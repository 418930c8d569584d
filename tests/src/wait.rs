//! Waiting for conditions. Nothing in the suites waits for time to pass.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Returns what `condition` gives once it gives something, or fails after `within`, naming `what` and the last error.
///
/// An error of the condition counts as "not yet".
pub fn until<T>(what: &str, within: Duration, mut condition: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let last = match condition() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() >= deadline {
            return match last {
                Some(error) => Err(error).with_context(|| format!("{what}: not within {within:?}")),
                None => bail!("{what}: not within {within:?}"),
            };
        }
        thread::sleep(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_is_returned() {
        let mut calls = 0;
        let found = until("third call", Duration::from_secs(5), || {
            calls += 1;
            Ok((calls == 3).then_some(calls))
        });
        assert_eq!(found.unwrap(), 3);
    }

    #[test]
    fn the_last_error_is_told() {
        let error = until::<()>("nothing", Duration::ZERO, || bail!("broken")).unwrap_err();
        assert_eq!(format!("{error:#}"), "nothing: not within 0ns: broken");
    }
}
