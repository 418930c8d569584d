//! The service map: nodes and edges of a stretch of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::SpanKind;

use super::peer::{ConnectionType, Peer};
use super::service::{Call, CallStats, Red};
use super::{OVERFLOW_NAME, Rollups};

/// Who calls whom.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceMap {
    /// All nodes, also those without edges.
    pub nodes: BTreeMap<Node, Option<Red>>,
    /// All edges, by caller, callee and type.
    pub edges: BTreeMap<Edge, CallStats>,
}

/// A service, or what a service says that it talks to. Only services have sums of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// What it is.
    pub node_type: NodeType,
    /// `service.name`, or the peer's name.
    pub name: Arc<str>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeType {
    /// It sends spans.
    Service,
    /// A database that sends none.
    Database,
    /// A cache that sends none.
    Cache,
    /// A destination of messages.
    Messaging,
    /// Something else that sends none.
    Uninstrumented,
}

impl NodeType {
    /// Returns the name that the API shows.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            NodeType::Service => "service",
            NodeType::Database => "database",
            NodeType::Cache => "cache",
            NodeType::Messaging => "messaging",
            NodeType::Uninstrumented => "uninstrumented",
        }
    }
}

/// One caller, one callee, one type of connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Edge {
    /// Who asks.
    pub caller: Node,
    /// Who answers.
    pub callee: Node,
    /// What runs between them.
    pub connection: ConnectionType,
}

/// Calls by caller and what is known of the callee.
type Calls = BTreeMap<(Arc<str>, Call), CallStats>;

pub(super) fn build(rollups: &Rollups) -> ServiceMap {
    let mut map = ServiceMap::default();
    add_services(&mut map, rollups);
    let calls = all_calls(rollups);
    let callees = callees_of_peers(&calls);
    for ((caller, call), stats) in &calls {
        let (callee, connection) = match (&call.callee, callees.get(&(Arc::clone(caller), call.peer.clone())))
        {
            (Some(callee), _) => (service(callee), call.connection),
            (None, Some(Some((callee, connection)))) => (service(callee), *connection),
            (None, _) => (virtual_node(&call.peer), call.connection),
        };
        add_edge(&mut map, Edge { caller: service(caller), callee, connection }, stats);
    }
    for ((receiver, peer), stats) in &all_received(rollups) {
        let connection = ConnectionType::Messaging;
        add_edge(&mut map, Edge { caller: virtual_node(peer), callee: service(receiver), connection }, stats);
    }
    map
}

/// Every service is a node; its own sums are those of the requests and messages that it handled.
fn add_services(map: &mut ServiceMap, rollups: &Rollups) {
    for operation in rollups.operations() {
        let node = Node { node_type: NodeType::Service, name: operation.service.into() };
        let handled = map.nodes.entry(node).or_default().get_or_insert_default();
        if matches!(operation.kind, SpanKind::Server | SpanKind::Consumer) {
            handled.merge(operation.red);
        }
    }
}

/// Settled calls, and the clients that still wait as if nobody would answer.
fn all_calls(rollups: &Rollups) -> Calls {
    let mut calls = Calls::new();
    for (_, caller, sums) in rollups.services() {
        let caller: Arc<str> = caller.into();
        for (call, stats) in sums.calls.kept() {
            calls.entry((Arc::clone(&caller), call.clone())).or_default().merge(stats);
        }
        if let Some(rest) = sums.calls.overflow() {
            calls.entry((Arc::clone(&caller), other_call())).or_default().merge(rest);
        }
    }
    for (_, half) in rollups.pairing.clients() {
        let call = Call { callee: None, connection: half.peer.connection, peer: half.peer.clone() };
        calls.entry((Arc::clone(&half.service), call)).or_default().record(Some(half.side), None);
    }
    calls
}

fn all_received(rollups: &Rollups) -> BTreeMap<(Arc<str>, Peer), CallStats> {
    let mut received: BTreeMap<(Arc<str>, Peer), CallStats> = BTreeMap::new();
    for (_, receiver, sums) in rollups.services() {
        let kept = sums.received.kept().map(|(peer, stats)| (peer.clone(), stats));
        let rest = sums.received.overflow().map(|stats| (other_peer(ConnectionType::Messaging), stats));
        for (peer, stats) in kept.chain(rest) {
            received.entry((receiver.into(), peer)).or_default().merge(stats);
        }
    }
    for (_, half) in rollups.pairing.servers() {
        if let Some(peer) = &half.received_from {
            let key = (Arc::clone(&half.service), peer.clone());
            received.entry(key).or_default().record(None, Some(half.side));
        }
    }
    received
}

/// Which service answers to a caller's name for a peer; none where several do.
#[expect(clippy::type_complexity, reason = "used once, below its only caller")]
fn callees_of_peers(calls: &Calls) -> BTreeMap<(Arc<str>, Peer), Option<(Arc<str>, ConnectionType)>> {
    let mut callees: BTreeMap<(Arc<str>, Peer), Option<(Arc<str>, ConnectionType)>> = BTreeMap::new();
    for (caller, call) in calls.keys() {
        let Some(callee) = &call.callee else { continue };
        let found = (Arc::clone(callee), call.connection);
        callees
            .entry((Arc::clone(caller), call.peer.clone()))
            .and_modify(|known| {
                if known.as_ref().is_some_and(|known| known.0 != found.0) {
                    *known = None;
                }
            })
            .or_insert(Some(found.clone()));
    }
    callees.retain(|(_, peer), _| super::peer::is_known(peer));
    callees
}

fn add_edge(map: &mut ServiceMap, edge: Edge, stats: &CallStats) {
    for node in [&edge.caller, &edge.callee] {
        map.nodes.entry(node.clone()).or_default();
    }
    map.edges.entry(edge).or_default().merge(stats);
}

fn service(name: &Arc<str>) -> Node {
    Node { node_type: NodeType::Service, name: Arc::clone(name) }
}

fn virtual_node(peer: &Peer) -> Node {
    let node_type = match peer.connection {
        ConnectionType::Service => NodeType::Uninstrumented,
        ConnectionType::Database => NodeType::Database,
        ConnectionType::Cache => NodeType::Cache,
        ConnectionType::Messaging => NodeType::Messaging,
    };
    Node { node_type, name: Arc::clone(&peer.name) }
}

fn other_peer(connection: ConnectionType) -> Peer {
    Peer { connection, name: OVERFLOW_NAME.into() }
}

fn other_call() -> Call {
    let connection = ConnectionType::Service;
    Call { callee: None, connection, peer: other_peer(connection) }
}
