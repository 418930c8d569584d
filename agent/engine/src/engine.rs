//! The state machine that calls the rooms in order.

use std::collections::VecDeque;

use foldhash::HashMap;

use crate::command::Command;
use crate::connection::{Stamp, Stream, Told, Translation};
use crate::correlation::{Asked, Brought, ContentEvidence, Correlation};
use crate::event::{
    Closed, ConnectionId, Data, Direction, Event, EventKind, Executor, FirstPositions, Insertion, Opened,
    Role, Scheduling,
};
use crate::pairing::{ExchangeId, Paired, Pairing};
use crate::protocol::{Delivery, Learned, MessageKind, ParserSettings};
use crate::session::{Outcome, Session, Step, Surroundings};
use crate::span::{Span, SpanKind};
use crate::tally::Tally;

/// Connections that are followed. For one more, the one that was idle longest is forgotten.
const MAX_CONNECTIONS: usize = 65_536;
/// Idle time after which a connection whose end was missed is forgotten.
const MAX_IDLE_NS: u64 = 3_600_000_000_000;
/// Bytes that wait for others, on all connections. Beyond it, the connection that wants more loses what it has.
const MAX_HELD_BYTES: usize = 32 << 20;
/// How long a connection that the kernel has ended is kept for what its process may still read.
const LINGER_NS: u64 = 300_000_000;
/// How often idle connections are looked for.
const SWEEP_NS: u64 = 10_000_000_000;

/// Limits and choices of the engine.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// For the protocols.
    pub parsers: ParserSettings,
    /// Seed of the ids that cannot be derived from positions on the wire.
    pub id_seed: u64,
    /// Bytes of each call that are asked for on connections where the usual capture cut off what matters; 0 to leave
    /// the capture alone.
    pub max_capture_bytes: u32,
    /// What is made of ids that two requests have in common.
    pub content_evidence: ContentEvidence,
    /// Tell of connections of which nothing was understood too: one span each, when they end.
    pub tells_unknown: bool,
}

/// Something the engine counts: discards by reason, and what it understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// `loss`, `messages`, `state`: the family.
    pub family: &'static str,
    /// The reason or thing.
    pub label: &'static str,
    /// The protocol, or empty.
    pub protocol: &'static str,
    /// How many so far (for `state`: right now).
    pub value: u64,
}

/// From events to spans. Time comes only from the events and from [`handle_timeout`](Self::handle_timeout).
#[derive(Debug)]
pub struct Engine {
    parsers: ParserSettings,
    learned: Learned,
    max_capture_bytes: u32,
    tells_unknown: bool,
    connections: HashMap<ConnectionId, Connection>,
    told: Told,
    correlation: Correlation,
    spans: VecDeque<Span>,
    commands: VecDeque<Command>,
    tally: Tally,
    next_exchange: u64,
    next_sweep_ns: u64,
    /// Connections with segments that wait for earlier ones.
    waiting: Vec<ConnectionId>,
    /// Bytes that wait for others, on all connections.
    held_bytes: usize,
}

/// One end of a connection and all that is known of it.
struct Connection {
    opened: Opened,
    egress: Stream,
    ingress: Stream,
    session: Session,
    pairing: Pairing,
    opened_at_ns: u64,
    last_seen_ns: u64,
    /// The process that used it last.
    user: u32,
    /// Bytes that wait for others, as they count in the engine's total.
    held_bytes: usize,
    /// When the kernel ended it. Its process may still read what had arrived.
    ended_at_ns: Option<u64>,
    /// Where the agent has written a context into a request that was not told yet.
    written_at: Option<u32>,
    /// From this end's positions to those of the other end.
    translation: Translation,
    is_waiting: bool,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connection").field("opened", &self.opened).finish_non_exhaustive()
    }
}

impl Connection {
    fn new(opened: Opened, at_ns: u64) -> Self {
        let session = Session::new(opened.role);
        Self {
            user: opened.executor.tgid,
            held_bytes: 0,
            ended_at_ns: None,
            written_at: None,
            translation: Translation::default(),
            opened,
            egress: Stream::default(),
            ingress: Stream::default(),
            session,
            pairing: Pairing::default(),
            opened_at_ns: at_ns,
            last_seen_ns: at_ns,
            is_waiting: false,
        }
    }

    fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

impl Engine {
    /// Returns an engine without connections.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let is_searched = settings.content_evidence != ContentEvidence::Off;
        let mark_key = settings.parsers.mark_key.or(is_searched.then_some(settings.id_seed));
        Self {
            parsers: ParserSettings { mark_key, ..settings.parsers },
            learned: Learned::default(),
            max_capture_bytes: settings.max_capture_bytes,
            tells_unknown: settings.tells_unknown,
            connections: HashMap::default(),
            told: Told::default(),
            correlation: Correlation::new(settings.id_seed, settings.content_evidence),
            spans: VecDeque::new(),
            commands: VecDeque::new(),
            tally: Tally::default(),
            next_exchange: 0,
            next_sweep_ns: 0,
            waiting: Vec::new(),
            held_bytes: 0,
        }
    }

    /// Takes in one event. Events come in the order of their times, apart from calls that blocked for long.
    pub fn handle_event(&mut self, event: Event) {
        let Event { connection, at_ns, kind } = event;
        match kind {
            EventKind::Opened(opened) => self.open(connection, opened, at_ns),
            EventKind::Data(data) => self.data(connection, data, at_ns),
            EventKind::Claimed(claim) => {
                if self.connections.contains_key(&connection) {
                    self.correlation.see(&Stamp { at_ns, executor: claim.executor });
                    self.correlation.claim(connection, &claim, at_ns);
                }
            }
            EventKind::Eof(executor) => self.eof(connection, Stamp { at_ns, executor }),
            EventKind::Closed(closed) => self.closed(connection, at_ns, closed),
        }
    }

    /// Tells how a process schedules its requests.
    pub fn handle_process(&mut self, tgid: u32, scheduling: Scheduling) {
        self.correlation.handle_process(tgid, scheduling);
    }

    /// Tells that a thread waits for events, of which it began to wait before anything was seen of it.
    pub fn handle_waiting(&mut self, tid: u32) {
        self.correlation.handle_waiting(tid);
    }

    /// Tells that a task was made, with a context of its own, by a Python.
    pub fn handle_task(&mut self, maker: Executor, context: u64, at_ns: u64) {
        self.correlation.handle_task(&maker, context, at_ns);
    }

    /// Tells that a task's context ended. Another context may have its address next.
    pub fn handle_task_end(&mut self, tgid: u32, context: u64) {
        self.correlation.handle_task_end(tgid, context);
    }

    /// Tells that a thread was made by another of its process.
    pub fn handle_thread(&mut self, maker: &Executor, tid: u32, at_ns: u64) {
        self.correlation.handle_thread(maker, tid, at_ns);
    }

    /// Tells that a thread ended.
    pub fn handle_thread_end(&mut self, tgid: u32, tid: u32, at_ns: u64) {
        self.correlation.handle_thread_end(tgid, tid, at_ns);
    }

    /// Tells that the making or end of tasks and threads, or gifts, may have been missed: what is known of them is void.
    pub fn handle_lost_handovers(&mut self) {
        self.correlation.handle_lost_handovers();
    }

    /// Tells that a unit of work was handed over: whoever takes the token works for whom the giver works for now.
    pub fn handle_gift(&mut self, giver: &Executor, token: u64, at_ns: u64) {
        self.correlation.handle_gift(giver, token, at_ns);
    }

    /// Tells that the other end of a connection, which need not have been accepted yet, has said where it begins as that
    /// end counts: what carries it rewrites positions.
    pub fn handle_beginning(&mut self, sock: u64, own: FirstPositions, told: FirstPositions, at_ns: u64) {
        self.told.note(sock, own, told, at_ns);
    }

    /// Tells that a task has made another, whose number is not used again: it works for whom its maker works for.
    pub fn handle_spawn(&mut self, maker: &Executor, task: u64, at_ns: u64) {
        self.correlation.handle_spawn(maker, task, at_ns);
    }

    /// Tells that a task has woken another: because it has something for it, or because it made room.
    pub fn handle_wake(&mut self, waker: &Executor, task: u64, at_ns: u64) {
        self.correlation.handle_wake(waker, task, at_ns);
    }

    /// Tells that a process was made, which runs on with the program of the other.
    pub fn handle_fork(&mut self, parent: u32, child: u32) {
        self.correlation.handle_fork(parent, child);
    }

    /// Tells that a process runs another program: what was known of it is void.
    pub fn handle_exec(&mut self, tgid: u32) {
        self.correlation.handle_process_exit(tgid);
    }

