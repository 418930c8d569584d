//! What the aggregator infers about calls without parent, from the spans that the agent printed.

use std::collections::HashMap;
use std::sync::Arc;

use remora_bridge::infer::{Sighting, infer};
use remora_bridge::model::{AnyValue, KeyValue, Resource, Scope, Span, SpanKind, Status, TimeRange};
use serde_json::Value;

/// Calls without parent that are decided together; the aggregator cuts time by itself, into parts of about this size.
const CALLS_TOGETHER: usize = 2_000;
/// What is less likely is not shown.
const LEAST_CONFIDENCE: f64 = 0.5;
/// From here on, the aggregator says that it is sure.
pub(crate) const SURE: f64 = 0.9;

/// A call's request, as it is inferred.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Span id of the request.
    pub(crate) request: String,
    pub(crate) confidence: f64,
}

/// Spans of one run of the agent, by process.
#[derive(Debug, Default)]
pub(crate) struct Links {
    processes: HashMap<u64, Vec<Sighting>>,
}

impl Links {
    /// Takes a line that the agent printed.
    pub(crate) fn read(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        let Some(process) = value["resource"]["process.pid"].as_u64() else { return };
        let sighting = span(&value).and_then(|span| Sighting::of(&span));
        self.processes.entry(process).or_default().extend(sighting);
    }

    /// Returns what is inferred, by span id of the call.
    pub(crate) fn infer(self) -> HashMap<String, Link> {
        let mut links = HashMap::new();
        for mut sightings in self.processes.into_values() {
            sightings.sort_by_key(|sighting| sighting.start_unix_ns);
            for range in ranges(&sightings) {
                let half_ns = (range.until_unix_ns - range.from_unix_ns) / 2;
                let around = TimeRange {
                    from_unix_ns: range.from_unix_ns.saturating_sub(half_ns),
                    until_unix_ns: range.until_unix_ns.saturating_add(half_ns),
                };
                let near =
                    sightings.iter().filter(|seen| around.overlaps(seen.start_unix_ns, seen.end_unix_ns));
                let near: Vec<Sighting> = near.cloned().collect();
                let found = infer(&near, range).inferred.into_iter();
                links.extend(found.filter(|found| found.confidence >= LEAST_CONFIDENCE).map(|found| {
                    let request = found.request.at.span_id.to_string();
                    (found.call.at.span_id.to_string(), Link { request, confidence: found.confidence })
                }));
            }
        }
        links
    }
}

/// Returns the times into which a process's sightings, sorted by start, are cut.
fn ranges(sightings: &[Sighting]) -> Vec<TimeRange> {
    let orphans: Vec<u64> =
        sightings.iter().filter(|seen| seen.is_orphan()).map(|seen| seen.start_unix_ns).collect();
    let parts = orphans.chunks(CALLS_TOGETHER).filter_map(|part| {
        let (first, last) = (part.first()?, part.last()?);
        Some(TimeRange { from_unix_ns: *first, until_unix_ns: last + 1 })
    });
    parts.collect()
}

/// Reads what inference looks at.
fn span(value: &Value) -> Option<Span> {
    let start_unix_ns = value["start_unix_ns"].as_u64()?;
    let parent = value["parent_span_id"].as_str().map(str::parse);
    Some(Span {
        trace_id: value["trace_id"].as_str()?.parse().ok()?,
        span_id: value["span_id"].as_str()?.parse().ok()?,
        parent_span_id: parent.transpose().ok()?,
        trace_state: String::new(),
        flags: 0,
        name: value["name"].as_str()?.into(),
        kind: match value["kind"].as_str()? {
            "server" => SpanKind::Server,
            "producer" => SpanKind::Producer,
            "consumer" => SpanKind::Consumer,
            _ => SpanKind::Client,
        },
        start_unix_ns,
        end_unix_ns: start_unix_ns + value["duration_ns"].as_u64()?,
        attributes: attributes(&value["attributes"]),
        status: Status::default(),
        events: Vec::new(),
        links: Vec::new(),
        resource: Arc::new(Resource { attributes: attributes(&value["resource"]), ..Resource::default() }),
        scope: Arc::new(Scope { name: "remora".to_owned(), ..Scope::default() }),
        dropped_attributes_count: 0,
        dropped_events_count: 0,
        dropped_links_count: 0,
    })
}

fn attributes(value: &Value) -> Vec<KeyValue> {
    let pairs = value.as_object().into_iter().flatten().map(|(key, value)| {
        let value = match value {
            Value::String(text) => AnyValue::from(text.as_str()),
            other => other.as_i64().map_or(AnyValue::Empty, AnyValue::from),
        };
        KeyValue::new(key.as_str(), value)
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use remora_bridge::model::find;

    fn line(id: u64, kind: &str, start_ns: u64, took_ns: u64) -> String {
        serde_json::json!({
            "trace_id": format!("{id:032x}"), "span_id": format!("{id:016x}"), "parent_span_id": null,
            "kind": kind, "name": "GET", "start_unix_ns": start_ns, "duration_ns": took_ns,
            "attributes": { "server.port": 80 }, "resource": { "process.pid": 7 },
        })
        .to_string()
    }

    #[test]
    fn a_call_within_the_only_request_is_linked_to_it() {
        let mut links = Links::default();
        for request in 1..=20 {
            let start = 1_000_000_000 + request * 20_000_000;
            links.read(&line(request, "server", start, 9_000_000));
            links.read(&line(100 + request, "client", start + 1_000_000, 2_000_000));
        }
        let links = links.infer();
        assert_eq!(links.len(), 20);
        let link = &links[&format!("{:016x}", 107)];
        assert!(link.request == format!("{:016x}", 7) && link.confidence > SURE, "{link:?}");
    }

    #[test]
    fn attributes_are_read() {
        let span = span(&serde_json::from_str(&line(1, "client", 5, 5)).unwrap()).unwrap();
        assert_eq!(find(&span.attributes, "server.port"), Some(&AnyValue::Int(80)));
    }
}
