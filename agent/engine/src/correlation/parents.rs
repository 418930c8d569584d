//! Which request a call belongs to, by who executed what.

mod claims;
mod contexts;
mod destinations;
mod finding;
mod goroutines;
mod handovers;
mod hopes;
mod pipes;
mod places;
mod proofs;
mod pushes;
mod receipts;
mod streams;
mod tasks;
mod threads;
mod turns;
mod unsure;
mod wakes;

use foldhash::{HashMap, HashSet};

use crate::connection::Stamp;
use crate::event::{ConnectionId, Endpoint, Executor, Opened, Scheduling, Task};
use crate::pairing::{ExchangeId, Started};
use crate::span::Evidence;
use claims::{Claims, Writer};
use contexts::{Contexts, Known, Owner};
use destinations::Destinations;
use goroutines::Goroutines;
pub(super) use hopes::Hope;
use hopes::Hopes;
pub(super) use pipes::Piece;
use pipes::Pipes;
use places::Places;
use proofs::Proofs;
use pushes::Pushes;
use receipts::Receipt;
pub(super) use receipts::Receiving;
use streams::{Streams, Writes};
use tasks::Tasks;
use threads::Threads;
use turns::{Several, Turn};
use unsure::Unsure;

/// Calls that one request may have. A request with more is a stream or a worker, not a cause.
const MAX_CALLS: u32 = 1_000;
/// Age of a request after which nothing is its consequence any more.
const MAX_AGE_NS: u64 = 600_000_000_000;
/// Goroutines and threads that are remembered before the older half is forgotten.
const MAX_REMEMBERED: usize = 65_536;
/// The turn of what a thread did before the agent began to look.
const BEFORE_ALL_TURNS: u32 = u32::MAX;
/// Goroutines between a call and the request it belongs to.
const MAX_GENERATIONS: usize = 8;

/// Who executes: the unit that serves one request at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Goroutine { tgid: u32, id: u64 },
    Context { tgid: u32, id: u64 },
    Token { tgid: u32, id: u64 },
    Thread { tgid: u32, tid: u32 },
}

impl Key {
    fn tgid(self) -> u32 {
        match self {
            Key::Goroutine { tgid, .. }
            | Key::Context { tgid, .. }
            | Key::Token { tgid, .. }
            | Key::Thread { tgid, .. } => tgid,
        }
    }
}

/// A request that is being served.
#[derive(Debug)]
struct Server {
    /// The process, as it is counted.
    tgid: u32,
    key: Key,
    connection: ConnectionId,
    content: Option<u64>,
    started_at_ns: u64,
    /// When the end of its head was read.
    read_at_ns: u64,
    /// Which of all that was read that was.
    read: u64,
    is_answering: bool,
    /// Its number on the connection, if others of it may be served at the same time.
    number: Option<u64>,
    /// A unit of work of its own was made for it when it was read.
    is_given: bool,
    /// The thread had waited for events since its last answer, as event loops do.
    has_waited: bool,
    /// The thread that read it has made a call since.
    has_called: bool,
    calls: u32,
    /// Calls made for it that have not ended.
    open_calls: u32,
    /// The one of them that was made last.
    calling: Option<ExchangeId>,
}

impl Server {
    /// Returns whether it waits for something that is no call of its own.
    fn is_quiet(&self) -> bool {
        self.open_calls == 0 && !self.is_answering
    }
}

/// A connection that was opened and has not been used.
#[derive(Clone, Copy, Debug)]
struct Unused {
    /// Who has opened it.
    tgid: u32,
    /// The request during whose turn it was opened, if any.
    server: Option<ExchangeId>,
    /// Of its destination, when it was opened.
    churn: u64,
    /// It was opened for one of several that may have waited for the same.
    is_unsure: bool,
}

/// A request that is believed to be the cause of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) server: ExchangeId,
    pub(super) evidence: Evidence,
}

