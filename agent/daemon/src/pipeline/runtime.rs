//! What discovery says of a runtime, in the words of the capture.

use foldhash::HashSet;

use remora_engine::event::Scheduling;

use crate::attach::Platform;
use crate::capture::{Prober, ProcessMode, Tasks};
use crate::discover::{FileIdentity, Probe, Purpose, Runtime};
use crate::health::{Counter, Ledger};

/// Places that are probed at most.
const MAX_PROBES: usize = 4096;

/// How a process is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct How {
    /// By the programs: how its tasks are told apart,
    tasks: Tasks,
    /// and whether its threads take units of work by token.
    has_tokens: bool,
    /// By the engine.
    pub(super) scheduling: Scheduling,
}

impl How {
    /// Returns it in the words of the capture.
    pub(super) fn mode(self) -> ProcessMode {
        ProcessMode::Observe { tasks: self.tasks, has_tokens: self.has_tokens }
    }
}

/// Returns how a process is observed that has no part inside.
pub(super) fn plain(runtime: &Runtime, probes: &[Probe]) -> How {
    How { tasks: tasks(runtime), has_tokens: has_tokens(runtime), scheduling: scheduling(runtime, probes) }
}

/// Returns how a process is observed that has a part inside.
pub(super) fn with_part(platform: Platform) -> How {
    match platform {
        Platform::Jvm => How { tasks: Tasks::None, has_tokens: true, scheduling: Scheduling::Unproven },
        Platform::Node => How { tasks: Tasks::Libuv, has_tokens: true, scheduling: Scheduling::TokenLoop },
    }
}

/// Returns whose parts a program may get.
pub(super) fn platform(runtime: &Runtime) -> Option<Platform> {
    match runtime {
        Runtime::Java => Some(Platform::Jvm),
        Runtime::Node => Some(Platform::Node),
        _ => None,
    }
}

/// Returns how the tasks of a program are told apart.
fn tasks(runtime: &Runtime) -> Tasks {
    match runtime {
        Runtime::Go { offsets: Some(offsets), .. } => {
            Tasks::Goroutines { goid: offsets.goid, parent_goid: offsets.parent_goid }
        }
        Runtime::Python { contexts: Some(contexts) } => {
            Tasks::Contexts { thread_state: contexts.thread_state, context: contexts.context }
        }
        Runtime::Tokio { offsets } => Tasks::Tokio { current_task: offsets.current_task },
        Runtime::Node => Tasks::Libuv,
        _ => Tasks::None,
    }
}

/// Returns whether the threads of a program take units of work whose numbers can be told.
fn has_tokens(runtime: &Runtime) -> bool {
    matches!(runtime, Runtime::Python { .. })
}

/// The places that are probed, each once.
pub(super) struct Attached {
    prober: Prober,
    places: HashSet<(FileIdentity, u64)>,
    refused: Counter,
}

impl Attached {
    /// Returns none; what cannot be attached will be counted.
    pub(super) fn new(prober: Prober, ledger: &Ledger) -> Self {
        Self {
            prober,
            places: HashSet::default(),
            refused: ledger.counter("remora_agent_probes_refused_total"),
        }
    }

    /// Returns whether a probe is attached, after trying to. Without it, parents are missing that it would have told.
    pub(super) fn attach(&mut self, probe: &Probe) -> bool {
        let place = (probe.file, probe.offset);
        if self.places.contains(&place) {
            return true;
        }
        if self.places.len() >= MAX_PROBES {
            self.refused.add(1);
            return false;
        }
        match self.prober.attach(program(probe.purpose), &probe.path, probe.offset) {
            Ok(()) => self.places.insert(place),
            // The process through which the file was found is gone; the next one will do.
            Err(_) if probe.path.symlink_metadata().is_err() => false,
            Err(error) => {
                self.refused.add(1);
                tracing::warn!(
                    "parents are missing that a probe in {} would tell: {error}",
                    probe.path.display()
                );
                false
            }
        }
    }
}

/// Returns how a program's threads serve requests. Without the probes that end Node's turns, they prove nothing.
fn scheduling(runtime: &Runtime, probes: &[Probe]) -> Scheduling {
    const NODE_TURNS: usize = 2;
    match runtime {
        Runtime::Node if probes.len() < NODE_TURNS => Scheduling::Migrating,
        _ => runtime.scheduling(),
    }
}

fn program(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::GoRoundTrip => "go_http_round_trip",
        Purpose::PythonContextCopied => "python_context_copied",
        Purpose::PythonFreeContext => "python_free_context",
        Purpose::PythonQueuePut => "python_queue_put",
        Purpose::PythonQueueGet => "python_queue_get",
        Purpose::PythonQueueGot => "python_queue_got",
        Purpose::UvloopWrite => "uvloop_write",
        Purpose::NodeTurn => "node_turn",
        Purpose::TokioSpawn => "tokio_spawn",
        Purpose::TokioWake => "tokio_wake",
    }
}
