//! What is known of one process.

use std::path::PathBuf;

use remora_engine::event::Scheduling;

use super::environment::Environment;

/// A process, as it was when its program began.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Process id of the parent; 0 where unknown.
    pub parent: u32,
    /// Name of the main thread (`/proc/PID/comm`).
    pub comm: String,
    /// Target of `/proc/PID/exe`, in the process's own mount namespace, without the kernel's ` (deleted)`.
    pub executable: Option<PathBuf>,
    /// The command line; cut where the kernel's record was cut and `/proc` was too late.
    pub arguments: Vec<String>,
    /// What the process calls itself or is called after; never empty.
    pub service_name: String,
    /// Where the name is from.
    pub service_name_source: NameSource,
    /// What its environment says for telemetry.
    pub environment: Environment,
    /// Identifier of the container, without the runtime's prefix.
    pub container_id: Option<String>,
    /// Uid of the Kubernetes pod, as the control group says.
    pub pod_uid: Option<String>,
    /// Path in the cgroup v2 hierarchy, or in that of the named systemd v1 hierarchy.
    pub cgroup: Option<String>,
    /// What executes it.
    pub runtime: Runtime,
    /// Process id in its own pid namespace, where that is not the initial one.
    pub namespace_pid: Option<u32>,
    /// Start of the process in clock ticks since boot; tells two users of the same id apart.
    pub started_at_ticks: Option<u64>,
    /// `service.instance.id`: the process that began this program and when. Forked workers share it.
    pub instance: Instance,
    /// How often the process was told to begin a program, since discovery knows of it.
    pub programs: u32,
}

/// The process that began a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Its process id.
    pub tgid: u32,
    /// Its start in clock ticks since boot; 0 where unknown.
    pub started_at_ticks: u64,
}

/// Where a service name is from, strongest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameSource {
    /// `OTEL_SERVICE_NAME`.
    EnvironmentName,
    /// `service.name` in `OTEL_RESOURCE_ATTRIBUTES`.
    EnvironmentAttributes,
    /// An argument that says so (`-Dotel.service.name=`).
    Argument,
    /// The application, script, module, package or archive on the command line.
    Application,
    /// The file name of the executable.
    Executable,
    /// The name of the thread: all that was left of a process that was gone too soon.
    #[default]
    Comm,
}

impl NameSource {
    /// Returns a short text for people.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            NameSource::EnvironmentName => "OTEL_SERVICE_NAME",
            NameSource::EnvironmentAttributes => "OTEL_RESOURCE_ATTRIBUTES",
            NameSource::Argument => "argument",
            NameSource::Application => "application on the command line",
            NameSource::Executable => "executable",
            NameSource::Comm => "thread name",
        }
    }
}

/// What executes a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Runtime {
    /// Go.
    Go {
        /// `runtime.Version()`, such as `go1.26.1`.
        version: String,
        /// Where a goroutine keeps its id; none where neither the version nor the program's types tell.
        offsets: Option<GoOffsets>,
    },
    /// Node.js.
    Node,
    /// `CPython` or another Python.
    Python {
        /// Where its threads keep the current `Context`, once that is known.
        contexts: Option<ContextOffsets>,
    },
    /// A Java virtual machine.
    Java,
    /// Ruby.
    Ruby,
    /// nginx: native, and an event loop whose turns never mix requests.
    Nginx,
    /// Another proxy that passes requests on as it got them: HAProxy, Envoy, Linkerd's.
    Proxy,
    /// A native program on tokio, which tells what its threads run.
    Tokio {
        /// Where.
        offsets: TokioOffsets,
    },
    /// Another native program.
    Native,
    /// The executable could not be looked at.
    #[default]
    Unknown,
}

impl Runtime {
    /// Returns a short name in lower case.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Runtime::Go { .. } => "go",
            Runtime::Node => "nodejs",
            Runtime::Python { .. } => "python",
            Runtime::Java => "java",
            Runtime::Ruby => "ruby",
            Runtime::Nginx => "nginx",
            Runtime::Proxy => "proxy",
            Runtime::Tokio { .. } => "tokio",
            Runtime::Native => "native",
            Runtime::Unknown => "unknown",
        }
    }

    /// Returns what the engine may assume of the threads.
    #[must_use]
    pub fn scheduling(&self) -> Scheduling {
        match self {
            Runtime::Nginx => Scheduling::Turns,
            Runtime::Proxy => Scheduling::Proxy,
            Runtime::Node => Scheduling::EventLoop,
            Runtime::Go { .. } => Scheduling::Migrating,
            Runtime::Tokio { .. } => Scheduling::Tasks,
            Runtime::Python { .. } | Runtime::Ruby => Scheduling::Threads,
            _ => Scheduling::Unproven,
        }
    }
}

/// Byte offsets in `runtime.g`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoOffsets {
    /// `goid`.
    pub goid: u16,
    /// `parentGoid`; 0 before Go 1.21, which has none.
    pub parent_goid: u16,
    /// The version is in no table: the program's own types say so.
    pub is_from_types: bool,
}

/// Where the threads of a program on tokio keep what they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokioOffsets {
    /// Of the task's id, from the thread pointer.
    pub current_task: i16,
}

/// Where a Python's threads keep their current `Context`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContextOffsets {
    /// Of the pointer to `PyThreadState`, from the thread pointer.
    pub thread_state: i16,
    /// Of `context` in `PyThreadState`.
    pub context: u16,
}