/// Everything that says who works on what.
#[derive(Debug, Default)]
pub(super) struct Parents {
    servers: HashMap<ExchangeId, Server>,
    by_key: HashMap<Key, Vec<ExchangeId>>,
    /// The request that each running call belongs to.
    call_parents: HashMap<ExchangeId, ExchangeId>,
    turns: HashMap<u32, Turn>,
    unused: HashMap<ConnectionId, Unused>,
    destinations: Destinations,
    /// With what was read a connection of an event loop became free.
    freed: HashMap<ConnectionId, u64>,
    /// Counts what was read.
    reads: u64,
    claims: Claims,
    places: Places,
    streams: Streams,
    pipes: Pipes,
    contexts: Contexts,
    hopes: Hopes,
    threads: Threads,
    /// Messages that are worked on by whom has received them.
    receipts: HashMap<Key, Receipt>,
    pub(super) pushes: Pushes,
    /// Units of work that ask for a message, by process and token, and since when.
    asking: HashMap<(u32, u64), u64>,
    /// The request for which each unit of work was handed over, by process and token, and when.
    gifts: HashMap<(u32, u64), (ExchangeId, u64)>,
    /// The request on whose behalf each unit of work has read something, by process and token; none where there were
    /// several.
    reads_of_units: HashMap<(u32, u64), Option<ExchangeId>>,
    tasks: Tasks,
    /// The connection that a thread has accepted, and in which turn, if it has touched no other since.
    accepted: HashMap<u32, (u32, ConnectionId)>,
    /// Requests that each proxy has open, by the hash of what they ask for.
    by_content: HashMap<(u32, u64), Vec<ExchangeId>>,
    /// Requests that are open on each connection.
    by_connection: HashMap<ConnectionId, Vec<ExchangeId>>,
    scheduling: HashMap<u32, Scheduling>,
    /// Processes whose threads were seen to serve several requests at once.
    interleaving: HashSet<u32>,
    /// Requests that each process serves at present.
    serving: HashMap<u32, u32>,
    /// Those of them that wait for something that is no call of their own, as far as is known.
    quiet: HashMap<u32, u32>,
    unsure: Unsure,
    /// The request that was the only one of its process since it began.
    alone: HashMap<u32, ExchangeId>,
    proofs: Proofs,
    /// Connections that a process has accepted and that are not understood.
    blind: HashMap<ConnectionId, u32>,
    blind_processes: HashMap<u32, u32>,
    /// The turn in which each thread gave its last answer.
    answer_turns: HashMap<u32, u32>,
    goroutines: Goroutines,
    ambiguous: u64,
    over_limit: u64,
    too_many_calls: u64,
    too_old: u64,
}

impl Parents {
    pub(super) fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    pub(super) fn over_limit(&self) -> u64 {
        self.over_limit + self.streams.over_limit()
    }

    pub(super) fn too_many_calls(&self) -> u64 {
        self.too_many_calls
    }

    pub(super) fn too_old(&self) -> u64 {
        self.too_old
    }

    pub(super) fn set_scheduling(&mut self, tgid: u32, scheduling: Scheduling) {
        if self.scheduling.insert(tgid, scheduling) != Some(scheduling) {
            self.interleaving.remove(&tgid);
        }
    }

    /// A process runs on with the program of another.
    pub(super) fn inherit_scheduling(&mut self, parent: u32, child: u32) {
        if let Some(&scheduling) = self.scheduling.get(&parent) {
            self.set_scheduling(child, scheduling);
        }
    }

