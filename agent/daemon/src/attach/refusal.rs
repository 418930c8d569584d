//! Why a part is not put in, or not taken out.

use super::{jvm, node};

/// Why nothing was done to a process, or not all.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The JVM's mechanism does not work here, or must not.
    #[error(transparent)]
    Jvm(#[from] jvm::Error),
    /// Node's mechanism does not work here, or must not.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The process is still starting.
    #[error("it is still starting")]
    Early,
    /// The process has ended.
    #[error("it has ended")]
    Gone,
    /// The system does not let a signal through.
    #[error("send a signal: {0}")]
    Signal(#[source] std::io::Error),
}

impl Refusal {
    /// Returns whether it may be otherwise soon.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Refusal::Early => true,
            Refusal::Node(error) => error.is_passing(),
            Refusal::Jvm(error) => error.is_passing(),
            Refusal::Gone | Refusal::Signal(_) => false,
        }
    }

    /// Returns a short name for counters.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Refusal::Jvm(error) => error.label(),
            Refusal::Node(error) => error.label(),
            Refusal::Early => "starting",
            Refusal::Gone => "gone",
            Refusal::Signal(_) => "signal",
        }
    }
}
