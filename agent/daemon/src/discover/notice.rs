//! What capture tells discovery, and what discovery answers.

use super::probes::Probe;
use super::process::Runtime;
use crate::health::Question;

/// Something that the kernel side saw of a process. The process may be gone when it is read.
#[derive(Debug)]
pub enum Notice {
    /// It began to run a program.
    Started {
        /// The process.
        tgid: u32,
        /// Its parent; 0 where unknown.
        parent: u32,
        /// The command line as in `/proc/PID/cmdline`, maybe cut.
        arguments: Vec<u8>,
        /// Name of the thread.
        comm: String,
        /// Cgroup v2 id.
        cgroup_id: u64,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// It was made by another, whose program it goes on running.
    Forked {
        /// The other.
        parent: u32,
        /// The new process.
        child: u32,
    },
    /// Its last thread ended.
    Exited {
        /// The process.
        tgid: u32,
    },
    /// It used a socket, and nothing is known of it.
    Seen {
        /// The process.
        tgid: u32,
    },
    /// It has mapped a file that it may execute.
    Mapped {
        /// The process.
        tgid: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// It is a Python that made a task, of which the current context could not be told.
    Tasking {
        /// The process.
        tgid: u32,
        /// The thread's pointer (`fs`).
        thread_pointer: u64,
        /// Whether it is the process's first thread.
        is_first_thread: bool,
    },
    /// Somebody asks what is known of it.
    Asked(Box<Question>),
}

impl Notice {
    /// Returns the process that it is about.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        match self {
            Notice::Started { tgid, .. }
            | Notice::Exited { tgid }
            | Notice::Seen { tgid }
            | Notice::Mapped { tgid, .. }
            | Notice::Tasking { tgid, .. } => *tgid,
            Notice::Forked { child, .. } => *child,
            Notice::Asked(question) => question.known.pid,
        }
    }
}

/// What to do with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The process.
    pub tgid: u32,
    /// How many programs it had begun, as far as was told, when it was judged.
    pub programs: u32,
    /// Whether its sockets are observed.
    pub observe: bool,
    /// What executes it.
    pub runtime: Runtime,
    /// Places in its files that tell who works for whom, and are probed.
    pub probes: Vec<Probe>,
    /// Threads that were waiting for events when the agent began to look.
    pub waiting: Vec<u32>,
    /// Why it is observed or not, for people.
    pub reason: String,
}
