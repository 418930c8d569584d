//! HTTP/2 in clear text (RFC 9113), and gRPC, which runs over it.
//!
//! Each stream carries one request and its response, which find each other by the stream's number. The hard part are
//! header blocks (RFC 7541): they refer to what was said earlier on the connection. What nobody saw is said to be
//! unknown, and what is added later is known again.

mod align;
mod detect;
mod frame;
mod grpc;
mod head;
mod hpack;
mod kept;
mod look;
mod messages;
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

    /// Frames follow each other without marks: one whose header is in a hole may have changed the table of fields, and
    /// later header blocks refer to that as long as the connection lives.
    fn capture_bytes(&self) -> u32 {
        64 << 10
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
