//! The two sides of a call: a client span, and the server span that names it as its parent.
//!
//! Either may come first. A side that finds no other one is given up when the table is full or when its rollups are
//! sealed; until then it waits, and merging rollups joins what waits in both. A server span that expects its client by
//! position on the wire finds it in any trace.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use crate::model::{SpanId, TraceId};

use super::Counters;
use super::peer::{ConnectionType, Peer};
use super::service::Side;

/// Sides of calls that wait at most, for clients and servers each: some seconds of a busy host. Beyond it the older
/// half is given up.
pub const MAX_PENDING_CALLS: usize = 65_536;
/// How long a sealed side waits for the other one, by the time in the spans. Both sides of a call end at about the
/// same time and are sent within seconds; the rest is for senders that retry.
pub const HALF_WAIT_NS: u64 = 60_000_000_000;

/// Trace and client span. A server span that expects a client span of another trace knows no trace.
pub(super) type CallId = (Option<TraceId>, SpanId);

/// What the caller saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ClientHalf {
    pub(super) ended_unix_ns: u64,
    pub(super) minute: u64,
    pub(super) service: Arc<str>,
    pub(super) side: Side,
    pub(super) peer: Peer,
}

/// What the callee saw.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServerHalf {
    pub(super) ended_unix_ns: u64,
    pub(super) minute: u64,
    pub(super) service: Arc<str>,
    pub(super) side: Side,
    pub(super) connection: ConnectionType,
    /// The broker that it took a message from; none for requests, and where the broker has no name.
    pub(super) received_from: Option<Peer>,
}

impl ServerHalf {
    /// Returns the edge of a server side without a client: messages come from the broker; a request has none.
    pub(super) fn give_up(mut self, counters: &mut Counters) -> Option<Settled> {
        if let Some(peer) = self.received_from.take() {
            return Some(Settled::Received(self, peer));
        }
        counters.servers_unpaired = counters.servers_unpaired.saturating_add(1);
        None
    }
}

/// A call of which all is known that will be.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Settled {
    /// Both sides.
    Paired(ClientHalf, ServerHalf),
    /// The caller's side alone.
    ClientOnly(ClientHalf),
    /// A message whose sender is not known.
    Received(ServerHalf, Peer),
}

/// Sides that wait for the other one. No id is in both tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Pairing {
    clients: HashMap<CallId, ClientHalf>,
    servers: HashMap<CallId, ServerHalf>,
    /// Servers without a trace.
    expecting: usize,
    /// The clients' traces by span, made for the first server without a trace; may name some that are gone.
    by_span: Option<HashMap<SpanId, Option<TraceId>>>,
}

/// What is derived from the tables does not count.
impl PartialEq for Pairing {
    fn eq(&self, other: &Self) -> bool {
        self.clients == other.clients && self.servers == other.servers
    }
}

impl Pairing {
    /// Takes a client side and returns what is settled by it.
    pub(super) fn add_client(
        &mut self,
        id: CallId,
        half: ClientHalf,
        counters: &mut Counters,
    ) -> Vec<Settled> {
        if let Some(server) = self.servers.remove(&id).or_else(|| self.take_expecting(id.1)) {
            return vec![Settled::Paired(half, server)];
        }
        if let Some(by_span) = &mut self.by_span {
            by_span.insert(id.1, id.0);
        }
        wait(&mut self.clients, id, half, counters);
        self.shed(counters)
    }

    /// Takes a server side and returns what is settled by it.
    pub(super) fn add_server(
        &mut self,
        id: CallId,
        half: ServerHalf,
        counters: &mut Counters,
    ) -> Vec<Settled> {
        let client = match id.0 {
            Some(_) => self.clients.remove(&id),
            None => self.take_client(id.1),
        };
        if let Some(client) = client {
            return vec![Settled::Paired(client, half)];
        }
        let is_new = wait(&mut self.servers, id, half, counters);
        self.expecting += usize::from(is_new && id.0.is_none());
        self.shed(counters)
    }

    fn take_expecting(&mut self, client: SpanId) -> Option<ServerHalf> {
        if self.expecting == 0 {
            return None;
        }
        let server = self.servers.remove(&(None, client))?;
        self.expecting -= 1;
        Some(server)
    }

