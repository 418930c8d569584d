//! What user space tells the programs, and what the programs remember.

/// The process is observed.
pub const PROCESS_OBSERVE: u8 = 0;
/// The process is not observed: its calls cost one look-up.
pub const PROCESS_IGNORE: u8 = 1;

/// Nothing is known of the tasks of the process.
pub const TASKS_NONE: u8 = 0;
/// The process is written in Go: the `g` register, `goid` and `parentGoid`.
pub const TASKS_GO: u8 = 1;
/// The process is a Python: thread pointer, `PyThreadState`, `context`.
pub const TASKS_PYTHON: u8 = 2;
/// The process runs libuv: what it reads that is no socket is another thread's message, and begins a new turn.
pub const TASKS_LIBUV: u8 = 3;
/// The process runs tokio, whose threads keep the id of the task that they run.
pub const TASKS_TOKIO: u8 = 4;

/// Signal number, valid on no system, with which a process tells what a thread does: `kill(token, MARK_TAKE)` begins a
/// unit of work.
pub const MARK_TAKE: u64 = 0x52e0;
/// `kill(token, MARK_GIVE)`: the unit works for whom the caller works for.
pub const MARK_GIVE: u64 = 0x52e1;
/// `kill(any, MARK_LEAVE)`: the unit of work is over.
pub const MARK_LEAVE: u64 = 0x52e2;
/// `kill(token, MARK_CLAIM, descriptor, ahead)`: what is written to the socket behind the next `ahead` bytes is written
/// for the unit, by whichever thread. The last two arguments are none of `kill`'s: they are left in their registers.
pub const MARK_CLAIM: u64 = 0x52e3;
/// `kill(1, MARK_CLAIM_NOBODY, descriptor, ahead)`: as above, for no unit.
pub const MARK_CLAIM_NOBODY: u64 = 0x52e4;
/// `kill(token, MARK_ASK)`: the unit asks for a message, and works on what its calls bring.
pub const MARK_ASK: u64 = 0x52e5;

/// `kill(any, MARK_TLS, address)`: TLS moves bytes, as the [`TlsMark`] at the address says.
pub const MARK_TLS: u64 = 0x52e6;

/// `kill(SHARE_BASE + bytes, MARK_SHARE)`: so many bytes of what the thread writes next, behind those that were told so
/// before, are written for the unit that it has taken. No bytes: nothing is shared any more.
pub const MARK_SHARE: u64 = 0x52e7;
/// `kill(token, MARK_HEAR)`: the unit works for whom the message was sent that the thread has received last.
pub const MARK_HEAR: u64 = 0x52e8;
/// `kill(SHARE_BASE + number, MARK_STREAM + descriptor)`: the stream of that number on the connection is made for the unit
/// that the thread has taken, or served by it where the connection was accepted.
pub const MARK_STREAM: u64 = 0x5300_0000;
/// Descriptors that can be told so.
pub const MARK_STREAM_DESCRIPTORS: u64 = 1 << 24;
/// Above every process id.
pub const SHARE_BASE: u32 = 1 << 23;

/// What a part inside a process tells of its TLS: plaintext, the ciphertext that it was or has become, both, or only that a
/// socket begins to shake hands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsMark {
    /// As in [`PlaintextEvent::object`](crate::PlaintextEvent::object); 0 where the socket stands for it.
    pub object: u64,
    /// Address of the plaintext.
    pub plaintext: u64,
    /// Address of its last [`FRAME_BYTES`](crate::FRAME_BYTES) bytes; 0 where they cannot be read. It counts only where not
    /// all is copied.
    pub end: u64,
    /// Address of the ciphertext, which begins with a record's header; 0 for none.
    pub ciphertext: u64,
    /// The first bytes there; 0 where only the address tells them.
    pub header: u64,
    /// Bytes of plaintext; 0 for none.
    pub length: u32,
    /// Bytes of it that can be read at its address.
    pub together: u32,
    /// Bytes of ciphertext.
    pub ciphertext_length: u32,
    /// Descriptor of the socket; -1 where it is not known.
    pub descriptor: i32,
    /// `DIRECTION_*`
    pub direction: u32,
    /// As in [`PlaintextEvent::ends_record`](crate::PlaintextEvent::ends_record).
    pub ends_record: u32,
}

/// Capture up to [`SocketPolicy::capture_bytes`] of each call: a few hundred for headers only, more for all.
pub const SOCKET_FULL: u8 = 0;
/// Nothing on this socket is of interest: its calls cost one look-up.
pub const SOCKET_IGNORE: u8 = 1;

/// Ports of which datagrams may be observed.
pub const DATAGRAM_PORTS: usize = 4;

/// Settings for all sockets, replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes captured of each call at most, unless the socket's policy says otherwise.
    pub capture_bytes: u32,
    /// `PROCESS_*` for processes without a policy of their own.
    pub default_process_mode: u8,
    /// 1: a process that runs a new program loses its policy and follows the default until it is judged anew.
    pub exec_resets_policy: u8,
    /// 1: processes tell when they map files with code.
    pub tells_mappings: u8,
    /// Zero.
    pub padding: u8,
    /// Ports of which datagrams are observed, at either end. All of them are in use: one may stand several times.
    pub datagram_ports: [u16; DATAGRAM_PORTS],
}

/// What to do with one process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessPolicy {
    /// `PROCESS_*`.
    pub mode: u8,
    /// `TASKS_*`.
    pub tasks: u8,
    /// Go: offset of `goid` in `runtime.g`. Python: offset from the thread pointer of the pointer to `PyThreadState`, an
    /// `i16`. Tokio: offset from the thread pointer of the task's id, an `i16`.
    pub first_offset: u16,
    /// Go: offset of `parentGoid` in `runtime.g`, 0 where the version has none. Python: offset of `context` in
    /// `PyThreadState`.
    pub second_offset: u16,
    /// 1: the threads of the process take units of work, by token, besides what `tasks` says.
    pub has_tokens: u8,
    /// 1: what the process reads from pipes is told.
    pub reads_pipes: u8,
}

/// What to do with one socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketPolicy {
    /// Inode number of the socket that is meant: an address can be used again.
    pub inode: u32,
    /// `SOCKET_*`.
    pub mode: u8,
    /// Bit 0: `skip_until[0]` is valid (egress); bit 1: `skip_until[1]` is valid (ingress).
    pub skip_valid: u8,
    /// Zero.
    pub padding: [u8; 2],
    /// Position before which bytes are counted but not copied, by direction.
    pub skip_until: [u32; 2],
    /// Bytes captured of each call at most, by direction.
    pub capture_bytes: [u32; 2],
}

/// What the programs know of one socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketState {
    /// Inode number: an address can be used again.
    pub inode: u32,
    /// `FAMILY_*`, for the close that has no file descriptor any more.
    pub family: u8,
    /// Zero.
    pub padding: [u8; 3],
    /// Bytes seen so far, by direction.
    pub seen: [u64; 2],
}

const _: () = {
    assert!(size_of::<Settings>() == 16);
    assert!(size_of::<ProcessPolicy>() == 8);
    assert!(size_of::<SocketPolicy>() == 24);
    assert!(size_of::<SocketState>() == 24);
};

#[cfg(feature = "user")]
mod user {
    use super::{ProcessPolicy, Settings, SocketPolicy, SocketState};

    // SAFETY: `repr(C)`, only integers, and no padding that is not a named field (sizes asserted above).
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ProcessPolicy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SocketPolicy {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SocketState {}
    // SAFETY: as above; every field is a `u32`.
    unsafe impl aya::Pod for crate::Offsets {}
}
