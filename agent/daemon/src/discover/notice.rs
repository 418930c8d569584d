//! What capture tells discovery, and what discovery answers.

use remora_engine::event::Scheduling;

use super::process::GoOffsets;

/// Something that the kernel side saw of a process. The process may be gone when it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl Notice {
    /// Returns the process that it is about.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        match self {
            Notice::Started { tgid, .. } | Notice::Exited { tgid } | Notice::Seen { tgid } => *tgid,
            Notice::Forked { child, .. } => *child,
        }
    }
}

/// What to do with a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The process.
    pub tgid: u32,
    /// Whether its sockets are observed.
    pub observe: bool,
    /// Where its goroutines keep their ids.
    pub go: Option<GoOffsets>,
    /// How its threads serve requests.
    pub scheduling: Scheduling,
    /// Why it is observed or not, for people.
    pub reason: String,
}
