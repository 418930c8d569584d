//! A server span gets the client span that it expects by positions on the wire, if that is part of the trace.

use std::collections::HashMap;

use super::cycles;
use crate::model::{Span, SpanId};

/// Gives server spans their client spans as parents, unless that would make one its own ancestor.
pub(super) fn join(spans: &mut [Span]) {
    let mut place_of: HashMap<SpanId, usize> = HashMap::with_capacity(spans.len());
    let mut client_at: HashMap<SpanId, usize> = HashMap::new();
    for (index, span) in spans.iter().enumerate() {
        place_of.entry(span.span_id).or_insert(index);
        if span.kind.is_caller() {
            client_at.entry(span.span_id).or_insert(index);
        }
    }
    let found: Vec<Option<usize>> = spans
        .iter()
        .map(|span| span.expected_client().and_then(|client| client_at.get(&client)).copied())
        .collect();
    let sent = spans.iter().map(|span| span.parent_span_id.and_then(|parent| place_of.get(&parent)).copied());
    let parents: Vec<Option<usize>> = found.iter().zip(sent).map(|(found, sent)| found.or(sent)).collect();
    let circular = cycles::members(&parents);
    let clients: Vec<Option<SpanId>> = found
        .iter()
        .enumerate()
        .map(|(index, found)| {
            let is_sound = !circular.get(index).copied().unwrap_or(true);
            found.filter(|_| is_sound).and_then(|client| spans.get(client)).map(|client| client.span_id)
        })
        .collect();
    for (span, client) in spans.iter_mut().zip(clients) {
        if let Some(client) = client {
            span.join_expected(client);
        }
    }
}
