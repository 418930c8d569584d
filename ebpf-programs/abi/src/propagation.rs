//! Writing contexts into requests: what user space allows, and what the programs remember of a socket that may write.

/// Bytes of the header line that is written: `traceparent: 00-<trace>-<span>-01` and a line end.
pub const HEADER_LINE_BYTES: u32 = 70;

/// Bytes of the header field that is written into HTTP/2: a literal without indexing with a new name, both strings plain
/// (RFC 7541, 6.2.2).
pub const HEADER_FIELD_BYTES: u32 = 69;

/// Largest payload of a frame that every HTTP/2 server takes (RFC 9113, 6.5.2, `SETTINGS_MAX_FRAME_SIZE`).
pub const MAX_FRAME_BYTES: u32 = 16_384;

/// A request whose line and headers do not end within so many bytes is left as it is: another `traceparent` may follow.
pub const MAX_HEADER_VIEW: u32 = 4096;

/// Requests that are longer in their first call are sent in two or three pieces, where a shorter one is made one piece
/// again.
pub const MAX_JOINED_BYTES: u32 = 16_384;

/// Sockets that may write a context. The map evicts the socket that was used least recently, which then writes none.
pub const MAX_WRITERS: u32 = 16_384;

/// Servers that are known to be asked by HTTP. The map evicts the one that was asked least recently.
pub const MAX_SERVERS: u32 = 4096;

/// Processes that were seen to wait for bytes before they sent any. The map evicts the one that was seen longest ago.
pub const MAX_EARLY_READERS: u32 = 4096;

/// Servers towards which segments with an option were lost. The map evicts the one that was looked at least recently.
pub const MAX_DOUBTED: u32 = 4096;

/// Segments with an option that must be lost in a row for a server to get no more of them.
pub const DOUBT_LOSSES: u32 = 2;

/// How long such a server gets none.
pub const DOUBT_NS: u64 = 600_000_000_000;

/// Kind of the TCP option: one of the two for experiments (RFC 4727).
pub const OPTION_KIND: u8 = 253;

/// Which experiment it is (RFC 6994, of 32 bits; not registered).
pub const OPTION_EXPERIMENT: [u8; 4] = *b"RMRA";

/// Bytes of the option: kind, length, experiment, the first positions of the sender and of the receiver.
pub const OPTION_BYTES: u32 = 14;

/// What it takes in a TCP header, whose length is told in words of four bytes.
pub const OPTION_ROOM: u32 = 16;

/// Nothing is written.
pub const HEADERS_OFF: u8 = 0;
/// A header is written into the first request of a connection.
pub const HEADERS_ON: u8 = 1;

/// No option is written, and none is read.
pub const OPTION_OFF: u8 = 0;
/// An option is written into the first segment of a connection, and read.
pub const OPTION_ON: u8 = 1;

/// The socket leaves the socket map before its first bytes leave the host.
pub const MEMBERSHIP_BRIEF: u8 = 0;
/// The socket stays in the socket map. Only for showing what that does: see `ARCHITECTURE.md`.
pub const MEMBERSHIP_LASTING: u8 = 1;

/// What the programs may write, replaced as a whole.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PropagationSettings {
    /// `HEADERS_*`.
    pub headers: u8,
    /// `OPTION_*`.
    pub option: u8,
    /// `MEMBERSHIP_*`.
    pub membership: u8,
    /// 1: a server need not be known to be asked by HTTP, and its address need not be private.
    pub any_server: u8,
    /// One of so many connections is left alone and watched, for comparison; 0 for none.
    pub control: u8,
    /// Zero.
    pub padding: [u8; 3],
}

/// The address of a server.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// IPv6, or IPv4 mapped into it. Network byte order.
    pub address: [u8; 16],
    /// Host byte order.
    pub port: u32,
}

/// What became of the segments with an option that were sent to a server.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// When the last one was lost, monotonic nanoseconds.
    pub lost_at_ns: u64,
    /// How many were lost in a row.
    pub losses: u32,
    /// Zero.
    pub padding: u32,
}

/// The process has called `connect`.
pub const WRITER_CONNECTING: u32 = 0;
/// The socket is in the socket map, and nothing was sent yet.
pub const WRITER_READY: u32 = 1;
/// Its first request has been looked at, or what it sent is none.
pub const WRITER_DONE: u32 = 2;
/// It is left alone, and its end is counted for comparison.
pub const WRITER_CONTROL: u32 = 3;
/// It is not in the socket map, or no longer.
pub const WRITER_OUTSIDE: u32 = 4;
/// The socket is in the socket map, and has sent how a connection of HTTP/2 begins, but no request yet.
pub const WRITER_OPENED: u32 = 5;

/// It carries no option.
pub const CARRIER_NONE: u32 = 0;
/// Its first segment with data will carry the option.
pub const CARRIER_WAITING: u32 = 1;
/// That segment has left.
pub const CARRIER_SENT: u32 = 2;
/// It could have carried the option, and is left alone for comparison.
pub const CARRIER_WATCHED: u32 = 3;
/// Its first segment with data was sent again.
pub const CARRIER_LOST: u32 = 4;

/// A socket that may write.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Writer {
    /// `WRITER_*`.
    pub stage: u32,
    /// 1 where a header was written.
    pub has_written: u32,
    /// The programs' own: how far the first request was read.
    pub scan: [u32; 4],
    /// `CARRIER_*`.
    pub carrier: u32,
    /// Position of the first byte that the socket sends.
    pub first_egress: u32,
    /// Position of the first byte that the other end sends.
    pub first_ingress: u32,
    /// Position behind what has opened a connection of HTTP/2.
    pub opened_until: u32,
}

