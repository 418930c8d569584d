//! `GET /api/v1/traces/{id}`: one trace, as a tree in reading order.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::assemble::assemble;
use crate::model::{ClockSkew, Event, Link, Resource, Scope, Trace, TraceId, TraceSpan};
use crate::query::InferredLinks;
use crate::store::Store;

use super::Api;
use super::error::ApiError;
use super::fields::{Fields, shown};
use super::inferred::InferredJson;
use super::json::{Json, attributes};
use super::names::{kind_name, status_name};
use super::range::now_unix_ns;
use super::search::SummaryJson;

#[derive(Debug, Serialize)]
pub(super) struct TraceJson {
    #[serde(flatten)]
    summary: SummaryJson,
    completeness: CompletenessJson,
    /// Each resource once; spans name its index.
    resources: Vec<ResourceJson>,
    /// Each scope once, likewise.
    scopes: Vec<ScopeJson>,
    /// Depth first: each span after its parent, siblings by start.
    spans: Vec<SpanJson>,
    /// What time says about calls without parent.
    inferred: InferredJson,
    /// Other ids of the trace.
    aliases: Vec<String>,
    /// Clocks that were off; the times of these hosts' spans are corrected.
    clock_skews: Vec<ClockSkewJson>,
}

#[derive(Debug, Serialize)]
struct ClockSkewJson {
    host: String,
    ahead_ns: i64,
    uncertainty_ns: u64,
}

#[derive(Debug, Serialize)]
struct CompletenessJson {
    is_complete: bool,
    /// Found / expected.
    ratio: f64,
    found_spans: u32,
    expected_spans: u32,
    orphan_count: usize,
    duplicates_removed: u32,
    /// Spans of the agent that were left out because an SDK describes the same.
    doubles_merged: u32,
    /// Spans whose sender says that it did not see all of them.
    incomplete_spans: usize,
}

#[derive(Debug, Serialize)]
struct ResourceJson {
    service: String,
    attributes: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct ScopeJson {
    name: String,
    version: String,
    attributes: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct SpanJson {
    span_id: String,
    parent_span_id: Option<String>,
    depth: u32,
    child_count: usize,
    service: String,
    name: String,
    kind: String,
    status: StatusJson,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    /// From the trace's start.
    offset_ns: u64,
    duration_ns: u64,
    is_orphan: bool,
    has_duplicate_id: bool,
    is_cycle_cut: bool,
    resource: usize,
    scope: usize,
    trace_state: String,
    flags: u32,
    attributes: Map<String, Value>,
    events: Vec<EventJson>,
    links: Vec<LinkJson>,
    dropped_attributes_count: u32,
    dropped_events_count: u32,
    dropped_links_count: u32,
}

#[derive(Debug, Serialize)]
struct StatusJson {
    code: String,
    message: String,
}

#[derive(Debug, Serialize)]
struct EventJson {
    name: String,
    time_unix_nano: String,
    offset_ns: i64,
    attributes: Map<String, Value>,
}

#[derive(Debug, Serialize)]
struct LinkJson {
    trace_id: String,
    span_id: String,
    trace_state: String,
    attributes: Map<String, Value>,
}

pub(super) async fn trace(
    State(api): State<Api>,
    id: Result<Path<String>, axum::extract::rejection::PathRejection>,
    RawQuery(query): RawQuery,
) -> Result<Json<TraceJson>, ApiError> {
    let Ok(Path(id)) = id else {
        return Err(ApiError::new("invalid_id", "the trace id is not percent-encoded UTF-8").of("id"));
    };
    let trace_id = parse_trace_id(&id)?;
    Fields::of_query(query.as_deref(), &[])?;
    let inferrer = Arc::clone(&api.inferrer);
    let ask = move |store: &Store, deadline| {
        let spans = store.trace(trace_id)?;
        let inferred = inferrer.links(store, &spans, now_unix_ns(), deadline)?;
        Ok((spans, store.trace_ids(trace_id), inferred))
    };
    let (spans, ids, inferred) = api.ask(ask).await?;
    let canonical = spans.first().map_or(trace_id, |span| span.trace_id);
    match assemble(canonical, spans) {
        Some(trace) => Ok(Json(trace_json(&trace, &ids, &inferred))),
        None => {
            Err(ApiError::new("trace_not_found", format!("no span of trace {trace_id} is stored")).of("id"))
        }
    }
}

/// Reads 32 hex digits; 16 are the id of systems with 64 bits, which W3C pads with zeros on the left.
fn parse_trace_id(text: &str) -> Result<TraceId, ApiError> {
    let padded = if text.len() == 16 { format!("{text:0>32}") } else { text.to_owned() };
    padded.parse().map_err(|problem| {
        let message =
            format!("`{}` is no trace id: {problem} (32 hex digits, or 16 for ids of 64 bits)", shown(text));
        ApiError::new("invalid_id", message).of("id")
    })
}

fn trace_json(trace: &Trace, ids: &[TraceId], inferred: &InferredLinks) -> TraceJson {
    let mut shared = Shared::default();
    let spans: Vec<SpanJson> = in_reading_order(trace)
        .into_iter()
        .map(|(depth, span)| shared.span_json(span, depth, trace.summary.start_unix_ns))
        .collect();
    let orphan_count = trace.spans.iter().filter(|span| span.is_orphan).count();
    let is_cut = |span: &&TraceSpan| crate::model::find(&span.span.attributes, "remora.incomplete").is_some();
    let incomplete_spans = trace.spans.iter().filter(is_cut).count();
    let found_all = trace.completeness.found == trace.completeness.expected;
    TraceJson {
        summary: SummaryJson::of(&trace.summary),
        completeness: CompletenessJson {
            is_complete: found_all && incomplete_spans == 0,
            ratio: trace.completeness.ratio(),
            found_spans: trace.completeness.found,
            expected_spans: trace.completeness.expected,
            orphan_count,
            duplicates_removed: trace.duplicates_removed,
            doubles_merged: trace.doubles_merged,
            incomplete_spans,
        },
        resources: shared.resources.iter().map(|resource| resource_json(resource)).collect(),
        scopes: shared.scopes.iter().map(|scope| scope_json(scope)).collect(),
        spans,
        inferred: InferredJson::of(trace.trace_id, inferred),
        aliases: ids.iter().filter(|id| **id != trace.trace_id).map(TraceId::to_string).collect(),
        clock_skews: trace.clock_skews.iter().map(clock_skew_json).collect(),
    }
}

/// Returns the spans depth first with their depth. A stack of its own: traces can be deeper than a thread's stack.
fn in_reading_order(trace: &Trace) -> Vec<(u32, &TraceSpan)> {
    let mut order = Vec::with_capacity(trace.spans.len());
    let mut waiting: Vec<usize> = trace.roots.iter().rev().copied().collect();
    while let Some(index) = waiting.pop() {
        if let Some(span) = trace.spans.get(index) {
            order.push((span.depth, span));
            waiting.extend(span.children.iter().rev());
        }
    }
    order
}

/// What many spans share, in the order in which it is first named.
#[derive(Default)]
struct Shared<'a> {
    resources: Vec<&'a Resource>,
    scopes: Vec<&'a Scope>,
}

impl<'a> Shared<'a> {
    fn span_json(&mut self, node: &'a TraceSpan, depth: u32, trace_start_unix_ns: u64) -> SpanJson {
        let span = &node.span;
        SpanJson {
            span_id: span.span_id.to_string(),
            parent_span_id: span.parent_span_id.map(|parent| parent.to_string()),
            depth,
            child_count: node.children.len(),
            service: span.service_name().to_owned(),
            name: span.name.to_string(),
            kind: kind_name(span.kind),
            status: StatusJson { code: status_name(span.status.code), message: span.status.message.clone() },
            start_time_unix_nano: span.start_unix_ns.to_string(),
            end_time_unix_nano: span.end_unix_ns.to_string(),
            offset_ns: span.start_unix_ns.saturating_sub(trace_start_unix_ns),
            duration_ns: span.duration_ns(),
            is_orphan: node.is_orphan,
            has_duplicate_id: node.has_duplicate_id,
            is_cycle_cut: node.is_cycle_cut,
            resource: place_of(&mut self.resources, &*span.resource),
            scope: place_of(&mut self.scopes, &*span.scope),
            trace_state: span.trace_state.clone(),
            flags: span.flags,
            attributes: attributes(&span.attributes),
            events: span.events.iter().map(|event| event_json(event, trace_start_unix_ns)).collect(),
            links: span.links.iter().map(link_json).collect(),
            dropped_attributes_count: span.dropped_attributes_count,
            dropped_events_count: span.dropped_events_count,
            dropped_links_count: span.dropped_links_count,
        }
    }
}

/// Returns the index of an equal item, added if there is none. The last ones are the likeliest.
fn place_of<'a, T: PartialEq>(items: &mut Vec<&'a T>, item: &'a T) -> usize {
    match items.iter().rposition(|known| std::ptr::eq(*known, item) || *known == item) {
        Some(place) => place,
        None => {
            items.push(item);
            items.len() - 1
        }
    }
}

