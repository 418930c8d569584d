//! The ledger in one line, for the end of a run.

use super::ledger::{Ledger, Loss};

/// Returns `no losses`, or every reason that happened with its count, largest first.
#[must_use]
pub fn summary(ledger: &Ledger) -> String {
    let mut losses: Vec<Loss> = ledger.losses().into_iter().filter(|loss| loss.count > 0).collect();
    if losses.is_empty() {
        return "no losses".to_owned();
    }
    losses.sort_by(|a, b| {
        b.count.cmp(&a.count).then_with(|| (&a.stage, &a.reason).cmp(&(&b.stage, &b.reason)))
    });
    let parts: Vec<String> =
        losses.iter().map(|loss| format!("{}/{} {}", loss.stage, loss.reason, loss.count)).collect();
    format!("losses: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_happened_is_listed_largest_first() {
        let ledger = Ledger::default();
        ledger.loss("export", "rejected").add(3);
        let _never = ledger.loss("queue", "full");
        assert_eq!(summary(&Ledger::default()), "no losses");
        ledger.loss("kernel", "ring_full").add(40);
        assert_eq!(summary(&ledger), "losses: kernel/ring_full 40, export/rejected 3");
    }
}