/// Things that the programs count about contexts. The value is the index in the `WRITES` map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// A socket was put into the socket map.
    Enrolled = 0,
    /// The kernel refused to put a socket into the socket map.
    Refused = 1,
    /// A header was written into HTTP/1.
    Header = 2,
    /// The first bytes are no HTTP request.
    NotHttp = 3,
    /// The request carries a context already.
    HasContext = 4,
    /// The headers do not end within the first call, or within what is looked at.
    Partial = 5,
    /// The kernel had no room for the header.
    NoRoom = 6,
    /// A socket left the socket map since bytes arrived before any were sent.
    LeftUnused = 7,
    /// A socket left the socket map with its first bytes.
    Left = 8,
    /// An enrolled connection ended by a reset.
    Reset = 9,
    /// An enrolled connection had to send again what was lost until it gave up.
    TimedOut = 10,
    /// An enrolled connection ended.
    Ended = 11,
    /// A process waited for bytes before it sent any: its further sockets are left alone.
    EarlyRead = 12,
    /// A connection ended that was left alone for comparison.
    ControlEnded = 13,
    /// One of those ended by a reset.
    ControlReset = 14,
    /// One of those had to send again what was lost until it gave up.
    ControlTimedOut = 15,
    /// An option was written.
    Option = 16,
    /// The TCP header had no room for the option.
    OptionNoRoom = 17,
    /// A segment with an option had to be sent again, which was done without.
    OptionLost = 18,
    /// A connection that could have carried an option was left alone for comparison.
    OptionWatched = 19,
    /// The first segment of one of those had to be sent again.
    OptionWatchedLost = 20,
    /// A connection got no option since those that were sent to its server were lost.
    OptionDoubted = 21,
    /// An option came in that tells other positions than this end knows.
    OptionRead = 22,
    /// An option came in that tells the positions that this end knows.
    OptionSame = 23,
    /// An option came in that is not of the form that is written.
    OptionStrange = 24,
    /// A header was written into HTTP/2.
    Field = 25,
    /// A socket was opened for HTTP/2 whose reads wait, or that acknowledges late what comes in.
    Waits = 26,
    /// A socket that was opened for HTTP/2 left the socket map since bytes arrived before its first request was sent.
    Answered = 27,
    /// A request of HTTP/2 is padded, or its fields do not end where their block does.
    Unusual = 28,
}

impl Write {
    /// All counters, in index order.
    pub const ALL: [Write; 29] = [
        Write::Enrolled,
        Write::Refused,
        Write::Header,
        Write::NotHttp,
        Write::HasContext,
        Write::Partial,
        Write::NoRoom,
        Write::LeftUnused,
        Write::Left,
        Write::Reset,
        Write::TimedOut,
        Write::Ended,
        Write::EarlyRead,
        Write::ControlEnded,
        Write::ControlReset,
        Write::ControlTimedOut,
        Write::Option,
        Write::OptionNoRoom,
        Write::OptionLost,
        Write::OptionWatched,
        Write::OptionWatchedLost,
        Write::OptionDoubted,
        Write::OptionRead,
        Write::OptionSame,
        Write::OptionStrange,
        Write::Field,
        Write::Waits,
        Write::Answered,
        Write::Unusual,
    ];

    /// The label under which the counter is exported.
    pub const fn label(self) -> &'static str {
        match self {
            Write::Enrolled => "enrolled",
            Write::Refused => "refused",
            Write::Header => "header",
            Write::NotHttp => "not_http",
            Write::HasContext => "has_context",
            Write::Partial => "partial",
            Write::NoRoom => "no_room",
            Write::LeftUnused => "left_unused",
            Write::Left => "left",
            Write::Reset => "reset",
            Write::TimedOut => "timed_out",
            Write::Ended => "ended",
            Write::EarlyRead => "early_read",
            Write::ControlEnded => "control_ended",
            Write::ControlReset => "control_reset",
            Write::ControlTimedOut => "control_timed_out",
            Write::Option => "option",
            Write::OptionNoRoom => "option_no_room",
            Write::OptionLost => "option_lost",
            Write::OptionWatched => "option_watched",
            Write::OptionWatchedLost => "option_watched_lost",
            Write::OptionDoubted => "option_doubted",
            Write::OptionRead => "option_read",
            Write::OptionSame => "option_same",
            Write::OptionStrange => "option_strange",
            Write::Field => "http2_header",
            Write::Waits => "http2_waits",
            Write::Answered => "http2_answered",
            Write::Unusual => "http2_unusual",
        }
    }
}

/// Number of entries of the `WRITES` map.
pub const WRITE_KINDS: u32 = Write::ALL.len() as u32;

const _: () = {
    assert!(size_of::<PropagationSettings>() == 8);
    assert!(size_of::<ServerAddress>() == 20);
    assert!(size_of::<Writer>() == 40);
    assert!(size_of::<Doubt>() == 16);
    assert!(OPTION_ROOM.is_multiple_of(4) && OPTION_ROOM >= OPTION_BYTES);
    let mut index = 0;
    while index < Write::ALL.len() {
        assert!(Write::ALL[index] as usize == index);
        index += 1;
    }
};

#[cfg(feature = "user")]
mod user {
    use super::{PropagationSettings, ServerAddress, Writer};

    // SAFETY: `repr(C)`, only integers, and no padding that is not a named field (sizes asserted above).
    unsafe impl aya::Pod for PropagationSettings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for ServerAddress {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Writer {}
}
