//! What goes into the engine: things that happened to connections and processes, in time order.
//!
//! Times are `CLOCK_MONOTONIC` nanoseconds. Positions are 32-bit and wrap, like TCP sequence numbers.

use std::net::SocketAddr;

use bytes::Bytes;

/// One end of a connection, as the kernel knows it: two ends on one host are two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Address of the `struct sock`.
    pub sock: u64,
    /// Inode number in sockfs, which tells two users of the same address apart.
    pub inode: u32,
}

/// Which way bytes went, seen from the process that made the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Written by the process.
    Egress,
    /// Read by the process.
    Ingress,
}

impl Direction {
    /// Returns the other direction.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
        }
    }
}

/// One end's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// IPv4 (also where the socket is IPv6 and the address is IPv4-mapped) or IPv6.
    Ip(SocketAddr),
    /// Unix socket with the name the listening side is bound to; a leading `@` marks an abstract name.
    /// Empty where the end has no name.
    Unix(String),
}

/// Who opened the connection, as far as the system calls told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// This process called `connect`.
    Connected,
    /// This process called `accept`.
    Accepted,
    /// The connection is older than the agent, or its opening was not seen.
    Unknown,
}

/// Who executed a system call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executor {
    /// Process id (thread group id), in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// What the runtime executes, where it schedules by itself and its tasks can be told apart.
    pub task: Option<Task>,
    /// The unit of work that the thread has taken, where its process tells: unique in the process while the unit lives.
    pub token: Option<u64>,
    /// How often the thread has waited for events before: equal numbers mean one turn of an event loop.
    pub turn: u32,
}

/// What a runtime executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A goroutine.
    Goroutine {
        /// `runtime.g.goid`: never used twice in one process.
        id: u64,
        /// `runtime.g.parentGoid`; 0 where the Go version has none.
        parent: u64,
    },
    /// Python's current `Context`, by its address: each asyncio task has one, and so has each thread that uses any. An
    /// address may be used again.
    Context(u64),
}

/// How the threads of a process serve requests, as far as its executable tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// Nobody has looked yet: threads prove nothing.
    #[default]
    Unknown,
    /// A thread serves one request at a time (Python, Ruby) until it is seen to do otherwise.
    Threads,
    /// As above, but not to be believed before it has shown it: native programs and the JVM know tasks that move
    /// between threads. A request that is alone in its process is believed from the start.
    Unproven,
    /// Tasks move between threads, and are told apart; what they make and wake is told (tokio).
    Tasks,
    /// Tasks move between threads, which prove nothing (Go, where the goroutine is not known).
    Migrating,
    /// An event loop whose turns never run work that belongs to another request (nginx).
    Turns,
    /// A proxy that passes requests on as it got them (HAProxy, Envoy), at some other time.
    Proxy,
    /// An event loop with timers, queues and pools, where a turn proves little (Node).
    EventLoop,
    /// As above, and a part inside tells by tokens for whom calls are made. A turn tells only which request was read.
    TokenLoop,
}

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The connection.
    pub connection: ConnectionId,
    /// When: at entry of a writing call, at exit of a reading call.
    pub at_ns: u64,
    /// What.
    pub kind: EventKind,
}

/// What happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The connection was seen for the first time. Comes before all else of this connection.
    Opened(Opened),
    /// Bytes were moved.
    Data(Data),
    /// Something is written here for somebody, by whichever task.
    Claimed(Claim),
    /// The peer will send no more, as this executor has learned.
    Eof(Executor),
    /// The connection is gone.
    Closed(Closed),
}

/// What a worker process has read from a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipeRead {
    /// Who has read.
    pub executor: Executor,
    /// The pipe, by an address that is its own while it lives.
    pub pipe: u64,
    /// Bytes that were read.
    pub length: u32,
    /// The first of them.
    pub bytes: Bytes,
    /// When, `CLOCK_MONOTONIC`.
    pub at_ns: u64,
}

/// For whom something is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Who has it written. Without a task or unit of work, and with a position or stream: nobody.
    pub executor: Executor,
    /// What.
    pub what: Claimed,
}

/// What of a connection is written for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// Whatever is written next, until there is another claim.
    Next,
    /// The bytes from this position on.
    From(u32),
    /// The stream of this number (RFC 9113, 5.1.1).
    Stream(u32),
}

/// The end of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Who closed it; none where the kernel ended it.
    pub executor: Option<Executor>,
    /// Bytes that the kernel received, where it counts them (TCP).
    pub received: Option<u64>,
    /// Sequence numbers that what was sent has used, where there are any (TCP): one each for `SYN` and `FIN`, the others
    /// for bytes.
    pub sequence_sent: Option<u64>,
    /// Bytes that were seen being read.
    pub seen: u64,
}

