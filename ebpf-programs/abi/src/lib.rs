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

pub use event::*;
pub use limits::*;
pub use loss::*;
pub use offsets::*;
pub use policy::*;

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
    /// Global of type [`Offsets`](crate::Offsets), set at load.
    pub const OFFSETS: &str = "OFFSETS";
}
