//! Shared parts of the suites: real servers, the real agent and bridge, and assertions about spans.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod locate;
pub mod net;
pub mod running;
pub mod scratch;
pub mod servers;
pub mod tools;
pub mod wait;
