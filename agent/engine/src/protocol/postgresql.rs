//! PostgreSQL's protocol, version 3 (PostgreSQL documentation, "Frontend/Backend Protocol").
//!
//! An exchange is one simple query with all its statements, one `Execute` of the extended protocol, or a batch that
//! prepares a statement without executing it. Answers come in the order of questions; what the parser keeps of each
//! step of a batch tells which answer ends which exchange. Rows and copied data are passed over by their lengths.

mod align;
mod detect;
mod ending;
mod failure;
mod message;
mod outcome;
mod parameters;
mod parser;
mod pending;
mod prepared;
mod request;
mod shared;
mod startup;

use super::{Conversation, Detection, Parser, Protocol};
pub(super) use shared::Statements;

/// PostgreSQL.
#[derive(Debug)]
pub struct Postgresql;

impl Protocol for Postgresql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Rows say their lengths one by one, so that all of them must be seen. Drivers read 8 to 16 KiB at once.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::PostgresqlParser::new(conversation))
    }
}
