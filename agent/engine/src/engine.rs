//! The state machine that calls the rooms in order.

mod ages;
mod ending;
mod memory;
mod outcomes;
mod shares;
mod tls;

use std::collections::VecDeque;

use foldhash::{HashMap, HashSet};

use crate::command::Command;
use crate::connection::{Stamp, Stream, Told, Translation};
use crate::correlation::{ContentEvidence, Correlation};
use crate::event::{
    ConnectionId, Data, Direction, Event, EventKind, Executor, FirstPositions, Insertion, Opened, PipeRead,
    Role, Scheduling, Share,
};
use crate::pairing::{ExchangeId, Paired, Pairing};
use crate::protocol::{Learned, ParserSettings, job_id};
use crate::session::{Outcome, Session, Surroundings};
use crate::span::{Span, SpanKind};
use crate::tally::Tally;
use crate::tls::{Begins, Conversation, Joins, Unseen};
use ages::Ages;
use memory::Weight;
use shares::Shares;

/// Connections that are followed. For one more, the one that was idle longest is forgotten.
const MAX_CONNECTIONS: usize = 65_536;
/// Idle time after which a connection whose end was missed is forgotten.
const MAX_IDLE_NS: u64 = 3_600_000_000_000;
/// How long a connection that the kernel has ended is kept for what its process may still read.
const LINGER_NS: u64 = 300_000_000;
/// Outcomes of one read for which room is kept for the next.
const KEPT_OUTCOMES: usize = 64;
/// How often idle connections are looked for.
const SWEEP_NS: u64 = 10_000_000_000;
/// How often connections that were given up are looked through.
const LOOK_NS: u64 = 1_000_000_000;

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
    /// Plaintext inside TLS is not looked for.
    pub is_tls_off: bool,
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
    ages: Ages,
    told: Told,
    joins: Joins,
    shares: Shares,
    unseen: Unseen,
    /// Hellos of clients, by process and what they are known by: with the connection on which each came or went.
    greetings: HashMap<(u32, u64), (ConnectionId, Direction)>,
    /// Hellos that were forgotten before it was known whether they are passed on.
    greetings_dropped: u64,
    /// Writes of early data that servers did not take.
    early_refused: u64,
    correlation: Correlation,
    spans: VecDeque<Span>,
    commands: VecDeque<Command>,
    tally: Tally,
    next_exchange: u64,
    next_sweep_ns: u64,
    /// Processes with plaintext whose connection is not known, and when connections are looked through for it.
    unjoined: HashSet<u32>,
    next_look_ns: u64,
    /// Connections with segments that wait for earlier ones.
    waiting: Vec<ConnectionId>,
    /// What all connections hold.
    held_bytes: usize,
    /// Empty lists that have room: for what a read of a connection leads to, and for what a message does.
    outcomes: Vec<Outcome>,
    paired: Vec<Paired>,
}

/// One end of a connection and all that is known of it.
struct Connection {
    opened: Opened,
    egress: Stream,
    ingress: Stream,
    session: Session,
    /// What is known of its encryption: then its streams are those of the plaintext.
    tls: Option<Box<Conversation>>,
    pairing: Pairing,
    opened_at_ns: u64,
    last_seen_ns: u64,
    /// The process that used it last.
    user: u32,
    weight: Weight,
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
            weight: Weight::default(),
            ended_at_ns: None,
            written_at: None,
            translation: Translation::default(),
            opened,
            egress: Stream::default(),
            ingress: Stream::default(),
            session,
            tls: None,
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
            ages: Ages::default(),
            told: Told::default(),
            joins: Joins::default(),
            shares: Shares::default(),
            unseen: Unseen::new(settings.is_tls_off),
            greetings: HashMap::default(),
            greetings_dropped: 0,
            early_refused: 0,
            correlation: Correlation::new(settings.id_seed, settings.content_evidence),
            spans: VecDeque::new(),
            commands: VecDeque::new(),
            tally: Tally::default(),
            next_exchange: 0,
            next_sweep_ns: 0,
            unjoined: HashSet::default(),
            next_look_ns: 0,
            waiting: Vec::new(),
            held_bytes: 0,
            outcomes: Vec::new(),
            paired: Vec::new(),
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

    /// Tells that so many bytes of what a thread writes next, behind those that were told so before, are written for its unit
    /// of work; none if nothing is shared any more.
    pub fn handle_share(&mut self, executor: &Executor, length: u32) {
        self.shares.note(executor, length);
    }

    /// Tells that a unit of work asks for a message: it works on what its calls bring.
    pub fn handle_ask(&mut self, tgid: u32, token: u64, at_ns: u64) {
        self.correlation.handle_ask(tgid, token, at_ns);
    }