    /// Forgets what was known of a process that has ended or runs another program.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.scheduling.remove(&tgid);
        self.interleaving.remove(&tgid);
        self.proofs.forget_process(tgid);
        self.contexts.forget_process(tgid);
        self.threads.forget_process(tgid);
        self.tasks.forget_process(tgid);
        self.goroutines.forget_process(tgid);
        self.streams.forget_process(tgid);
        self.pipes.forget_process(tgid);
        self.receipts.retain(|key, _| key.tgid() != tgid);
        self.pushes.forget_process(tgid);
        self.gifts.retain(|(owner, _), _| *owner != tgid);
        self.asking.retain(|(owner, _), _| *owner != tgid);
        self.reads_of_units.retain(|(owner, _), _| *owner != tgid);
        self.destinations.forget_process(tgid);
    }

    pub(super) fn forget_connection(&mut self, connection: ConnectionId, opened: &Opened) {
        self.destinations.close(opened.executor.tgid, &opened.peer, connection);
        self.tasks.forget_connection(connection);
        self.unused.remove(&connection);
        self.freed.remove(&connection);
        self.claims.forget(connection);
        self.places.forget(connection);
        self.streams.forget_connection(connection);
        if let Some(tgid) = self.blind.remove(&connection)
            && let Some(count) = self.blind_processes.get_mut(&tgid)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.blind_processes.remove(&tgid);
            }
        }
        self.by_connection.remove(&connection);
    }

    /// A connection that is opened in a request's turn is opened for that request.
    pub(super) fn note_connect(&mut self, connection: ConnectionId, peer: &Endpoint, executor: &Executor) {
        let churn = match self.scheduling(executor.tgid) {
            Scheduling::Turns => 0,
            Scheduling::Tasks => return self.tasks.open(connection, executor.token),
            Scheduling::EventLoop => self.destinations.open(executor.tgid, peer),
            _ => return,
        };
        let server = self.turn_cause(executor);
        let is_unsure = self.is_unsure(executor);
        self.unused.insert(connection, Unused { tgid: executor.tgid, server, churn, is_unsure });
    }

    /// A thread has accepted a connection.
    pub(super) fn note_accept(&mut self, connection: ConnectionId, executor: &Executor) {
        self.accepted.insert(executor.tid, (executor.turn, connection));
    }

    /// A call is over: its connection may serve another request at once.
    pub(super) fn note_free(&mut self, connection: ConnectionId, peer: &Endpoint, executor: &Executor) {
        if self.scheduling(executor.tgid) == Scheduling::EventLoop {
            self.destinations.free(executor.tgid, peer, connection);
            let turn = self.turn(executor);
            self.freed.insert(connection, turn.map_or(self.reads, |turn| turn.read));
        }
    }

    /// A call is being written that will be told later: its connection waits for no other.
    pub(super) fn note_written(&mut self, connection: ConnectionId, peer: &Endpoint, executor: &Executor) {
        if self.scheduling(executor.tgid) == Scheduling::EventLoop {
            self.destinations.occupy(executor.tgid, peer, connection);
        }
    }

    /// A call will not be seen to be answered: nobody waits on its connection, as far as is known.
    pub(super) fn note_abandoned(&mut self, connection: ConnectionId, peer: &Endpoint, caller: &Executor) {
        self.destinations.abandon(caller.tgid, peer, connection);
    }

    /// What is written to a connection next is written for `executor`.
    pub(super) fn claim(&mut self, connection: ConnectionId, executor: Executor) {
        let known = match executor.task {
            Some(Task::Context(context)) => self.contexts.known(executor.tgid, context),
            _ => None,
        };
        self.claims.claim(connection, executor, known);
    }

    /// What is written to a connection from a position on is written for `executor`; for nobody if that has neither a
    /// task nor a unit of work.
    pub(super) fn claim_from(
        &mut self,
        connection: ConnectionId,
        from: u32,
        executor: &Executor,
        at_ns: u64,
    ) {
        let server = self.claimant(executor, at_ns);
        self.places.claim(connection, from, server);
    }

    /// The stream of a number is served by `executor`, or made for it; for nobody if that has neither a task nor a unit of
    /// work.
    pub(super) fn claim_stream(
        &mut self,
        connection: ConnectionId,
        number: u32,
        executor: &Executor,
        at_ns: u64,
    ) {
        if self.serve_stream(connection, number.into(), executor, at_ns) {
            return;
        }
        let server = self.claimant(executor, at_ns);
        self.streams.write(Writes::Connection(connection), number.into(), server);
    }

    /// Returns for which request something is claimed. The unit's number may mean another one by the time it is written.
    fn claimant(&mut self, executor: &Executor, at_ns: u64) -> Option<ExchangeId> {
        let is_anybody = executor.task.is_some() || executor.token.is_some();
        let found = if is_anybody { self.of_executor(executor, None, at_ns) } else { None };
        found.map(|found| found.server)
    }

    /// A unit of work has read something on behalf of a request, or of none that is known.
    pub(super) fn note_read(&mut self, executor: &Executor, server: Option<ExchangeId>) {
        let Some(token) = executor.token else { return };
        if self.reads_of_units.len() >= MAX_REMEMBERED {
            self.over_limit += 1;
            return;
        }
        let before = self.reads_of_units.entry((executor.tgid, token)).or_insert(server);
        let is_over = before.is_some_and(|before| !self.servers.contains_key(&before));
        *before = server.filter(|_| *before == server || is_over);
    }

    /// A connection is written to.
    pub(super) fn write(&mut self, connection: ConnectionId, at_ns: u64) {
        self.claims.write(connection, at_ns);
    }

    /// Notes who was seen at work.
    pub(super) fn see(&mut self, stamp: &Stamp) {
        if let Some(Task::Goroutine { id, parent }) = stamp.executor.task {
            self.goroutines.see((stamp.executor.tgid, id), parent, stamp.at_ns);
        }
    }

    /// Returns the request that a call belongs to.
    pub(super) fn parent_of(&self, call: ExchangeId) -> Option<ExchangeId> {
        self.call_parents.get(&call).copied()
    }

    /// Returns the request for which a connection was opened, if it has not been used since.
    pub(super) fn opener(&self, connection: ConnectionId) -> Option<ExchangeId> {
        self.unused.get(&connection)?.server
    }

    /// Notes a request that begins to be served.
    ///
    /// Whoever reads the end of its head goes on with it: Go has another goroutine look for the first byte.
    pub(super) fn begin_server(&mut self, started: &Started, connection: ConnectionId) {
        let Started { id, first, last: Stamp { executor: reader, at_ns: read_at_ns }, content, .. } = started;
        let (id, content) = (*id, *content);
        let key = self.key(reader);
        // A request is no message: whoever reads one has done with what it had received.
        self.detach(key);
        self.pushes.detach(reader.tgid, reader.tid);
        if let (Some(_), Some(Task::Goroutine { id, parent })) = (started.number, reader.task) {
            self.streams.read((reader.tgid, parent), id);
        }
        let is_multiplexed = started.number.is_some() && self.by_key.contains_key(&key);
        if matches!(key, Key::Thread { .. }) && (is_multiplexed || self.is_busy(key, connection)) {
            self.interleaving.insert(first.executor.tgid);
        }
        // Whoever serves requests of its own was not started for one.
        self.threads.disappoint(reader.tgid, reader.tid);
        self.by_key.entry(key).or_default().push(id);
        self.by_connection.entry(connection).or_default().push(id);
        let last_turn = self.answer_turns.get(&first.executor.tid).copied().unwrap_or(0);
        let is_proxy = self.scheduling(first.executor.tgid) == Scheduling::Proxy;
        let content = content.filter(|_| is_proxy);
        if let Some(content) = content {
            self.by_content.entry((first.executor.tgid, content)).or_default().push(id);
        }
        let tgid = first.executor.tgid;
        let server = Server {
            tgid,
            key,
            connection,
            content,
            started_at_ns: first.at_ns,
            read_at_ns: *read_at_ns,
            read: self.turn(reader).map_or(self.reads, |turn| turn.read),
            is_answering: false,
            number: started.number,
            is_given: false,
            has_waited: first.executor.turn != last_turn,
            has_called: false,
            calls: 0,
            open_calls: 0,
            calling: None,
        };
        self.servers.insert(id, server);
        *self.quiet.entry(tgid).or_default() += 1;
        let serving = self.serving.entry(tgid).or_default();
        *serving += 1;
        match *serving {
            1 => self.alone.insert(tgid, id),
            _ => self.alone.remove(&tgid),
        };
        self.take_turn(id, reader);
        if let Some(turn) = self.turns.get_mut(&reader.tid).filter(|turn| turn.number == reader.turn) {
            turn.begun += 1;
        }
    }

    /// A thread waits for events while the agent begins to look: its first request is read by an event loop.
    pub(super) fn note_waiting(&mut self, tid: u32) {
        self.answer_turns.entry(tid).or_insert(BEFORE_ALL_TURNS);
    }

    /// Returns the unit that serves one request at a time, as far as is known.
    fn key(&self, executor: &Executor) -> Key {
        let Executor { tgid, tid, task, token, turn: _ } = *executor;
        match task {
            Some(Task::Goroutine { id, .. }) => Key::Goroutine { tgid, id },
            Some(Task::Context(id)) if self.contexts.owner(tgid, id).is_some() => Key::Context { tgid, id },
            _ => match token {
                Some(id) => Key::Token { tgid, id },
                None => Key::Thread { tgid, tid },
            },
        }
    }

    /// The answer of a request has begun.
    pub(super) fn answering(&mut self, id: ExchangeId, first: &Stamp) {
        self.change(id, |server| server.is_answering = true);
        let Some(server) = self.servers.get(&id) else { return };
        let (reader, connection) = (server.key, server.connection);
        let Some(Writer { executor, claimed }) = self.claims.writer(connection, first) else { return };
        let executor = &executor;
        let answerer = self.key(executor);
        self.learn_context(id, connection, executor, claimed);
        if !matches!(answerer, Key::Thread { .. }) {
            return;
        }
        self.answer_turns.insert(executor.tid, executor.turn);
        let is_telling = self.servers.get(&id).is_some_and(|server| server.has_called)
            && self.serves_others(executor.tgid, connection);
        if reader == answerer {
            self.proofs.stayed(executor.tgid, executor.tid, is_telling);
        } else {
            self.proofs.moved(executor.tgid);
        }
        if reader != answerer && self.is_busy(answerer, connection) {
            // It answers what another thread has read while it has a request of its own: tasks move.
            self.interleaving.insert(executor.tgid);
        }
    }

    /// Where threads prove nothing, the context under which a connection is answered is that connection's. The context of
    /// a claim may have ended since: `claimed` is what was known of it.
    fn learn_context(
        &mut self,
        server: ExchangeId,
        connection: ConnectionId,
        executor: &Executor,
        claimed: Option<Option<Known>>,
    ) {
        let Some(Task::Context(context)) = executor.task else { return };
        let tgid = executor.tgid;
        let is_units =
            self.servers.get(&server).is_some_and(|server| matches!(server.key, Key::Token { .. }));
        if is_units || self.is_serial(server, tgid, self.scheduling(tgid)) {
            return;
        }
        let known = claimed.unwrap_or_else(|| self.contexts.known(tgid, context));
        self.prove(server, connection, known);
        match claimed {
            Some(known) if !self.contexts.is_still(tgid, context, known) => {
                if let Some(known) = known {
                    self.contexts.confirm(tgid, &known, connection, server);
                }
            }
            _ => {
                let at_ns = self.servers.get(&server).map_or(0, |server| server.started_at_ns);
                self.contexts.answer(tgid, context, connection, server, at_ns);
            }
        }
    }

    /// Returns whether a process has requests on other connections than this one.
    fn serves_others(&self, tgid: u32, connection: ConnectionId) -> bool {
        let here = self.by_connection.get(&connection).map_or(0, Vec::len);
        self.serving.get(&tgid).is_some_and(|&serving| serving as usize > here)
    }

    /// Returns whether an executor has a request that is not answered yet, on another connection than this one.
    fn is_busy(&self, key: Key, connection: ConnectionId) -> bool {
        let others = self.by_key.get(&key).into_iter().flatten();
        others
            .filter_map(|other| self.servers.get(other))
            .any(|other| !other.is_answering && other.connection != connection)
    }

    /// A call was answered: its reader goes on with the request that made it.
    pub(super) fn answered(&mut self, call: ExchangeId, executor: &Executor) {
        let server = self.call_parents.get(&call).copied();
        self.note_read(executor, server);
        let before = self.turn(executor);
        // The call that read this answer may have read that to another request, too.
        let is_other = before.is_some_and(|before| before.server != server && before.of != Several::OneOf);
        self.set_turn(executor, server.filter(|_| !is_other), true);
        if self.unsure.contains(call)
            && let Some(turn) = self.turns.get_mut(&executor.tid)
        {
            turn.is_unsure = true;
        }
    }

    /// A request has ended: so should the threads that it had started.
    pub(super) fn note_request_end(&mut self, id: ExchangeId, at_ns: u64) {
        self.threads.end_request(id, at_ns);
    }

    /// Forgets a request or call.
    pub(super) fn end(&mut self, id: ExchangeId) {
        self.hopes.end(id);
        self.unsure.end(id);
        if let Some(server) = self.call_parents.remove(&id) {
            self.change(server, |server| {
                server.open_calls = server.open_calls.saturating_sub(1);
                server.calling = server.calling.filter(|&call| call != id);
            });
        }
        // One that answers is not quiet.
        self.change(id, |server| server.is_answering = true);
        let Some(server) = self.servers.remove(&id) else { return };
        if let Some(serving) = self.serving.get_mut(&server.tgid) {
            *serving = serving.saturating_sub(1);
            if *serving == 0 {
                self.serving.remove(&server.tgid);
                self.alone.remove(&server.tgid);
            }
        }
        remove(&mut self.by_connection, &server.connection, id);
        if let Some(content) = server.content {
            remove(&mut self.by_content, &(server.tgid, content), id);
        }
        remove(&mut self.by_key, &server.key, id);
    }

    /// Returns whether a request can be the cause of one more call, which was made at this time, and counts it.
    pub(super) fn admits(&mut self, server: ExchangeId, at_ns: u64) -> bool {
        let Some(server) = self.servers.get_mut(&server) else { return false };
        server.calls += 1;
        let has_too_many_calls = server.calls > MAX_CALLS;
        let is_too_old = at_ns.saturating_sub(server.started_at_ns) > MAX_AGE_NS;
        let is_too_early = at_ns < server.started_at_ns;
        self.too_many_calls += u64::from(has_too_many_calls);
        self.too_old += u64::from(is_too_old);
        self.ambiguous += u64::from(is_too_early);
        !has_too_many_calls && !is_too_old && !is_too_early
    }

    /// Notes that a call belongs to a request: what its answer leads to does too.
    pub(super) fn adopt(&mut self, call: ExchangeId, server: ExchangeId) {
        let before = self.call_parents.insert(call, server);
        self.change(server, |server| {
            server.open_calls += u32::from(before.is_none());
            server.calling = Some(call);
        });
    }

    /// Changes what is known of a request, if it is still served.
    fn change(&mut self, id: ExchangeId, change: impl FnOnce(&mut Server)) {
        let Some(server) = self.servers.get_mut(&id) else { return };
        let was_quiet = server.is_quiet();
        change(server);
        let is_quiet = server.is_quiet();
        let quiet = self.quiet.entry(server.tgid).or_default();
        *quiet = *quiet + u32::from(is_quiet) - u32::from(was_quiet);
        if *quiet == 0 {
            self.quiet.remove(&server.tgid);
        }
    }

    /// Returns whether a request was the only one of its process since it began, as far as its connections are
    /// understood, and all of them are.
    pub(super) fn is_alone(&self, server: ExchangeId) -> bool {
        let Some(tgid) = self.servers.get(&server).map(|server| server.tgid) else { return false };
        self.alone.get(&tgid) == Some(&server) && !self.blind_processes.contains_key(&tgid)
    }

    /// Something that is not understood yet has arrived: it may be a request.
    pub(super) fn disturb(&mut self, tgid: u32) {
        self.alone.remove(&tgid);
    }

    /// What a process reads on a connection that it has accepted will not be understood.
    pub(super) fn note_blind(&mut self, connection: ConnectionId, tgid: u32) {
        if self.blind.insert(connection, tgid).is_none() {
            *self.blind_processes.entry(tgid).or_default() += 1;
        }
    }

    fn scheduling(&self, tgid: u32) -> Scheduling {
        self.scheduling.get(&tgid).copied().unwrap_or_default()
    }

    /// Returns the request that a serial executor works on: of those on one connection the first.
    fn oldest(&self, key: Key) -> Option<ExchangeId> {
        self.first_of(self.by_key.get(&key)?)
    }

    /// Returns the only request of a thread: the one that is not answered yet, or a lone one whose answer streams.
    fn only(&mut self, key: Key) -> Option<ExchangeId> {
        let ids = self.by_key.get(&key)?;
        let is_waiting = |id: &&ExchangeId| self.servers.get(id).is_some_and(|server| !server.is_answering);
        let mut waiting = ids.iter().filter(is_waiting);
        let Some(&first) = waiting.next() else {
            return match ids.as_slice() {
                [lone] => Some(*lone),
                _ => None,
            };
        };
        let connection = self.servers.get(&first)?.connection;
        let is_numbered = self.servers.get(&first)?.number.is_some();
        let is_other =
            |id: &ExchangeId| self.servers.get(id).is_some_and(|server| server.connection != connection);
        if is_numbered && ids.len() > 1 || waiting.any(is_other) {
            self.ambiguous += 1;
            return None;
        }
        Some(first)
    }

    /// Forgets what cannot matter any more.
    pub(super) fn sweep(&mut self, now_ns: u64) {
        self.sweep_asking(now_ns);
        let servers = &self.servers;
        self.turns.retain(|_, turn| {
            turn.is_mixed || turn.server.is_some_and(|server| servers.contains_key(&server))
        });
        // A connection that stays unused explains nothing after a while, but is still not the next turn's.
        self.unused.retain(|_, unused| {
            std::mem::take(&mut unused.is_unsure)
                || unused.server.is_some_and(|server| servers.contains_key(&server))
        });
        self.gifts.retain(|_, (server, _)| servers.contains_key(server));
        self.reads_of_units.retain(|_, server| server.is_some_and(|server| servers.contains_key(&server)));
        if self.answer_turns.len() > MAX_REMEMBERED {
            self.answer_turns.clear();
        }
        if self.accepted.len() > MAX_REMEMBERED {
            self.accepted.clear();
        }
        self.goroutines.sweep();
        self.streams.sweep(|server| servers.contains_key(server));
    }
}

/// Takes an exchange out of a list, and the list with the last.
fn remove<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<ExchangeId>>, key: &K, id: ExchangeId) {
    if let Some(others) = lists.get_mut(key) {
        others.retain(|&other| other != id);
        if others.is_empty() {
            lists.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
