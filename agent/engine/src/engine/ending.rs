//! The ends of connections, and of what is open on them: told where it is known how it ended, counted where it is not.

use super::{Connection, Engine, LossReason, kind};
use crate::command::Command;
use crate::connection::Stamp;
use crate::event::{Closed, ConnectionId, Direction, Role};
use crate::session::Surroundings;
use crate::span::SpanKind;

impl Engine {
    pub(super) fn eof(&mut self, id: ConnectionId, stamp: Stamp) {
        self.touch(id, Direction::Ingress, &stamp.executor);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut outcomes = Vec::new();
        connection.session.handle_end(Direction::Ingress, stamp, &mut outcomes);
        self.take_outcomes(id, &mut outcomes);
    }

    pub(super) fn closed(&mut self, id: ConnectionId, at_ns: u64, closed: Closed) {
        let Some(connection) = self.connections.get(&id) else { return };
        if let Some(received) = closed.received
            && connection.opened.role != Role::Unknown
        {
            self.tally.received_bytes += received;
            self.tally.seen_bytes += closed.seen.min(received);
        }
        if let Some(tls) = self.connections.get_mut(&id).and_then(|connection| connection.tls.as_mut()) {
            tls.count([closed.sequence_sent, closed.received]);
        }
        let Some(connection) = self.connections.get(&id) else { return };
        // Both the kernel and the process tell the end.
        if connection.ended_at_ns.is_none() {
            self.tell_unknown(id, at_ns, closed);
        }
        let Some(connection) = self.connections.get(&id) else { return };
        let open = connection.pairing.oldest();
        let is_server = connection.session.client() == Some(Direction::Ingress);
        // What a library wrote last is told when its call returns, which may be after another thread has closed the socket.
        let is_awaited = open.is_some() && connection.tls.as_ref().is_some_and(|tls| tls.is_visible());
        match closed.executor {
            Some(executor) if is_server => self.correlation.touch(SpanKind::Server, open, &executor),
            Some(executor) => self.correlation.handle_call_closed(id, open, &executor),
            None => {}
        }
        if closed.executor.is_some() && !is_awaited {
            return self.close(id, at_ns);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ended_at_ns = Some(at_ns);
        }
        self.note_waiting(id);
    }

    /// A connection of which nothing was understood is told as a whole, where that is wanted. Who met it midway knows
    /// neither when it began nor who opened it.
    fn tell_unknown(&mut self, id: ConnectionId, at_ns: u64, closed: Closed) {
        let Some(connection) = self.connections.get(&id).filter(|_| self.tells_unknown) else { return };
        let Connection { opened, opened_at_ns, session, tls, .. } = connection;
        let is_unknown = session.is_unknown() || tls.as_ref().is_some_and(|tls| !tls.is_visible());
        if is_unknown && opened.role != Role::Unknown {
            let mut span = self.correlation.connection(id, opened, (*opened_at_ns, at_ns), closed);
            span.attributes.extend(tls.iter().flat_map(|tls| tls.attributes("")));
            self.spans.push_back(span);
        }
    }

    /// Hands over what waits for segments that will not come.
    pub(super) fn flush(&mut self, id: ConnectionId) {
        self.flush_tls(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.egress.flush();
        connection.ingress.flush();
        self.read(id, Direction::Egress);
        self.read(id, Direction::Ingress);
    }

    /// Tells what was in doubt: nothing more will be said.
    pub(super) fn settle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut outcomes = Vec::new();
        let around =
            Surroundings { settings: &self.parsers, learned: &self.learned, opened: &connection.opened };
        connection.session.settle(u64::MAX, &around, &mut outcomes);
        self.take_outcomes(id, &mut outcomes);
    }

    pub(super) fn close(&mut self, id: ConnectionId, at_ns: u64) {
        self.flush(id);
        self.settle(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let stamp = Stamp { at_ns, executor: connection.opened.executor };
        let mut outcomes = Vec::new();
        connection.session.handle_end(Direction::Egress, stamp, &mut outcomes);
        connection.session.handle_end(Direction::Ingress, stamp, &mut outcomes);
        self.take_outcomes(id, &mut outcomes);
        if self.connections.get(&id).is_some_and(|connection| connection.session.is_doubtful()) {
            self.lose_open(id, at_ns, LossReason::Opaque);
        } else {
            self.fail_open(id, at_ns);
        }
        self.remove(id);
        self.commands.push_back(Command::Forget(id));
    }

    /// Forgets a connection that may live on: what is open on it is counted as lost, not told as failed.
    pub(super) fn forget(&mut self, id: ConnectionId, now_ns: u64) {
        self.flush(id);
        self.settle(id);
        self.lose_open(id, now_ns, LossReason::Forgotten);
        self.remove(id);
        self.commands.push_back(Command::Forget(id));
        self.commands.push_back(Command::Reannounce(id));
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.held_bytes -= connection.weight.held_bytes();
            self.end_tls(&connection);
            for object in connection.tls.iter().flat_map(|tls| tls.objects()) {
                self.joins.part(object, id);
            }
            self.correlation.handle_closed(id, &connection.opened);
        }
    }

    /// The connection is gone: what was asked will not be answered.
    fn fail_open(&mut self, id: ConnectionId, at_ns: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let protocol = connection.session.protocol().unwrap_or_default();
        let Some(client) = connection.session.client() else { return };
        for mut exchange in connection.pairing.take_all() {
            let last = exchange.response_last.unwrap_or(exchange.request_last);
            if exchange.response.is_none() {
                // The span lasts until the wait for the response ended.
                exchange.response_last = Some(Stamp { at_ns: at_ns.max(last.at_ns), ..last });
            }
            self.tally.exchange(protocol, exchange.is_incomplete());
            let span = self.correlation.finish(kind(client), exchange, protocol, id, &connection.opened);
            self.spans.extend(span);
        }
    }

    /// Forgets what is open on a connection, and counts it as lost. Returns how much it was.
    pub(super) fn lose_open(&mut self, id: ConnectionId, now_ns: u64, reason: LossReason) -> u64 {
        let Some(connection) = self.connections.get_mut(&id) else { return 0 };
        let lost = connection.pairing.take_all();
        let now_ns = now_ns.max(connection.last_seen_ns);
        self.correlation.forget_brought(id);
        let count = lost.len() as u64;
        self.tally.lost_exchanges(reason, count);
        for exchange in lost {
            self.correlation.abandon(&exchange, id, &connection.opened, now_ns);
        }
        count
    }
}
