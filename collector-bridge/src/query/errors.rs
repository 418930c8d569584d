//! What goes wrong, and how often.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::analyze::{Failure, FailureStats, Rollups};

/// Which errors.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorsQuestion {
    /// Of this service only.
    pub service: Option<String>,
    /// Of spans with this name only.
    pub operation: Option<String>,
}

/// Errors with the same service, span name, kind, type and message.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorGroup {
    /// The service.
    pub service: String,
    /// What they have in common; none for those beyond the limits of a minute.
    pub failure: Option<Failure>,
    /// How often, when and where.
    pub stats: FailureStats,
}

/// Returns the groups, most frequent first, then last seen first, then by name.
#[must_use]
pub fn error_groups(rollups: &Rollups, question: &ErrorsQuestion) -> Vec<ErrorGroup> {
    let mut groups: BTreeMap<(&str, Option<&Failure>), FailureStats> = BTreeMap::new();
    for group in rollups.failures() {
        let is_wanted = question.service.as_deref().is_none_or(|service| service == group.service)
            && question.operation.as_deref().is_none_or(|operation| {
                group.failure.is_some_and(|failure| *failure.operation == *operation)
            });
        if is_wanted {
            groups.entry((group.service, group.failure)).or_default().merge(group.stats);
        }
    }
    let owned = groups.into_iter().map(|((service, failure), stats)| ErrorGroup {
        service: service.to_owned(),
        failure: failure.cloned(),
        stats,
    });
    let mut groups: Vec<ErrorGroup> = owned.collect();
    groups.sort_by_key(|group| (Reverse(group.stats.count), Reverse(group.stats.last_unix_ns)));
    groups
}