    /// Tells that a process was forked by another of its program, which may hand it jobs: what it reads from pipes will be
    /// told.
    pub fn handle_worker(&mut self, worker: u32, master: u32) {
        self.correlation.handle_worker(worker, master);
    }

    /// Tells that a worker process has read from a pipe, through which its master may hand it jobs.
    pub fn handle_pipe_read(&mut self, read: &PipeRead) {
        self.next_exchange += 1;
        let id = ExchangeId(self.next_exchange);
        self.correlation.handle_pipe_read(read, job_id(&read.bytes), id);
        self.spans.extend(self.correlation.take_ended());
    }

    /// Tells that a goroutine writes the header of a stream for others: `header` was given by whom it is for, and the
    /// stream has this number on the connection that the goroutine writes.
    pub fn handle_stream_written(&mut self, writer: &Executor, header: u64, number: u32) {
        self.correlation.handle_stream_written(writer, header, number.into());
    }

    /// Tells that a goroutine serves the stream with this number, which the goroutine that started it has read.
    pub fn handle_stream_served(&mut self, executor: &Executor, number: u32) {
        self.correlation.handle_stream_served(executor, number.into());
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
        self.unseen.forget_process(child);
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
        self.unseen.forget_process(tgid);
        for (connection, object) in self.joins.forget_process(tgid) {
            self.part(connection, object);
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
            if let Some(tls) = &mut found.tls {
                tls.expire(now_ns);
                self.tell_written(connection, now_ns);
            }
            let Some(found) = self.connections.get_mut(&connection) else { continue };
            found.egress.expire(now_ns);
            found.ingress.expire(now_ns);
            let mut outcomes = Vec::new();
            let around =
                Surroundings { settings: &self.parsers, learned: &self.learned, opened: &found.opened };
            found.session.settle(now_ns, &around, &mut outcomes);
            self.take_outcomes(connection, &mut outcomes);
            self.read(connection, Direction::Egress);
            self.read(connection, Direction::Ingress);
            self.bound_memory(connection, 0);
            self.note_waiting(connection);
        }
        self.unjoined.extend(self.joins.expire(now_ns));
        if !self.unjoined.is_empty() && now_ns >= self.next_look_ns {
            self.next_look_ns = now_ns.saturating_add(LOOK_NS);
            self.look_again(now_ns);
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

    /// Ends all that is open, for a shutdown: what has no response yet is counted, not reported as failed, unless its connection
    /// has ended.
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
            let ended_at_ns = self.connections.get(&connection).and_then(|found| found.ended_at_ns);
            if let Some(ended_at_ns) = ended_at_ns {
                self.close(connection, ended_at_ns);
                continue;
            }
            self.settle(connection);
            self.lose_open(connection, now_ns, LossReason::Shutdown);
        }
        self.connections.clear();
        self.held_bytes = 0;
        self.correlation.end_all();
        self.spans.extend(self.correlation.take_ended());
        // What waited for its parent waits for who sent its messages then.
        for _ in 0..2 {
            self.correlation.handle_timeout(u64::MAX);
            self.spans.extend(std::iter::from_fn(|| self.correlation.poll_late()));
        }
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
        held.chain(self.joins.deadline()).chain(std::iter::once(self.next_sweep_ns)).min()
    }

    /// Returns all counters.
    #[must_use]
    pub fn counters(&self) -> Vec<Counter> {
        let outstanding = self.correlation.active_len() as u64;
        let connections = self.connections.len() as u64;
        let mut counters =
            self.tally.counters(self.correlation.tally(), connections, outstanding, self.held_bytes as u64);
        let value = self.told.refused();
        let (visible, unseen) = self.tls_connections();
        counters.extend(
            [
                ("loss", "beginning_not_remembered", value),
                ("loss", "tls_unjoined", self.joins.unjoined()),
                ("parents", "shares_unmatched", self.shares.unmatched()),
                ("loss", "tls_early_data_refused", self.early_refused),
                ("loss", "tls_hello_not_remembered", self.greetings_dropped),
                ("state", "tls_connections_visible", visible),
                ("state", "tls_connections_unseen", unseen),
            ]
            .map(|(family, label, value)| Counter { family, label, protocol: "", value }),
        );
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
        self.correlation.act(&opened.executor);
        self.correlation.handle_opened(connection, &opened);
        self.make_room();
        let connections = &self.connections;
        self.ages.add(connection, at_ns, connections.len(), |other| connections.contains_key(other));
        self.connections.insert(connection, Connection::new(opened, at_ns));
    }

