//! Whether contexts may be written into requests.

use super::Finding;
use crate::propagate::{self, Mechanisms, Outcome};

/// Tries every mechanism: some two seconds each.
pub(super) fn findings() -> Vec<Finding> {
    let headers = propagate::tried(Mechanisms { headers: true, option: false });
    let option = propagate::tried(Mechanisms { headers: false, option: true });
    vec![
        finding(
            "writing headers",
            &headers,
            "behind proxies that are not traced, requests are joined by a traceparent header that Remora writes \
             ('remora run --propagate-in CGROUP'); without it such traces end at the proxy",
        ),
        finding(
            "writing TCP options",
            &option,
            "behind firewalls that rewrite sequence numbers, requests are joined by a TCP option that Remora writes and \
             reads ('remora run --propagate-in CGROUP' on both hosts); without it such traces end at the firewall",
        ),
    ]
}

fn finding(name: &'static str, outcome: &Outcome, meaning: &'static str) -> Finding {
    match outcome {
        Outcome::Harmless { .. } => Finding::ok(name, outcome.to_string(), meaning),
        Outcome::Harmful { .. } => Finding::limited(
            name,
            format!("off, since programs would notice: {outcome}"),
            meaning,
            "nothing: it is not done on this kernel",
        ),
        Outcome::Untried { .. } => Finding::limited(
            name,
            format!("off: {outcome}"),
            meaning,
            "remove the cause, or do without: nothing is written",
        ),
    }
}
