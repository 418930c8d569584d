//! MySQL's protocol, version 10, and MariaDB's (MySQL internals manual, "Client/Server Protocol"; MariaDB documentation,
//! "Client/Server Protocol").
//!
//! An exchange is one command and all its results. Answers come in the order of commands, and each packet has a number
//! that begins anew with each command. Definitions and rows are passed over by their lengths.

mod answering;
mod command;
mod compressed;
mod detect;
mod ending;
mod failure;
mod handshake;
mod packet;
mod parameters;
mod parser;
mod pending;
mod prepared;
mod request;
mod shared;
mod status;

use super::{Conversation, Detection, Parser, Protocol};
pub(super) use shared::Servers;

/// MySQL and MariaDB.
#[derive(Debug)]
pub struct Mysql;

impl Protocol for Mysql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    /// Rows say their lengths one by one, so that all of them must be seen. Servers write 16 KiB at once.
    fn capture_bytes(&self) -> u32 {
        16 << 10
    }

    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::MysqlParser::new(conversation))
    }
}
