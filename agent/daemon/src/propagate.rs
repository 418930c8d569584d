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

pub use breaker::{CONTROL, Tripped, judge};
pub use cgroup::resolve as resolve_cgroup;
pub use checks::Failure;
pub use servers::Servers;
pub use trial::{answer, headers_with_lasting_membership, tried};

/// Manners of writing contexts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mechanisms {
    /// A header of HTTP requests.
    pub headers: bool,
    /// An option in the header of TCP.
    pub option: bool,
}

impl Mechanisms {
    /// Returns those of these that the trial proves harmless, together or else alone, and what it gave, for the operator.
    #[must_use]
    pub fn harmless(self) -> (Self, Vec<(Self, Outcome)>) {
        let alone = [Self { option: false, ..self }, Self { headers: false, ..self }];
        let all = std::iter::once(self).chain(alone.into_iter().filter(|part| *part != self));
        let mut outcomes = Vec::new();
        for mechanisms in all.filter(|part| *part != Self::default()) {
            let outcome = tried(mechanisms);
            let is_harmless = outcome.is_harmless();
            outcomes.push((mechanisms, outcome));
            if is_harmless {
                return (mechanisms, outcomes);
            }
        }
        (Self::default(), outcomes)
    }
}

impl fmt::Display for Mechanisms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.headers, self.option) {
            (true, true) => "headers and TCP options",
            (true, false) => "headers",
            (false, true) => "TCP options",
            (false, false) => "nothing",
        })
    }
}

/// What the trial of a mechanism gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nobody would notice.
    Harmless {
        /// Checks that were made.
        checks: u32,
        /// Headers that were written by them, and arrived.
        headers: u64,
        /// Those of them that were written into HTTP/2.
        fields: u64,
        /// TCP options, likewise.
        options: u64,
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
            Outcome::Harmless { checks, headers, fields, options } => {
                write!(formatter, "harmless: {checks} checks passed, ")?;
                match (headers, options) {
                    (headers, 0) => {
                        write!(formatter, "{headers} headers ({fields} of HTTP/2) written by them")
                    }
                    (0, options) => write!(formatter, "{options} TCP options written by them"),
                    _ => write!(
                        formatter,
                        "{headers} headers ({fields} of HTTP/2) and {options} TCP options written by them"
                    ),
                }
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
