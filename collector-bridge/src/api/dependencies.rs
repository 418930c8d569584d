//! `GET /api/v1/traces/dependencies`: the service map.

use std::collections::BTreeSet;

use axum::extract::{RawQuery, State};
use serde::Serialize;

use crate::analyze::{CallStats, Edge, Node, ServiceMap};

use super::Api;
use super::error::ApiError;
use super::fields::Fields;
use super::json::{Json, LatencyJson, RangeJson, RedJson, ratio, throughput};
use super::range::{covered_ns, now_unix_ns, take_range, whole_minutes};

#[derive(Debug, Serialize)]
pub(super) struct DependenciesJson {
    range: RangeJson,
    nodes: Vec<NodeJson>,
    edges: Vec<EdgeJson>,
}

#[derive(Debug, Serialize)]
struct NodeJson {
    name: String,
    #[serde(rename = "type")]
    node_type: &'static str,
    /// What the node handled, by its own spans; nothing for nodes that send none.
    requests: Option<RedJson>,
}

#[derive(Debug, Serialize)]
struct EdgeJson {
    caller: String,
    caller_type: &'static str,
    callee: String,
    callee_type: &'static str,
    connection: &'static str,
    calls: u64,
    errors: u64,
    error_rate: Option<f64>,
    throughput_per_second: f64,
    client_latency: Option<LatencyJson>,
    server_latency: Option<LatencyJson>,
}

pub(super) async fn dependencies(
    State(api): State<Api>,
    RawQuery(query): RawQuery,
) -> Result<Json<DependenciesJson>, ApiError> {
    let mut fields = Fields::of_query(query.as_deref(), &["service", "from", "until", "since"])?;
    let service = fields.text("service")?;
    let now = now_unix_ns();
    let range = whole_minutes(take_range(&mut fields, now)?);
    let mut map = api.ask(move |store, _| Ok(store.rollups(range)?.service_map())).await?;
    if let Some(service) = service {
        keep_neighbours(&mut map, &service);
    }
    let covered = covered_ns(range, now);
    let nodes = map.nodes.into_iter().map(|(node, handled)| NodeJson {
        name: node.name.to_string(),
        node_type: node.node_type.label(),
        requests: handled.map(|red| RedJson::of(&red, covered)),
    });
    let edges = map.edges.iter().map(|(edge, stats)| edge_json(edge, stats, covered));
    Ok(Json(DependenciesJson { range: range.into(), nodes: nodes.collect(), edges: edges.collect() }))
}

/// Keeps the edges that touch a name, and the nodes at their ends.
fn keep_neighbours(map: &mut ServiceMap, name: &str) {
    let is_named = |node: &Node| &*node.name == name;
    map.edges.retain(|edge, _| is_named(&edge.caller) || is_named(&edge.callee));
    let ends: BTreeSet<Node> =
        map.edges.keys().flat_map(|edge| [edge.caller.clone(), edge.callee.clone()]).collect();
    map.nodes.retain(|node, _| is_named(node) || ends.contains(node));
}

fn edge_json(edge: &Edge, stats: &CallStats, covered_ns: u64) -> EdgeJson {
    EdgeJson {
        caller: edge.caller.name.to_string(),
        caller_type: edge.caller.node_type.label(),
        callee: edge.callee.name.to_string(),
        callee_type: edge.callee.node_type.label(),
        connection: edge.connection.label(),
        calls: stats.calls,
        errors: stats.errors,
        error_rate: ratio(stats.errors, stats.calls),
        throughput_per_second: throughput(stats.calls, covered_ns),
        client_latency: LatencyJson::of(&stats.client),
        server_latency: LatencyJson::of(&stats.server),
    }
}
