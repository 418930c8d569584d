//! A span for tests.

use std::sync::Arc;

use remora_engine::event::ConnectionId;
use remora_engine::span::{Evidence, Parent, Span, SpanId, SpanKind, Status, TraceId};

use crate::enrich::{Host, Resource, ResourceSpan};

/// Returns a span that carries its number in its name and id.
pub(crate) fn span(number: u32) -> ResourceSpan {
    span_of(number, &Arc::new(Resource::unknown(1, &Host::default())), "http")
}

/// Returns a span of a resource and protocol.
pub(crate) fn span_of(number: u32, resource: &Arc<Resource>, protocol: &'static str) -> ResourceSpan {
    let span = Span {
        trace_id: TraceId([7; 16]),
        span_id: span_id(number),
        parent: Some(Parent { span_id: SpanId([9; 8]), is_remote: true, evidence: Evidence::Wire }),
        trace_state: "a=b".to_owned(),
        flags: 1,
        kind: SpanKind::Server,
        name: number.to_string(),
        started_at_ns: 10,
        ended_at_ns: 30,
        attributes: vec![("http.response.status_code".into(), 500_i64.into())],
        status: Status::Error("oops".to_owned()),
        links: Vec::new(),
        protocol,
        tgid: 1,
        tid: 1,
        connection: ConnectionId { sock: 1, inode: 1 },
    };
    let started_at_unix_ns = 1_700_000_000_000_000_000;
    ResourceSpan {
        span,
        resource: resource.clone(),
        started_at_unix_ns,
        ended_at_unix_ns: started_at_unix_ns + 20,
    }
}

/// Returns the id of a numbered span.
pub(crate) fn span_id(number: u32) -> SpanId {
    let mut id = [0; 8];
    id[4..].copy_from_slice(&(number + 1).to_be_bytes());
    SpanId(id)
}
