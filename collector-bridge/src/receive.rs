//! OTLP in, over gRPC and HTTP: bytes → checked request bytes and the spans in them → whoever keeps them.
//!
//! Knows nothing of how spans are kept: it hands over through [`Deliver`] and answers what that says. Its hard problem:
//! a sender must never believe that spans are kept when they are not, nor send again what can never be taken.

mod compression;
mod counters;
mod decode;
mod grpc;
mod http;
mod intake;
mod json;
mod reply;
mod wire;

pub use counters::ReceiveCounters;
pub use decode::{Decoded, decode};
pub use grpc::router as grpc_router;
pub use http::router as http_router;
pub(crate) use intake::is_bearer;
pub use intake::{Deliver, Intake, Refusal, offload};
pub use wire::WireError;

/// Largest request, as it comes and after unpacking, unless the configuration says otherwise.
pub const DEFAULT_MAX_REQUEST_BYTES: usize = 64 << 20;