fn clock_skew_json(skew: &ClockSkew) -> ClockSkewJson {
    let ClockSkew { host, ahead_ns, uncertainty_ns } = skew.clone();
    ClockSkewJson { host, ahead_ns, uncertainty_ns }
}

fn resource_json(resource: &Resource) -> ResourceJson {
    ResourceJson { service: resource.service_name().to_owned(), attributes: attributes(&resource.attributes) }
}

fn scope_json(scope: &Scope) -> ScopeJson {
    ScopeJson {
        name: scope.name.clone(),
        version: scope.version.clone(),
        attributes: attributes(&scope.attributes),
    }
}

fn event_json(event: &Event, trace_start_unix_ns: u64) -> EventJson {
    let offset = i128::from(event.time_unix_ns) - i128::from(trace_start_unix_ns);
    EventJson {
        name: event.name.clone(),
        time_unix_nano: event.time_unix_ns.to_string(),
        offset_ns: i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }),
        attributes: attributes(&event.attributes),
    }
}

fn link_json(link: &Link) -> LinkJson {
    LinkJson {
        trace_id: hex(&link.trace_id),
        span_id: hex(&link.span_id),
        trace_state: link.trace_state.clone(),
        attributes: attributes(&link.attributes),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        assert_eq!(
            parse_trace_id("0AF7651916cd43dd8448eb211c80319c").unwrap().to_string(),
            "0af7651916cd43dd8448eb211c80319c"
        );
        assert_eq!(
            parse_trace_id("8448eb211c80319c").unwrap().to_string(),
            "00000000000000008448eb211c80319c"
        );
        for wrong in [
            "",
            "1",
            "0af7651916cd43dd8448eb211c80319",
            "0000000000000000",
            "0af7651916cd43dd8448eb211c80319g",
        ] {
            assert!(parse_trace_id(wrong).is_err(), "{wrong}");
        }
    }
}
