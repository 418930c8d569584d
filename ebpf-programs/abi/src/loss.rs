//! Per-CPU counters: what was seen, and what was discarded and why.

/// Reasons for which the programs discard something. The value is the index in the `LOSSES` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The ring had no room for a record.
    RingFull = 0,
    /// Too many threads use sockets: this call was not followed.
    ThreadMapFull = 1,
    /// A socket's state could not be stored.
    SocketMapFull = 2,
    /// User memory could not be read (swapped out, or unmapped by another thread).
    UserMemory = 3,
    /// A call had more segments than are followed.
    Segments = 4,
    /// Kernel memory could not be read on the way from file descriptor to socket.
    KernelMemory = 5,
    /// What is known of a process could not be copied to its child.
    ProcessMapFull = 6,
    /// The ring had no room to tell that work was handed over (a task, a thread, a gift) or ended: what is known of such
    /// may be out of date.
    Handover = 7,
    /// More calls into TLS libraries are under way than are remembered: what this one moved is not told.
    TlsCalls = 8,
}

impl Loss {
    /// All reasons, in index order.
    pub const ALL: [Loss; 9] = [
        Loss::RingFull,
        Loss::ThreadMapFull,
        Loss::SocketMapFull,
        Loss::UserMemory,
        Loss::Segments,
        Loss::KernelMemory,
        Loss::ProcessMapFull,
        Loss::Handover,
        Loss::TlsCalls,
    ];

    /// The label under which the reason is exported.
    pub const fn label(self) -> &'static str {
        match self {
            Loss::RingFull => "ring_full",
            Loss::ThreadMapFull => "thread_map_full",
            Loss::SocketMapFull => "socket_map_full",
            Loss::UserMemory => "user_memory_unreadable",
            Loss::Segments => "too_many_segments",
            Loss::KernelMemory => "kernel_memory_unreadable",
            Loss::ProcessMapFull => "process_map_full",
            Loss::Handover => "handover_not_told",
            Loss::TlsCalls => "tls_call_forgotten",
        }
    }
}

/// Things that the programs count. The value is the index in the `COUNTS` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Records submitted to the ring.
    Records = 0,
    /// Bytes moved through observed sockets.
    BytesMoved = 1,
    /// Bytes copied into the ring.
    BytesCaptured = 2,
    /// Socket calls that ended at a policy (ignored process or socket).
    Ignored = 3,
}

impl Count {
    /// All counters, in index order.
    pub const ALL: [Count; 4] = [Count::Records, Count::BytesMoved, Count::BytesCaptured, Count::Ignored];

    /// The label under which the counter is exported.
    pub const fn label(self) -> &'static str {
        match self {
            Count::Records => "records",
            Count::BytesMoved => "bytes_moved",
            Count::BytesCaptured => "bytes_captured",
            Count::Ignored => "calls_ignored",
        }
    }
}

/// Number of entries of the `LOSSES` map.
pub const LOSS_REASONS: u32 = Loss::ALL.len() as u32;
/// Number of entries of the `COUNTS` map.
pub const COUNT_KINDS: u32 = Count::ALL.len() as u32;

const _: () = {
    let mut index = 0;
    while index < Loss::ALL.len() {
        assert!(Loss::ALL[index] as usize == index);
        index += 1;
    }
    let mut index = 0;
    while index < Count::ALL.len() {
        assert!(Count::ALL[index] as usize == index);
        index += 1;
    }
};
