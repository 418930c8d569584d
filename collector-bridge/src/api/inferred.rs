//! What is inferred about a trace, as JSON.

use serde::Serialize;

use crate::infer::{Inferred, Sighting};
use crate::model::TraceId;
use crate::query::{InferState, InferredLinks};

/// Names of the states, in the order of [`InferState`].
pub(super) const STATES: [&str; 5] = ["final", "provisional", "partial", "busy", "off"];
/// What the other end of a link is.
pub(super) const ROLES: [&str; 2] = ["request", "call"];
/// The one reason there is.
const REASON: &str = "timing";

#[derive(Debug, Serialize)]
pub(super) struct InferredJson {
    state: &'static str,
    links: Vec<LinkJson>,
}

#[derive(Debug, Serialize)]
struct LinkJson {
    span_id: String,
    role: &'static str,
    other: EndJson,
    confidence: f64,
    reason: &'static str,
}

#[derive(Debug, Serialize)]
struct EndJson {
    trace_id: String,
    span_id: String,
    service: String,
    name: String,
    start_time_unix_nano: String,
    duration_ns: u64,
}

impl InferredJson {
    /// Returns the links as seen from the trace.
    pub(super) fn of(trace_id: TraceId, inferred: &InferredLinks) -> Self {
        let state = match inferred.state {
            InferState::Final => STATES[0],
            InferState::Provisional => STATES[1],
            InferState::Partial => STATES[2],
            InferState::Busy => STATES[3],
            InferState::Off => STATES[4],
        };
        Self { state, links: inferred.links.iter().map(|link| LinkJson::of(trace_id, link)).collect() }
    }
}

impl LinkJson {
    fn of(trace_id: TraceId, link: &Inferred) -> Self {
        let Inferred { call, request, confidence } = link;
        let (role, own, other) =
            if call.at.trace_id == trace_id { (ROLES[0], call, request) } else { (ROLES[1], request, call) };
        Self {
            span_id: own.at.span_id.to_string(),
            role,
            other: EndJson::of(other),
            // More digits would say more than is known.
            confidence: (confidence * 1000.0).round() / 1000.0,
            reason: REASON,
        }
    }
}

impl EndJson {
    fn of(sighting: &Sighting) -> Self {
        Self {
            trace_id: sighting.at.trace_id.to_string(),
            span_id: sighting.at.span_id.to_string(),
            service: sighting.resource.service_name().to_owned(),
            name: sighting.name.to_string(),
            start_time_unix_nano: sighting.start_unix_ns.to_string(),
            duration_ns: sighting.end_unix_ns.saturating_sub(sighting.start_unix_ns),
        }
    }
}
