//! DNS (RFC 1035, EDNS of RFC 6891), over TCP and over UDP.
//!
//! Each message has its length before it in two bytes, as over TCP; before a datagram the capture puts them. Responses
//! find their requests by id and question, in any order, and a request that is sent again is still the same one.

mod detect;
mod message;
mod name;
mod parser;
mod registry;

use super::{Conversation, Detection, Parser, Protocol};

/// DNS.
#[derive(Debug)]
pub struct Dns;

impl Protocol for Dns {
    fn name(&self) -> &'static str {
        "dns"
    }

    fn detect(&self, bytes: &[u8]) -> Detection {
        detect::detect(bytes)
    }

    fn parser(&self, _conversation: &Conversation<'_>) -> Box<dyn Parser> {
        Box::new(parser::DnsParser::default())
    }
}
