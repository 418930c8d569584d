//! What the kernel told.

use remora_engine::event::{Ciphertext, Event, Executor, FirstPositions, PipeRead, Plaintext, TlsId};

/// One record of the ring, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Something happened to a socket.
    Socket {
        /// What, in the engine's words.
        event: Event,
        /// The process whose call showed it.
        tgid: u32,
    },
    /// A Python task was made.
    Task {
        /// Who made it, and as whom it made it.
        executor: Executor,
        /// Address of the new task's context.
        context: u64,
        /// The thread's pointer, where the executor's own context could not be told.
        thread_pointer: Option<u64>,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A Python task's context ended: another may have its address next.
    TaskEnd {
        /// The process.
        tgid: u32,
        /// Address of the context.
        context: u64,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A thread was made by another of its process.
    Thread {
        /// Who made it.
        maker: Executor,
        /// The new thread.
        tid: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A thread ended, and its process did not.
    ThreadEnd {
        /// The process.
        tgid: u32,
        /// The thread.
        tid: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// From some time on, beginnings and ends of tasks and gifts may be missing.
    HandoversLost {
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A unit of work was handed over.
    Gift {
        /// How.
        handover: Handover,
        /// Who did it.
        giver: Executor,
        /// The unit.
        token: u64,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A stream of a connection that one goroutine writes, or reads, for others.
    Stream {
        /// What became of it.
        what: StreamEvent,
        /// The goroutine that did it.
        executor: Executor,
        /// The unit of work that the stream is written for.
        token: u64,
        /// The stream's number on its connection.
        number: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A part of what a thread writes next is written for a unit of work.
    Share {
        /// The thread, with the unit.
        executor: Executor,
        /// Bytes of it; none where nothing is shared any more.
        length: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A worker process has read from a pipe.
    Pipe(PipeRead),
    /// A TLS library took plaintext, or gave some.
    Plaintext {
        /// What.
        plaintext: Plaintext,
        /// When a write began, and a read ended, `CLOCK_MONOTONIC`.
        at_ns: u64,
        /// When its ciphertext was moved: the last of it began to be written, or the call returned.
        moved_ns: u64,
    },
    /// A TLS library moved ciphertext to memory, or from there.
    Ciphertext {
        /// What.
        ciphertext: Ciphertext,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// An object of a TLS library ended.
    TlsEnd {
        /// The object.
        tls: TlsId,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A process has mapped a file that it may execute.
    Mapped {
        /// The process.
        tgid: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// The other end of a connection has told where it begins as that end counts.
    Beginning {
        /// Address of this end's `struct sock`.
        sock: u64,
        /// Where it begins as this end counts.
        own: FirstPositions,
        /// The same places as the other end counts.
        told: FirstPositions,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A process runs a new program.
    Exec {
        /// The process.
        tgid: u32,
        /// Its parent.
        parent: u32,
        /// Its cgroup v2 id.
        cgroup_id: u64,
        /// Its command line as in `/proc/PID/cmdline`, maybe cut.
        arguments: Vec<u8>,
        /// Name of its thread.
        comm: String,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
    /// A process was made.
    Fork {
        /// The process that made it.
        parent: u32,
        /// The new process.
        child: u32,
    },
    /// A process ended.
    Exit {
        /// The process.
        tgid: u32,
        /// When, `CLOCK_MONOTONIC`.
        at_ns: u64,
    },
}

/// How a unit of work comes to be executed for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// It was given, under a number that may be used again.
    Gift,
    /// It was made, and keeps its number for good.
    Spawn,
    /// It was woken.
    Wake,
    /// It asks for a message, and works on what its calls bring.
    Ask,
}

/// What becomes of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// Its header is written.
    Written,
    /// It is served, by a goroutine that was started by whom has read its header.
    Served,
}

impl Observation {
    /// Returns when it happened, where the order against other observations matters.
    #[must_use]
    pub fn at_ns(&self) -> Option<u64> {
        match self {
            Observation::Socket { event, .. } => Some(event.at_ns),
            Observation::Exec { at_ns, .. }
            | Observation::Exit { at_ns, .. }
            | Observation::Task { at_ns, .. }
            | Observation::TaskEnd { at_ns, .. }
            | Observation::Thread { at_ns, .. }
            | Observation::ThreadEnd { at_ns, .. }
            | Observation::HandoversLost { at_ns }
            | Observation::Gift { at_ns, .. }
            | Observation::Stream { at_ns, .. }
            | Observation::Share { at_ns, .. }
            | Observation::Ciphertext { at_ns, .. }
            | Observation::TlsEnd { at_ns, .. }
            | Observation::Mapped { at_ns, .. }
            | Observation::Beginning { at_ns, .. } => Some(*at_ns),
            // Behind the ciphertext that the call has moved, and before what is answered to it.
            Observation::Plaintext { moved_ns, .. } => Some(*moved_ns),
            Observation::Pipe(read) => Some(read.at_ns),
            Observation::Fork { .. } => None,
        }
    }
}
