//! What a list of traces shows, and spans of time.

use std::sync::Arc;

use super::{Span, StatusCode, TraceId};

/// A span of time: from the first (inside) until the second (outside), nanoseconds since 1970 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// First nanosecond inside.
    pub from_unix_ns: u64,
    /// First nanosecond outside.
    pub until_unix_ns: u64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { from_unix_ns: 0, until_unix_ns: u64::MAX };

    /// Returns whether the moment is inside.
    #[must_use]
    pub fn contains(self, unix_ns: u64) -> bool {
        self.from_unix_ns <= unix_ns && unix_ns < self.until_unix_ns
    }

    /// Returns whether any moment from `first` to `last` (both inside) is in the range.
    #[must_use]
    pub fn overlaps(self, first_unix_ns: u64, last_unix_ns: u64) -> bool {
        first_unix_ns < self.until_unix_ns && self.from_unix_ns <= last_unix_ns
    }
}

/// One trace in a list.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSummary {
    /// The trace.
    pub trace_id: TraceId,
    /// Start of its earliest span.
    pub start_unix_ns: u64,
    /// End of its latest span.
    pub end_unix_ns: u64,
    /// Service of the root; of the earliest span while there is no root.
    pub root_service: Arc<str>,
    /// Name of the root, likewise.
    pub root_name: Arc<str>,
    /// Status of the root, likewise.
    pub root_status: StatusCode,
    /// Spans that are there, without duplicates.
    pub span_count: u32,
    /// Those with an error.
    pub error_count: u32,
    /// Spans and errors of each service, sorted by name.
    pub services: Vec<ServiceCount>,
    /// A span without parent is there.
    pub has_root: bool,
}

impl TraceSummary {
    /// Returns the time from first start to last end in nanoseconds.
    #[must_use]
    pub fn duration_ns(&self) -> u64 {
        self.end_unix_ns.saturating_sub(self.start_unix_ns)
    }
}

/// Share of one service in a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCount {
    /// The service.
    pub service: Arc<str>,
    /// Its spans.
    pub span_count: u32,
    /// Those with an error.
    pub error_count: u32,
}

impl TraceSummary {
    /// Returns the summary of a trace's spans (duplicates removed); none without a span. The root is the earliest
    /// span without parent.
    #[must_use]
    pub fn of(spans: &[&Span]) -> Option<Self> {
        let earliest = spans.iter().min_by_key(|span| (span.start_unix_ns, span.span_id))?;
        let roots = spans.iter().filter(|span| span.parent_span_id.is_none());
        let true_root = roots.min_by_key(|span| (span.start_unix_ns, span.span_id));
        let root = true_root.unwrap_or(earliest);
        let mut services: Vec<(&str, u32, u32)> = Vec::new();
        for span in spans {
            let errors = u32::from(span.is_error());
            match services.iter_mut().find(|(service, ..)| *service == span.service_name()) {
                Some((_, span_count, error_count)) => {
                    *span_count += 1;
                    *error_count += errors;
                }
                None => services.push((span.service_name(), 1, errors)),
            }
        }
        services.sort_unstable();
        Some(Self {
            trace_id: earliest.trace_id,
            start_unix_ns: earliest.start_unix_ns,
            end_unix_ns: spans.iter().map(|span| span.end_unix_ns).max()?.max(earliest.start_unix_ns),
            root_service: root.service_name().into(),
            root_name: Arc::clone(&root.name),
            root_status: root.status.code,
            span_count: spans.len().try_into().unwrap_or(u32::MAX),
            error_count: services.iter().map(|(.., error_count)| error_count).sum(),
            services: services
                .into_iter()
                .map(|(service, span_count, error_count)| ServiceCount {
                    service: service.into(),
                    span_count,
                    error_count,
                })
                .collect(),
            has_root: true_root.is_some(),
        })
    }
}
