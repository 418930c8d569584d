//! The messages. A field's number is never used again for something else.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Rollups {
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    /// Every name once; other messages say its place, counted from 1.
    #[prost(string, repeated, tag = "2")]
    pub(super) names: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    pub(super) minutes: Vec<Minute>,
    #[prost(message, repeated, tag = "4")]
    pub(super) clients: Vec<Half>,
    #[prost(message, repeated, tag = "5")]
    pub(super) servers: Vec<Half>,
    #[prost(uint64, tag = "6")]
    pub(super) minutes_dropped: u64,
    #[prost(uint64, tag = "7")]
    pub(super) pending_shed: u64,
    #[prost(uint64, tag = "8")]
    pub(super) servers_unpaired: u64,
    #[prost(uint64, tag = "9")]
    pub(super) halves_repeated: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Minute {
    /// Minutes since 1970.
    #[prost(uint64, tag = "1")]
    pub(super) minute: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) services: Vec<Service>,
    /// Services that had no place.
    #[prost(message, optional, tag = "3")]
    pub(super) overflow: Option<Service>,
}

/// Sums of a service. Of each list, the entry without a name (failures: without an operation; calls: without a peer)
/// holds what had no place.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Service {
    #[prost(uint32, tag = "1")]
    pub(super) name: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) operations: Vec<Operation>,
    #[prost(message, repeated, tag = "3")]
    pub(super) failures: Vec<Failure>,
    #[prost(message, repeated, tag = "4")]
    pub(super) calls: Vec<Call>,
    #[prost(message, repeated, tag = "5")]
    pub(super) received: Vec<Call>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Operation {
    #[prost(uint32, tag = "1")]
    pub(super) name: u32,
    #[prost(message, repeated, tag = "2")]
    pub(super) by_kind: Vec<KindRed>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KindRed {
    /// As in OTLP.
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(uint64, tag = "2")]
    pub(super) errors: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) latency: Option<Sketch>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Failure {
    #[prost(uint32, tag = "1")]
    pub(super) operation: u32,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(uint32, tag = "3")]
    pub(super) error_type: u32,
    #[prost(uint32, tag = "4")]
    pub(super) message: u32,
    #[prost(uint64, tag = "5")]
    pub(super) count: u64,
    #[prost(fixed64, tag = "6")]
    pub(super) first_unix_ns: u64,
    #[prost(fixed64, tag = "7")]
    pub(super) last_unix_ns: u64,
    #[prost(fixed64, repeated, tag = "8")]
    pub(super) example_unix_ns: Vec<u64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(super) example_trace_ids: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Call {
    #[prost(message, optional, tag = "1")]
    pub(super) peer: Option<Peer>,
    /// The service that answered; 0 where no server span was seen.
    #[prost(uint32, tag = "2")]
    pub(super) callee: u32,
    #[prost(uint32, tag = "3")]
    pub(super) connection: u32,
    #[prost(message, optional, tag = "4")]
    pub(super) stats: Option<CallStats>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Peer {
    #[prost(uint32, tag = "1")]
    pub(super) name: u32,
    #[prost(uint32, tag = "2")]
    pub(super) connection: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CallStats {
    #[prost(uint64, tag = "1")]
    pub(super) calls: u64,
    #[prost(uint64, tag = "2")]
    pub(super) errors: u64,
    #[prost(message, optional, tag = "3")]
    pub(super) client: Option<Sketch>,
    #[prost(message, optional, tag = "4")]
    pub(super) server: Option<Sketch>,
}

/// A base-2 exponential histogram.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sketch {
    #[prost(uint32, tag = "1")]
    pub(super) scale: u32,
    #[prost(uint64, tag = "2")]
    pub(super) zeros: u64,
    /// The first index, then the steps from one to the next.
    #[prost(sint32, repeated, tag = "3")]
    pub(super) index_steps: Vec<i32>,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) counts: Vec<u64>,
    #[prost(uint64, tag = "5")]
    pub(super) sum_ns: u64,
    #[prost(uint64, tag = "6")]
    pub(super) min_ns: u64,
    #[prost(uint64, tag = "7")]
    pub(super) max_ns: u64,
}

/// One side of a call that waits for the other one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Half {
    /// Empty where a server expects a client of any trace.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    /// The client span.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(fixed64, tag = "3")]
    pub(super) ended_unix_ns: u64,
    #[prost(uint64, tag = "4")]
    pub(super) minute: u64,
    #[prost(uint32, tag = "5")]
    pub(super) service: u32,
    #[prost(uint64, tag = "6")]
    pub(super) duration_ns: u64,
    #[prost(bool, tag = "7")]
    pub(super) is_error: bool,
    /// Of a client: the other side; of a server: the broker that a message came from.
    #[prost(message, optional, tag = "8")]
    pub(super) peer: Option<Peer>,
    /// Of a server.
    #[prost(uint32, tag = "9")]
    pub(super) connection: u32,
}
