//! Records on the ring. Each begins with an [`EventHeader`] whose `kind` tells which struct it is.

use crate::{FINGERPRINT_BYTES, MAX_ARGUMENTS, MAX_UNIX_PATH, PIPE_BYTES, TlsMark};

/// `EventHeader::kind` of a [`DataEvent`].
pub const KIND_DATA: u8 = 1;
/// `EventHeader::kind` of an [`OpenedEvent`].
pub const KIND_OPENED: u8 = 2;
/// `EventHeader::kind` of a [`ClosedEvent`].
pub const KIND_CLOSED: u8 = 3;
/// `EventHeader::kind` of an [`ExecEvent`].
pub const KIND_EXEC: u8 = 4;
/// `EventHeader::kind` of a [`ForkEvent`].
pub const KIND_FORK: u8 = 5;
/// `EventHeader::kind` of an [`ExitEvent`].
pub const KIND_EXIT: u8 = 6;
/// `EventHeader::kind` of a [`TaskEvent`].
pub const KIND_TASK: u8 = 7;
/// `EventHeader::kind` of a [`ClaimEvent`].
pub const KIND_CLAIM: u8 = 8;
/// `EventHeader::kind` of a [`GiftEvent`].
pub const KIND_GIFT: u8 = 9;
/// `EventHeader::kind` of a [`TaskEndEvent`].
pub const KIND_TASK_END: u8 = 10;
/// `EventHeader::kind` of a [`ThreadEvent`].
pub const KIND_THREAD: u8 = 11;
/// `EventHeader::kind` of a [`ThreadEndEvent`].
pub const KIND_THREAD_END: u8 = 12;
/// `EventHeader::kind` of a [`BeginningEvent`].
pub const KIND_BEGINNING: u8 = 13;
/// `EventHeader::kind` of a [`GiftEvent`]: the unit was made by the giver, and keeps its number for good.
pub const KIND_SPAWN: u8 = 14;
/// `EventHeader::kind` of a [`GiftEvent`]: the unit goes on because of something that the giver did, which may be no
/// more than to make room.
pub const KIND_WAKE: u8 = 15;
/// `EventHeader::kind` of a [`GiftEvent`]: the goroutine writes the header of a stream, for whom has given the unit.
pub const KIND_STREAM_WRITTEN: u8 = 16;
/// `EventHeader::kind` of a [`GiftEvent`] without a unit: the goroutine serves a stream that its maker has read.
pub const KIND_STREAM_SERVED: u8 = 17;
/// `EventHeader::kind` of a [`GiftEvent`]: the unit asks for a message, and works on what its calls bring.
pub const KIND_ASK: u8 = 18;
/// `EventHeader::kind` of a [`PipeEvent`].
pub const KIND_PIPE: u8 = 19;
/// `EventHeader::kind` of a [`PlaintextEvent`].
pub const KIND_PLAINTEXT: u8 = 20;
/// `EventHeader::kind` of a [`CiphertextEvent`].
pub const KIND_CIPHERTEXT: u8 = 21;
/// `EventHeader::kind` of a [`TlsEndEvent`].
pub const KIND_TLS_END: u8 = 22;
/// `EventHeader::kind` of a [`MappedEvent`].
pub const KIND_MAPPED: u8 = 23;
/// `EventHeader::kind` of a [`PeerEvent`].
pub const KIND_PEER: u8 = 24;
/// `EventHeader::kind` of a [`GiftEvent`]: so many bytes (`number`) of the thread's next write are written for the unit.
pub const KIND_SHARE: u8 = 25;

/// Bytes leave the observed process.
pub const DIRECTION_EGRESS: u8 = 0;
/// Bytes enter the observed process.
pub const DIRECTION_INGRESS: u8 = 1;

/// `AF_UNIX`.
pub const FAMILY_UNIX: u8 = 1;
/// `AF_INET`.
pub const FAMILY_INET: u8 = 2;
/// `AF_INET6`.
pub const FAMILY_INET6: u8 = 10;
/// Set beside the family of a socket for datagrams (UDP). Each data record is one of them, and its position counts
/// [`DATAGRAM_FRAMING`] bytes more for each that went before.
pub const FAMILY_DATAGRAM: u8 = 1 << 7;
/// The bits of families whose positions are counted by the programs.
pub const FAMILIES_COUNTED: u8 = FAMILY_UNIX | FAMILY_DATAGRAM;

