//! AMQP 0-9-1 (specification of 2008-11-13), with RabbitMQ's extensions.
//!
//! A connection carries channels, each with calls that are answered in their order and with messages. Methods and
//! content headers are read; of a message's body no more than both sides need to know it by. The rest is passed over
//! frame by frame.

mod channel;
mod content;
mod detect;
mod method;
mod names;
mod outcome;
mod parser;
mod wire;

use super::{Conversation, Detection, Parser, Protocol};

/// AMQP 0-9-1.
#[derive(Debug)]
pub struct Amqp;

impl Protocol for Amqp {
    fn name(&self) -> &'static str {
        "amqp"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Many small messages come in one call, and each frame tells where the next begins.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::AmqpParser::new(conversation.is_start))
    }
}
