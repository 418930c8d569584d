//! Whether contexts may be written into requests, and where.
//!
//! What is written can do harm in ways that differ between kernels, so that nothing is written before it was tried: a
//! process of the agent's own, in a cgroup of its own, makes connections to itself with and without the programs, and
//! compares all that a program may notice. A mechanism that fails a check stays off, and says which.

mod breaker;
mod cgroup;
mod checks;
mod servers;
mod trial;

use std::fmt;

use serde::Serialize;

pub use breaker::{CONTROL, Tripped, judge};
pub use cgroup::resolve as resolve_cgroup;
pub use checks::Failure;
pub use servers::Servers;
pub use trial::{answer, headers, headers_with_lasting_membership};

/// A manner of writing contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// A header of HTTP/1 requests.
    Headers,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mechanism::Headers => formatter.write_str("header rung"),
        }
    }
}

/// What the trial of a mechanism gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody would notice.
    Harmless {
        /// Checks that were made.
        checks: u32,
        /// Headers that were written by them.
        headers: u32,
    },
    /// Somebody would.
    Harmful {
        /// How many checks failed.
        failed: usize,
        /// The first of them.
        first: Failure,
    },
    /// It cannot be tried.
    Untried {
        /// Why not.
        reason: String,
    },
}

impl Outcome {
    /// Returns whether the mechanism may be used.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        matches!(self, Outcome::Harmless { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Harmless { checks, headers } => {
                write!(formatter, "harmless: {checks} checks passed, {headers} headers written by them")
            }
            Outcome::Harmful { failed, first } => {
                let Failure { check, expected, got } = first;
                write!(formatter, "{check}: expected {expected}; got {got}")?;
                if *failed > 1 { write!(formatter, " (and {} other checks)", failed - 1) } else { Ok(()) }
            }
            Outcome::Untried { reason } => formatter.write_str(reason),
        }
    }
}
