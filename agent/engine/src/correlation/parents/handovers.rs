//! Work that goes from one executor to another: contexts and threads that are made, units of work that are given.

use super::contexts::{Contexts, Made, Owner};
use super::threads::Threads;
use super::{Found, Key, MAX_REMEMBERED, Parents};
use crate::event::{ConnectionId, Executor, Scheduling, Task};
use crate::pairing::ExchangeId;
use crate::span::Evidence;

impl Parents {
    /// A Python has made a context for a new task: it works for whom its maker works for.
    pub(in crate::correlation) fn note_context(&mut self, maker: &Executor, context: u64, at_ns: u64) {
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
                let turn = (maker.tid, maker.turn);
                let voucher = match self.contexts.put_off_by(tgid, origin, turn) {
                    Some(voucher) if self.is_reader(maker) => voucher,
                    _ => origin,
                };
                let made = Made { context, maker: origin, turn, at_ns };
                let guessed = self.contexts.make_by_guess(tgid, made, voucher, nearest);
                if let Some(Owner::Connection(connection)) = guessed
                    && let Some(server) = self.open_on(connection)
                {
                    self.contexts.narrow(tgid, context, server);
                }
            }
        }
    }

    /// A context has ended.
    pub(in crate::correlation) fn forget_context(&mut self, tgid: u32, context: u64) {
        self.contexts.forget(tgid, context);
    }

    /// Forgets what was told of tasks, gifts and claims: some of it may be out of date.
    pub(in crate::correlation) fn forget_handovers(&mut self) {
        self.contexts = Contexts::default();
        self.threads = Threads::default();
        self.gifts.clear();
        self.claims.invalidate();
        self.places.invalidate();
        self.streams.invalidate();
        self.forget_pipes();
        self.reads_of_units.clear();
    }

    /// A thread was made: it may work for whom its maker works for.
    pub(in crate::correlation) fn note_thread(&mut self, maker: &Executor, tid: u32, at_ns: u64) {
        let is_meant = matches!(self.scheduling(maker.tgid), Scheduling::Threads | Scheduling::Unproven);
        let found = if is_meant { self.of_executor(maker, None, at_ns) } else { None };
        if let Some(found) = found {
            self.threads.start(maker.tgid, tid, found.server, at_ns);
        }
    }

    /// A thread has ended.
    pub(in crate::correlation) fn note_thread_end(&mut self, tgid: u32, tid: u32, at_ns: u64) {
        self.threads.end(tgid, tid, at_ns);
        self.pushes.forget_thread(tgid, tid);
        self.answer_turns.remove(&tid);
        self.turns.remove(&tid);
        self.accepted.remove(&tid);
    }

    /// A unit of work was handed over: whoever takes it works for whom the giver works for.
    pub(in crate::correlation) fn note_gift(&mut self, giver: &Executor, token: u64, at_ns: u64) {
        let place = (giver.tgid, token);
        let is_read = giver.token.is_none() && self.scheduling(giver.tgid) == Scheduling::TokenLoop;
        let found = if is_read { self.of_reader(giver) } else { self.of_executor(giver, None, at_ns) };
        if self.scheduling(giver.tgid) == Scheduling::Threads {
            // Numbers are addresses: it may be that of an earlier one, which has left requests that others go on with.
            self.by_key.remove(&Key::Token { tgid: giver.tgid, id: token });
            self.reads_of_units.remove(&place);
        }
        let Some(found) = found else {
            self.gifts.remove(&place);
            return;
        };
        self.keep_gift(place, found.server, at_ns);
    }

    /// Remembers for which request a unit of work was handed over, if there is room.
    fn keep_gift(&mut self, place: (u32, u64), server: ExchangeId, at_ns: u64) {
        if self.gifts.len() >= MAX_REMEMBERED {
            let servers = &self.servers;
            self.gifts.retain(|_, (server, _)| servers.contains_key(server));
        }
        if self.gifts.len() >= MAX_REMEMBERED {
            self.over_limit += 1;
            self.gifts.remove(&place);
        } else {
            self.gifts.insert(place, (server, at_ns));
        }
    }

    /// Returns the request that an event loop has just read, once: a loop that parses what it read earlier, or several
    /// requests at once, may mean another.
    pub(super) fn of_reader(&mut self, executor: &Executor) -> Option<Found> {
        let is_only = self.turns.get(&executor.tid).is_some_and(|turn| turn.begun == 1);
        let server = self.turn_owner(executor).filter(|_| is_only);
        let Some((id, found)) = server.and_then(|id| Some((id, self.servers.get_mut(&id)?))) else {
            self.ambiguous += 1;
            return None;
        };
        let is_first = !std::mem::replace(&mut found.is_given, true);
        is_first.then_some(Found { server: id, evidence: Evidence::Turn })
    }

    /// A unit of work serves the stream of a number: whoever takes it works for that. Returns whether the connection has
    /// brought such a request.
    pub(super) fn serve_stream(
        &mut self,
        connection: ConnectionId,
        number: u64,
        executor: &Executor,
        at_ns: u64,
    ) -> bool {
        let is_it =
            |id: &&ExchangeId| self.servers.get(id).is_some_and(|server| server.number == Some(number));
        let mut meant = self.by_connection.get(&connection).into_iter().flatten().filter(is_it).copied();
        let (Some(id), None) = (meant.next(), meant.next()) else { return false };
        let Some(server) = self.servers.get_mut(&id) else { return false };
        let is_first = !std::mem::replace(&mut server.is_given, true);
        if let Some(token) = executor.token.filter(|_| is_first) {
            self.keep_gift((executor.tgid, token), id, at_ns);
        }
        true
    }

    /// Returns the request that is being served on a connection.
    pub(super) fn open_on(&self, connection: ConnectionId) -> Option<ExchangeId> {
        self.first_of(self.by_connection.get(&connection)?)
    }

    /// Returns the request that is served first, of several that one connection has brought: numbered ones are served
    /// at the same time.
    pub(super) fn first_of(&self, servers: &[ExchangeId]) -> Option<ExchangeId> {
        let is_numbered = |id| self.servers.get(id).is_some_and(|server| server.number.is_some());
        let is_ambiguous = servers.len() > 1 && servers.iter().any(is_numbered);
        servers.iter().copied().min().filter(|_| !is_ambiguous)
    }
}