/// Bytes that user space puts before each datagram: its length, as DNS has it over TCP (RFC 1035 section 4.2.2).
pub const DATAGRAM_FRAMING: u32 = 2;

/// Size of `struct sockaddr_in6`.
pub const SOCKADDR_BYTES: usize = 28;

/// The socket was first seen in the middle of its life.
pub const ROLE_UNKNOWN: u8 = 0;
/// The process called `connect`.
pub const ROLE_CONNECTED: u8 = 1;
/// The process got the socket from `accept`.
pub const ROLE_ACCEPTED: u8 = 2;

/// The call read nothing because the peer will send no more.
pub const DATA_EOF: u8 = 1 << 0;
/// `task` is a goroutine.
pub const DATA_GOROUTINE: u8 = 1 << 1;
/// The position is a byte count kept by the programs, not a TCP sequence number.
pub const DATA_COUNTED: u8 = 1 << 2;
/// `task` is the address of a Python `Context`.
pub const DATA_CONTEXT: u8 = 1 << 3;
/// `task_parent` is the token of the unit of work that the thread executes.
pub const DATA_TOKEN: u8 = 1 << 4;
/// Set in what is told of a TLS library: the object encrypts only, or decrypts only, as the direction says.
pub const TLS_ONE_WAY: u8 = 1 << 5;
/// `position` of a claim record is valid.
pub const CLAIM_POSITION: u8 = 1 << 5;
/// `position` of a claim record is the number of a stream (RFC 9113, 5.1.1).
pub const CLAIM_STREAM: u8 = 1 << 6;
/// The first positions of an opened record are valid.
pub const OPENED_POSITIONS: u8 = 1 << 0;

/// Head of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// One of the `KIND_*` values.
    pub kind: u8,
    /// `DATA_*` flags of a data, task, thread, claim or gift record, `CLAIM_*` and `OPENED_*` flags of those records, else 0.
    pub flags: u8,
    /// `DIRECTION_*` of a data record, else 0.
    pub direction: u8,
    /// `FAMILY_*` of a socket record, else 0.
    pub family: u8,
    /// Process (thread group) id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Inode number of the socket in sockfs; 0 where the record is about no socket.
    pub inode: u32,
    /// Address of the `struct sock`; 0 where the record is about no socket.
    pub sock: u64,
    /// When it happened, `CLOCK_MONOTONIC` nanoseconds: at entry for a write, at exit for a read.
    pub time_ns: u64,
}

/// Bytes that one system call moved through a socket, followed by `captured` bytes of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataEvent {
    /// Head.
    pub header: EventHeader,
    /// Position of the first byte: TCP sequence number, or bytes counted so far (`DATA_COUNTED`), modulo 2³².
    pub position: u32,
    /// Position of the next byte in the other direction when the call began.
    pub reverse_position: u32,
    /// Bytes that were moved at this position.
    pub length: u32,
    /// Bytes that follow this struct, at most `length`.
    pub captured: u32,
    /// Goroutine or `Context`, as the flags say; 0 where neither flag is set.
    pub task: u64,
    /// Id of the goroutine that started this one, or the token, as the flags say; 0 where unknown.
    pub task_parent: u64,
    /// How often this thread has waited for events (`epoll_wait` and relatives) so far.
    pub turn: u32,
    /// Offset within the bytes that were moved at which the programs have written bytes of their own into the stream,
    /// valid where `inserted` is not 0.
    pub inserted_at: u16,
    /// How many bytes the programs have written there. They count neither in `length` nor in `captured`.
    pub inserted: u16,
}

/// The other end of the datagram that the same thread tells next, by the address that the call has in its memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerEvent {
    /// Head.
    pub header: EventHeader,
    /// As in [`DataEvent::position`], of the datagram.
    pub position: u32,
    /// `struct sockaddr_in` or `struct sockaddr_in6`; zeros where it could not be read.
    pub name: [u8; SOCKADDR_BYTES],
}

