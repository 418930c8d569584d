//! The description of a span: name, attributes and status, from what was said and between whom.

use crate::correlation::Context;
use crate::correlation::names::Names;
use crate::correlation::route::ServiceKey;
use crate::event::{ConnectionId, Endpoint, Opened};
use crate::pairing::Exchange;
use crate::protocol::{Category, Name, Request};
use crate::semconv::{self, Attributes, Key, Value};
use crate::span::{Span, SpanKind, Status};

/// `error.type` of an exchange whose connection ended before the response.
const CONNECTION_CLOSED: &str = "connection_closed";

/// Returns the span of an exchange, without its parent.
pub(super) fn span(
    kind: SpanKind,
    mut exchange: Exchange,
    protocol: &'static str,
    connection: ConnectionId,
    opened: &Opened,
    names: &mut Names,
    context: &Context,
) -> Span {
    let started_at_ns = exchange.request_first.at_ns;
    let last = exchange.response_last.unwrap_or(exchange.request_last);
    let executor = match kind {
        SpanKind::Client | SpanKind::Producer => exchange.request_first.executor,
        SpanKind::Server | SpanKind::Consumer => {
            exchange.response_first.unwrap_or(exchange.request_first).executor
        }
    };
    note_deadline(&mut exchange);
    let mut attributes = std::mem::take(&mut exchange.request.attributes);
    // Room for what is added below: growing would copy all of it.
    attributes.reserve(12);
    add_addresses(&mut attributes, kind, &mut exchange.request, opened);
    let name = name(&exchange, kind, protocol, opened, names, &mut attributes);
    let status = add_outcome(&mut attributes, &mut exchange, kind);
    // An empty text says no more than its absence (a driver's ping is an empty statement).
    attributes.retain(|(_, value)| !matches!(value, Value::Text(text) if text.is_empty()));
    Span {
        trace_id: context.trace_id,
        span_id: context.span_id,
        parent: None,
        trace_state: context.state.clone(),
        flags: context.flags,
        kind: told_kind(kind, exchange.request.category),
        name,
        started_at_ns,
        ended_at_ns: last.at_ns.max(started_at_ns),
        attributes,
        status,
        links: Vec::new(),
        protocol,
        tgid: executor.tgid,
        tid: executor.tid,
        connection,
    }
}

/// Returns the kind that a side's span is told with.
fn told_kind(side: SpanKind, category: Category) -> SpanKind {
    match (side, category) {
        (SpanKind::Client, Category::Send) => SpanKind::Producer,
        _ => side,
    }
}

/// A server names its route, a client only what it did: its paths may be anybody's.
fn name(
    exchange: &Exchange,
    kind: SpanKind,
    protocol: &'static str,
    opened: &Opened,
    names: &mut Names,
    attributes: &mut Attributes,
) -> String {
    let better = exchange.response.as_ref().and_then(|response| response.name.as_ref());
    let Name { verb, path } = better.unwrap_or(&exchange.request.name);
    let server = match kind {
        SpanKind::Client | SpanKind::Producer => &opened.peer,
        SpanKind::Server | SpanKind::Consumer => &opened.local,
    };
    let verb = names.bounded(protocol, service_key(server), verb);
    let Some(path) = path.as_ref().filter(|_| kind == SpanKind::Server) else { return verb.to_owned() };
    let Some(route) = names.routes.template(service_key(server), path) else { return verb.to_owned() };
    let name = format!("{verb} {route}");
    attributes.push((semconv::HTTP_ROUTE, Value::from(route)));
    name
}

fn service_key(server: &Endpoint) -> ServiceKey {
    match server {
        Endpoint::Ip(address) => ServiceKey(u32::from(address.port()), String::new()),
        Endpoint::Unix(name) => ServiceKey(0, name.clone()),
    }
}

