//! What a program may notice of its sockets, tried on loopback connections of the agent's own.
//!
//! Each check makes connections, moves bytes in one particular manner and says what it expected and what it got. It
//! knows of contexts only that one header may stand behind the first line or the fields of the first request of a connection.

mod added;
mod bytes;
mod ends;
mod http2;
mod pair;
mod readiness;

use serde::{Deserialize, Serialize};

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Its name.
    pub check: String,
    /// What it expected.
    pub expected: String,
    /// What it got.
    pub got: String,
}

/// What a round of all checks gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    /// The checks that failed.
    pub(super) failures: Vec<Failure>,
    /// Checks that were made.
    pub(super) checks: u32,
    /// Headers that arrived.
    pub(super) headers: u32,
    /// Those of them that arrived in HTTP/2.
    pub(super) fields: u32,
}

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Mismatch {
    expected: String,
    got: String,
}

impl From<std::io::Error> for Mismatch {
    fn from(error: std::io::Error) -> Self {
        Self { expected: "no error".to_owned(), got: error.to_string() }
    }
}

impl From<rustix::io::Errno> for Mismatch {
    fn from(error: rustix::io::Errno) -> Self {
        std::io::Error::from(error).into()
    }
}

/// What a check may use.
#[derive(Default)]
pub(super) struct Bench {
    /// Headers that arrived.
    headers: u32,
    /// Those of them that arrived in HTTP/2.
    fields: u32,
}

type Check = fn(&mut Bench) -> Result<(), Mismatch>;

/// All checks. The names are shown to operators.
const CHECKS: [(&str, Check); 35] = [
    ("bytes of every length, both ways", bytes::lengths),
    ("bytes over IPv6", bytes::over_ipv6),
    ("a request in one-byte writes", bytes::single_bytes),
    ("a request split anywhere", bytes::split),
    ("a request in a vector of buffers", bytes::vectors),
    ("two requests in one write", bytes::pipelined),
    ("a request with a context of its own", bytes::own_context),
    ("a request with MSG_MORE", bytes::more),
    ("a request under TCP_CORK", bytes::corked),
    ("a request by sendfile", bytes::by_sendfile),
    ("a request by splice", bytes::by_splice),
    ("non-blocking writes that are cut short", bytes::partial),
    ("a request with MSG_ZEROCOPY", bytes::zero_copy),
    ("the time of short requests without TCP_NODELAY", bytes::undelayed),
    ("many connections", bytes::many),
    ("FIONREAD of a response", readiness::waiting_response),
    ("FIONREAD where the server speaks first", readiness::waiting_greeting),
    ("edge-triggered epoll", readiness::edges),
    ("SO_RCVLOWAT", readiness::low_water),
    ("MSG_PEEK", readiness::peek),
    ("splice from the socket", readiness::splice),
    ("end of stream and half-closed connections", ends::half_closed),
    ("a reset", ends::reset),
    ("a write to a closed connection", ends::broken_pipe),
    ("a connection closed without a word", ends::silent),
    ("HTTP/2 in several calls", http2::opened),
    ("HTTP/2 split anywhere", http2::split),
    ("HTTP/2 that is not understood, or has a context of its own", http2::left_alone),
    ("HTTP/2 that is answered before the request", http2::answered),
    ("HTTP/2 that ends before the request", http2::ended),
    ("HTTP/2 with a reader that waits", http2::waiting_reader),
    // From here on the process is one that reads before it writes: its further sockets are left alone.
    ("a read with a timeout", readiness::timeout),
    ("a read that began before the first write", readiness::early_reader),
    ("end of stream for a read that began before the first write", ends::early_reader),
    ("a reset for a read that began before the first write", ends::early_reset),
];

/// Makes all checks.
pub(super) fn round() -> Round {
    let mut bench = Bench::default();
    let mut round = Round::default();
    for (name, check) in CHECKS {
        round.checks += 1;
        if let Err(Mismatch { expected, got }) = check(&mut bench) {
            round.failures.push(Failure { check: name.to_owned(), expected, got });
        }
    }
    (round.headers, round.fields) = (bench.headers, bench.fields);
    round
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, got: &T) -> Result<(), Mismatch> {
    if expected == got {
        return Ok(());
    }
    Err(Mismatch { expected: format!("{what}: {expected:?}"), got: format!("{got:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_programs_passes() {
        let round = round();
        assert_eq!(round.failures, []);
        assert_eq!(round.headers, 0);
    }
}