    /// Tells that a process is gone, and with it the connections that it was the last to use.
    pub fn handle_process_exit(&mut self, tgid: u32, now_ns: u64) {
        let is_silent = |opened: &Opened| opened.peer_sock.is_some() || opened.is_datagram;
        let is_local = |connection: &Connection| connection.user == tgid && is_silent(&connection.opened);
        // TCP connections tell their own end.
        let mut gone: Vec<_> =
            self.connections.iter().filter(|(_, c)| is_local(c)).map(|(id, _)| *id).collect();
        gone.sort_unstable();
        for connection in gone {
            self.close(connection, now_ns);
            // Another process may hold it still.
            self.commands.push_back(Command::Reannounce(connection));
        }
        self.correlation.handle_process_exit(tgid);
        self.spans.extend(self.correlation.take_ended());
    }

    /// Lets time pass: expires what waited too long.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        for connection in std::mem::take(&mut self.waiting) {
            let Some(found) = self.connections.get_mut(&connection) else { continue };
            found.is_waiting = false;
            if let Some(ended_at_ns) =
                found.ended_at_ns.filter(|at_ns| at_ns.saturating_add(LINGER_NS) <= now_ns)
            {
                self.close(connection, ended_at_ns);
                continue;
            }
            found.egress.expire(now_ns);
            found.ingress.expire(now_ns);
            let mut outcomes = Vec::new();
            let around =
                Surroundings { settings: &self.parsers, learned: &self.learned, opened: &found.opened };
            found.session.settle(now_ns, &around, &mut outcomes);
            self.take_outcomes(connection, outcomes);
            self.read(connection, Direction::Egress);
            self.read(connection, Direction::Ingress);
            self.note_waiting(connection);
        }
        self.correlation.handle_timeout(now_ns);
        self.spans.extend(std::iter::from_fn(|| self.correlation.poll_late()));
        self.spans.extend(self.correlation.take_ended());
        if now_ns >= self.next_sweep_ns {
            self.next_sweep_ns = now_ns.saturating_add(SWEEP_NS);
            self.told.expire(now_ns);
            self.expire_idle(now_ns);
        }
    }

    fn expire_idle(&mut self, now_ns: u64) {
        let is_idle = |connection: &Connection| now_ns.saturating_sub(connection.last_seen_ns) > MAX_IDLE_NS;
        let mut idle: Vec<_> =
            self.connections.iter().filter(|(_, c)| is_idle(c)).map(|(id, _)| *id).collect();
        idle.sort_unstable();
        for connection in idle {
            self.tally.expired_connections += 1;
            self.forget(connection, now_ns);
        }
    }

    /// Ends all that is open, for a shutdown: what has no response yet is counted, not reported as failed.
    pub fn finish(&mut self, now_ns: u64) {
        let mut connections: Vec<_> = self.connections.keys().copied().collect();
        connections.sort_unstable();
        for &connection in &connections {
            self.flush(connection);
        }
        // Callers before those they called.
        let is_called = |id: &ConnectionId| {
            !self.connections.get(id).is_some_and(|found| found.session.is_rehearsing_client())
        };
        connections.sort_by_key(is_called);
        for connection in connections {
            self.settle(connection);
            self.lose_open(connection, now_ns, LossReason::Shutdown);
        }
        self.connections.clear();
        self.held_bytes = 0;
        self.correlation.end_all();
        self.spans.extend(self.correlation.take_ended());
        self.correlation.handle_timeout(u64::MAX);
        self.spans.extend(std::iter::from_fn(|| self.correlation.poll_late()));
    }

    /// Returns the next finished span.
    pub fn poll_span(&mut self) -> Option<Span> {
        self.spans.pop_front()
    }

    /// Returns the next wish about capture.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let held = self.waiting.iter().filter_map(|id| self.connections.get(id)).filter_map(deadline);
        held.chain(std::iter::once(self.next_sweep_ns)).min()
    }

    /// Returns all counters.
    #[must_use]
    pub fn counters(&self) -> Vec<Counter> {
        let outstanding = self.correlation.active_len() as u64;
        let connections = self.connections.len() as u64;
        let mut counters =
            self.tally.counters(self.correlation.tally(), connections, outstanding, self.held_bytes as u64);
        let value = self.told.refused();
        counters.push(Counter { family: "loss", label: "beginning_not_remembered", protocol: "", value });
        counters
    }

    fn open(&mut self, connection: ConnectionId, opened: Opened, at_ns: u64) {
        if let Some(known) = self.connections.get_mut(&connection) {
            // Announced again after the kernel forgot it, or by `accept` after another thread had already read.
            if known.opened.role == Role::Unknown {
                known.opened.role = opened.role;
            }
            return;
        }
        self.correlation.handle_opened(connection, &opened);
        self.make_room();
        self.connections.insert(connection, Connection::new(opened, at_ns));
    }

    fn make_room(&mut self) {
        if self.connections.len() < MAX_CONNECTIONS {
            return;
        }
        let oldest = self.connections.iter().min_by_key(|(id, c)| (c.last_seen_ns, **id)).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.tally.evicted_connections += 1;
            self.forget(oldest, 0);
        }
    }

    fn data(&mut self, id: ConnectionId, data: Data, at_ns: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            self.tally.unannounced_events += 1;
            return;
        };
        self.correlation.conclude(&data.executor);
        self.spans.extend(std::iter::from_fn(|| self.correlation.poll_late()));
        connection.last_seen_ns = connection.last_seen_ns.max(at_ns);
        if connection.session.is_ignored() {
            return;
        }
        if connection.opened.first.is_none() && data.is_absolute && connection.opened.role != Role::Unknown {
            connection.opened.first = Some(FirstPositions::of(&data, connection.opened.role));
        }
        if let Some(own) = connection.opened.first
            && let Some((first, translation)) = self.told.take(id.sock, own)
        {
            connection.opened.first = Some(first);
            connection.translation = translation;
        }
        let direction = data.direction;
        let stamp = Stamp { at_ns, executor: data.executor };
        let position = data.position;
        self.correlation.see(&stamp);
        if direction == Direction::Egress {
            self.correlation.write(id, &stamp);
        }
        connection.user = data.executor.tgid;
        if let Some(Insertion { at, length: _ }) = data.inserted {
            connection.written_at = Some(data.position.wrapping_add(at));
        }
        connection.stream(direction).push(data, at_ns);
        self.touch(id, direction, &stamp.executor);
        self.read(id, direction);
        self.bound_memory(id);
        let is_call = direction == Direction::Egress
            && self.connections.get(&id).is_some_and(|connection| connection.session.is_rehearsing_client());
        if is_call {
            self.correlation.foresee(id, position, &stamp);
        }
        self.note_waiting(id);
    }

    /// The thread works on what the connection is used for. A call that is about to begin is an exception: it belongs
    /// to what the thread worked on before.
    fn touch(&mut self, id: ConnectionId, direction: Direction, executor: &Executor) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (is_asking, is_answering) = connection.pairing.is_streaming();
        let is_streaming =
            if connection.session.client() == Some(direction) { is_asking } else { is_answering };
        if is_streaming || connection.pairing.is_multiplexed() {
            return self.correlation.touch_any(executor, is_streaming);
        }
        // The answer of a resolver may be for whoever else has asked for the same name.
        if connection.opened.is_datagram
            && direction == Direction::Ingress
            && connection.session.client() == Some(Direction::Egress)
        {
            return;
        }
        let open = connection.pairing.oldest();
        if direction == Direction::Ingress {
            self.correlation.note_reading(id, open, executor);
        }
        if let (Direction::Ingress, Some(client)) = (direction, connection.session.client()) {
            self.correlation.read(kind(client), connection.pairing.only(), executor);
        }
        match connection.session.client() {
            Some(Direction::Egress) if direction == Direction::Egress => {
                if let Some(sending) = connection.pairing.sending() {
                    self.correlation.touch(SpanKind::Client, Some(sending), executor);
                }
            }
            Some(Direction::Ingress) if direction == Direction::Egress => {
                self.correlation.touch_by_answer(open, executor);
            }
            Some(client) => self.correlation.touch(kind(client), open, executor),
            None if direction == Direction::Ingress => {
                self.correlation.touch(SpanKind::Server, None, executor);
                if connection.opened.role != Role::Connected {
                    self.correlation.disturb(executor);
                }
            }
            None => {}
        }
    }

    /// Gives up what waits on a connection where all connections together have too much waiting.
    fn bound_memory(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let held = connection.egress.held_bytes()
            + connection.ingress.held_bytes()
            + connection.session.held_bytes();
        self.held_bytes = self.held_bytes - connection.held_bytes + held;
        connection.held_bytes = held;
        if self.held_bytes > MAX_HELD_BYTES && held > 0 {
            self.tally.held_too_much += 1;
            let mut outcomes = Vec::new();
            connection.egress.clear();
            connection.ingress.clear();
            connection.session.give_up(&mut outcomes);
            self.held_bytes -= std::mem::take(&mut connection.held_bytes);
            self.take_outcomes(id, outcomes);
        }
    }

    fn note_waiting(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.is_waiting && deadline(connection).is_some() {
            connection.is_waiting = true;
            self.waiting.push(id);
        }
    }

    /// Moves what a stream has in order into the session, and on.
    fn read(&mut self, id: ConnectionId, direction: Direction) {
        let mut outcomes = Vec::new();
        if let Some(connection) = self.connections.get_mut(&id) {
            while let Some(chunk) = connection.stream(direction).pop() {
                let around = Surroundings {
                    settings: &self.parsers,
                    learned: &self.learned,
                    opened: &connection.opened,
                };
                connection.session.handle(direction, chunk, &around, &mut outcomes);
            }
        }
        self.take_outcomes(id, outcomes);
    }

    fn take_outcomes(&mut self, id: ConnectionId, outcomes: Vec<Outcome>) {
        let mut is_overrun = false;
        for outcome in outcomes {
            match outcome {
                // Its response may have been said already, and would be taken for another's.
                Outcome::Step(_) if is_overrun => {}
                Outcome::Step(step) => is_overrun = self.step(id, *step),
                Outcome::Lost => self.lose_open(id, 0, LossReason::Gap),
                Outcome::Ignored(reason) => {
                    self.tally.ignored(reason);
                    self.commands.push_back(Command::Ignore(id));
                    if let Some(connection) = self.connections.get(&id) {
                        self.correlation.handle_ignored(id, &connection.opened);
                    }
                    self.lose_open(id, 0, LossReason::Opaque);
                }
                Outcome::Unproven => self.tally.unproven_connections += 1,
                Outcome::Wants(bytes) => {
                    let bytes = bytes.unwrap_or(self.max_capture_bytes).min(self.max_capture_bytes);
                    if bytes > 0 {
                        self.commands.push_back(Command::Capture { connection: id, bytes });
                    }
                }
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
            MessageKind::Request(request) => Asked::of(request),
            _ => Asked::default(),
        };
        match step.message.kind {
            MessageKind::Delivered(delivery) => {
                self.brought(id, *delivery, protocol, step.client, &step.last);
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
        let mut paired = Vec::with_capacity(2);
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
        for paired in paired {
            match paired {
                Paired::Started(started) => {
                    let asked = std::mem::take(&mut asked);
                    self.correlation.begin(kind, &started, asked, id, &connection.opened);
                    // A context stands behind the line with which the request begins.
                    if connection.written_at.take().is_some_and(|at| follows(at, started.place.position)) {
                        self.correlation.written(started.id);
                    }
                }
                Paired::Sent(exchange, last) => self.correlation.sent(kind, exchange, &last),
                Paired::Answering(exchange) => self.correlation.answering(kind, exchange, &stamp),
                Paired::Finished(exchange) => {
                    let span = self.correlation.finish(kind, *exchange, protocol, id, &connection.opened);
                    self.spans.extend(span);
                    self.tally.exchange(protocol);
                }
                Paired::Superseded(exchange) => {
                    self.tally.lost_exchanges(LossReason::Gap, 1);
                    self.correlation.abandon(&exchange, id, &connection.opened, stamp.at_ns);
                }
                Paired::Unasked => self.tally.unasked_responses += 1,
                Paired::Refused => {
                    self.tally.refused_requests += 1;
                    is_overrun = true;
                }
            }
        }
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

    fn eof(&mut self, id: ConnectionId, stamp: Stamp) {
        self.touch(id, Direction::Ingress, &stamp.executor);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut outcomes = Vec::new();
        connection.session.handle_end(Direction::Ingress, stamp, &mut outcomes);
        self.take_outcomes(id, outcomes);
    }

    fn closed(&mut self, id: ConnectionId, at_ns: u64, closed: Closed) {
        let Some(connection) = self.connections.get(&id) else { return };
        if let Some(received) = closed.received
            && connection.opened.role != Role::Unknown
        {
            self.tally.received_bytes += received;
            self.tally.seen_bytes += closed.seen.min(received);
        }
        self.tell_unknown(id, at_ns, closed);
        let Some(connection) = self.connections.get(&id) else { return };
        let open = connection.pairing.oldest();
        let is_server = connection.session.client() == Some(Direction::Ingress);
        match closed.executor {
            Some(executor) if is_server => self.correlation.touch(SpanKind::Server, open, &executor),
            Some(executor) => self.correlation.handle_call_closed(id, open, &executor),
            None => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ended_at_ns = Some(at_ns);
                }
                return self.note_waiting(id);
            }
        }
        self.close(id, at_ns);
    }

    /// A connection of which nothing was understood is told as a whole, where that is wanted. Who met it midway knows
    /// neither when it began nor who opened it.
    fn tell_unknown(&mut self, id: ConnectionId, at_ns: u64, closed: Closed) {
        let Some(connection) = self.connections.get(&id).filter(|_| self.tells_unknown) else { return };
        let Connection { opened, opened_at_ns, session, .. } = connection;
        let was_used = session.is_unknown() && opened.role != Role::Unknown;
        if was_used {
            let span = self.correlation.connection(id, opened, (*opened_at_ns, at_ns), closed);
            self.spans.push_back(span);
        }
    }

    /// Hands over what waits for segments that will not come.
    fn flush(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.egress.flush();
        connection.ingress.flush();
        self.read(id, Direction::Egress);
        self.read(id, Direction::Ingress);
    }

    /// Tells what was in doubt: nothing more will be said.
    fn settle(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let mut outcomes = Vec::new();
        let around =
            Surroundings { settings: &self.parsers, learned: &self.learned, opened: &connection.opened };
        connection.session.settle(u64::MAX, &around, &mut outcomes);
        self.take_outcomes(id, outcomes);
    }

    fn close(&mut self, id: ConnectionId, at_ns: u64) {
        self.flush(id);
        self.settle(id);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let stamp = Stamp { at_ns, executor: connection.opened.executor };
        let mut outcomes = Vec::new();
        connection.session.handle_end(Direction::Egress, stamp, &mut outcomes);
        connection.session.handle_end(Direction::Ingress, stamp, &mut outcomes);
        self.take_outcomes(id, outcomes);
        self.fail_open(id, at_ns);
        self.remove(id);
        self.commands.push_back(Command::Forget(id));
    }

    /// Forgets a connection that may live on: what is open on it is counted as lost, not told as failed.
    fn forget(&mut self, id: ConnectionId, now_ns: u64) {
        self.flush(id);
        self.settle(id);
        self.lose_open(id, now_ns, LossReason::Forgotten);
        self.remove(id);
        self.commands.push_back(Command::Forget(id));
        self.commands.push_back(Command::Reannounce(id));
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            self.held_bytes -= connection.held_bytes;
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
            let span = self.correlation.finish(kind(client), exchange, protocol, id, &connection.opened);
            self.spans.extend(span);
            self.tally.exchange(protocol);
        }
    }

    fn lose_open(&mut self, id: ConnectionId, now_ns: u64, reason: LossReason) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let lost = connection.pairing.take_all();
        let now_ns = now_ns.max(connection.last_seen_ns);
        self.correlation.forget_brought(id);
        self.tally.lost_exchanges(reason, lost.len() as u64);
        for exchange in lost {
            self.correlation.abandon(&exchange, id, &connection.opened, now_ns);
        }
    }
}

/// Why exchanges that had begun were given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LossReason {
    /// Bytes are missing.
    Gap,
    /// The connection went on with something that is not understood.
    Opaque,
    /// The connection was forgotten: too many others, or idle too long.
    Forgotten,
    /// The agent ends.
    Shutdown,
}

fn deadline(connection: &Connection) -> Option<u64> {
    let end = connection.ended_at_ns.map(|at_ns| at_ns.saturating_add(LINGER_NS));
    [connection.egress.deadline(), connection.ingress.deadline(), connection.session.deadline(), end]
        .into_iter()
        .flatten()
        .min()
}

/// The observed process is the client where the client's bytes leave it.
/// Returns whether a position is a little behind another.
fn follows(position: u32, earlier: u32) -> bool {
    /// The programs look at no more of a request.
    const MAX_DISTANCE: u32 = 4096;
    (1..=MAX_DISTANCE).contains(&position.wrapping_sub(earlier))
}

fn kind(client: Direction) -> SpanKind {
    match client {
        Direction::Egress => SpanKind::Client,
        Direction::Ingress => SpanKind::Server,
    }
}
