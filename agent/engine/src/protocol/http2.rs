//! HTTP/2 in clear text (RFC 9113), and gRPC, which runs over it.
//!
//! Each stream carries one request and its response, which find each other by the stream's number. The hard part are
//! header blocks (RFC 7541): they refer to what was said earlier on the connection. What nobody saw is said to be
//! unknown, and what is added later is known again.

mod align;
mod count;
mod detect;
mod frame;
mod grpc;
mod head;
mod hpack;
mod parser;
mod stream;

use super::{Conversation, Detection, Parser, Protocol};

/// HTTP/2.
#[derive(Debug)]
pub struct Http2;

impl Protocol for Http2 {
    fn name(&self) -> &'static str {
        "http2"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    fn upgrade_token(&self) -> Option<&'static str> {
        Some("h2c")
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::Http2Parser::new(conversation))
    }

    fn upgraded_parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::Http2Parser::upgraded(conversation))
    }
}
