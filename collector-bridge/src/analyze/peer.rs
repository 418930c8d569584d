//! Whom a span talks to, by its own words.
//!
//! Current semantic conventions first, then the names that they replaced, which many senders still use.

use std::sync::Arc;

use crate::model::{AnyValue, KeyValue, Span, SpanKind, find};

/// Bytes of a peer's name; the rest is cut.
pub const MAX_PEER_NAME_BYTES: usize = 200;

/// What runs over a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionType {
    /// Calls between services.
    #[default]
    Service,
    /// Queries to a database.
    Database,
    /// Commands to a cache.
    Cache,
    /// Messages through a broker.
    Messaging,
}

impl ConnectionType {
    /// Returns the name that the API shows.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            ConnectionType::Service => "service",
            ConnectionType::Database => "database",
            ConnectionType::Cache => "cache",
            ConnectionType::Messaging => "messaging",
        }
    }
}

/// The other side of a call, as one side names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Peer {
    pub(super) connection: ConnectionType,
    /// `postgresql/shop@db:5432`, `kafka/orders`, `api.example.com:443`.
    pub(super) name: Arc<str>,
}

/// The name of a peer of which nothing is known.
const UNKNOWN: &str = "unknown";

/// Systems that are caches first (values of `db.system.name`).
const CACHES: [&str; 6] = ["redis", "memcached", "valkey", "keydb", "dragonfly", "hazelcast"];

/// Returns what runs over the connection, by the span's own words.
pub(super) fn connection_of(span: &Span) -> ConnectionType {
    if let Some(system) = database(&span.attributes) {
        return database_type(system);
    }
    let is_message = matches!(span.kind, SpanKind::Producer | SpanKind::Consumer)
        || find(&span.attributes, "messaging.system").is_some();
    if is_message { ConnectionType::Messaging } else { ConnectionType::Service }
}

/// Returns what the span says about the other side.
pub(super) fn peer_of(span: &Span) -> Peer {
    let attributes = &span.attributes;
    let connection = connection_of(span);
    let name = if let Some(system) = database(attributes) {
        let namespace = text(attributes, &["db.namespace", "db.name", "db.redis.database_index"]);
        composed(system, namespace.as_deref(), address(attributes).as_deref())
    } else if let Some(system) = text(attributes, &["messaging.system"]) {
        let destination = text(attributes, &["messaging.destination.name", "messaging.destination"]);
        composed(&system, destination.as_deref(), None)
    } else {
        shortened(&address(attributes).unwrap_or_else(|| UNKNOWN.to_owned()))
    };
    Peer { connection, name }
}

fn database(attributes: &[KeyValue]) -> Option<&str> {
    let system = find(attributes, "db.system.name").or_else(|| find(attributes, "db.system"));
    system.and_then(AnyValue::as_str).filter(|system| !system.is_empty())
}

/// Returns whether anything told the peer apart from others.
pub(super) fn is_known(peer: &Peer) -> bool {
    &*peer.name != UNKNOWN
}

fn database_type(system: &str) -> ConnectionType {
    if CACHES.contains(&system) { ConnectionType::Cache } else { ConnectionType::Database }
}

fn composed(system: &str, part: Option<&str>, address: Option<&str>) -> Arc<str> {
    let mut name = system.to_owned();
    if let Some(part) = part {
        name.push('/');
        name.push_str(part);
    }
    if let Some(address) = address {
        name.push('@');
        name.push_str(address);
    }
    shortened(&name)
}

/// `service.peer.name` (formerly `peer.service`), else the server's name or address with its port, else the socket's other
/// end, else the URL's host.
fn address(attributes: &[KeyValue]) -> Option<String> {
    if let Some(service) = text(attributes, &["service.peer.name", "peer.service"]) {
        return Some(service);
    }
    let server = text(attributes, &["server.address", "net.peer.name", "http.host", "net.peer.ip"]);
    let socket = || text(attributes, &["network.peer.address", "net.sock.peer.addr"]);
    let (host, port_keys) = match (server, socket) {
        (Some(server), _) => (server, ["server.port", "net.peer.port"]),
        (None, socket) => match socket() {
            Some(address) => (address, ["network.peer.port", "net.sock.peer.port"]),
            None => {
                return text(attributes, &["url.full", "http.url"]).as_deref().and_then(url_host);
            }
        },
    };
    let port = text(attributes, &port_keys);
    Some(match port {
        Some(port) if host.contains(':') && !host.starts_with('[') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
        None => host,
    })
}

fn url_host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then(|| host.to_owned())
}

/// Returns the first of the attributes that holds a text or a whole number.
fn text(attributes: &[KeyValue], keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| match find(attributes, key)? {
        AnyValue::String(text) if !text.is_empty() => Some(text.clone()),
        AnyValue::Int(number) => Some(number.to_string()),
        _ => None,
    })
}

pub(super) fn shortened(name: &str) -> Arc<str> {
    name.get(..name.floor_char_boundary(MAX_PEER_NAME_BYTES)).unwrap_or(name).into()
}