/// A socket that is seen for the first time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedEvent {
    /// Head.
    pub header: EventHeader,
    /// Local address: IPv4 in the first four bytes, or IPv6. Network byte order.
    pub local_address: [u8; 16],
    /// Peer address, likewise.
    pub peer_address: [u8; 16],
    /// Local port, host byte order.
    pub local_port: u16,
    /// Peer port, host byte order.
    pub peer_port: u16,
    /// `ROLE_*`.
    pub role: u8,
    /// Bytes used in `path`.
    pub path_length: u8,
    /// Zero.
    pub padding: [u8; 2],
    /// Address of the peer's `struct sock` for Unix sockets, else 0.
    pub peer_sock: u64,
    /// The unit of work that the thread executed which connected; 0 where none or unknown.
    pub token: u64,
    /// `task_struct::comm` of the thread.
    pub comm: [u8; 16],
    /// Name that the Unix socket's listening side is bound to. An abstract name begins with a zero byte.
    pub path: [u8; MAX_UNIX_PATH],
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// Sequence number of the first byte that this end ever sent (`snd_una − bytes_acked`: for the end that connected,
    /// one less).
    pub first_egress: u32,
    /// Sequence number of the first byte that the other end ever sent (`rcv_nxt − bytes_received`).
    pub first_ingress: u32,
}

/// A socket that reached the end of its life.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClosedEvent {
    /// Head.
    pub header: EventHeader,
    /// Bytes that the kernel says were received (`tcp_sock::bytes_received`), 0 for Unix sockets.
    pub bytes_received: u64,
    /// Sequence numbers that were given to what was sent (`tcp_sock::bytes_acked` and what is under way), 0 for Unix
    /// sockets: bytes, and one each for `SYN` and `FIN`.
    pub sequence_sent: u64,
    /// Bytes that the programs saw being read.
    pub seen_ingress: u64,
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// 1 where a call of this thread closed it; 0 where the kernel ended it, in whatever thread that was.
    pub is_call: u8,
    /// Zero.
    pub padding: [u8; 3],
}

/// A process that began to run a program.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecEvent {
    /// Head.
    pub header: EventHeader,
    /// Cgroup v2 id of the process.
    pub cgroup_id: u64,
    /// Bytes used in `arguments`.
    pub arguments_length: u32,
    /// Process id of the parent.
    pub parent: u32,
    /// `task_struct::comm`.
    pub comm: [u8; 16],
    /// The command line as in `/proc/PID/cmdline`: NUL-terminated strings, cut at the limit.
    pub arguments: [u8; MAX_ARGUMENTS],
}

/// A process that was made by another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkEvent {
    /// Head; `tgid` is the parent.
    pub header: EventHeader,
    /// Thread id of the child.
    pub child_tid: u32,
    /// Process id of the child.
    pub child_tgid: u32,
}

/// A thread that was made by another of its process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadEvent {
    /// Head, with the flags of a data record, of the maker.
    pub header: EventHeader,
    /// As in [`DataEvent::task`], of the maker.
    pub task: u64,
    /// As in [`DataEvent::task_parent`], of the maker.
    pub task_parent: u64,
    /// As in [`DataEvent::turn`], of the maker.
    pub turn: u32,
    /// Thread id of the new thread.
    pub child_tid: u32,
}

/// A thread that ended, not the last of its process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadEndEvent {
    /// Head.
    pub header: EventHeader,
}

/// A Python `Context` that was copied from the current one, as every new task does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// Head, with the flags of a data record, of the maker.
    pub header: EventHeader,
    /// Address of the new `Context`.
    pub task: u64,
    /// As in [`DataEvent::task`], of the maker: the current one.
    pub maker: u64,
    /// As in [`DataEvent::task_parent`], of the maker.
    pub maker_parent: u64,
    /// The thread pointer (`fs`), where it is not known how to find the current one; else 0.
    pub thread_pointer: u64,
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// Zero.
    pub padding: u32,
}

/// A Python `Context` that ends: its address may be used again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskEndEvent {
    /// Head.
    pub header: EventHeader,
    /// Address of the `Context`.
    pub task: u64,
}

/// A task that will have something written to a socket by another.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimEvent {
    /// Head, with the flags of a data record.
    pub header: EventHeader,
    /// As in [`DataEvent::task`].
    pub task: u64,
    /// As in [`DataEvent::task_parent`].
    pub task_parent: u64,
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// Position of the first byte that is written for the task, or the number of the stream, as the flags say; else it is
    /// whatever comes next.
    pub position: u32,
}

/// A unit of work that was handed over: whoever executes it works for whom the giver works for.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GiftEvent {
    /// Head, with the flags of a data record.
    pub header: EventHeader,
    /// The unit, by the number under which it will be taken.
    pub token: u64,
    /// As in [`DataEvent::task`], of the giver.
    pub task: u64,
    /// As in [`DataEvent::task_parent`], of the giver.
    pub task_parent: u64,
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// The number of the stream, where it is about one.
    pub number: u32,
}

