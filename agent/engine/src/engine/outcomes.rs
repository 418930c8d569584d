//! What a session has found out becomes exchanges and spans, commands, and counts.

use super::{Engine, LossReason, follows, kind, tls};
use crate::command::Command;
use crate::connection::Stamp;
use crate::correlation::{Asked, Brought};
use crate::event::{ConnectionId, Direction};
use crate::pairing::{ExchangeId, Paired};
use crate::protocol::{Delivery, MessageKind};
use crate::session::{Outcome, Step};
use crate::span::SpanKind;

impl Engine {
    /// Takes in what a session has found out, and leaves the list empty.
    pub(super) fn take_outcomes(&mut self, id: ConnectionId, outcomes: &mut Vec<Outcome>) {
        let mut is_overrun = false;
        for outcome in outcomes.drain(..) {
            match outcome {
                // Its response may have been said already, and would be taken for another's.
                Outcome::Step(_) if is_overrun => {}
                Outcome::Step(step) => is_overrun = self.step(id, step),
                Outcome::Lost { at_least } => {
                    let lost = self.lose_open(id, 0, LossReason::Gap);
                    self.tally.lost_exchanges(LossReason::Gap, at_least.saturating_sub(lost));
                }
                Outcome::Ignored(reason) => {
                    self.tally.ignored(reason);
                    self.commands.push_back(Command::Ignore(id));
                    if let Some(connection) = self.connections.get(&id) {
                        self.correlation.handle_ignored(id, &connection.opened);
                    }
                    self.lose_open(id, 0, LossReason::Opaque);
                }
                Outcome::Unasked => self.tally.unasked_responses += 1,
                Outcome::Unproven => self.tally.unproven_connections += 1,
                Outcome::Wants(direction, bytes) => {
                    let bytes = bytes.unwrap_or(self.max_capture_bytes).min(self.max_capture_bytes);
                    if bytes > 0 {
                        self.commands.push_back(Command::Capture { connection: id, direction, bytes });
                    }
                }
                // The places of plaintext are not those that the kernel knows.
                Outcome::SkipUntil(..) if self.is_encrypted(id) => {}
                Outcome::SkipUntil(direction, position) => {
                    self.commands.push_back(Command::SkipUntil { connection: id, direction, position });
                }
            }
        }
        if is_overrun {
            self.start_over(id);
        }
    }

    /// Gives up what is outstanding on a connection, and goes on where its messages can be told again.
    fn start_over(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut given_up = Vec::new();
        connection.session.give_up(&mut given_up);
        self.lose_open(id, 0, LossReason::Gap);
    }

    /// Takes in a message. Returns whether no later one of the connection can be paired.
    fn step(&mut self, id: ConnectionId, mut step: Step) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        // The place counts for requests only.
        let place = &mut step.place;
        (place.position, place.reverse_position) =
            connection.translation.apply(step.client, place.position, place.reverse_position);
        let protocol = step.protocol;
        self.tally.message(protocol);
        let kind = kind(step.client);
        let mut asked = match &mut step.message.kind {
            MessageKind::Request(request) => {
                if let Some(conversation) = &connection.tls {
                    tls::describe(request, conversation, protocol);
                }
                Asked::of(request)
            }
            _ => Asked::default(),
        };
        match step.message.kind {
            MessageKind::Delivered(delivery) => {
                self.brought(id, *delivery, protocol, step.client, &step.last);
                return false;
            }
            MessageKind::MissedDelivery => {
                // As with those that were seen, the client is their consumer.
                self.tally.lost_exchanges(LossReason::Gap, u64::from(kind == SpanKind::Client));
                return false;
            }
            MessageKind::Settled(settled) => {
                if kind == SpanKind::Client {
                    self.correlation.settle(id, *settled, &step.last);
                    self.spans.extend(self.correlation.take_ended());
                }
                return false;
            }
            _ => {}
        }
        let stamp = step.first;
        let met = place.peer.map(|peer| connection.opened.with_peer(peer));
        let opened = met.as_ref().unwrap_or(&connection.opened);
        let mut paired = std::mem::take(&mut self.paired);
        let next_exchange = &mut self.next_exchange;
        connection.pairing.handle(
            step,
            || {
                *next_exchange += 1;
                ExchangeId(*next_exchange)
            },
            &mut paired,
        );
        let mut is_overrun = false;
        for paired in paired.drain(..) {
            match paired {
                Paired::Started(started) => {
                    let asked = std::mem::take(&mut asked);
                    self.correlation.begin(kind, &started, asked, id, opened);
                    // A context stands behind the line with which the request begins.
                    if connection.written_at.take().is_some_and(|at| follows(at, started.place.position)) {
                        self.correlation.written(started.id);
                    }
                }
                Paired::Sent(exchange, last) => self.correlation.sent(kind, exchange, &last),
                Paired::Answering(exchange) => self.correlation.answering(kind, exchange, &stamp),
                Paired::Finished(exchange) => {
                    self.tally.exchange(protocol, exchange.is_incomplete());
                    let span = self.correlation.finish(kind, exchange, protocol, id, opened);
                    self.spans.extend(span);
                }
                Paired::Superseded(exchange) => {
                    self.tally.lost_exchanges(LossReason::Gap, 1);
                    self.correlation.abandon(&exchange, id, &connection.opened, stamp.at_ns);
                }
                Paired::Missed => self.tally.lost_exchanges(LossReason::Gap, 1),
                Paired::Unasked => self.tally.unasked_responses += 1,
                Paired::Refused => {
                    self.tally.refused_requests += 1;
                    is_overrun = true;
                }
            }
        }
        self.paired = paired;
        self.spans.extend(self.correlation.take_ended());
        is_overrun
    }

    /// The server has brought messages unasked: its client is their consumer.
    fn brought(
        &mut self,
        id: ConnectionId,
        delivery: Delivery,
        protocol: &'static str,
        client: Direction,
        read: &Stamp,
    ) {
        let Some(connection) = self.connections.get(&id).filter(|_| kind(client) == SpanKind::Client) else {
            return;
        };
        self.next_exchange += 1;
        let work = ExchangeId(self.next_exchange);
        let is_quiet = connection.pairing.len() == 0;
        let brought = Brought { protocol, read, connection: id, opened: &connection.opened };
        self.spans.extend(self.correlation.push(work, delivery, is_quiet, brought));
    }
}
