//! The design's budgets, by the names of the figures.

use std::fmt;

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Budget {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Budget {
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Budget::AtMost(most) => value <= most,
            Budget::AtLeast(least) => value >= least,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::AtMost(most) => write!(formatter, "≤ {most}"),
            Budget::AtLeast(least) => write!(formatter, "≥ {least}"),
        }
    }
}

/// Beginnings of figures' names, and their budgets. A figure without one only informs.
const BUDGETS: [(&str, Budget); 15] = [
    ("socket operation of an unselected process", Budget::AtMost(60.0)),
    ("socket operation of a selected process", Budget::AtMost(400.0)),
    ("nginx static: throughput lost", Budget::AtMost(10.0)),
    ("Redis GET: throughput lost", Budget::AtMost(10.0)),
    ("Go net/http: throughput lost", Budget::AtMost(8.0)),
    ("agent CPU at 10000 requests/s", Budget::AtMost(0.10)),
    ("agent memory (RSS) at 10000 requests/s", Budget::AtMost(60.0)),
    ("parser, time per message", Budget::AtMost(500.0)),
    ("skipped bodies", Budget::AtLeast(1000.0)),
    ("spans/s with fsync before the answer", Budget::AtLeast(150_000.0)),
    ("bytes per span on disk", Budget::AtMost(45.0)),
    ("trace by id p95", Budget::AtMost(50.0)),
    ("attribute search (common) p95", Budget::AtMost(1000.0)),
    ("attribute search (absent) p95", Budget::AtMost(1000.0)),
    ("root search p95", Budget::AtMost(100.0)),
];

/// Returns the budget of the figure with this name.
pub(super) fn of(name: &str) -> Option<Budget> {
    BUDGETS.iter().find(|(beginning, _)| name.starts_with(beginning)).map(|(_, budget)| *budget)
}
