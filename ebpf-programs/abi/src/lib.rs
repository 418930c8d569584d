//! The structs, map names and limits that cross the border between the BPF programs and user space.
//!
//! Everything here is plain data in native byte order with explicit padding, so that both sides, built by
//! different back ends for different targets, see the same layout. The `const` assertions at the end of each
//! module fail the build where they would not. There is no logic here.
#![no_std]

mod event;
mod limits;
mod loss;
mod offsets;
mod policy;
mod propagation;

pub use event::*;
pub use limits::*;
pub use loss::*;
pub use offsets::*;
pub use policy::*;
pub use propagation::*;

/// Names of the maps and globals that user space looks up in the loaded object.
pub mod names {
    /// Ring buffer of [`EventHeader`](crate::EventHeader)s.
    pub const EVENTS: &str = "EVENTS";
    /// Per-CPU array of [`Loss`](crate::Loss) counters.
    pub const LOSSES: &str = "LOSSES";
    /// Per-CPU array of [`Count`](crate::Count) counters.
    pub const COUNTS: &str = "COUNTS";
    /// Hash: socket address → [`SocketPolicy`](crate::SocketPolicy), written by user space.
    pub const SOCKET_POLICIES: &str = "SOCKET_POLICIES";
    /// LRU hash: socket address → [`SocketState`](crate::SocketState), written by the programs.
    pub const SOCKETS: &str = "SOCKETS";
    /// Hash: tgid → [`ProcessPolicy`](crate::ProcessPolicy), written by user space.
    pub const PROCESSES: &str = "PROCESSES";
    /// Array with one [`Settings`](crate::Settings), written by user space.
    pub const SETTINGS: &str = "SETTINGS";
    /// Array with one [`PropagationSettings`](crate::PropagationSettings), written by user space.
    pub const PROPAGATION: &str = "PROPAGATION";
    /// LRU hash: [`ServerAddress`](crate::ServerAddress) → when it was last seen to be asked by HTTP/1, monotonic
    /// nanoseconds; written by user space.
    pub const SERVERS: &str = "SERVERS";
    /// LRU hash: socket address → [`Writer`](crate::Writer), written by the programs.
    pub const WRITERS: &str = "WRITERS";
    /// Socket hash: socket address → socket whose next bytes are looked at before they leave.
    pub const WRITER_SOCKETS: &str = "WRITER_SOCKETS";
    /// LRU hash: tgid → when it was last seen to read first, written by the programs.
    pub const EARLY_READERS: &str = "EARLY_READERS";
    /// LRU hash: [`ServerAddress`](crate::ServerAddress) → [`Doubt`](crate::Doubt), written by the programs.
    pub const DOUBTED: &str = "DOUBTED";
    /// Per-CPU array of [`Write`](crate::Write) counters.
    pub const WRITES: &str = "WRITES";
    /// Global of type [`Offsets`](crate::Offsets), set at load.
    pub const OFFSETS: &str = "OFFSETS";
    /// A `u32` that is set at load: how many segments of a call are followed, at most
    /// [`MAX_SEGMENTS`](crate::MAX_SEGMENTS).
    pub const SEGMENTS: &str = "SEGMENTS";
}
