//! Kafka's protocol (kafka.apache.org/protocol), versions 0 to those of Kafka 4.1.
//!
//! Requests and responses say their lengths; a response says the number of its request, and only the request says what
//! it is a response to. Produce requests and Fetch responses are walked through from batch to batch; the records in them
//! are passed over unseen, but for the first of each batch, which may carry contexts.

mod api;
mod batch;
mod detect;
mod errors;
mod findings;
mod header;
mod outstanding;
mod parser;
mod place;
mod reader;
mod record;
mod request;
mod requests;
mod response;
mod responses;
mod topic;
mod walk;

use super::{Conversation, Detection, Parser, Protocol};
pub(in crate::protocol) use topic::TopicNames;

/// Kafka.
#[derive(Debug)]
pub struct Kafka;

impl Protocol for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Batches follow one another in a response, each with a header that tells where the next one begins.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::KafkaParser::new(conversation))
    }
}
