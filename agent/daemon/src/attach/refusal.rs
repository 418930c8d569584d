//! Why a part is not put in, or not taken out.

use super::jvm;

/// Why nothing was done to a process, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The JVM's mechanism does not work here, or must not.
    #[error(transparent)]
    Jvm(#[from] jvm::Error),
    /// The process is still starting.
    #[error("it is still starting")]
    Early,
    /// The process has ended.
    #[error("it has ended")]
    Gone,
    /// The system does not let a signal through.
    #[error("send a signal: {0}")]
    Signal(#[source] std::io::Error),
    /// `/proc` does not say what has to be known.
    #[error("read /proc/{tgid}/{file}: {source}")]
    Unreadable {
        /// The process.
        tgid: u32,
        /// The file.
        file: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Refusal {
    /// Returns a short name for counters.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Refusal::Jvm(error) => error.label(),
            Refusal::Early => "starting",
            Refusal::Gone => "gone",
            Refusal::Signal(_) => "signal",
            Refusal::Unreadable { .. } => "unreadable",
        }
    }
}
