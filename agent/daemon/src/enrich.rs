//! Spans of the engine become spans of a service: who the process is, and when it was by the calendar.
//!
//! Takes the engine's `Span`, makes a [`ResourceSpan`]. It knows neither kernel nor OTLP, and it never waits: what
//! discovery does not know yet is exported as unknown, and counted.

mod clock;
mod host;
mod kubernetes;
mod resource;
mod uuid;

use std::sync::Arc;
use std::time::Instant;

use foldhash::HashMap;
use remora_engine::span::Span;

pub use clock::ClockAnchor;
pub use host::Host;
pub use resource::Resource;

use crate::discover::{MAX_PROCESSES, Process, Processes};
use crate::health::{Counter, Ledger};
use crate::kubernetes::{Cluster, Placement};

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
    resources: HashMap<u32, Made>,
    unknown: Counter,
    /// What the API server tells, where it is followed.
    cluster: Option<Cluster>,
    /// Spans of pods of which it has not told.
    unplaced: Counter,
}

/// A resource, and what it was made from.
#[derive(Debug)]
struct Made {
    /// The process, to notice when its id means another one.
    process: Option<Arc<Process>>,
    placement: Option<Placement>,
    /// When the placement was looked up.
    generation: u64,
    /// Whether the process is in a pod of which nothing is known.
    is_unplaced: bool,
    resource: Arc<Resource>,
}

impl Enricher {
    /// Returns an enricher that looks processes up in `processes`.
    #[must_use]
    pub fn new(processes: Processes, clock: ClockAnchor, ledger: &Ledger) -> Self {
        let unknown = ledger.counter("remora_agent_spans_of_unknown_processes_total");
        let (host, resources) = (Host::this(), HashMap::default());
        Self { processes, clock, host, resources, unknown, cluster: None, unplaced: Counter::default() }
    }

    /// Lets it say what a cluster knows.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Option<Cluster>, ledger: &Ledger) -> Self {
        if let Some(cluster) = &cluster {
            self.unplaced = ledger.counter("remora_agent_spans_of_unknown_pods_total");
            // What a pod takes for its host's name is its own.
            self.host.name.clone_from(&cluster.settings().node);
        }
        self.cluster = cluster;
        self
    }

    /// Returns whether a process is in a pod that will probably be known in a moment.
    #[must_use]
    pub fn awaits(&self, tgid: u32) -> bool {
        let Some(cluster) = &self.cluster else { return false };
        self.processes.get(tgid).is_some_and(|process| {
            cluster.awaits(process.container_id.as_deref(), process.pod_uid.as_deref(), Instant::now())
        })
    }

    /// Returns the span with all that is known of its process.
    pub fn enrich(&mut self, mut span: Span) -> ResourceSpan {
        let started_at_unix_ns = self.clock.unix_ns(span.started_at_ns);
        let duration_ns = span.ended_at_ns.saturating_sub(span.started_at_ns);
        let resource = self.resource(span.tgid);
        if let Some(cluster) = &self.cluster {
            kubernetes::name_peer(cluster, resource.text("k8s.namespace.name"), &mut span);
        }
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
        let generation = self.cluster.as_ref().map_or(0, Cluster::generation);
        if let Some(made) = self.resources.get(&tgid) {
            let is_same = match (&made.process, &process) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now) && made.generation == generation,
                // What was known stays true for the last spans of a process that is gone.
                (_, None) => true,
                (None, Some(_)) => false,
            };
            if is_same {
                self.unplaced.add(u64::from(made.is_unplaced));
                return made.resource.clone();
            }
        }
        let placement = process.as_ref().and_then(|process| self.placement(process));
        if let Some(made) = self.resources.get_mut(&tgid)
            && let (Some(before), Some(now)) = (&made.process, &process)
            && Arc::ptr_eq(before, now)
            && made.placement == placement
        {
            made.generation = generation;
            self.unplaced.add(u64::from(made.is_unplaced));
            return made.resource.clone();
        }
        if self.resources.len() >= MAX_PROCESSES {
            self.resources.clear();
        }
        let resource = Arc::new(match (&process, &self.cluster) {
            (Some(process), None) => Resource::of_process(process, &self.host),
            (Some(process), Some(cluster)) => {
                Resource::in_cluster(process, &self.host, cluster, placement.as_ref())
            }
            (None, _) => Resource::unknown(tgid, &self.host),
        });
        let is_in_pod = process.as_ref().is_some_and(|process| process.pod_uid.is_some());
        let is_unplaced = self.cluster.is_some() && is_in_pod && placement.is_none();
        self.unplaced.add(u64::from(is_unplaced));
        let made = Made { process, placement, generation, is_unplaced, resource: resource.clone() };
        self.resources.insert(tgid, made);
        resource
    }

    fn placement(&self, process: &Process) -> Option<Placement> {
        let (container, pod) = (process.container_id.as_deref(), process.pod_uid.as_deref());
        self.cluster.as_ref()?.placement(container, pod)
    }
}

#[cfg(test)]
mod tests;
