//! Why Node is left alone, or could not be.

use std::io;
use std::net::SocketAddr;

/// Why no part is put in, or taken out.
#[derive(Debug, thiserror::Error)]
pub(in crate::attach) enum Error {
    /// Its options forbid it, or somebody debugs it.
    #[error("it was started with {option}")]
    Option {
        /// The option.
        option: String,
    },
    /// It is not certain that it is Node, or what it does with the signal.
    #[error("its executable lacks the symbols that show what it does with SIGUSR1")]
    NoSymbols,
    /// The signal would end it.
    #[error("it does not catch SIGUSR1")]
    NotCaught,
    /// The application waits for the signal.
    #[error("the application handles SIGUSR1 itself")]
    Handled,
    /// It would hear the signal later, when nobody waits for its inspector any more.
    #[error("it is stopped, or frozen with its control group")]
    Stopped,
    /// The inspector would have no port.
    #[error("port {port} is taken, where its inspector would listen")]
    PortTaken {
        /// The port.
        port: u16,
    },
    /// It was asked to open the inspector, and did not.
    #[error("its inspector did not open in time")]
    NotOpened,
    /// Its network cannot be entered.
    #[error("enter its network namespace: {0}")]
    Namespace(#[source] io::Error),
    /// The connection failed.
    #[error("talk to its inspector: {0}")]
    Connection(#[from] io::Error),
    /// The protocol failed.
    #[error("talk to its inspector: {0}")]
    WebSocket(#[from] Box<tungstenite::Error>),
    /// It was busy for too long, or has been stopped since.
    #[error("its inspector did not answer in time")]
    NotAnswered,
    /// The inspector answered something else.
    #[error("its inspector answered {answer}")]
    Answer {
        /// The beginning of the answer.
        answer: String,
    },
    /// Something else listens there.
    #[error("no inspector was found at {address}: {source}")]
    NoInspector {
        /// Where it listens.
        address: SocketAddr,
        /// What went wrong.
        source: Box<Error>,
    },
    /// The inspector stays open: somebody else uses it, or the process is busy.
    #[error("its inspector at {address} is still open")]
    LeftOpen {
        /// Where it listens.
        address: SocketAddr,
    },
}

impl Error {
    /// Returns a short name for counters.
    pub(in crate::attach) fn label(&self) -> &'static str {
        match self {
            Error::Option { .. } => "option",
            Error::NoSymbols => "symbols",
            Error::NotCaught => "not_caught",
            Error::Handled => "handled",
            Error::Stopped => "stopped",
            Error::PortTaken { .. } => "port_taken",
            Error::NotOpened => "not_opened",
            Error::Namespace(_) => "namespace",
            Error::Connection(_) | Error::WebSocket(_) => "connection",
            Error::NotAnswered => "not_answered",
            Error::Answer { .. } => "answer",
            Error::NoInspector { .. } => "no_inspector",
            Error::LeftOpen { .. } => "left_open",
        }
    }

    /// Returns whether it may be otherwise soon: nothing was done to the process.
    pub(in crate::attach) fn is_passing(&self) -> bool {
        matches!(self, Error::NotCaught | Error::Stopped | Error::PortTaken { .. })
    }
}
