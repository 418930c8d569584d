//! Which request a call belongs to: the evidence, strongest first.

use super::claims::Writer;
use super::contexts::Owner;
use super::{Found, Key, MAX_AGE_NS, MAX_GENERATIONS, Parents, Server, Unused};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Endpoint, Executor, Scheduling, Task};
use crate::pairing::{ExchangeId, Started};
use crate::span::Evidence;

impl Parents {
    /// Returns the request that a call would belong to which is made now.
    pub(in crate::correlation) fn foresee(
        &mut self,
        connection: ConnectionId,
        position: Option<u32>,
        first: &Stamp,
    ) -> Option<Found> {
        if self.writes_for_others(&first.executor) || self.may_be_awaited(connection, &first.executor) {
            return None;
        }
        let found = self.find(connection, position, None, first)?;
        let started_at_ns = self.servers.get(&found.server)?.started_at_ns;
        (first.at_ns.saturating_sub(started_at_ns) <= MAX_AGE_NS).then_some(found)
    }

    /// Returns the request that a call belongs to, if that is certain. It is up to the caller to ask whether it
    /// [admits](Self::admits) the call, and to tell that it [adopts](Self::adopt) it.
    pub(in crate::correlation) fn of_call(
        &mut self,
        started: &Started,
        connection: ConnectionId,
        peer: &Endpoint,
    ) -> Option<Found> {
        let Started { first, content, .. } = started;
        if let Some(found) = self.of_stream(connection, &first.executor, started.number) {
            return found;
        }
        if started.is_relayed {
            return None;
        }
        self.pushes.note_call(started.id, connection, &first.executor);
        let unused = self.unused.remove(&connection);
        let is_loop = self.scheduling(first.executor.tgid) == Scheduling::EventLoop;
        let (churn, may_be_others) =
            if is_loop { self.take_connection(connection, peer, &first.executor) } else { (0, false) };
        if may_be_others {
            self.ambiguous += 1;
            self.unsure.begin(started.id, first.executor.tgid);
            return None;
        }
        let is_overtaken = |unused: &Unused| unused.server.is_some() && churn != unused.churn;
        let opened_unsure = unused.map(|unused| unused.is_unsure || is_overtaken(&unused));
        // Where others came or went since, the connection may have been given to whoever waited longest.
        let unused = unused.map(|unused| unused.server.filter(|_| churn == unused.churn));
        match self.scheduling(first.executor.tgid) {
            Scheduling::Proxy => self.of_content(first.executor.tgid, *content),
            Scheduling::Tasks => self.begin_task_call(started.id, connection, first),
            _ => {
                // Bytes that a kernel counts are where it says. Inside TLS that is known of absolute places only.
                let is_on_wire = started.place.is_absolute || matches!(peer, Endpoint::Unix(_));
                let position = is_on_wire.then_some(started.place.position);
                let found = self.find(connection, position, unused, first);
                if found.is_none() {
                    self.hope(started.id, connection, first);
                    if is_loop && opened_unsure.unwrap_or_else(|| self.is_unsure(&first.executor)) {
                        self.unsure.begin(started.id, first.executor.tgid);
                    }
                }
                found
            }
        }
    }

    pub(super) fn find(
        &mut self,
        connection: ConnectionId,
        position: Option<u32>,
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
    pub(super) fn of_executor(
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
    pub(super) fn of_unit(
        &mut self,
        executor: &Executor,
        opened_during: Option<Option<ExchangeId>>,
    ) -> Option<Found> {
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

    /// Returns whether somebody else may have waited for a connection on which an event loop writes: nobody has used it yet,
    /// or it became free with what the loop has just read.
    fn may_be_awaited(&self, connection: ConnectionId, executor: &Executor) -> bool {
        if self.scheduling(executor.tgid) != Scheduling::EventLoop {
            return false;
        }
        let turn = self.turn(executor);
        let freed = self.freed.get(&connection);
        let is_just_free = freed.is_some_and(|read| turn.is_some_and(|turn| turn.read == *read));
        let is_lone = self.serving.get(&executor.tgid).is_none_or(|&serving| serving <= 1);
        self.unused.contains_key(&connection) || is_just_free && !is_lone
    }

    /// An event loop makes a call on a connection. Returns the destination's churn, and whether somebody else may have
    /// waited for the connection: it became free with what the loop has just read, when no other was idle.
    pub(super) fn take_connection(
        &mut self,
        connection: ConnectionId,
        peer: &Endpoint,
        executor: &Executor,
    ) -> (u64, bool) {
        let is_lone = self.serving.get(&executor.tgid).is_none_or(|&serving| serving <= 1);
        let read = self.turn(executor).map(|turn| turn.read);
        let is_just_free = self.freed.remove(&connection).is_some_and(|freed| read == Some(freed));
        let (churn, may_be_awaited) = self.destinations.take(executor.tgid, peer, connection);
        (churn, is_just_free && may_be_awaited && !is_lone)
    }

    /// A proxy asks for what one of its requests asks for, and no other. It asks once, and again when that has failed:
    /// meanwhile the same question is its own, about the server's health.
    pub(super) fn of_content(&mut self, tgid: u32, content: Option<u64>) -> Option<Found> {
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

    pub(super) fn of_owner(&self, owner: Owner) -> Option<Found> {
        let server = match owner {
            Owner::Request(server) => server,
            Owner::Connection(connection) => self.open_on(connection)?,
            Owner::Nobody => return None,
        };
        self.servers.contains_key(&server).then_some(Found { server, evidence: Evidence::Task })
    }

    /// The goroutine serves the request itself, or was started by one that does, during the request.
    pub(super) fn of_goroutine(&mut self, tgid: u32, id: u64, parent: u64, at_ns: u64) -> Option<Found> {
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

    pub(super) fn of_thread(
        &mut self,
        executor: &Executor,
        opened_during: Option<Option<ExchangeId>>,
    ) -> Option<Found> {
        let key = Key::Thread { tgid: executor.tgid, tid: executor.tid };
        if let Some(found) = self.of_receipt(key).or_else(|| self.of_push(executor)) {
            return Some(found);
        }
        let scheduling = self.scheduling(executor.tgid);
        if scheduling == Scheduling::TokenLoop {
            return None;
        }
        if matches!(scheduling, Scheduling::Turns | Scheduling::EventLoop) {
            // A new connection is often written to in a later turn, which may be another request's.
            let owner = self.turn_owner(executor);
            let cause = opened_during.unwrap_or_else(|| self.turn_cause(executor));
            self.ambiguous += u64::from(cause.is_none() && owner.is_some());
            let server = cause.filter(|server| self.servers.contains_key(server))?;
            return Some(Found { server, evidence: Evidence::Turn });
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
    pub(super) fn is_serial(&self, server: ExchangeId, tgid: u32, scheduling: Scheduling) -> bool {
        let Some(found) = self.servers.get(&server) else { return false };
        if !matches!(found.key, Key::Thread { .. }) {
            return false;
        }
        let is_proven = scheduling == Scheduling::Threads
            || self.proofs.is_proven(tgid)
            || (self.is_alone(server) && self.proofs.is_possible(tgid));
        !found.has_waited && is_proven && !self.interleaving.contains(&tgid)
    }
}
