//! What the agent has counted of the contexts that it might have written.

use remora_tests::remora::{Remora, patience};
use remora_tests::wait;

/// How long the agent may take to publish its counts, which it does once a second.
const PUBLISHED_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

fn value(remora: &Remora, name: &str, what: &str) -> u64 {
    let metrics = remora.metrics().unwrap();
    let start = format!("{name}{{what=\"{what}\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&start));
    value.unwrap_or_else(|| panic!("{start}in {metrics}")).parse().unwrap()
}

/// Returns how often this has happened, all of which lies before the call.
pub(crate) fn counted(remora: &Remora, what: &str) -> u64 {
    // Whoever asks for the counts is counted.
    let records = || value(remora, "remora_agent_kernel_total", "records");
    let mut before = records();
    for _ in 0..2 {
        before = wait::until("new counts", patience(PUBLISHED_WITHIN), || {
            let now = records();
            Ok((now != before).then_some(now))
        })
        .unwrap();
    }
    value(remora, "remora_agent_contexts_total", what)
}
