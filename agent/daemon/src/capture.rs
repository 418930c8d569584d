//! The border to the kernel: loads and attaches the BPF programs, decodes the ring, carries feedback into maps.
//!
//! Ring bytes become [`Observation`]s; `Command`s of the engine and verdicts become map entries. This is the only room that
//! knows aya and the abi, and the only one with unsafe code. It knows nothing of protocols. Its one hard problem is
//! that a kernel may lack what it needs, which it says in the words of an operator.

mod datagrams;
mod decode;
mod kernel_log;
mod load;
pub mod locked_memory;
mod observation;
mod offsets;
mod policy;
mod prober;
mod ring;
mod socket_option;
mod writing;

/// Bytes of one system call that can be copied at most.
pub const MAX_CAPTURE_BYTES: u32 = remora_abi::MAX_CAPTURE;

pub use datagrams::DatagramPorts;
pub use load::{Capture, CaptureSettings, Error};
pub use observation::{Handover, Observation, StreamEvent};
pub use offsets::{OffsetError, resolve as resolve_offsets};
pub use policy::{ProcessMode, Tasks};
pub use prober::{Attachment, Prober, detach, links_hold_many};
pub use socket_option::{set as set_socket_option, zero_copy_calls};
pub use writing::{Membership, WriteSettings, Writing, other_socket_maps};
