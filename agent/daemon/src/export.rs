//! Resource spans become OTLP and reach a receiver, or wait for it in memory and on disk.
//!
//! The only room with OTLP types. It knows nothing of processes or protocols. Its one hard problem is a receiver
//! that is slow or away: nothing upstream may wait, nothing may be lost without being counted, and what was kept is
//! delivered in order when the receiver returns.

mod backlog;
mod backoff;
mod batch;
pub mod display;
mod endpoint;
mod intake;
mod otlp;
mod print;
mod settings;
mod spool;
mod transport;
mod worker;

use std::path::PathBuf;

pub use endpoint::{Endpoint, EndpointError, Protocol};
pub use intake::{Refused, SpanSink};
pub use print::{Format, line};
pub use settings::{Backoff, Compression, Settings, SpoolSettings};
pub use worker::Exporter;

/// Why the exporter cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates of the host, or the file that was named, cannot be used.
    #[error("load certificates{}: {reason}", file.as_ref().map(|file| format!(" from {}", file.display())).unwrap_or_default())]
    Certificates {
        /// The file, if one was named.
        file: Option<PathBuf>,
        /// Why.
        reason: String,
    },
    /// A header is not one.
    #[error("OTLP header {name:?} is not a valid header: {reason}")]
    Header {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The spool cannot be used.
    #[error("open the spool {}: {source}", folder.display())]
    Spool {
        /// Its folder.
        folder: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("start the exporter: {0}")]
    Start(#[source] std::io::Error),
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
