//! Contexts written into requests: what real programs send arrives as they sent it, with one header more.
//!
//! Only programs that a test has started, in a cgroup of its own, ever write one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, with the line at hand")]

mod counted;
mod firewall;
mod http2;
mod programs;
mod proxy;
mod requests;
mod site;
mod trial;
