//! The NATS client protocol (docs.nats.io, "Client Protocol"), with headers and what JetStream says in messages (ADR-4,
//! ADR-15, ADR-22).
//!
//! Lines of text, of which those that carry messages tell how many bytes follow. The server speaks first. Nothing is
//! answered by the protocol itself: a request is a message that names the subject on which its answer is awaited.

mod command;
mod detect;
mod headers;
mod jetstream;
mod message;
mod parser;
mod subject;
mod subscriptions;

use super::{Conversation, Detection, Parser, Protocol};

/// NATS.
#[derive(Debug)]
pub struct Nats;

impl Protocol for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Many small messages come in one call, and each line tells where the next begins.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::NatsParser::new(conversation.is_start))
    }
}

/// The system's name, which the OpenTelemetry conventions do not list.
const SYSTEM: &str = "nats";
/// Longest line that is read (`max_control_line` of the server is 4096 unless changed).
const MAX_LINE_BYTES: usize = 8 << 10;
/// Longest line without a message, `INFO` and `CONNECT`; what is longer is passed over piece by piece.
const MAX_PAYLOAD_BYTES: u64 = 256 << 20;
