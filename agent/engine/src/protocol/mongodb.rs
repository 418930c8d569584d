//! MongoDB's wire protocol: `OP_MSG`, compressed or not, and the `OP_QUERY` with which older drivers begin.
//!
//! Messages are numbered, and responses name the message that they answer. Of a message its beginning is read; of a
//! longer one the documents are counted as they go by, and their bytes are passed over unseen.

mod bson;
mod command;
mod compressed;
mod detect;
mod header;
mod parser;
mod reply;
mod rest;
mod sections;
mod shape;

use super::{Conversation, Detection, Parser, Protocol};

/// Bytes of a message that are read: no more than the kernel captures of each call from the beginning.
const READ_BYTES: usize = 4096;

/// MongoDB.
#[derive(Debug)]
pub struct Mongodb;

impl Protocol for Mongodb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// The documents of a reply are counted where they are seen.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::MongodbParser::new(conversation.settings, conversation.is_start))
    }
}
