//! Which request a call belongs to, by who executed what.

mod claims;
mod contexts;
mod goroutines;
mod places;
mod proofs;
mod receipts;
mod tasks;
mod threads;
mod wakes;

use foldhash::{HashMap, HashSet};

use crate::connection::Stamp;
use crate::event::{ConnectionId, Endpoint, Executor, Opened, Scheduling, Task};
use crate::pairing::{ExchangeId, Started};
use crate::span::Evidence;
use claims::{Claims, Writer};
use contexts::{Contexts, Known, Owner};
use goroutines::Goroutines;
use places::Places;
use proofs::Proofs;
use receipts::Receipt;
pub(super) use receipts::Receiving;
use tasks::Tasks;
use threads::Threads;

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
    is_answering: bool,
    /// Others of its connection may be served at the same time.
    is_numbered: bool,
    /// A unit of work of its own was made for it when it was read.
    is_given: bool,
    /// The thread had waited for events since its last answer, as event loops do.
    has_waited: bool,
    /// The thread that read it has made a call since.
    has_called: bool,
    calls: u32,
    /// The call that has not ended which was made for it last.
    calling: Option<ExchangeId>,
}

/// What a thread works on in the present turn of its event loop.
#[derive(Clone, Copy, Debug)]
struct Turn {
    number: u32,
    /// Which of all that was read, by any thread, it is that the thread works on.
    read: u64,
    /// None where one call has read answers to several requests.
    server: Option<ExchangeId>,
    /// Requests that began with what was read.
    begun: u32,
    /// Something of what was read has been told.
    is_told: bool,
    /// What was read was for several exchanges, or one of them.
    of: Several,
}

/// What is known of a read on a connection of numbered exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Several {
    /// Nothing in particular.
    No,
    /// It was for one of several, and the first that is told of it counts.
    OneOf,
    /// It may have been for others than those that are told of it.
    Mixed,
}

/// A connection that was opened and has not been used.
#[derive(Clone, Copy, Debug)]
struct Unused {
    /// The request during whose turn it was opened, if any.
    server: Option<ExchangeId>,
    /// Of its destination, when it was opened.
    churn: u64,
}

