//! Spans of connections of which nothing was understood.

use super::{Correlation, ROOT_FLAGS, describe, identity};
use crate::event::{Closed, ConnectionId, Endpoint, Opened, Role};
use crate::semconv::{self, Attributes, Value};
use crate::span::{Span, SpanKind, Status};

/// The protocol of such spans.
const UNKNOWN: &str = "unknown";
/// How they are named.
const NAME: &str = "connection";

impl Correlation {
    /// Returns the span of a whole connection, from when it was opened until it ended.
    pub(crate) fn connection(
        &mut self,
        connection: ConnectionId,
        opened: &Opened,
        (started_at_ns, ended_at_ns): (u64, u64),
        closed: Closed,
    ) -> Span {
        let kind = if opened.role == Role::Connected { SpanKind::Client } else { SpanKind::Server };
        let identity = identity::new(&mut self.ids);
        let mut attributes = Attributes::new();
        describe::add_ends(&mut attributes, kind, opened);
        if let Endpoint::Ip(_) = opened.peer {
            let transport = if opened.is_datagram { "udp" } else { "tcp" };
            attributes.push((semconv::NETWORK_TRANSPORT, Value::from(transport)));
        }
        if let Some(received) = closed.received {
            attributes.push((semconv::REMORA_CONNECTION_BYTES_RECEIVED, count(received)));
        }
        if let Some(sent) = closed.sequence_sent {
            // The kernel counts the SYN of the side that connects.
            let opening = u64::from(opened.role == Role::Connected);
            attributes.push((semconv::REMORA_CONNECTION_BYTES_SENT, count(sent.saturating_sub(opening))));
        }
        Span {
            trace_id: identity.trace,
            span_id: identity.client_span,
            parent: None,
            trace_state: String::new(),
            flags: ROOT_FLAGS,
            kind,
            name: NAME.to_owned(),
            started_at_ns,
            ended_at_ns: ended_at_ns.max(started_at_ns),
            attributes,
            status: Status::Unset,
            links: Vec::new(),
            protocol: UNKNOWN,
            tgid: opened.executor.tgid,
            tid: opened.executor.tid,
            connection,
        }
    }
}

fn count(bytes: u64) -> Value {
    Value::Int(i64::try_from(bytes).unwrap_or(i64::MAX))
}