    /// Takes the client side of whichever trace.
    fn take_client(&mut self, span_id: SpanId) -> Option<ClientHalf> {
        let clients = &self.clients;
        let by_span = self
            .by_span
            .get_or_insert_with(|| clients.keys().map(|(trace_id, span_id)| (*span_id, *trace_id)).collect());
        let trace_id = by_span.remove(&span_id)?;
        self.clients.remove(&(trace_id, span_id))
    }

    /// Takes all sides that wait in another table, under the ids by which their traces are known.
    pub(super) fn merge(
        &mut self,
        other: &Self,
        canonical: &dyn Fn(TraceId) -> TraceId,
        counters: &mut Counters,
    ) -> Vec<Settled> {
        let known = |id: &CallId| (id.0.map(canonical), id.1);
        let mut settled = Vec::new();
        for (id, half) in &other.clients {
            settled.extend(self.add_client(known(id), half.clone(), counters));
        }
        for (id, half) in &other.servers {
            settled.extend(self.add_server(known(id), half.clone(), counters));
        }
        settled
    }

    /// Gives up the sides that ended longer than [`HALF_WAIT_NS`] before the end of the table's time. That end is
    /// where 99 % of the sides have ended, so that single spans from the future do not count.
    pub(super) fn expire(&mut self, counters: &mut Counters) -> Vec<Settled> {
        let mut ends = self.ends();
        let late = ends.len() * 99 / 100;
        if ends.is_empty() {
            return Vec::new();
        }
        let (_, end, _) = ends.select_nth_unstable(late);
        let horizon = end.saturating_sub(HALF_WAIT_NS);
        self.give_up_before(horizon, counters)
    }

    /// Returns the client sides that wait, in no order.
    pub(super) fn clients(&self) -> impl Iterator<Item = (&CallId, &ClientHalf)> {
        self.clients.iter()
    }

    /// Returns the server sides that wait, in no order.
    pub(super) fn servers(&self) -> impl Iterator<Item = (&CallId, &ServerHalf)> {
        self.servers.iter()
    }

    /// Drops the sides that are in no minute of interest.
    pub(super) fn retain(&mut self, has_minute: impl Fn(u64) -> bool) {
        self.clients.retain(|_, half| has_minute(half.minute));
        self.servers.retain(|_, half| has_minute(half.minute));
        self.count_again();
    }

    /// Gives up the older half if there are too many.
    fn shed(&mut self, counters: &mut Counters) -> Vec<Settled> {
        if self.clients.len() <= MAX_PENDING_CALLS && self.servers.len() <= MAX_PENDING_CALLS {
            return Vec::new();
        }
        let before = self.clients.len() + self.servers.len();
        let mut ends = self.ends();
        let middle = ends.len() / 2;
        let (_, median, _) = ends.select_nth_unstable(middle);
        // Inclusive, so that a table whose sides all end at once is emptied and not searched again for each span.
        let settled = self.give_up_before(median.saturating_add(1), counters);
        let shed = before - self.clients.len() - self.servers.len();
        counters.pending_shed = counters.pending_shed.saturating_add(shed as u64);
        settled
    }

    fn give_up_before(&mut self, horizon_unix_ns: u64, counters: &mut Counters) -> Vec<Settled> {
        let clients = self.clients.extract_if(|_, half| half.ended_unix_ns < horizon_unix_ns);
        let mut settled: Vec<Settled> = clients.map(|(_, half)| Settled::ClientOnly(half)).collect();
        let servers = self.servers.extract_if(|_, half| half.ended_unix_ns < horizon_unix_ns);
        settled.extend(servers.filter_map(|(_, half)| half.give_up(counters)));
        self.count_again();
        settled
    }

    fn count_again(&mut self) {
        self.expecting = self.servers.keys().filter(|(trace_id, _)| trace_id.is_none()).count();
        self.by_span = None;
    }

    fn ends(&self) -> Vec<u64> {
        let clients = self.clients.values().map(|half| half.ended_unix_ns);
        clients.chain(self.servers.values().map(|half| half.ended_unix_ns)).collect()
    }
}

/// Puts a side into its table; returns whether it was the first with its id. Of two the smaller one stays, so that the
/// order does not matter.
fn wait<H: Ord>(table: &mut HashMap<CallId, H>, id: CallId, half: H, counters: &mut Counters) -> bool {
    match table.entry(id) {
        Entry::Vacant(place) => {
            place.insert(half);
            true
        }
        Entry::Occupied(mut waiting) => {
            counters.halves_repeated = counters.halves_repeated.saturating_add(1);
            if half < *waiting.get() {
                waiting.insert(half);
            }
            false
        }
    }
}