/// Bytes that a worker process has read from a pipe, through which its master hands work over.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PipeEvent {
    /// Head; `sock` is the address of the `struct pipe_inode_info`.
    pub header: EventHeader,
    /// As in [`DataEvent::turn`].
    pub turn: u32,
    /// Bytes that were read.
    pub length: u32,
    /// Bytes used in `bytes`: the first that were read.
    pub captured: u32,
    /// Zero.
    pub padding: u32,
    /// The bytes.
    pub bytes: [u8; PIPE_BYTES],
}

/// Bytes that a TLS library took for encryption, or gave after decryption, followed by `captured` bytes of them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaintextEvent {
    /// As of a call that moves them through a socket, with these differences: the socket is the one that was used within
    /// the library's call, or within an earlier call for the same object, 0 where none ever was. Positions count
    /// plaintext since the object was first seen.
    pub data: DataEvent,
    /// Address of the library's object (`SSL`, `gnutls_session_t`, `tls.Conn`, rustls' encrypter or decrypter).
    pub object: u64,
    /// When its ciphertext was moved, `CLOCK_MONOTONIC` nanoseconds: of a write when it last began to write to its socket, if
    /// it did, else when the call returned.
    pub moved_ns: u64,
    /// 1 where a read had room for more: it has given what was left of a record.
    pub ends_record: u16,
    /// 1 where the library has read from its socket within the call: there was nothing left of another record.
    pub received: u16,
    /// 1 where the call has moved more than this, which is told next.
    pub continues: u32,
}

/// Ciphertext that a TLS library put into memory, or took from there, within a call for an object of which no socket is
/// known.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CiphertextEvent {
    /// Head, with the direction, and without a socket.
    pub header: EventHeader,
    /// As in [`PlaintextEvent::object`].
    pub object: u64,
    /// Bytes that were moved.
    pub length: u32,
    /// Bytes used in `bytes`: the first that were moved.
    pub captured: u32,
    /// The bytes. They begin with a record's header.
    pub bytes: [u8; FINGERPRINT_BYTES],
}

/// An object of a TLS library that ends: its address may be used again.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsEndEvent {
    /// Head.
    pub header: EventHeader,
    /// As in [`PlaintextEvent::object`].
    pub object: u64,
}

/// A process that has mapped a file that it may execute.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedEvent {
    /// Head.
    pub header: EventHeader,
}

/// The other end of a connection has told where the connection begins as it counts, which is not as this end does:
/// something on the way rewrites sequence numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BeginningEvent {
    /// Head, of no process and without inode number: the connection may not be accepted yet.
    pub header: EventHeader,
    /// As in [`OpenedEvent::first_egress`].
    pub own_egress: u32,
    /// As in [`OpenedEvent::first_ingress`].
    pub own_ingress: u32,
    /// The first of them as the other end counts.
    pub told_egress: u32,
    /// The second of them as the other end counts.
    pub told_ingress: u32,
}

/// A process whose last thread ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitEvent {
    /// Head.
    pub header: EventHeader,
}

const _: () = {
    assert!(size_of::<EventHeader>() == 32);
    assert!(size_of::<DataEvent>() == 72);
    assert!(size_of::<OpenedEvent>() == 224);
    assert!(size_of::<ClosedEvent>() == 64);
    assert!(size_of::<ExecEvent>() == 576);
    assert!(size_of::<ForkEvent>() == 40);
    assert!(size_of::<ExitEvent>() == 32);
    assert!(size_of::<TaskEvent>() == 72);
    assert!(size_of::<TaskEndEvent>() == 40);
    assert!(size_of::<ThreadEvent>() == 56);
    assert!(size_of::<ThreadEndEvent>() == 32);
    assert!(size_of::<ClaimEvent>() == 56);
    assert!(size_of::<GiftEvent>() == 64);
    assert!(size_of::<BeginningEvent>() == 48);
    assert!(size_of::<PipeEvent>() == 560);
    assert!(size_of::<PlaintextEvent>() == 96);
    assert!(size_of::<CiphertextEvent>() == 112);
    assert!(size_of::<TlsEndEvent>() == 40);
    assert!(size_of::<TlsMark>() == 64);
    assert!(size_of::<MappedEvent>() == 32);
    assert!(size_of::<PeerEvent>() == 64);
};
