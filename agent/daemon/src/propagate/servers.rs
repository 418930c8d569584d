//! Which servers are asked by HTTP: only towards those are sockets enrolled.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use remora_engine::semconv::{self, Key, Value};
use remora_engine::span::{Span, SpanKind};

/// Servers that are remembered. At one more, all are learnt anew.
const MAX_SERVERS: usize = 4096;
/// How often the kernel is told of a server that is asked all the time.
const REPEAT_NS: u64 = 10_000_000_000;
/// The protocols in whose requests a header can be written.
const PROTOCOLS: [&str; 2] = ["http1", "http2"];

/// What was learnt from calls.
#[derive(Debug, Default)]
pub struct Servers {
    told: HashMap<SocketAddr, u64>,
}

impl Servers {
    /// Returns the server of a call if the kernel should be told of it.
    pub fn learn(&mut self, span: &Span, now_ns: u64) -> Option<SocketAddr> {
        if span.kind != SpanKind::Client || !PROTOCOLS.contains(&span.protocol) {
            return None;
        }
        let server = peer(span)?;
        if self.told.len() >= MAX_SERVERS && !self.told.contains_key(&server) {
            self.told.clear();
        }
        let told = self.told.get(&server).copied();
        if told.is_some_and(|at_ns| now_ns.saturating_sub(at_ns) < REPEAT_NS) {
            return None;
        }
        self.told.insert(server, now_ns);
        Some(server)
    }
}

fn peer(span: &Span) -> Option<SocketAddr> {
    let value = |key: &Key| span.attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let address: IpAddr = match value(&semconv::NETWORK_PEER_ADDRESS)? {
        Value::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    match value(&semconv::NETWORK_PEER_PORT)? {
        Value::Int(port) => Some(SocketAddr::new(address, u16::try_from(*port).ok()?)),
        _ => None,
    }
}
