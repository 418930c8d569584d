//! Which client spans there are, and which server spans wait for one.

use std::time::Instant;

use super::aging::{Aging, Forgotten};
use super::late::Late;
use super::twins::Sighted;
use super::{JoinCounters, JoinSettings};
use crate::model::{Join, Span, SpanId, SpanKind, TraceId};

/// Server spans that wait for the same client span, at most: one request has one receiver, and some are sent twice.
const MAX_SERVERS: usize = 4;

/// What joining wants to know of some spans.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    clients: Vec<(SpanId, TraceId)>,
    servers: Vec<(SpanId, Server)>,
    /// Complete by themselves: traces that the agent itself has named.
    named: Vec<Join>,
    /// Those of the clients, and of the expected clients, whose other side may be forgotten.
    late_clients: Vec<SpanId>,
    late_expected: Vec<SpanId>,
    /// Requests of which an SDK may tell as well.
    pub(super) requests: Vec<Sighted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Server {
    trace_id: TraceId,
    span_id: SpanId,
    begins_trace: bool,
}

impl Sightings {
    /// Returns what is to be known of these spans. The other sides of those that ended before `late_unix_ns` may be
    /// forgotten.
    pub fn of<'a>(spans: impl IntoIterator<Item = &'a Span>, late_unix_ns: u64) -> Self {
        let mut sightings = Self::default();
        spans.into_iter().for_each(|span| sightings.add(span, late_unix_ns));
        sightings
    }

    fn add(&mut self, span: &Span, late_unix_ns: u64) {
        let is_late = span.end_unix_ns < late_unix_ns;
        match span.kind {
            SpanKind::Client | SpanKind::Producer => {
                self.clients.push((span.span_id, span.trace_id));
                self.named.extend(span.trace_alias().map(|alias| Join {
                    server_trace: alias,
                    client_trace: span.trace_id,
                    begins_trace: true,
                }));
                if is_late {
                    self.late_clients.push(span.span_id);
                }
            }
            SpanKind::Server => {
                self.requests.extend(Sighted::of(span));
                if let Some(expected) = span.expected_client() {
                    let begins_trace = span.parent_span_id.is_none();
                    let server = Server { trace_id: span.trace_id, span_id: span.span_id, begins_trace };
                    self.servers.push((expected, server));
                    if is_late {
                        self.late_expected.push(expected);
                    }
                }
            }
            _ => {}
        }
    }

    /// Returns whether there is nothing to join.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.servers.is_empty() && self.requests.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Index {
    /// By client span: its trace, or none where two were named.
    clients: Aging<SpanId, Option<TraceId>>,
    /// By expected client span.
    servers: Aging<SpanId, Vec<Server>>,
    late: Late,
    /// A server span has expected a client span; without one, nothing is looked for.
    has_expected: bool,
}

impl Index {
    pub(super) fn new(settings: &JoinSettings, now: Instant) -> Self {
        Self {
            clients: Aging::new(settings.max_waiting, settings.hold, now),
            servers: Aging::new(settings.max_waiting, settings.hold, now),
            late: Late::default(),
            has_expected: false,
        }
    }

    pub(super) fn observe(
        &mut self,
        sightings: &Sightings,
        now: Instant,
        counters: &JoinCounters,
    ) -> Vec<Join> {
        self.expire(now, counters);
        let mut joins = sightings.named.clone();
        for (span_id, trace_id) in &sightings.clients {
            self.add_client(*span_id, *trace_id, now, counters, &mut joins);
        }
        for (expected, server) in &sightings.servers {
            joins.extend(self.add_server(*expected, *server, now, counters));
        }
        self.note_late(sightings);
        joins
    }

    pub(super) fn expire(&mut self, now: Instant, counters: &JoinCounters) {
        self.clients.expire(now);
        count_servers(self.servers.expire(now), counters);
    }

    pub(super) fn take_late(&mut self) -> Option<Late> {
        let late = std::mem::take(&mut self.late);
        (!late.is_empty()).then_some(late)
    }

    /// A late server span that found its client is not looked for. A client span may have had servers that are forgotten.
    fn note_late(&mut self, sightings: &Sightings) {
        for client in &sightings.late_expected {
            if self.servers.find_mut(client).is_some() {
                self.late.want_client(*client);
            }
        }
        if self.has_expected {
            sightings.late_clients.iter().for_each(|client| self.late.want_servers_of(*client));
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.servers.len()
    }

    fn add_client(
        &mut self,
        span_id: SpanId,
        trace_id: TraceId,
        now: Instant,
        counters: &JoinCounters,
        joins: &mut Vec<Join>,
    ) {
        let forgotten = self.clients.add(span_id, Some(trace_id), now, |known| {
            // Sent again, or a second trace that claims the same client.
            if known.is_some_and(|known| known != trace_id) {
                *known = None;
                JoinCounters::add(&counters.ambiguous, 1);
            }
        });
        JoinCounters::add(&counters.evicted_clients, forgotten.evicted);
        if self.servers.len() > 0 {
            // They waited, so no client span with this id was known.
            let servers = self.servers.remove(&span_id).unwrap_or_default();
            joins.extend(servers.into_iter().map(|server| server.joined_to(trace_id)));
        }
    }

    fn add_server(
        &mut self,
        expected: SpanId,
        server: Server,
        now: Instant,
        counters: &JoinCounters,
    ) -> Option<Join> {
        self.has_expected = true;
        match self.clients.find_both(&expected) {
            [None, None] => {}
            [Some(client), None] | [None, Some(client)] => {
                return client.map(|trace_id| server.joined_to(trace_id));
            }
            [Some(younger), Some(older)] => {
                return younger.filter(|_| younger == older).map(|trace_id| server.joined_to(trace_id));
            }
        }
        match self.servers.find_mut(&expected) {
            Some(known) if known.contains(&server) => {}
            Some(known) if known.len() < MAX_SERVERS => known.push(server),
            Some(_) => JoinCounters::add(&counters.evicted_servers, 1),
            None => {
                let forgotten = self.servers.add(expected, vec![server], now, |_| ());
                count_servers(forgotten, counters);
            }
        }
        None
    }
}

fn count_servers(forgotten: Forgotten, counters: &JoinCounters) {
    JoinCounters::add(&counters.expired, forgotten.expired);
    JoinCounters::add(&counters.evicted_servers, forgotten.evicted);
}

impl Server {
    fn joined_to(self, client_trace: TraceId) -> Join {
        Join { server_trace: self.trace_id, client_trace, begins_trace: self.begins_trace }
    }
}

#[cfg(test)]
mod tests;
