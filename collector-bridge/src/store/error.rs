//! What can go wrong with files.

use std::io;
use std::path::{Path, PathBuf};

/// Why the store cannot read or write.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file could not be read or written.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A file's content is not what was written.
    #[error("{}: {what}; {advice}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        what: String,
        /// What an operator can do.
        advice: &'static str,
    },
    /// Another process has the directory.
    #[error("data directory {} is in use by another remora-bridge: stop it, or choose another with --data", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The store is closing.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns a function that makes an I/O error with its circumstances.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Returns an error of a file without which the others are of no use.
    pub(crate) fn damaged(path: &Path, what: impl ToString) -> Self {
        let advice = "restore it from a copy, or move the data directory away to start with an empty one";
        Self::Damaged { path: path.to_owned(), what: what.to_string(), advice }
    }

    /// Returns an error of a log file.
    pub(crate) fn damaged_log(path: &Path, what: impl ToString) -> Self {
        let advice = "move the file away to start without it";
        Self::Damaged { path: path.to_owned(), what: what.to_string(), advice }
    }
}

/// Why a batch was not kept. Nothing of it is acknowledged, and the sender may send it again later.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Live spans wait for the disk up to their limit.
    #[error("live spans reached their limit of {limit_bytes} bytes; segments are not written fast enough")]
    LiveFull {
        /// The limit.
        limit_bytes: usize,
    },
    /// Requests wait for the log up to their limit.
    #[error("{limit} requests already wait for the log")]
    LogBusy {
        /// The limit.
        limit: usize,
    },
    /// The request could not be read back from the log.
    #[error("the request is longer than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The log could not be written.
    #[error("the log cannot be written: {0}")]
    Log(String),
    /// The store is closing.
    #[error("the bridge is shutting down")]
    Closed,
}

impl AppendError {
    /// Returns the value of the `reason` label in metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            AppendError::LiveFull { .. } => "live_full",
            AppendError::LogBusy { .. } => "log_busy",
            AppendError::TooLarge { .. } => "too_large",
            AppendError::Log(_) => "log_failed",
            AppendError::Closed => "closed",
        }
    }
}
