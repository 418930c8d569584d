//! Bytes → message → rollups, through the limits that counting has.

use std::sync::Arc;

use prost::Message as _;

use super::super::pairing::{CallId, ClientHalf, ServerHalf, Settled};
use super::super::peer::{ConnectionType, Peer};
use super::super::service::{
    Call, CallStats, Failure, FailureStats, MAX_EXAMPLES, Operation, Red, ServiceMinute, Side,
};
use super::super::sketch::{LatencySketch, MAX_BUCKETS, MAX_SCALE};
use super::super::{Counters, Rollups};
use super::{RollupError, VERSION, messages as wire};
use crate::model::{SpanId, SpanKind, TraceId};

pub(in crate::analyze) fn decode(bytes: &[u8]) -> Result<Rollups, RollupError> {
    let message = wire::Rollups::decode(bytes)?;
    if message.version != VERSION {
        return Err(RollupError::Version(message.version));
    }
    let names = Table(message.names.iter().map(|name| name.as_str().into()).collect());
    let mut rollups = Rollups {
        counters: Counters {
            minutes_dropped: message.minutes_dropped,
            pending_shed: message.pending_shed,
            servers_unpaired: message.servers_unpaired,
            halves_repeated: message.halves_repeated,
        },
        ..Rollups::default()
    };
    for minute in message.minutes {
        let services = rollups.minutes.entry(minute.minute).or_default();
        for service in &minute.services {
            services.add(&names.get(service.name)?, &names.service(service)?);
        }
        if let Some(overflow) = &minute.overflow {
            services.add_overflow(&names.service(overflow)?);
        }
    }
    let mut settled: Vec<Settled> = Vec::new();
    for half in &message.clients {
        let (id, half) = names.client(half)?;
        settled.extend(rollups.pairing.add_client(id, half, &mut rollups.counters));
    }
    for half in &message.servers {
        let (id, half) = names.server(half)?;
        settled.extend(rollups.pairing.add_server(id, half, &mut rollups.counters));
    }
    rollups.settle(settled);
    rollups.trim();
    Ok(rollups)
}

fn read_connection(number: u32) -> Result<ConnectionType, RollupError> {
    Ok(match number {
        0 => ConnectionType::Service,
        1 => ConnectionType::Database,
        2 => ConnectionType::Cache,
        3 => ConnectionType::Messaging,
        _ => return Err(RollupError::Inconsistent("type of connection")),
    })
}

/// The table of names while it is read.
struct Table(Vec<Arc<str>>);

impl Table {
    fn get(&self, place: u32) -> Result<Arc<str>, RollupError> {
        self.find(place)?.ok_or(RollupError::Inconsistent("name is missing"))
    }

    fn find(&self, place: u32) -> Result<Option<Arc<str>>, RollupError> {
        let Some(index) = (place as usize).checked_sub(1) else {
            return Ok(None);
        };
        self.0.get(index).cloned().map(Some).ok_or(RollupError::Inconsistent("place of a name"))
    }

    fn service(&self, service: &wire::Service) -> Result<ServiceMinute, RollupError> {
        let mut sums = ServiceMinute::default();
        for operation in &service.operations {
            let value = read_operation(operation)?;
            match self.find(operation.name)? {
                Some(name) => sums.operations.add(&name, &value),
                None => sums.operations.add_overflow(&value),
            }
        }
        for failure in &service.failures {
            let value = read_failure_stats(failure)?;
            match self.failure(failure)? {
                Some(key) => sums.failures.add(&key, &value),
                None => sums.failures.add_overflow(&value),
            }
        }
        for call in &service.calls {
            let value = read_call_stats(call.stats.as_ref())?;
            match &call.peer {
                Some(peer) => sums.calls.add(&self.call(call, peer)?, &value),
                None => sums.calls.add_overflow(&value),
            }
        }
        for call in &service.received {
            let value = read_call_stats(call.stats.as_ref())?;
            match &call.peer {
                Some(peer) => sums.received.add(&self.peer(peer)?, &value),
                None => sums.received.add_overflow(&value),
            }
        }
        Ok(sums)
    }

    fn failure(&self, failure: &wire::Failure) -> Result<Option<Failure>, RollupError> {
        let Some(operation) = self.find(failure.operation)? else {
            return Ok(None);
        };
        Ok(Some(Failure {
            operation,
            kind: SpanKind::from_otlp(failure.kind),
            error_type: self.find(failure.error_type)?,
            message: self.find(failure.message)?,
        }))
    }

    fn call(&self, call: &wire::Call, peer: &wire::Peer) -> Result<Call, RollupError> {
        Ok(Call {
            callee: self.find(call.callee)?,
            peer: self.peer(peer)?,
            connection: read_connection(call.connection)?,
        })
    }

