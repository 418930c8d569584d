//! What the engine wants done outside: feedback as data.

use crate::event::{ConnectionId, Direction};

/// A wish about the capture of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Nothing on this connection is of interest: stop copying it.
    Ignore(ConnectionId),
    /// Copy at most this much of each call in a direction.
    Capture {
        /// The connection.
        connection: ConnectionId,
        /// The direction.
        direction: Direction,
        /// Bytes of each call.
        bytes: u32,
    },
    /// Bytes of this direction before this position are of no interest.
    SkipUntil {
        /// The connection.
        connection: ConnectionId,
        /// The direction.
        direction: Direction,
        /// Position of the next byte that matters.
        position: u32,
    },
    /// The connection was forgotten while it may live on: announce it again when it is used.
    Reannounce(ConnectionId),
    /// The connection is gone: forget what was said about it.
    Forget(ConnectionId),
}