    fn make_room(&mut self) {
        if self.connections.len() < MAX_CONNECTIONS {
            return;
        }
        let connections = &self.connections;
        let last_used = |id: &ConnectionId| connections.get(id).map(|connection| connection.last_seen_ns);
        if let Some(oldest) = self.ages.take_oldest(last_used) {
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
        connection.find_tls(id, &data, at_ns);
        if connection.tls.is_some() {
            return self.ciphertext(id, data, at_ns);
        }
        let shares = if data.direction == Direction::Egress {
            self.shares.take(&data.executor, data.length)
        } else {
            Vec::new()
        };
        self.moved_for(id, data, &shares, at_ns);
    }

    /// Takes in bytes of the protocol that a connection carries, each part by whom it is for.
    fn moved_for(&mut self, id: ConnectionId, data: Data, shares: &[Share], at_ns: u64) {
        // Nearly always: a list for each call would cost more than the rest of it.
        if shares.is_empty() {
            return self.moved(id, data, at_ns);
        }
        for part in shares::divide(data, shares) {
            self.moved(id, part, at_ns);
        }
    }

    /// Takes in bytes of the protocol that a connection carries.
    fn moved(&mut self, id: ConnectionId, data: Data, at_ns: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let direction = data.direction;
        let stamp = Stamp { at_ns, executor: data.executor };
        let position = data.position;
        self.correlation.see(&stamp);
        if direction == Direction::Egress {
            self.correlation.act(&stamp.executor);
            self.correlation.write(id, &stamp);
        }
        let are_records = connection.tls.is_some() && direction == Direction::Ingress;
        connection.user = data.executor.tgid;
        if let Some(Insertion { at, length: _ }) = data.inserted {
            connection.written_at = Some(data.position.wrapping_add(at));
        }
        let moved = data.bytes.len();
        connection.stream(direction).push(data, at_ns);
        match are_records {
            true => self.records(id, &stamp.executor),
            false => self.touch(id, direction, &stamp.executor),
        }
        self.read(id, direction);
        self.bound_memory(id, moved);
        let is_call = direction == Direction::Egress
            && self.connections.get(&id).is_some_and(|connection| connection.session.is_rehearsing_client());
        if is_call {
            // Of plaintext, it is its count.
            let position = (!self.is_encrypted(id)).then_some(position);
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
            // Of answers, only the first bytes are told.
            let is_request =
                direction == Direction::Ingress && connection.session.client() == Some(direction);
            let only = connection.pairing.only().filter(|_| is_request);
            return self.correlation.touch_any(executor, is_streaming, only);
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

    fn note_waiting(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.is_waiting && deadline(connection).is_some() {
            connection.is_waiting = true;
            self.waiting.push(id);
        }
    }

    /// Moves what a stream has in order into the session, and on.
    fn read(&mut self, id: ConnectionId, direction: Direction) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let mut placed = Vec::new();
        if let Some(connection) = self.connections.get_mut(&id) {
            while let Some(chunk) = connection.stream(direction).pop() {
                let around = Surroundings {
                    settings: &self.parsers,
                    learned: &self.learned,
                    opened: &connection.opened,
                };
                let at_ns = chunk.stamp.at_ns;
                match &mut connection.tls {
                    None => connection.session.handle(direction, chunk, &around, &mut outcomes),
                    Some(tls) => {
                        tls.place(direction, chunk, &mut placed);
                        for chunk in placed.drain(..) {
                            connection.session.handle(direction, chunk, &around, &mut outcomes);
                        }
                    }
                }
                if connection.session.is_encrypted() && connection.tls.is_some() {
                    connection.session.ignore("opaque", &mut outcomes);
                } else if connection.session.is_encrypted() {
                    connection.turn_to_tls(id, Begins::Here, at_ns);
                }
            }
        }
        self.take_outcomes(id, &mut outcomes);
        outcomes.shrink_to(KEPT_OUTCOMES);
        self.outcomes = outcomes;
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
    /// The connection held too much memory, or all of them did and this one most.
    Memory,
    /// The agent ends.
    Shutdown,
}

fn deadline(connection: &Connection) -> Option<u64> {
    let end = connection.ended_at_ns.map(|at_ns| at_ns.saturating_add(LINGER_NS));
    let tls = connection.tls.as_ref().and_then(|tls| tls.deadline());
    [connection.egress.deadline(), connection.ingress.deadline(), connection.session.deadline(), tls, end]
        .into_iter()
        .flatten()
        .min()
}

/// Returns whether a position is a little behind another.
fn follows(position: u32, earlier: u32) -> bool {
    /// The programs look at no more of a request.
    const MAX_DISTANCE: u32 = 4096;
    (1..=MAX_DISTANCE).contains(&position.wrapping_sub(earlier))
}

/// Returns the side that the observed process is on: it is the client where the client's bytes leave it.
fn kind(client: Direction) -> SpanKind {
    match client {
        Direction::Egress => SpanKind::Client,
        Direction::Ingress => SpanKind::Server,
    }
}
