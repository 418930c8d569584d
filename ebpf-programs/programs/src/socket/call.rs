//! A socket call between its entry and its exit.

use crate::runtime::Task;

/// How the call names the memory that it moves bytes from or to.
pub(crate) mod memory {
    /// One buffer.
    pub(crate) const BUFFER: u8 = 0;
    /// An array of `struct iovec`.
    pub(crate) const VECTOR: u8 = 1;
    /// A `struct msghdr`.
    pub(crate) const MESSAGE: u8 = 2;
    /// An array of `struct mmsghdr`.
    pub(crate) const MESSAGES: u8 = 3;
    /// None in user space (`sendfile`, `splice`), or none that holds the bytes (`MSG_TRUNC`).
    pub(crate) const NONE: u8 = 4;
    /// The call moves nothing: `connect`.
    pub(crate) const CONNECT: u8 = 5;
    /// One buffer, into which a pipe is read; `Call::sock` is the pipe.
    pub(crate) const PIPE: u8 = 6;
}

/// What the exit needs to know of the entry.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Address of the `struct sock`.
    pub(crate) sock: u64,
    /// Address in user memory, of the kind that `memory` says.
    pub(crate) address: u64,
    /// Address in user memory of the other end's address, where the call itself names it; else 0.
    pub(crate) name: u64,
    /// Entry, `CLOCK_MONOTONIC`; of use only for calls that write or connect.
    pub(crate) time_ns: u64,
    /// Who makes the call.
    pub(crate) task: Task,
    /// Number of elements at `address`.
    pub(crate) elements: u32,
    /// Position of the first byte.
    pub(crate) position: u32,
    /// Position of the other direction.
    pub(crate) reverse_position: u32,
    /// Number of the socket's inode.
    pub(crate) inode: u32,
    /// Bytes to capture at most.
    pub(crate) capture_bytes: u32,
    /// Position before which nothing is copied, valid where `skips` is 1.
    pub(crate) skip_until: u32,
    /// Position at which the programs have written bytes of their own during the call.
    pub(crate) inserted_position: u32,
    /// How many; 0 for none.
    pub(crate) inserted: u32,
    /// `memory::*`.
    pub(crate) memory: u8,
    /// `DIRECTION_*`.
    pub(crate) direction: u8,
    /// `FAMILY_*`.
    pub(crate) family: u8,
    /// 1 where `skip_until` is valid.
    pub(crate) skips: u8,
    /// Bytes that user space puts before what is told: `DATAGRAM_FRAMING` where the socket is for datagrams, else 0.
    pub(crate) framing: u32,
    /// How far the exit has followed the memory.
    pub(crate) cursor: Cursor,
}

/// A walk over the segments of memory that a call moved bytes from or to.
///
/// It lives in the map, not in registers: values that the verifier does not know let it see that all rounds of the
/// walk are alike.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// Bytes left of the present message, or of the whole call where there are no messages.
    pub(crate) left: u64,
    /// Bytes told so far.
    pub(crate) total: u64,
    /// Address of the next `struct iovec`.
    pub(crate) vector: u64,
    /// Address of the next `struct mmsghdr`.
    pub(crate) message: u64,
    /// Address of the other end's address, of the present message; 0 where it is not named.
    pub(crate) name: u64,
    /// Entries left at `vector`.
    pub(crate) entries: u32,
    /// Messages left at `message`.
    pub(crate) messages: u32,
    /// Position of the next byte.
    pub(crate) position: u32,
    /// Bytes that may still be captured.
    pub(crate) budget: u32,
}

impl Cursor {
    /// Before the walk.
    pub(crate) const UNSET: Self = Self {
        left: 0,
        total: 0,
        vector: 0,
        message: 0,
        name: 0,
        entries: 0,
        messages: 0,
        position: 0,
        budget: 0,
    };
}

impl Call {
    /// Before the first call.
    pub(crate) const UNSET: Self = Self {
        sock: 0,
        address: 0,
        name: 0,
        time_ns: 0,
        task: Task::UNKNOWN,
        elements: 0,
        position: 0,
        reverse_position: 0,
        inode: 0,
        capture_bytes: 0,
        skip_until: 0,
        inserted_position: 0,
        inserted: 0,
        memory: 0,
        direction: 0,
        family: 0,
        skips: 0,
        framing: 0,
        cursor: Cursor::UNSET,
    };
}