/// Facts about a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who opened it, or was first seen using it.
    pub executor: Executor,
    /// Address of this end.
    pub local: Endpoint,
    /// Address of the other end.
    pub peer: Endpoint,
    /// Who opened it.
    pub role: Role,
    /// It carries datagrams, each with its length before it in two bytes, rather than a stream (UDP). Without a peer it
    /// is a socket for all of them, of which each datagram may be another's.
    pub is_datagram: bool,
    /// The connection at the other end, where both are on this host and the kernel tells (Unix sockets).
    pub peer_sock: Option<u64>,
    /// Where the connection began, if the kernel could tell.
    pub first: Option<FirstPositions>,
}

impl Opened {
    /// Returns whether it is a socket for datagrams that names no peer.
    #[must_use]
    pub(crate) fn has_many_peers(&self) -> bool {
        self.is_datagram && matches!(&self.peer, Endpoint::Ip(address) if address.port() == 0)
    }

    /// Returns the facts as they are between this end and one of its peers.
    #[must_use]
    pub(crate) fn with_peer(&self, peer: SocketAddr) -> Self {
        Self { peer: Endpoint::Ip(peer), ..self.clone() }
    }
}

/// Positions of the first bytes of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstPositions {
    /// Of this end's first byte; one less at the end that connected, where the kernel counts the SYN with the bytes.
    pub egress: u32,
    /// Of the other end's first byte.
    pub ingress: u32,
}

impl FirstPositions {
    /// Returns the first positions of a connection by its first bytes, which were seen being moved.
    #[must_use]
    pub(crate) fn of(data: &Data, role: Role) -> Self {
        let (egress, ingress) = match data.direction {
            Direction::Egress => (data.position, data.reverse_position),
            Direction::Ingress => (data.reverse_position, data.position),
        };
        // As the kernel counts.
        let syn = u32::from(role == Role::Connected);
        Self { egress: egress.wrapping_sub(syn), ingress }
    }
}

/// Bytes of the agent's own in the stream of a process: a context, written into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Insertion {
    /// How many bytes of the event go before them.
    pub at: u32,
    /// How many they are.
    pub length: u32,
}

/// Bytes that one system call moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// Which way.
    pub direction: Direction,
    /// Position of the first byte. Between two events of a direction, missing positions are lost bytes.
    pub position: u32,
    /// Position of the next byte of the other direction when the call began.
    pub reverse_position: u32,
    /// Whether positions are TCP sequence numbers, which the peer sees too, rather than this end's own count.
    pub is_absolute: bool,
    /// Bytes that were moved.
    pub length: u32,
    /// The first of them, at most `length`. The rest was not captured.
    pub bytes: Bytes,
    /// Whom a datagram comes from or goes to, where its socket names no peer and the call does.
    pub peer: Option<SocketAddr>,
    /// Bytes that this call moved besides, which are not the process's own.
    pub inserted: Option<Insertion>,
    /// Who made the call.
    pub executor: Executor,
}

/// A connection of TLS in a library, by the address of its object (`SSL *`, `gnutls_session_t`, `*tls.Conn`): unique in its
/// process while it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TlsId {
    /// The process.
    pub tgid: u32,
    /// The address.
    pub object: u64,
    /// The only direction in which it moves bytes, where there is one object for each (rustls).
    pub way: Option<Direction>,
}

/// Bytes that a TLS library took for encryption, or gave after decryption, in one call that has returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plaintext {
    /// Whose.
    pub tls: TlsId,
    /// The socket that the same thread used within the call: none where the library does no I/O of its own, or needed none
    /// for this call.
    pub connection: Option<ConnectionId>,
    /// Which way.
    pub direction: Direction,
    /// Plaintext bytes of this direction that the object had moved before. It wraps. Missing counts are lost bytes.
    pub position: u32,
    /// Likewise, of the other direction.
    pub reverse_position: u32,
    /// Bytes that were moved.
    pub length: u32,
    /// The first of them, at most `length`. The rest was not captured.
    pub bytes: Bytes,
    /// A read for which there was room for more: what was left of a record was given whole.
    pub ends_record: bool,
    /// The library has read from its socket within the call: nothing was left of another record.
    pub is_received: bool,
    /// The call has moved more, which is told next.
    pub continues: bool,
    /// Who made the call.
    pub executor: Executor,
    /// Parts of a write that were told to be for others; none where all is the executor's own.
    pub shares: Vec<Share>,
}

/// A part of what a thread writes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many bytes it has.
    pub length: u32,
    /// The unit of work that it is written for, if any.
    pub token: Option<u64>,
}

/// The first ciphertext bytes that a library put into, or took from, a buffer in memory, within a call on an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ciphertext {
    /// The object.
    pub tls: TlsId,
    /// Which way.
    pub direction: Direction,
    /// Bytes that were moved.
    pub length: u32,
    /// The first of them.
    pub bytes: Bytes,
}
