//! What the user wants: flags, environment and file become [`Settings`], once, at the start.
//!
//! Precedence: flag, environment, file, default. `file` mirrors what is written, [`Settings`] is complete and
//! valid; nothing else in the agent sees a flag or a variable.

mod arguments;
mod environment;
mod file;
mod quantity;
mod settings;

use std::path::PathBuf;

pub use arguments::{
    CheckArguments, Command, CommandLine, ContentEvidence, ExplainArguments, LogArguments, Print, Propagate,
    RunArguments, Switch, TraceArguments, TrySocketsArguments, WatchArguments,
};
pub use environment::Environment;
pub use file::File;
pub use quantity::{ByteCount, Period, QuantityError};
pub use settings::{Capture, DEFAULT_ENDPOINT, LogFormat, LogSettings, Metrics, Propagation, Settings};

use crate::attach::UnknownPlatform;
use crate::discover;
use crate::export::EndpointError;

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where, and what is expected there.
        source: Box<toml::de::Error>,
    },
    /// A selection rule is none.
    #[error(transparent)]
    Rule(#[from] discover::Error),
    /// The receiver's address is none.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A part is asked for that does not exist.
    #[error("attach: {0}")]
    Platform(#[from] UnknownPlatform),
    /// A variable or key holds something else than it should.
    #[error("{name}: {value:?} is not {expected}")]
    Value {
        /// Flag, variable or key.
        name: String,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Metrics would be open to the network.
    #[error(
        "metrics on {address}: anything but loopback needs a bearer token: set metrics.token_file in the configuration"
    )]
    OpenMetrics {
        /// The address.
        address: std::net::SocketAddr,
    },
}

#[cfg(test)]
mod tests;
