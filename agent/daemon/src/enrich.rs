//! Spans of the engine become spans of a service: who the process is, and when it was by the calendar.
//!
//! Takes the engine's `Span`, makes a [`ResourceSpan`]. It knows neither kernel nor OTLP, and it never waits: what
//! discovery does not know yet is exported as unknown, and counted.

mod clock;
mod host;
mod resource;
mod uuid;

use std::sync::Arc;

use foldhash::HashMap;
use remora_engine::span::Span;

pub use clock::ClockAnchor;
pub use host::Host;
pub use resource::Resource;

use crate::discover::{MAX_PROCESSES, Process, Processes};
use crate::health::{Counter, Ledger};

/// A span with its resource and its times by the calendar.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceSpan {
    /// The span, its own times still monotonic.
    pub span: Span,
    /// Whose it is. Spans of one process share one allocation.
    pub resource: Arc<Resource>,
    /// Start, nanoseconds since the Unix epoch.
    pub started_at_unix_ns: u64,
    /// End, likewise; never before the start.
    pub ended_at_unix_ns: u64,
}

/// Turns spans into resource spans. Belongs to one thread.
#[derive(Debug)]
pub struct Enricher {
    processes: Processes,
    clock: ClockAnchor,
    host: Host,
    /// The process a resource was made from, to notice when its id means another one.
    resources: HashMap<u32, (Option<Arc<Process>>, Arc<Resource>)>,
    unknown: Counter,
}

impl Enricher {
    /// Returns an enricher that looks processes up in `processes`.
    #[must_use]
    pub fn new(processes: Processes, clock: ClockAnchor, ledger: &Ledger) -> Self {
        let unknown = ledger.counter("remora_agent_spans_of_unknown_processes_total");
        Self { processes, clock, host: Host::this(), resources: HashMap::default(), unknown }
    }

    /// Returns the span with all that is known of its process.
    pub fn enrich(&mut self, span: Span) -> ResourceSpan {
        let started_at_unix_ns = self.clock.unix_ns(span.started_at_ns);
        let duration_ns = span.ended_at_ns.saturating_sub(span.started_at_ns);
        let resource = self.resource(span.tgid);
        ResourceSpan {
            span,
            resource,
            started_at_unix_ns,
            ended_at_unix_ns: started_at_unix_ns + duration_ns,
        }
    }

    fn resource(&mut self, tgid: u32) -> Arc<Resource> {
        let process = self.processes.get(tgid);
        if process.is_none() {
            self.unknown.add(1);
        }
        if let Some((of, resource)) = self.resources.get(&tgid) {
            let is_same = match (of, &process) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                // What was known stays true for the last spans of a process that is gone.
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if is_same {
                return resource.clone();
            }
        }
        if self.resources.len() >= MAX_PROCESSES {
            self.resources.clear();
        }
        let resource = Arc::new(match &process {
            Some(process) => Resource::of_process(process, &self.host),
            None => Resource::unknown(tgid, &self.host),
        });
        self.resources.insert(tgid, (process, resource.clone()));
        resource
    }
}

#[cfg(test)]
mod tests;
