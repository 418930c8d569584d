//! The opening of a connection: whether the server lets the client in.

use super::{MAX_ERROR_BYTES, NatsParser};
use crate::protocol::nats::subject;
use crate::protocol::{Answer, Outcome, Refusal, Request, Response, Side, text};

/// The name of a sign-in, which is no operation that the conventions know.
const CONNECT: &str = "connect";
/// How servers refuse a client, and the values of `error.type` for that.
const REFUSALS: [(&[u8], &str); 8] = [
    (b"'Authorization Violation'", "authorization_violation"),
    (b"'Authentication Timeout'", "authentication_timeout"),
    (b"'Authentication Expired'", "authentication_expired"),
    (b"'User Authentication Expired'", "authentication_expired"),
    (b"'Account Authentication Expired'", "authentication_expired"),
    (b"'User Authentication Revoked'", "authentication_revoked"),
    (b"'maximum connections exceeded'", "maximum_connections_exceeded"),
    (b"'maximum account active connections exceeded'", "maximum_connections_exceeded"),
];

impl NatsParser {
    /// Takes a line of `length` bytes that carries nothing: `CONNECT`, by which the client signs in, or another. Of the
    /// server's, all but its `INFO` show that the client is in.
    pub(super) fn plain(&mut self, side: Side, bytes: &[u8], length: usize) -> Answer {
        let begins =
            |verb: &[u8]| bytes.get(..verb.len()).is_some_and(|word| word.eq_ignore_ascii_case(verb));
        if side == Side::Client && self.is_opening && begins(b"CONNECT") {
            return Answer::SignsIn { eaten: length };
        }
        self.is_opening &= side == Side::Client || begins(b"INFO");
        Answer::Nothing { eaten: length }
    }

    /// Returns what is told of an error by which the server refuses the client; none where it is something else.
    pub(super) fn refusal(&mut self, reason: &[u8]) -> Option<Box<Refusal>> {
        if !std::mem::take(&mut self.is_opening) {
            return None;
        }
        let (_, error_type) = REFUSALS.iter().find(|(known, _)| known.eq_ignore_ascii_case(reason))?;
        let (name, attributes) = subject::describe(CONNECT.into(), None, "");
        let outcome = Outcome {
            error_type: Some((*error_type).to_owned()),
            message: Some(text::lossy(reason, MAX_ERROR_BYTES)),
            is_client_fault: false,
        };
        let request = Request { name, attributes, ..Request::default() };
        Some(Box::new(Refusal { request, response: Response { outcome, ..Response::default() } }))
    }
}
