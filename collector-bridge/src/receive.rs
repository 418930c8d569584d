//! OTLP in, over gRPC and HTTP.

mod decode;
mod wire;

pub use decode::{Decoded, decode};
pub use wire::WireError;
