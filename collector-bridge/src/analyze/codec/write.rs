//! Rollups → message → bytes.

use std::collections::HashMap;
use std::sync::Arc;

use prost::Message as _;

use super::super::Rollups;
use super::super::capped::Capped;
use super::super::pairing::{CallId, ClientHalf, ServerHalf};
use super::super::peer::{ConnectionType, Peer};
use super::super::service::{Call, CallStats, Failure, FailureStats, Operation, ServiceMinute, Side};
use super::super::sketch::LatencySketch;
use super::{VERSION, messages as wire};

pub(in crate::analyze) fn encode(rollups: &Rollups) -> Vec<u8> {
    let mut names = Names::default();
    let minutes = rollups.minutes.iter().map(|(minute, services)| wire::Minute {
        minute: *minute,
        services: services.kept().map(|(name, sums)| names.service(Some(name), sums)).collect(),
        overflow: services.overflow().map(|sums| names.service(None, sums)),
    });
    let minutes = minutes.collect();
    let clients = rollups.pairing.clients().map(|(id, half)| names.client(*id, half)).collect();
    let servers = rollups.pairing.servers().map(|(id, half)| names.server(*id, half)).collect();
    let counters = rollups.counters;
    let message = wire::Rollups {
        version: VERSION,
        names: names.texts,
        minutes,
        clients,
        servers,
        minutes_dropped: counters.minutes_dropped,
        pending_shed: counters.pending_shed,
        servers_unpaired: counters.servers_unpaired,
        halves_repeated: counters.halves_repeated,
    };
    message.encode_to_vec()
}

/// The table of names while it is written.
#[derive(Default)]
struct Names {
    texts: Vec<String>,
    places: HashMap<Arc<str>, u32>,
}

impl Names {
    /// Returns the name's place, counted from 1; 0 stands for no name.
    fn place(&mut self, name: &Arc<str>) -> u32 {
        if let Some(place) = self.places.get(name) {
            return *place;
        }
        self.texts.push(name.to_string());
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.places.insert(Arc::clone(name), place);
        place
    }

    fn place_of(&mut self, name: Option<&Arc<str>>) -> u32 {
        name.map_or(0, |name| self.place(name))
    }

    fn service(&mut self, name: Option<&Arc<str>>, sums: &ServiceMinute) -> wire::Service {
        wire::Service {
            name: self.place_of(name),
            operations: entries(&sums.operations, |name, sums| self.operation(name, sums)),
            failures: entries(&sums.failures, |failure, stats| self.failure(failure, stats)),
            calls: entries(&sums.calls, |call, stats| self.call(call, stats)),
            received: entries(&sums.received, |peer, stats| self.received(peer, stats)),
        }
    }

    fn operation(&mut self, name: Option<&Arc<str>>, operation: &Operation) -> wire::Operation {
        let by_kind = operation.by_kind.iter().map(|(kind, red)| wire::KindRed {
            kind: kind.to_otlp(),
            errors: red.errors,
            latency: sketch(&red.latency),
        });
        wire::Operation { name: self.place_of(name), by_kind: by_kind.collect() }
    }

    fn failure(&mut self, failure: Option<&Failure>, stats: &FailureStats) -> wire::Failure {
        wire::Failure {
            operation: self.place_of(failure.map(|failure| &failure.operation)),
            kind: failure.map_or(0, |failure| failure.kind.to_otlp()),
            error_type: self.place_of(failure.and_then(|failure| failure.error_type.as_ref())),
            message: self.place_of(failure.and_then(|failure| failure.message.as_ref())),
            count: stats.count,
            first_unix_ns: stats.first_unix_ns,
            last_unix_ns: stats.last_unix_ns,
            example_unix_ns: stats.examples.iter().map(|example| example.0).collect(),
            example_trace_ids: stats.examples.iter().map(|example| example.1.0.to_vec()).collect(),
        }
    }

    fn call(&mut self, call: Option<&Call>, stats: &CallStats) -> wire::Call {
        wire::Call {
            peer: call.map(|call| self.peer(&call.peer)),
            callee: self.place_of(call.and_then(|call| call.callee.as_ref())),
            connection: call.map_or(0, |call| connection_number(call.connection)),
            stats: Some(call_stats(stats)),
        }
    }

    fn received(&mut self, peer: Option<&Peer>, stats: &CallStats) -> wire::Call {
        wire::Call {
            peer: peer.map(|peer| self.peer(peer)),
            stats: Some(call_stats(stats)),
            ..wire::Call::default()
        }
    }

    fn peer(&mut self, peer: &Peer) -> wire::Peer {
        wire::Peer { name: self.place(&peer.name), connection: connection_number(peer.connection) }
    }

    fn client(&mut self, id: CallId, half: &ClientHalf) -> wire::Half {
        let mut wire = wire_half(id, half.ended_unix_ns, half.minute, half.side);
        wire.service = self.place(&half.service);
        wire.peer = Some(self.peer(&half.peer));
        wire
    }

    fn server(&mut self, id: CallId, half: &ServerHalf) -> wire::Half {
        let mut wire = wire_half(id, half.ended_unix_ns, half.minute, half.side);
        wire.service = self.place(&half.service);
        wire.peer = half.received_from.as_ref().map(|peer| self.peer(peer));
        wire.connection = connection_number(half.connection);
        wire
    }
}

/// Writes the kept entries, and the overflow as one without a key.
fn entries<K, V, W, const LIMIT: usize>(
    map: &Capped<K, V, LIMIT>,
    mut write: impl FnMut(Option<&K>, &V) -> W,
) -> Vec<W> {
    let mut written: Vec<W> = map.kept().map(|(key, value)| write(Some(key), value)).collect();
    written.extend(map.overflow().map(|rest| write(None, rest)));
    written
}

fn wire_half((trace_id, span_id): CallId, ended_unix_ns: u64, minute: u64, side: Side) -> wire::Half {
    wire::Half {
        trace_id: trace_id.map(|trace_id| trace_id.0.to_vec()).unwrap_or_default(),
        span_id: span_id.0.to_vec(),
        ended_unix_ns,
        minute,
        duration_ns: side.duration_ns,
        is_error: side.is_error,
        ..wire::Half::default()
    }
}

fn call_stats(stats: &CallStats) -> wire::CallStats {
    wire::CallStats {
        calls: stats.calls,
        errors: stats.errors,
        client: sketch(&stats.client),
        server: sketch(&stats.server),
    }
}

/// Returns nothing for an empty sketch.
fn sketch(latency: &LatencySketch) -> Option<wire::Sketch> {
    if latency.count() == 0 {
        return None;
    }
    let mut last = 0;
    let steps = latency.buckets.iter().map(|&(index, _)| {
        let step = i32::from(index) - last;
        last = i32::from(index);
        step
    });
    Some(wire::Sketch {
        scale: u32::from(latency.scale),
        zeros: latency.zeros,
        index_steps: steps.collect(),
        counts: latency.buckets.iter().map(|bucket| bucket.1).collect(),
        sum_ns: latency.sum_ns,
        min_ns: latency.min_ns,
        max_ns: latency.max_ns,
    })
}

fn connection_number(connection: ConnectionType) -> u32 {
    match connection {
        ConnectionType::Service => 0,
        ConnectionType::Database => 1,
        ConnectionType::Cache => 2,
        ConnectionType::Messaging => 3,
    }
}
