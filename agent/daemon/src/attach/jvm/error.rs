//! Why a JVM does not get the part.

use std::io;

/// Why nothing was done to a JVM, or what it did not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Another virtual machine, or none.
    #[error("no HotSpot JVM: libjvm.so is not mapped")]
    NotHotSpot,
    /// Its options forbid tools, or may do so.
    #[error("its options forbid tools, or hide whether they do: {0}")]
    Forbidden(String),
    /// `SIGQUIT`, by which tools knock, would end it or mean something else.
    #[error("it does not handle SIGQUIT")]
    NoHandler,
    /// What has to be known of it cannot be read.
    #[error("read {file}: {source}")]
    Unreadable {
        /// The file below its folder in `/proc`.
        file: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Its folder for temporary files takes no file.
    #[error("put a file into its /tmp: {0}")]
    NoFile(#[source] io::Error),
    /// It did not open the socket for tools.
    #[error("it does not open its socket for tools")]
    Silent,
    /// The socket for tools failed.
    #[error("its socket for tools: {0}")]
    Socket(#[source] io::Error),
    /// It lets nothing in before its own classes are there; or it has no interface for tools.
    #[error("it is still starting, or has no interface for tools")]
    Starting,
    /// It has not loaded the part.
    #[error("it does not load the part: {0}")]
    NotLoaded(String),
}

impl Error {
    /// Returns a short name for counters.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Error::NotHotSpot => "not_hotspot",
            Error::Forbidden(_) => "forbidden",
            Error::NoHandler => "no_handler",
            Error::Unreadable { .. } => "unreadable",
            Error::NoFile(_) => "no_file",
            Error::Silent => "silent",
            Error::Socket(_) => "socket",
            Error::Starting => "starting",
            Error::NotLoaded(_) => "not_loaded",
        }
    }

    /// Returns whether it may be otherwise soon.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Error::Starting)
    }
}
