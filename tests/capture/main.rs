//! From system calls to events: every family of calls, on every kind of stream socket.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, with the line at hand")]

mod calls;
mod datagrams;
mod marks;
mod sockets;