    fn peer(&self, peer: &wire::Peer) -> Result<Peer, RollupError> {
        Ok(Peer { connection: read_connection(peer.connection)?, name: self.get(peer.name)? })
    }

    fn client(&self, half: &wire::Half) -> Result<(CallId, ClientHalf), RollupError> {
        let client = ClientHalf {
            ended_unix_ns: half.ended_unix_ns,
            minute: half.minute,
            service: self.get(half.service)?,
            side: read_side(half),
            peer: self.peer(half.peer.as_ref().ok_or(RollupError::Inconsistent("peer is missing"))?)?,
        };
        Ok((read_call_id(half)?, client))
    }

    fn server(&self, half: &wire::Half) -> Result<(CallId, ServerHalf), RollupError> {
        let server = ServerHalf {
            ended_unix_ns: half.ended_unix_ns,
            minute: half.minute,
            service: self.get(half.service)?,
            side: read_side(half),
            connection: read_connection(half.connection)?,
            received_from: half.peer.as_ref().map(|peer| self.peer(peer)).transpose()?,
        };
        Ok((read_call_id(half)?, server))
    }
}

fn read_side(half: &wire::Half) -> Side {
    Side { duration_ns: half.duration_ns, is_error: half.is_error }
}

fn read_call_id(half: &wire::Half) -> Result<CallId, RollupError> {
    let wrong = RollupError::Inconsistent("ids of a call");
    let span_id = SpanId::from_bytes(&half.span_id).ok_or(wrong)?;
    if half.trace_id.is_empty() {
        return Ok((None, span_id));
    }
    let trace_id = TraceId::from_bytes(&half.trace_id);
    trace_id.map(|trace_id| (Some(trace_id), span_id)).ok_or(RollupError::Inconsistent("ids of a call"))
}

fn read_operation(operation: &wire::Operation) -> Result<Operation, RollupError> {
    let mut read = Operation::default();
    for wire in &operation.by_kind {
        let red = Red { errors: wire.errors, latency: read_sketch(wire.latency.as_ref())? };
        read.kind(SpanKind::from_otlp(wire.kind)).merge(&red);
    }
    Ok(read)
}

fn read_failure_stats(failure: &wire::Failure) -> Result<FailureStats, RollupError> {
    let moments = failure.example_unix_ns.iter().copied();
    let trace_ids = failure.example_trace_ids.iter().map(|id| TraceId::from_bytes(id));
    let examples: Option<Vec<(u64, TraceId)>> =
        moments.zip(trace_ids).map(|(moment, id)| Some((moment, id?))).take(MAX_EXAMPLES).collect();
    Ok(FailureStats {
        count: failure.count,
        first_unix_ns: failure.first_unix_ns,
        last_unix_ns: failure.last_unix_ns,
        examples: examples.ok_or(RollupError::Inconsistent("trace id of an example"))?,
    })
}

fn read_call_stats(stats: Option<&wire::CallStats>) -> Result<CallStats, RollupError> {
    let stats = stats.ok_or(RollupError::Inconsistent("sums of a call"))?;
    Ok(CallStats {
        calls: stats.calls,
        errors: stats.errors,
        client: read_sketch(stats.client.as_ref())?,
        server: read_sketch(stats.server.as_ref())?,
    })
}

fn read_sketch(sketch: Option<&wire::Sketch>) -> Result<LatencySketch, RollupError> {
    let Some(sketch) = sketch else {
        return Ok(LatencySketch::default());
    };
    let scale = u8::try_from(sketch.scale).ok().filter(|scale| *scale <= MAX_SCALE);
    let scale = scale.ok_or(RollupError::Inconsistent("scale of a sketch"))?;
    if sketch.index_steps.len() != sketch.counts.len() || sketch.counts.len() > MAX_BUCKETS {
        return Err(RollupError::Inconsistent("buckets of a sketch"));
    }
    if sketch.min_ns > sketch.max_ns {
        return Err(RollupError::Inconsistent("bounds of a sketch"));
    }
    let mut buckets = Vec::with_capacity(sketch.counts.len());
    let mut last: Option<i32> = None;
    for (&step, &count) in sketch.index_steps.iter().zip(&sketch.counts) {
        let index = last.unwrap_or(0).checked_add(step).filter(|index| last.is_none_or(|last| *index > last));
        let index = index.filter(|index| (-1..64 << scale).contains(index) && count > 0);
        let index = index.ok_or(RollupError::Inconsistent("bucket of a sketch"))?;
        buckets.push((i16::try_from(index).unwrap_or(i16::MAX), count));
        last = Some(index);
    }
    Ok(LatencySketch {
        scale,
        zeros: sketch.zeros,
        buckets,
        sum_ns: sketch.sum_ns,
        min_ns: sketch.min_ns,
        max_ns: sketch.max_ns,
    })
}