/// What an event loop has to do with one destination.
#[derive(Debug, Default)]
struct Destination {
    /// How often a connection was opened, or became free.
    churn: u64,
    /// Connections that wait for a call.
    idle: HashSet<ConnectionId>,
    /// Connections with a call that is not answered.
    busy: HashSet<ConnectionId>,
    /// Calls do not wait for a free connection: they overlap on one.
    is_multiplexed: bool,
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
    /// Of event loops, by process and address.
    destinations: HashMap<(u32, Endpoint), Destination>,
    /// With what was read a connection of an event loop became free.
    freed: HashMap<ConnectionId, u64>,
    /// Counts what was read.
    reads: u64,
    claims: Claims,
    places: Places,
    contexts: Contexts,
    threads: Threads,
    /// Messages that are worked on by whom has received them.
    receipts: HashMap<Key, Receipt>,
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
        self.over_limit
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
        self.receipts.retain(|key, _| key.tgid() != tgid);
        self.gifts.retain(|(owner, _), _| *owner != tgid);
        self.reads_of_units.retain(|(owner, _), _| *owner != tgid);
        self.destinations.retain(|(owner, _), _| *owner != tgid);
    }

    pub(super) fn forget_connection(&mut self, connection: ConnectionId, opened: &Opened) {
        if let Some(destination) = self.destinations.get_mut(&(opened.executor.tgid, opened.peer.clone())) {
            destination.idle.remove(&connection);
            destination.busy.remove(&connection);
        }
        self.tasks.forget_connection(connection);
        self.unused.remove(&connection);
        self.freed.remove(&connection);
        self.claims.forget(connection);
        self.places.forget(connection);
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
            Scheduling::EventLoop => {
                let destination = self.destinations.entry((executor.tgid, peer.clone())).or_default();
                destination.churn += 1;
                destination.churn
            }
            _ => return,
        };
        let server = self.turn_owner(executor);
        self.unused.insert(connection, Unused { server, churn });
    }

    /// A thread has accepted a connection.
    pub(super) fn note_accept(&mut self, connection: ConnectionId, executor: &Executor) {
        self.accepted.insert(executor.tid, (executor.turn, connection));
    }

    /// A call is over: its connection may serve another request at once.
    pub(super) fn note_free(&mut self, connection: ConnectionId, peer: &Endpoint, executor: &Executor) {
        if self.scheduling(executor.tgid) == Scheduling::EventLoop {
            let destination = self.destinations.entry((executor.tgid, peer.clone())).or_default();
            destination.churn += 1;
            destination.busy.remove(&connection);
            destination.idle.insert(connection);
            let turn = self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn);
            self.freed.insert(connection, turn.map_or(self.reads, |turn| turn.read));
        }
    }

    /// A call will not be seen to be answered: nobody waits on its connection, as far as is known.
    pub(super) fn note_abandoned(&mut self, connection: ConnectionId, peer: &Endpoint, caller: &Executor) {
        if let Some(destination) = self.destinations.get_mut(&(caller.tgid, peer.clone())) {
            destination.busy.remove(&connection);
        }
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
        let is_anybody = executor.task.is_some() || executor.token.is_some();
        // The unit's number may mean another one by the time the bytes are written.
        let found = if is_anybody { self.of_executor(executor, None, at_ns) } else { None };
        self.places.claim(connection, from, found.map(|found| found.server));
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

    /// A Python has made a context for a new task: it works for whom its maker works for.
    pub(super) fn note_context(&mut self, maker: &Executor, context: u64, at_ns: u64) {
        let origin = match maker.task {
            Some(Task::Context(origin)) => origin,
            _ => 0,
        };
        let tgid = maker.tgid;
        match self.contexts.owner(tgid, origin).filter(|_| origin != 0) {
            // What outlives its request must not be taken for the connection's next.
            Some(Owner::Connection(connection)) => {
                let owner = self.open_on(connection).map_or(Owner::Connection(connection), Owner::Request);
                self.contexts.make(tgid, context, origin, owner, at_ns);
            }
            Some(owner @ Owner::Request(_)) => self.contexts.make(tgid, context, origin, owner, at_ns),
            known => {
                // A thread's own context says nothing of the request that it serves; the thread may.
                let by_thread = if known.is_none() { self.of_unit(maker, None) } else { None };
                if let Some(found) = by_thread {
                    let owner = Owner::Request(found.server);
                    return self.contexts.make(tgid, context, origin, owner, at_ns);
                }
                let accepted = self.accepted.get(&maker.tid).filter(|(turn, _)| *turn == maker.turn);
                let nearest = match accepted {
                    Some(&(_, connection)) => Some(Owner::Connection(connection)),
                    None => self.turn_owner(maker).map(Owner::Request),
                };
                self.contexts.make_by_guess(tgid, context, origin, nearest, at_ns);
            }
        }
    }

    /// A context has ended.
    pub(super) fn forget_context(&mut self, tgid: u32, context: u64) {
        self.contexts.forget(tgid, context);
    }

    /// Forgets what was told of tasks, gifts and claims: some of it may be out of date.
    pub(super) fn forget_handovers(&mut self) {
        self.contexts = Contexts::default();
        self.threads = Threads::default();
        self.gifts.clear();
        self.claims.invalidate();
        self.places.invalidate();
        self.reads_of_units.clear();
    }

    /// A thread was made: it may work for whom its maker works for.
    pub(super) fn note_thread(&mut self, maker: &Executor, tid: u32, at_ns: u64) {
        let is_meant = matches!(self.scheduling(maker.tgid), Scheduling::Threads | Scheduling::Unproven);
        let found = if is_meant { self.of_executor(maker, None, at_ns) } else { None };
        if let Some(found) = found {
            self.threads.start(maker.tgid, tid, found.server, at_ns);
        }
    }

    /// A thread has ended.
    pub(super) fn note_thread_end(&mut self, tgid: u32, tid: u32, at_ns: u64) {
        self.threads.end(tgid, tid, at_ns);
        self.answer_turns.remove(&tid);
        self.turns.remove(&tid);
        self.accepted.remove(&tid);
    }

    /// A unit of work was handed over: whoever takes it works for whom the giver works for.
    pub(super) fn note_gift(&mut self, giver: &Executor, token: u64, at_ns: u64) {
        let place = (giver.tgid, token);
        let is_read = giver.token.is_none() && self.scheduling(giver.tgid) == Scheduling::TokenLoop;
        let found = if is_read { self.of_reader(giver) } else { self.of_executor(giver, None, at_ns) };
        let Some(found) = found else {
            self.gifts.remove(&place);
            return;
        };
        if self.gifts.len() >= MAX_REMEMBERED {
            let servers = &self.servers;
            self.gifts.retain(|_, (server, _)| servers.contains_key(server));
        }
        if self.gifts.len() >= MAX_REMEMBERED {
            self.over_limit += 1;
            self.gifts.remove(&place);
        } else {
            self.gifts.insert(place, (found.server, at_ns));
        }
    }

    /// Returns the request that an event loop has just read, once: a loop that parses what it read earlier, or several
    /// requests at once, may mean another.
    fn of_reader(&mut self, executor: &Executor) -> Option<Found> {
        let is_only = self.turns.get(&executor.tid).is_some_and(|turn| turn.begun == 1);
        let server = self.turn_owner(executor).filter(|_| is_only);
        let Some((id, found)) = server.and_then(|id| Some((id, self.servers.get_mut(&id)?))) else {
            self.ambiguous += 1;
            return None;
        };
        let is_first = !std::mem::replace(&mut found.is_given, true);
        is_first.then_some(Found { server: id, evidence: Evidence::Turn })
    }

    /// Returns the request that is being served on a connection.
    fn open_on(&self, connection: ConnectionId) -> Option<ExchangeId> {
        self.first_of(self.by_connection.get(&connection)?)
    }

    /// Returns the request that is served first, of several that one connection has brought: numbered ones are served
    /// at the same time.
    fn first_of(&self, servers: &[ExchangeId]) -> Option<ExchangeId> {
        let is_numbered = |id| self.servers.get(id).is_some_and(|server| server.is_numbered);
        let is_ambiguous = servers.len() > 1 && servers.iter().any(is_numbered);
        servers.iter().copied().min().filter(|_| !is_ambiguous)
    }

    /// Notes who was seen at work.
    pub(super) fn see(&mut self, stamp: &Stamp) {
        if let Some(Task::Goroutine { id, parent }) = stamp.executor.task {
            self.goroutines.see((stamp.executor.tgid, id), parent, stamp.at_ns);
        }
    }

    /// A thread touches a connection: from here to its next wait it works on the request that the connection is used
    /// for, or on something unknown.
    pub(super) fn touch(&mut self, executor: &Executor, server: Option<ExchangeId>) {
        if matches!(executor.task, Some(Task::Goroutine { .. })) {
            return;
        }
        self.reads += 1;
        self.accepted.remove(&executor.tid);
        let turn = Turn {
            number: executor.turn,
            read: self.reads,
            server,
            begun: 0,
            is_told: false,
            of: Several::No,
        };
        self.turns.insert(executor.tid, turn);
    }

    /// A thread touches a connection on which several numbered exchanges are open, or one that is streaming.
    pub(super) fn touch_any(&mut self, executor: &Executor, is_streaming: bool) {
        self.touch(executor, None);
        if let Some(turn) = self.turns.get_mut(&executor.tid) {
            turn.of = if is_streaming { Several::Mixed } else { Several::OneOf };
        }
    }

    /// A thread answers a request. nginx goes on with that one; elsewhere another request may tell its own news to those
    /// who listen, so that it is not known any more for whom the thread works, unless it is for that one.
    pub(super) fn touch_by_answer(&mut self, executor: &Executor, server: Option<ExchangeId>) {
        let is_same = server.is_some() && self.turn_owner(executor) == server;
        if self.scheduling(executor.tgid) == Scheduling::Turns {
            self.touch(executor, server);
        } else if !is_same {
            self.touch(executor, None);
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
        let is_multiplexed = started.is_numbered && self.by_key.contains_key(&key);
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
            is_answering: false,
            is_numbered: started.is_numbered,
            is_given: false,
            has_waited: first.executor.turn != last_turn,
            has_called: false,
            calls: 0,
            calling: None,
        };
        self.servers.insert(id, server);
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

    /// From here to its next wait, the thread works on `server`.
    pub(super) fn take_turn(&mut self, server: ExchangeId, executor: &Executor) {
        if matches!(executor.task, Some(Task::Goroutine { .. })) {
            return;
        }
        let is_numbered = self.servers.get(&server).is_some_and(|server| server.is_numbered);
        let before = self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn);
        // One read may have brought several, which are served one after the other, in the same turn.
        let is_other = is_numbered && before.is_some_and(|turn| turn.is_told && turn.server != Some(server));
        self.set_turn(executor, Some(server).filter(|_| !is_other));
    }

    fn set_turn(&mut self, executor: &Executor, server: Option<ExchangeId>) {
        let before = self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn);
        let (read, begun, of) =
            before.map_or((self.reads, 0, Several::No), |turn| (turn.read, turn.begun, turn.of));
        let server = server.filter(|_| of != Several::Mixed);
        let of = if of == Several::OneOf { Several::No } else { of };
        self.accepted.remove(&executor.tid);
        let turn = Turn { number: executor.turn, read, server, begun, is_told: true, of };
        self.turns.insert(executor.tid, turn);
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
        let Some(server) = self.servers.get_mut(&id) else { return };
        server.is_answering = true;
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
        let before = self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn);
        // The call that read this answer may have read that to another request, too.
        let is_other = before.is_some_and(|before| before.server != server && before.of != Several::OneOf);
        self.set_turn(executor, server.filter(|_| !is_other));
    }

    /// A request has ended: so should the threads that it had started.
    pub(super) fn note_request_end(&mut self, id: ExchangeId, at_ns: u64) {
        self.threads.end_request(id, at_ns);
    }

    /// Forgets a request or call.
    pub(super) fn end(&mut self, id: ExchangeId) {
        if let Some(server) = self.call_parents.remove(&id).and_then(|server| self.servers.get_mut(&server)) {
            server.calling = server.calling.filter(|&call| call != id);
        }
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

    /// Returns the request that a call would belong to which is made now.
    pub(super) fn foresee(
        &mut self,
        connection: ConnectionId,
        position: u32,
        first: &Stamp,
    ) -> Option<Found> {
        let found = self.find(connection, position, None, first)?;
        let started_at_ns = self.servers.get(&found.server)?.started_at_ns;
        (first.at_ns.saturating_sub(started_at_ns) <= MAX_AGE_NS).then_some(found)
    }

    /// Returns the request that a call belongs to, if that is certain. It is up to the caller to ask whether it
    /// [admits](Self::admits) the call, and to tell that it [adopts](Self::adopt) it.
    pub(super) fn of_call(
        &mut self,
        started: &Started,
        connection: ConnectionId,
        peer: &Endpoint,
    ) -> Option<Found> {
        let Started { first, content, .. } = started;
        if started.is_relayed {
            return None;
        }
        let unused = self.unused.remove(&connection);
        let is_loop = self.scheduling(first.executor.tgid) == Scheduling::EventLoop;
        let (churn, may_be_others) =
            if is_loop { self.take_connection(connection, peer, &first.executor) } else { (0, false) };
        if may_be_others {
            self.ambiguous += 1;
            return None;
        }
        // Where others came or went since, the connection may have been given to whoever waited longest.
        let unused = unused.map(|unused| unused.server.filter(|_| churn == unused.churn));
        match self.scheduling(first.executor.tgid) {
            Scheduling::Proxy => self.of_content(first.executor.tgid, *content),
            Scheduling::Tasks => self.begin_task_call(started.id, connection, first),
            _ => self.find(connection, started.place.position, unused, first),
        }
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
        self.call_parents.insert(call, server);
        if let Some(server) = self.servers.get_mut(&server) {
            server.calling = Some(call);
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

    fn find(
        &mut self,
        connection: ConnectionId,
        position: u32,
        opened_during: Option<Option<ExchangeId>>,
        first: &Stamp,
    ) -> Option<Found> {
        if let Some(owner) = self.places.owner(connection, position) {
            let server = owner.filter(|server| self.servers.contains_key(server))?;
            return Some(Found { server, evidence: Evidence::Task });
        }
        if self.scheduling(first.executor.tgid) == Scheduling::Tasks {
            return self.foresee_task_call(connection, first);
        }
        let Writer { executor, claimed } = self.claims.writer(connection, first)?;
        match (executor.task, claimed) {
            (Some(Task::Context(_)), Some(Some(known))) => self.of_owner(known.owner),
            // Another context may have its address by now.
            (Some(Task::Context(_)), Some(None)) => self.of_unit(&executor, None),
            _ => self.of_executor(&executor, opened_during, first.at_ns),
        }
    }

    /// Returns the request that an executor works on.
    fn of_executor(
        &mut self,
        executor: &Executor,
        opened_during: Option<Option<ExchangeId>>,
        at_ns: u64,
    ) -> Option<Found> {
        let tgid = executor.tgid;
        match executor.task {
            Some(Task::Goroutine { id, parent }) => self.of_goroutine(tgid, id, parent, at_ns),
            Some(Task::Context(context)) => match self.contexts.owner(tgid, context) {
                Some(owner) => self.of_owner(owner),
                None => self.of_unit(executor, None),
            },
            None => self.of_unit(executor, opened_during),
        }
    }

    /// Returns the request of the unit of work that a thread has taken, or of the thread where it has taken none.
    fn of_unit(&mut self, executor: &Executor, opened_during: Option<Option<ExchangeId>>) -> Option<Found> {
        let Some(token) = executor.token else { return self.of_thread(executor, opened_during) };
        let key = Key::Token { tgid: executor.tgid, id: token };
        let server = if self.by_key.contains_key(&key) {
            // What serves several connections at once is no unit of work, but a loop.
            self.only(key)?
        } else {
            let unit = (executor.tgid, token);
            let given = self.gifts.get(&unit).map(|(server, _)| *server);
            given.or_else(|| self.reads_of_units.get(&unit).copied().flatten())?
        };
        self.servers.contains_key(&server).then_some(Found { server, evidence: Evidence::Task })
    }

    /// An event loop makes a call on a connection. Returns the destination's churn, and whether somebody else may have
    /// waited for the connection: it became free with what the loop has just read, when no other was idle.
    fn take_connection(
        &mut self,
        connection: ConnectionId,
        peer: &Endpoint,
        executor: &Executor,
    ) -> (u64, bool) {
        let is_lone = self.serving.get(&executor.tgid).is_none_or(|&serving| serving <= 1);
        let turn = self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn);
        let is_just_free =
            self.freed.remove(&connection).is_some_and(|read| turn.is_some_and(|turn| turn.read == read));
        let destination = self.destinations.entry((executor.tgid, peer.clone())).or_default();
        destination.idle.remove(&connection);
        destination.is_multiplexed |= !destination.busy.insert(connection);
        let may_be_others = is_just_free && destination.idle.is_empty() && !destination.is_multiplexed;
        (destination.churn, may_be_others && !is_lone)
    }

    /// A proxy asks for what one of its requests asks for, and no other. It asks once, and again when that has failed:
    /// meanwhile the same question is its own, about the server's health.
    fn of_content(&mut self, tgid: u32, content: Option<u64>) -> Option<Found> {
        let is_calling =
            |server| self.servers.get(&server).is_some_and(|server: &Server| server.calling.is_some());
        match *self.by_content.get(&(tgid, content?))?.as_slice() {
            [server] if !is_calling(server) => Some(Found { server, evidence: Evidence::Content }),
            _ => {
                self.ambiguous += 1;
                None
            }
        }
    }

    fn of_owner(&self, owner: Owner) -> Option<Found> {
        let server = match owner {
            Owner::Request(server) => server,
            Owner::Connection(connection) => self.open_on(connection)?,
            Owner::Nobody => return None,
        };
        self.servers.contains_key(&server).then_some(Found { server, evidence: Evidence::Task })
    }

    /// The goroutine serves the request itself, or was started by one that does, during the request.
    fn of_goroutine(&mut self, tgid: u32, id: u64, parent: u64, at_ns: u64) -> Option<Found> {
        if let Some(server) = self.oldest(Key::Goroutine { tgid, id }) {
            return Some(Found { server, evidence: Evidence::Goroutine });
        }
        self.goroutines.see((tgid, id), parent, at_ns);
        let mut started = vec![id];
        let mut parent = parent;
        for _ in 0..MAX_GENERATIONS {
            let key = Key::Goroutine { tgid, id: parent };
            if self.has_receipt(key) {
                return None;
            }
            if let Some(server) = self.oldest(key) {
                // One that was there before this request began is a worker that an earlier request started.
                let read_at_ns = self.servers.get(&server)?.read_at_ns;
                let is_worker = |id: &u64| self.goroutines.is_older((tgid, *id), read_at_ns);
                return (!started.iter().any(is_worker))
                    .then_some(Found { server, evidence: Evidence::Goroutine });
            }
            started.push(parent);
            parent = self.goroutines.parent((tgid, parent))?;
        }
        None
    }

    fn of_thread(&mut self, executor: &Executor, opened_during: Option<Option<ExchangeId>>) -> Option<Found> {
        let key = Key::Thread { tgid: executor.tgid, tid: executor.tid };
        if let Some(found) = self.of_receipt(key) {
            return Some(found);
        }
        let scheduling = self.scheduling(executor.tgid);
        if scheduling == Scheduling::TokenLoop {
            return None;
        }
        if matches!(scheduling, Scheduling::Turns | Scheduling::EventLoop) {
            // A new connection is often written to in a later turn, which may be another request's.
            let server = opened_during.unwrap_or_else(|| self.turn_owner(executor))?;
            return self.servers.contains_key(&server).then_some(Found { server, evidence: Evidence::Turn });
        }
        if !self.by_key.contains_key(&key) {
            let server = self.threads.request(executor.tgid, executor.tid)?;
            return self
                .servers
                .contains_key(&server)
                .then_some(Found { server, evidence: Evidence::Thread });
        }
        let only = self.only(key)?;
        if let Some(server) = self.servers.get_mut(&only) {
            server.has_called = true;
        }
        let is_certain = matches!(scheduling, Scheduling::Threads | Scheduling::Unproven)
            && self.is_serial(only, executor.tgid, scheduling);
        self.ambiguous += u64::from(!is_certain);
        is_certain.then_some(Found { server: only, evidence: Evidence::Thread })
    }

    /// Returns whether the thread that read a request works on nothing else until it has answered.
    fn is_serial(&self, server: ExchangeId, tgid: u32, scheduling: Scheduling) -> bool {
        let Some(found) = self.servers.get(&server) else { return false };
        if !matches!(found.key, Key::Thread { .. }) {
            return false;
        }
        let is_proven = scheduling == Scheduling::Threads
            || self.proofs.is_proven(tgid)
            || (self.is_alone(server) && self.proofs.is_possible(tgid));
        !found.has_waited && is_proven && !self.interleaving.contains(&tgid)
    }

    fn scheduling(&self, tgid: u32) -> Scheduling {
        self.scheduling.get(&tgid).copied().unwrap_or_default()
    }

    /// Returns the request whose turn it is, if the thread has not waited since.
    fn turn_owner(&self, executor: &Executor) -> Option<ExchangeId> {
        let turn = self.turns.get(&executor.tid)?;
        let server = turn.server?;
        (turn.number == executor.turn && self.servers.contains_key(&server)).then_some(server)
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
        let is_numbered = self.servers.get(&first)?.is_numbered;
        let is_other =
            |id: &ExchangeId| self.servers.get(id).is_some_and(|server| server.connection != connection);
        if is_numbered && ids.len() > 1 || waiting.any(is_other) {
            self.ambiguous += 1;
            return None;
        }
        Some(first)
    }

    /// Forgets what cannot matter any more.
    pub(super) fn sweep(&mut self) {
        let servers = &self.servers;
        self.turns.retain(|_, turn| turn.server.is_some_and(|server| servers.contains_key(&server)));
        self.unused.retain(|_, unused| unused.server.is_some_and(|server| servers.contains_key(&server)));
        self.gifts.retain(|_, (server, _)| servers.contains_key(server));
        self.reads_of_units.retain(|_, server| server.is_some_and(|server| servers.contains_key(&server)));
        if self.answer_turns.len() > MAX_REMEMBERED {
            self.answer_turns.clear();
        }
        if self.accepted.len() > MAX_REMEMBERED {
            self.accepted.clear();
        }
        self.goroutines.sweep();
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
mod tests {
    use super::*;
    use crate::session::Place;

    const REQUEST: ExchangeId = ExchangeId(1);
    const OTHER: ExchangeId = ExchangeId(2);
    const CALL: ExchangeId = ExchangeId(3);

    fn connection(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 0 }
    }

    fn thread(tid: u32, turn: u32, at_ns: u64) -> Stamp {
        Stamp { at_ns, executor: Executor { tgid: 1, tid, task: None, token: None, turn } }
    }

    fn goroutine(id: u64, parent: u64, at_ns: u64) -> Stamp {
        let task = Some(Task::Goroutine { id, parent });
        Stamp { at_ns, executor: Executor { tgid: 1, tid: at_ns as u32, task, token: None, turn: 0 } }
    }

    fn of_scheduling(scheduling: Scheduling) -> Parents {
        let mut parents = Parents::default();
        parents.set_scheduling(1, scheduling);
        parents
    }

    fn started(id: ExchangeId, stamp: &Stamp, content: Option<u64>) -> Started {
        Started {
            id,
            first: *stamp,
            last: *stamp,
            place: Place::default(),
            content,
            is_numbered: false,
            is_relayed: false,
        }
    }

    fn call(parents: &mut Parents, id: ExchangeId, connection: ConnectionId, stamp: &Stamp) -> Option<Found> {
        let found = parents.of_call(&started(id, stamp, None), connection, &peer())?;
        let is_admitted = parents.admits(found.server, stamp.at_ns);
        is_admitted.then(|| parents.adopt(id, found.server))?;
        Some(found)
    }

    fn begin(parents: &mut Parents, id: ExchangeId, connection: ConnectionId, stamp: Stamp) {
        parents.begin_server(&started(id, &stamp, None), connection);
    }

    fn peer() -> Endpoint {
        Endpoint::Unix(String::new())
    }

    fn evidence(parents: &mut Parents, stamp: &Stamp) -> Option<(u64, Evidence)> {
        call(parents, CALL, connection(99), stamp).map(|found| (found.server.0, found.evidence))
    }

    #[test]
    fn call_on_the_thread_of_its_only_request_belongs_to_it() {
        let mut parents = of_scheduling(Scheduling::Threads);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        assert_eq!(evidence(&mut parents, &thread(7, 5, 20)), Some((1, Evidence::Thread)));
        assert_eq!(evidence(&mut parents, &thread(8, 0, 20)), None);
        parents.end(REQUEST);
        assert_eq!(evidence(&mut parents, &thread(7, 5, 30)), None);
    }

    #[test]
    fn threads_of_an_unknown_or_migrating_process_prove_nothing() {
        for scheduling in [Scheduling::Unknown, Scheduling::Migrating] {
            let mut parents = of_scheduling(scheduling);
            begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
            assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None, "{scheduling:?}");
        }
    }

    #[test]
    fn a_process_that_interleaved_is_never_believed_again() {
        let mut parents = of_scheduling(Scheduling::Threads);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        begin(&mut parents, OTHER, connection(2), thread(7, 0, 11));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None);
        parents.end(OTHER);
        assert_eq!(evidence(&mut parents, &thread(7, 0, 20)), None);
    }

    #[test]
    fn a_thread_that_waits_for_events_between_requests_is_an_event_loop() {
        let mut parents = of_scheduling(Scheduling::Threads);
        const MAIN: u32 = 1;
        begin(&mut parents, REQUEST, connection(1), thread(MAIN, 1, 10));
        assert_eq!(evidence(&mut parents, &thread(MAIN, 1, 11)), None);
        parents.answering(REQUEST, &thread(MAIN, 3, 20));
        parents.end(REQUEST);
        // The waits were during the request: a driver's, not a loop's.
        begin(&mut parents, OTHER, connection(1), thread(MAIN, 3, 30));
        assert_eq!(evidence(&mut parents, &thread(MAIN, 4, 31)), Some((2, Evidence::Thread)));
        parents.end(OTHER);
        begin(&mut parents, REQUEST, connection(1), thread(7, 1, 40));
        assert_eq!(evidence(&mut parents, &thread(7, 1, 41)), None, "a loop in another thread");
    }

    #[test]
    fn a_loop_that_waited_when_the_agent_began_is_known_at_its_first_request() {
        let mut parents = of_scheduling(Scheduling::Threads);
        parents.note_waiting(7);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 11)), None);
        begin(&mut parents, OTHER, connection(2), thread(8, 0, 12));
        assert_eq!(evidence(&mut parents, &thread(8, 0, 13)), Some((2, Evidence::Thread)));
    }

    #[test]
    fn tasks_that_move_between_threads_are_noticed() {
        let mut parents = of_scheduling(Scheduling::Threads);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        begin(&mut parents, OTHER, connection(2), thread(8, 0, 11));
        parents.answering(REQUEST, &thread(8, 0, 12));
        assert_eq!(evidence(&mut parents, &thread(8, 0, 20)), None);
    }

    #[test]
    fn an_unproven_process_is_believed_while_a_request_is_alone_since_it_began() {
        let mut parents = of_scheduling(Scheduling::Unproven);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 11)), Some((1, Evidence::Thread)));
        begin(&mut parents, OTHER, connection(2), thread(8, 0, 12));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 13)), None);
        parents.end(REQUEST);
        assert_eq!(
            evidence(&mut parents, &thread(8, 0, 14)),
            None,
            "what the other left behind may be at work"
        );
        parents.end(OTHER);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 20));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 21)), Some((1, Evidence::Thread)));
        parents.disturb(1);
        assert_eq!(evidence(&mut parents, &thread(7, 0, 22)), None, "something else has arrived");
        parents.end(REQUEST);
        parents.note_blind(connection(5), 1);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 30));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 31)), None, "requests may come unseen");
        let executor = thread(7, 0, 0).executor;
        let unix = || Endpoint::Unix(String::new());
        let opened = Opened {
            executor,
            local: unix(),
            peer: unix(),
            role: crate::event::Role::Accepted,
            is_datagram: false,
            peer_sock: None,
            first: None,
        };
        parents.forget_connection(connection(5), &opened);
        assert_eq!(evidence(&mut parents, &thread(7, 0, 32)), Some((1, Evidence::Thread)));
    }

    #[test]
    fn an_unproven_process_is_believed_after_many_requests_that_overlapped_and_stayed() {
        let mut parents = of_scheduling(Scheduling::Unproven);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        parents.disturb(1);
        for id in 10..40 {
            assert_eq!(evidence(&mut parents, &thread(7, 0, 19)).is_some(), id > 21, "{id}");
            let stamp = thread(8 + (id as u32) % 2, 0, 20);
            begin(&mut parents, ExchangeId(id), connection(id), stamp);
            call(&mut parents, CALL, connection(99), &stamp);
            parents.answering(ExchangeId(id), &stamp);
            parents.end(ExchangeId(id));
        }
        begin(&mut parents, OTHER, connection(2), thread(8, 0, 50));
        parents.answering(OTHER, &thread(9, 0, 51));
        assert_eq!(evidence(&mut parents, &thread(7, 0, 52)), None, "one has moved");
    }

    #[test]
    fn a_proxy_that_touches_another_connection_works_for_that() {
        let mut parents = of_scheduling(Scheduling::Turns);
        begin(&mut parents, OTHER, connection(3), thread(7, 1, 9));
        begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
        // An upstream of the other request fails in the same turn: the next connection is the other's.
        parents.touch(&thread(7, 2, 11).executor, Some(OTHER));
        parents.note_connect(connection(50), &peer(), &thread(7, 2, 12).executor);
        let found = call(&mut parents, CALL, connection(50), &thread(7, 2, 13));
        assert_eq!(found.map(|found| found.server), Some(OTHER));
        parents.touch(&thread(7, 2, 14).executor, None);
        parents.note_connect(connection(51), &peer(), &thread(7, 2, 15).executor);
        assert_eq!(call(&mut parents, ExchangeId(4), connection(51), &thread(7, 2, 16)), None);
    }

    #[test]
    fn a_proxy_is_followed_by_turns_and_by_the_connections_it_opens() {
        let mut parents = Parents::default();
        parents.set_scheduling(1, Scheduling::Turns);
        begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
        parents.note_connect(connection(50), &peer(), &thread(7, 1, 11).executor);
        begin(&mut parents, OTHER, connection(2), thread(7, 1, 12));
        parents.note_connect(connection(51), &peer(), &thread(7, 1, 13).executor);
        let of = |parents: &mut Parents, sock, stamp: Stamp| call(parents, CALL, connection(sock), &stamp);
        assert_eq!(of(&mut parents, 51, thread(7, 2, 20)).map(|found| found.server), Some(OTHER));
        assert_eq!(of(&mut parents, 50, thread(7, 2, 21)).map(|found| found.server), Some(REQUEST));
        assert_eq!(of(&mut parents, 50, thread(7, 2, 22)), None, "only the first call of a connection");
        parents.note_connect(connection(52), &peer(), &thread(7, 1, 22).executor);
        parents.take_turn(REQUEST, &thread(7, 4, 23).executor);
        let written_in_anothers_turn = of(&mut parents, 52, thread(7, 4, 24));
        assert_eq!(written_in_anothers_turn.map(|found| found.server), Some(OTHER));
        assert!(of(&mut parents, 50, thread(7, 2, 25)).is_none());
        let found = of(&mut parents, 61, thread(7, 4, 26));
        assert_eq!(found.map(|found| found.server), Some(REQUEST), "an idle connection is used at once");
        parents.answered(CALL, &thread(7, 3, 30).executor);
        assert_eq!(of(&mut parents, 60, thread(7, 3, 31)).map(|found| found.server), Some(REQUEST));
    }

    #[test]
    fn a_goroutine_started_during_the_request_belongs_to_it() {
        let mut parents = Parents::default();
        begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
        assert_eq!(evidence(&mut parents, &goroutine(5, 1, 20)), Some((1, Evidence::Goroutine)));
        assert_eq!(evidence(&mut parents, &goroutine(6, 5, 20)), Some((1, Evidence::Goroutine)));
        assert_eq!(
            evidence(&mut parents, &goroutine(7, 6, 20)),
            Some((1, Evidence::Goroutine)),
            "a grandchild"
        );
        assert_eq!(evidence(&mut parents, &goroutine(9, 8, 20)), None, "nobody knows who started its parent");
    }

    #[test]
    fn a_worker_of_an_earlier_request_belongs_to_none() {
        let mut parents = Parents::default();
        begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
        assert!(evidence(&mut parents, &goroutine(6, 5, 20)).is_some());
        parents.end(REQUEST);
        begin(&mut parents, OTHER, connection(1), goroutine(5, 1, 30));
        assert_eq!(evidence(&mut parents, &goroutine(6, 5, 40)), None);
    }

    #[test]
    fn a_late_first_call_for_an_earlier_request_belongs_to_none() {
        let mut parents = Parents::default();
        begin(&mut parents, REQUEST, connection(1), goroutine(5, 1, 10));
        parents.end(REQUEST);
        // It reads something on another connection, and makes its first call during the second request.
        parents.see(&goroutine(38, 5, 20));
        begin(&mut parents, OTHER, connection(1), goroutine(5, 1, 30));
        assert_eq!(evidence(&mut parents, &goroutine(38, 5, 40)), None);
        assert_eq!(evidence(&mut parents, &goroutine(40, 5, 41)), Some((2, Evidence::Goroutine)));
        assert_eq!(evidence(&mut parents, &goroutine(50, 38, 42)), None, "started by a worker");
    }

    #[test]
    fn fan_out_and_age_are_capped() {
        let mut parents = of_scheduling(Scheduling::Threads);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 0));
        assert_eq!(evidence(&mut parents, &thread(7, 0, MAX_AGE_NS + 1)), None);
        for _ in 1..MAX_CALLS {
            assert!(evidence(&mut parents, &thread(7, 0, 1)).is_some());
        }
        assert_eq!(evidence(&mut parents, &thread(7, 0, 1)), None);
        assert_eq!((parents.too_many_calls(), parents.too_old()), (1, 1));
    }

    #[test]
    fn a_unit_of_work_belongs_to_the_request_that_it_was_given_for() {
        let mut parents = of_scheduling(Scheduling::Threads);
        let with = |token, stamp: Stamp| Stamp { executor: Executor { token, ..stamp.executor }, ..stamp };
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        parents.note_gift(&thread(7, 0, 11).executor, 50, 11);
        let worker = with(Some(50), thread(8, 0, 12));
        assert_eq!(evidence(&mut parents, &worker), Some((1, Evidence::Task)));
        // What it gives in turn is for the same request.
        parents.note_gift(&worker.executor, 51, 13);
        assert_eq!(evidence(&mut parents, &with(Some(51), thread(9, 0, 14))), Some((1, Evidence::Task)));
        assert_eq!(evidence(&mut parents, &with(Some(52), thread(9, 0, 14))), None, "nobody gave it");
        // A request that is read under a token is the token's.
        begin(&mut parents, OTHER, connection(2), with(Some(52), thread(9, 0, 15)));
        assert_eq!(evidence(&mut parents, &with(Some(52), thread(10, 0, 16))), Some((2, Evidence::Task)));
        // The number is used again, for nobody.
        parents.note_gift(&thread(11, 0, 17).executor, 50, 17);
        assert_eq!(evidence(&mut parents, &worker), None);
        parents.end(REQUEST);
        assert_eq!(evidence(&mut parents, &with(Some(51), thread(9, 0, 18))), None);
    }

    #[test]
    fn a_thread_that_a_request_started_belongs_to_it_where_such_threads_end_with_their_requests() {
        let mut parents = of_scheduling(Scheduling::Threads);
        begin(&mut parents, REQUEST, connection(1), thread(7, 0, 10));
        for tid in 20..23 {
            parents.note_thread(&thread(7, 0, 11).executor, tid, 11);
            assert_eq!(evidence(&mut parents, &thread(tid, 0, 12)), None, "not seen yet");
            parents.note_thread_end(1, tid, 13);
        }
        parents.note_thread(&thread(7, 0, 14).executor, 30, 14);
        assert_eq!(evidence(&mut parents, &thread(30, 0, 15)), Some((1, Evidence::Thread)));
        // One that serves by itself was not started for the request.
        begin(&mut parents, OTHER, connection(2), thread(30, 0, 16));
        assert_eq!(evidence(&mut parents, &thread(30, 0, 17)), Some((2, Evidence::Thread)));
        parents.note_thread(&thread(7, 0, 18).executor, 31, 18);
        assert_eq!(evidence(&mut parents, &thread(31, 0, 19)), None);
    }

    #[test]
    fn what_served_several_connections_at_once_was_no_unit_of_work() {
        let mut parents = of_scheduling(Scheduling::Threads);
        let under = |stamp: Stamp| Stamp { executor: Executor { token: Some(5), ..stamp.executor }, ..stamp };
        begin(&mut parents, REQUEST, connection(1), under(thread(7, 0, 10)));
        assert_eq!(evidence(&mut parents, &under(thread(7, 0, 11))), Some((1, Evidence::Task)));
        begin(&mut parents, OTHER, connection(2), under(thread(7, 0, 12)));
        assert_eq!(evidence(&mut parents, &under(thread(7, 0, 13))), None);
    }

    #[test]
    fn a_claim_is_for_the_context_that_made_it_and_for_no_later_one() {
        let mut parents = of_scheduling(Scheduling::Threads);
        let of = |context, at_ns| {
            let stamp = thread(7, 1, at_ns);
            Stamp { executor: Executor { task: Some(Task::Context(context)), ..stamp.executor }, ..stamp }
        };
        begin(&mut parents, REQUEST, connection(1), thread(7, 1, 10));
        begin(&mut parents, OTHER, connection(2), thread(7, 1, 11));
        parents.contexts.make(1, 50, 0, Owner::Request(REQUEST), 12);
        parents.claim(connection(99), of(50, 13).executor);
        // The task ends before the loop writes, and another gets its context's address.
        parents.forget_context(1, 50);
        parents.contexts.make(1, 50, 0, Owner::Request(OTHER), 14);
        parents.write(connection(99), 15);
        assert_eq!(evidence(&mut parents, &of(60, 15)), Some((1, Evidence::Task)));
        parents.claim(connection(99), of(50, 16).executor);
        parents.write(connection(99), 17);
        parents.forget_handovers();
        assert_eq!(evidence(&mut parents, &of(50, 17)), None, "what was told may be out of date");
    }

    #[test]
    fn a_loop_with_tokens_gives_each_request_once_in_the_turn_that_read_it() {
        let mut parents = of_scheduling(Scheduling::TokenLoop);
        let with = |token, stamp: Stamp| Stamp { executor: Executor { token, ..stamp.executor }, ..stamp };
        let read = |parents: &mut Parents, id, sock, at_ns| {
            let stamp = thread(7, 1, at_ns);
            parents.touch(&stamp.executor, None);
            begin(parents, id, connection(sock), stamp);
        };
        read(&mut parents, REQUEST, 1, 10);
        parents.note_gift(&thread(7, 1, 11).executor, 50, 11);
        parents.note_gift(&thread(7, 1, 12).executor, 51, 12);
        read(&mut parents, OTHER, 2, 13);
        parents.note_gift(&thread(7, 2, 14).executor, 52, 14);
        let of = |parents: &mut Parents, token| evidence(parents, &with(token, thread(7, 9, 20)));
        assert_eq!(of(&mut parents, Some(50)), Some((1, Evidence::Task)));
        assert_eq!(of(&mut parents, Some(51)), None, "it is somebody's already");
        assert_eq!(of(&mut parents, Some(52)), None, "the loop has gone on");
        assert_eq!(of(&mut parents, None), None, "turns do not tell whose calls are made");
        // Two requests in one read.
        let stamp = thread(7, 3, 30);
        parents.touch(&stamp.executor, None);
        begin(&mut parents, ExchangeId(8), connection(3), stamp);
        begin(&mut parents, ExchangeId(9), connection(3), stamp);
        parents.note_gift(&thread(7, 3, 31).executor, 53, 31);
        assert_eq!(of(&mut parents, Some(53)), None, "either may be meant");
    }

    #[test]
    fn a_proxy_passes_on_what_one_request_asks_for() {
        let mut parents = of_scheduling(Scheduling::Proxy);
        let stamp = thread(7, 0, 10);
        parents.begin_server(&started(REQUEST, &stamp, Some(1)), connection(1));
        parents.begin_server(&started(OTHER, &stamp, Some(2)), connection(2));
        let ask = |parents: &mut Parents, content| {
            let found = parents.of_call(&started(CALL, &thread(8, 9, 20), content), connection(9), &peer());
            found.map(|found| (found.server, found.evidence))
        };
        assert_eq!(ask(&mut parents, Some(2)), Some((OTHER, Evidence::Content)));
        assert_eq!(ask(&mut parents, Some(3)), None);
        assert_eq!(ask(&mut parents, None), None);
        parents.begin_server(&started(ExchangeId(9), &stamp, Some(2)), connection(3));
        assert_eq!(ask(&mut parents, Some(2)), None, "either may be meant");
        parents.end(OTHER);
        assert_eq!(ask(&mut parents, Some(2)), Some((ExchangeId(9), Evidence::Content)));
    }
    #[test]
    fn a_proxy_asks_once_for_a_request_and_again_when_that_failed() {
        let mut parents = of_scheduling(Scheduling::Proxy);
        parents.begin_server(&started(REQUEST, &thread(7, 0, 10), Some(1)), connection(1));
        let ask = |parents: &mut Parents, id| {
            let started = started(ExchangeId(id), &thread(8, 9, 20), Some(1));
            let found = parents.of_call(&started, connection(id), &peer())?;
            parents.adopt(started.id, found.server);
            Some(found.server)
        };
        assert_eq!(ask(&mut parents, 3), Some(REQUEST));
        assert_eq!(ask(&mut parents, 4), None, "a health check");
        parents.end(ExchangeId(3));
        assert_eq!(ask(&mut parents, 5), Some(REQUEST), "a retry");
    }
    #[test]
    fn news_for_others_do_not_make_their_requests_the_cause() {
        let mut parents = of_scheduling(Scheduling::EventLoop);
        begin(&mut parents, OTHER, connection(2), thread(7, 1, 9));
        begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
        parents.touch_by_answer(&thread(7, 2, 11).executor, Some(REQUEST));
        assert_eq!(evidence(&mut parents, &thread(7, 2, 12)), Some((1, Evidence::Turn)));
        parents.touch_by_answer(&thread(7, 2, 13).executor, Some(OTHER));
        assert_eq!(evidence(&mut parents, &thread(7, 2, 14)), None);
    }
    #[test]
    fn a_call_that_was_given_up_does_not_overlap_with_the_next() {
        let mut parents = of_scheduling(Scheduling::EventLoop);
        begin(&mut parents, OTHER, connection(2), thread(7, 1, 9));
        begin(&mut parents, REQUEST, connection(1), thread(7, 2, 10));
        assert!(call(&mut parents, CALL, connection(50), &thread(7, 2, 11)).is_some());
        parents.note_abandoned(connection(50), &peer(), &thread(7, 2, 12).executor);
        parents.end(CALL);
        assert!(call(&mut parents, ExchangeId(4), connection(50), &thread(7, 2, 13)).is_some());
        // Its answer makes the connection free for whoever waits for it.
        let answer = thread(7, 3, 14);
        parents.answered(ExchangeId(4), &answer.executor);
        parents.note_free(connection(50), &peer(), &answer.executor);
        parents.end(ExchangeId(4));
        assert_eq!(call(&mut parents, ExchangeId(5), connection(50), &thread(7, 3, 15)), None);
    }
}
