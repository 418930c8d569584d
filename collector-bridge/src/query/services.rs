//! Which services there are, and what they do.

use std::collections::BTreeMap;

use crate::analyze::{Red, Rollups};
use crate::model::SpanKind;

/// One service in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSummary {
    /// Its name.
    pub name: String,
    /// All its spans.
    pub spans: u64,
    /// Those with an error.
    pub span_errors: u64,
    /// Requests and messages that it handled.
    pub handled: Red,
    /// Distinct names of its spans.
    pub operation_count: usize,
    /// Start of the last minute in which a span of it starts, unix time.
    pub last_minute_unix_ns: u64,
}

/// One operation of a service in a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationSummary {
    /// Name of the spans.
    pub name: String,
    /// Their kind.
    pub kind: SpanKind,
    /// Their sums.
    pub red: Red,
    /// Start of the last minute in which one of them starts, unix time.
    pub last_minute_unix_ns: u64,
}

/// Returns all services by name.
#[must_use]
pub fn services(rollups: &Rollups) -> Vec<ServiceSummary> {
    let mut services: BTreeMap<&str, ServiceSummary> = BTreeMap::new();
    let mut last_operation: BTreeMap<&str, std::collections::BTreeSet<&str>> = BTreeMap::new();
    for sum in rollups.operations() {
        let service = services.entry(sum.service).or_insert_with(|| ServiceSummary {
            name: sum.service.to_owned(),
            spans: 0,
            span_errors: 0,
            handled: Red::default(),
            operation_count: 0,
            last_minute_unix_ns: 0,
        });
        service.spans += sum.red.count();
        service.span_errors += sum.red.errors;
        service.last_minute_unix_ns = service.last_minute_unix_ns.max(sum.minute_unix_ns);
        if handles_requests(sum.kind) {
            service.handled.merge(sum.red);
        }
        last_operation.entry(sum.service).or_default().insert(sum.name);
    }
    for (name, operations) in last_operation {
        if let Some(service) = services.get_mut(name) {
            service.operation_count = operations.len();
        }
    }
    services.into_values().collect()
}

/// Returns the operations of a service by name and kind; empty where it is unknown.
#[must_use]
pub fn operations(rollups: &Rollups, service: &str) -> Vec<OperationSummary> {
    let mut operations: BTreeMap<(&str, SpanKind), OperationSummary> = BTreeMap::new();
    for sum in rollups.operations().filter(|sum| sum.service == service) {
        let operation = operations.entry((sum.name, sum.kind)).or_insert_with(|| OperationSummary {
            name: sum.name.to_owned(),
            kind: sum.kind,
            red: Red::default(),
            last_minute_unix_ns: 0,
        });
        operation.red.merge(sum.red);
        operation.last_minute_unix_ns = operation.last_minute_unix_ns.max(sum.minute_unix_ns);
    }
    operations.into_values().collect()
}

/// Returns whether spans of this kind are work that others asked for.
pub(super) fn handles_requests(kind: SpanKind) -> bool {
    matches!(kind, SpanKind::Server | SpanKind::Consumer)
}
