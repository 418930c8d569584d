//! Shared parts of the suites: real servers, the real agent and bridge, and assertions about spans.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bridge;
pub mod certificates;
pub mod cgroup;
pub mod clients;
pub mod exclusive;
pub mod figure;
pub mod hosts;
pub mod load;
pub mod locate;
pub mod net;
pub mod observer;
pub mod process;
pub mod recorder;
pub mod remora;
pub mod running;
pub mod scratch;
pub mod secure;
pub mod servers;
pub mod sink;
pub mod span;
pub mod tls_client;
pub mod tls_table;
pub mod tools;
pub mod wait;
