//! Whether contexts may be written into requests.

use super::Finding;
use crate::propagate::{self, Outcome};

/// Tries every mechanism: some two seconds.
pub(super) fn findings() -> Vec<Finding> {
    vec![headers(&propagate::headers())]
}

fn headers(outcome: &Outcome) -> Finding {
    let name = "writing headers";
    let meaning = "behind proxies that are not traced, requests are joined by a traceparent header that Remora writes \
                   ('remora run --propagate-in CGROUP'); without it such traces end at the proxy";
    match outcome {
        Outcome::Harmless { .. } => Finding::ok(name, outcome.to_string(), meaning),
        Outcome::Harmful { .. } => Finding::limited(
            name,
            format!("off, since programs would notice: {outcome}"),
            meaning,
            "nothing: no header is written on this kernel",
        ),
        Outcome::Untried { .. } => Finding::limited(
            name,
            format!("off: {outcome}"),
            meaning,
            "remove the cause, or do without: no header is written",
        ),
    }
}
