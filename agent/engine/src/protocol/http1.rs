//! HTTP/1.0 and HTTP/1.1 (RFC 9110, RFC 9112).
//!
//! The heads of requests and responses are read, bodies are passed over. Responses come in the order of requests; the
//! parser keeps what each response needs to know of its request (a response to `HEAD` has no body). Events are counted as
//! they go by, and the beginnings of bodies are looked at that may be GraphQL. After an upgrade to WebSocket the exchange
//! lasts as long as that; after any other, or `CONNECT`, the connection carries something else.

mod align;
mod body;
mod detect;
mod framing;
mod head;
mod parser;
mod request;
mod response;

use super::{Conversation, Detection, Parser, Protocol};

/// HTTP/1.x.
#[derive(Debug)]
pub struct Http1;

impl Protocol for Http1 {
    fn name(&self) -> &'static str {
        "http1"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        let Conversation { settings, is_start, .. } = conversation;
        Box::new(parser::Http1Parser::new((*settings).clone(), *is_start))
    }
}