fn add_addresses(attributes: &mut Attributes, kind: SpanKind, request: &mut Request, opened: &Opened) {
    let server = match kind {
        SpanKind::Client | SpanKind::Producer => &opened.peer,
        SpanKind::Server | SpanKind::Consumer => &opened.local,
    };
    let (named_host, named_port) = match request.authority.take() {
        Some((host, port)) => (Some(host), port),
        None => (None, None),
    };
    let is_named = named_host.is_some();
    match server {
        Endpoint::Ip(address) => {
            let port = if is_named { named_port.unwrap_or(address.port()) } else { address.port() };
            let host = named_host.unwrap_or_else(|| address.ip().to_string());
            if kind == SpanKind::Client {
                add_url(attributes, &host, port);
            }
            attributes.push((semconv::SERVER_ADDRESS, Value::from(host)));
            attributes.push((semconv::SERVER_PORT, Value::from(i64::from(port))));
        }
        Endpoint::Unix(name) => {
            if kind == SpanKind::Client {
                let port = named_port.unwrap_or_else(|| default_port(attributes));
                add_url(attributes, named_host.as_deref().unwrap_or("localhost"), port);
            }
            let address = if name.is_empty() { named_host.unwrap_or_default() } else { name.clone() };
            if !address.is_empty() {
                attributes.push((semconv::SERVER_ADDRESS, Value::from(address)));
            }
            attributes.push((semconv::NETWORK_TRANSPORT, Value::from("unix")));
        }
    }
    if opened.is_datagram {
        attributes.push((semconv::NETWORK_TRANSPORT, Value::from("udp")));
    }
    if !opened.has_many_peers() {
        add_peer(attributes, kind, &opened.peer);
    }
}

/// Adds the addresses of a connection.
pub(super) fn add_ends(attributes: &mut Attributes, kind: SpanKind, opened: &Opened) {
    add_addresses(attributes, kind, &mut Request::default(), opened);
}

fn add_peer(attributes: &mut Attributes, kind: SpanKind, peer: &Endpoint) {
    let is_claimed = has(attributes, &semconv::CLIENT_ADDRESS);
    match kind {
        SpanKind::Client | SpanKind::Producer => {
            attributes.retain(|(key, _)| *key != semconv::CLIENT_ADDRESS)
        }
        SpanKind::Server if !is_claimed => {
            if let Endpoint::Ip(address) = peer {
                attributes.push((semconv::CLIENT_ADDRESS, Value::from(address.ip().to_string())));
                attributes.push((semconv::CLIENT_PORT, Value::from(i64::from(address.port()))));
            }
        }
        SpanKind::Server | SpanKind::Consumer => {}
    }
    match peer {
        Endpoint::Ip(address) => {
            attributes.push((semconv::NETWORK_PEER_ADDRESS, Value::from(address.ip().to_string())));
            attributes.push((semconv::NETWORK_PEER_PORT, Value::from(i64::from(address.port()))));
        }
        Endpoint::Unix(name) if !name.is_empty() => {
            attributes.push((semconv::NETWORK_PEER_ADDRESS, Value::from(name.clone())));
        }
        Endpoint::Unix(_) => {}
    }
}

fn has(attributes: &Attributes, key: &Key) -> bool {
    attributes.iter().any(|(present, _)| present == key)
}

fn text(attributes: &Attributes, key: &Key) -> Option<String> {
    match attributes.iter().find(|(present, _)| present == key) {
        Some((_, Value::Text(text))) => Some(text.to_string()),
        _ => None,
    }
}

/// Returns the port that a URL means which names none.
fn default_port(attributes: &Attributes) -> u16 {
    if text(attributes, &semconv::URL_SCHEME).as_deref() == Some("https") { 443 } else { 80 }
}

/// A client's URL is one attribute, a server's several.
fn add_url(attributes: &mut Attributes, host: &str, port: u16) {
    let Some(path) = text(attributes, &semconv::URL_PATH) else { return };
    let scheme = text(attributes, &semconv::URL_SCHEME).unwrap_or_else(|| "http".to_owned());
    let query = text(attributes, &semconv::URL_QUERY).map(|query| format!("?{query}")).unwrap_or_default();
    let is_default_port = matches!((scheme.as_str(), port), ("http", 80) | ("https", 443));
    let port = if is_default_port { String::new() } else { format!(":{port}") };
    let is_bare_ipv6 = host.contains(':') && !host.starts_with('[');
    let host = if is_bare_ipv6 { format!("[{host}]") } else { host.to_owned() };
    let url = format!("{scheme}://{host}{port}{path}{query}");
    attributes.retain(|(key, _)| {
        *key != semconv::URL_PATH && *key != semconv::URL_QUERY && *key != semconv::URL_SCHEME
    });
    attributes.push((semconv::URL_FULL, Value::from(url)));
}

/// Says that a call's deadline has passed where it was given up no earlier: on the wire that looks like a call that nobody
/// wants any more, whether the client ends it or a server that minds the deadline too (grpc-go).
fn note_deadline(exchange: &mut Exchange) {
    /// Part of the deadline, and seconds at least, that may pass between the start of a client's clock and its first byte.
    const SLACK: f64 = 0.05;
    const MIN_SLACK_S: f64 = 0.01;
    let timeout = exchange.request.attributes.iter().find(|(key, _)| *key == semconv::REMORA_RPC_TIMEOUT);
    let (Some((_, Value::Double(timeout))), Some(response), Some(last)) =
        (timeout, &mut exchange.response, exchange.response_last)
    else {
        return;
    };
    let elapsed_s = last.at_ns.saturating_sub(exchange.request_first.at_ns) as f64 / 1e9;
    if response.is_given_up && elapsed_s + (timeout * SLACK).max(MIN_SLACK_S) >= *timeout {
        let status = "DEADLINE_EXCEEDED";
        response.outcome.error_type = Some(status.to_owned());
        response.outcome.is_client_fault = false;
        response.attributes.retain(|(key, _)| *key != semconv::RPC_RESPONSE_STATUS_CODE);
        response.attributes.push((semconv::RPC_RESPONSE_STATUS_CODE, Value::from(status)));
    }
}

fn add_outcome(attributes: &mut Attributes, exchange: &mut Exchange, kind: SpanKind) -> Status {
    let Some(response) = &mut exchange.response else {
        if exchange.request.is_one_way {
            return Status::Unset;
        }
        attributes.push((semconv::ERROR_TYPE, Value::from(CONNECTION_CLOSED)));
        return Status::Error("the connection ended before the response".to_owned());
    };
    for (key, value) in std::mem::take(&mut response.attributes) {
        attributes.retain(|(present, _)| *present != key);
        attributes.push((key, value));
    }
    let outcome = &response.outcome;
    let Some(error_type) = &outcome.error_type else { return Status::Unset };
    let is_forgiven =
        outcome.is_client_fault && kind == SpanKind::Server && exchange.request.category == Category::Call;
    if is_forgiven {
        return Status::Unset;
    }
    attributes.push((semconv::ERROR_TYPE, Value::from(error_type.clone())));
    Status::Error(outcome.message.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Executor, Role};

    #[test]
    fn a_url_on_a_unix_socket_has_the_port_that_its_scheme_means() {
        let opened = Opened {
            executor: Executor::default(),
            local: Endpoint::Unix(String::new()),
            peer: Endpoint::Unix("/run/shop".to_owned()),
            role: Role::Connected,
            is_datagram: false,
            peer_sock: Some(9),
            first: None,
        };
        for (scheme, port, url) in [
            ("https", None, "https://localhost/x"),
            ("http", None, "http://localhost/x"),
            ("https", Some(80), "https://localhost:80/x"),
        ] {
            let mut attributes =
                vec![(semconv::URL_SCHEME, Value::from(scheme)), (semconv::URL_PATH, Value::from("/x"))];
            let authority = Some(("localhost".to_owned(), port));
            let mut request = Request { authority, ..Request::default() };
            add_addresses(&mut attributes, SpanKind::Client, &mut request, &opened);
            assert_eq!(text(&attributes, &semconv::URL_FULL).as_deref(), Some(url));
        }
    }
}
