//! What a thread works on in the present turn of its event loop: from what it has read to its next wait.

use foldhash::HashSet;

use super::{Parents, Server};
use crate::event::{ConnectionId, Executor, Scheduling, Task};
use crate::pairing::ExchangeId;

/// What a thread works on in the present turn of its event loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    pub(super) number: u32,
    /// The task under which it was read.
    pub(super) reader: Option<Task>,
    /// Which of all that was read, by any thread, it is that the thread works on.
    pub(super) read: u64,
    /// None where one call has read answers to several requests.
    pub(super) server: Option<ExchangeId>,
    /// nginx may go on with a request that came in one read with another one, which it has answered in this turn.
    pub(super) is_mixed: bool,
    /// Requests that began with what was read.
    pub(super) begun: u32,
    /// Something of what was read has been told.
    pub(super) is_told: bool,
    /// What was read was for several exchanges, or one of them.
    pub(super) of: Several,
    /// The encrypted connection from which the thread has read ever since, and has done nothing else.
    pub(super) reading: Option<ConnectionId>,
    /// Whether others may have waited for what was read: for what a client sends nobody does, for an answer that is found out
    /// when it is asked for the first time.
    pub(super) is_shared: Option<bool>,
    /// It is the answer of a call of one of several requests.
    pub(super) is_unsure: bool,
}

/// What is known of a read on a connection of numbered exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Several {
    /// Nothing in particular.
    No,
    /// It was for one of several, and the first that is told of it counts.
    OneOf,
    /// It may have been more of this one, which is the only one that was open, or others that begin.
    MoreOf(ExchangeId),
    /// It may have been for others than those that are told of it.
    Mixed,
}

impl Several {
    /// Returns whether what was read may be for what is told of it.
    fn allows(self, server: ExchangeId) -> bool {
        match self {
            Several::No | Several::OneOf => true,
            Several::MoreOf(only) => only == server,
            Several::Mixed => false,
        }
    }
}

impl Parents {
    /// A thread touches a connection: from here to its next wait it works on the request that the connection is used
    /// for, or on something unknown. `is_answer` says whether the connection is one of calls, on which answers come.
    pub(in crate::correlation) fn touch(
        &mut self,
        executor: &Executor,
        server: Option<ExchangeId>,
        is_answer: bool,
    ) {
        if matches!(executor.task, Some(Task::Goroutine { .. })) {
            return;
        }
        self.reads += 1;
        let is_mixed = self.turn(executor).is_some_and(|turn| turn.is_mixed);
        self.accepted.remove(&executor.tid);
        let turn = Turn {
            number: executor.turn,
            reader: executor.task,
            read: self.reads,
            server,
            is_mixed,
            begun: 0,
            is_told: false,
            of: Several::No,
            reading: None,
            is_shared: (!is_answer).then_some(false),
            is_unsure: false,
        };
        self.turns.insert(executor.tid, turn);
    }

    /// A thread touches a connection on which several numbered exchanges are open, or one that is streaming: `only` this
    /// request, if it is no other.
    pub(in crate::correlation) fn touch_any(
        &mut self,
        executor: &Executor,
        is_streaming: bool,
        only: Option<ExchangeId>,
    ) {
        self.touch(executor, None, true);
        if let Some(turn) = self.turns.get_mut(&executor.tid) {
            turn.of = match only {
                _ if !is_streaming => Several::OneOf,
                Some(only) => Several::MoreOf(only),
                None => Several::Mixed,
            };
        }
    }

    /// A thread answers a request. nginx goes on with that one; elsewhere another request may tell its own news to those
    /// who listen, so that it is not known any more for whom the thread works, unless it is for that one.
    pub(in crate::correlation) fn touch_by_answer(
        &mut self,
        executor: &Executor,
        server: Option<ExchangeId>,
    ) {
        let is_same = server.is_some() && self.turn_owner(executor) == server;
        if self.scheduling(executor.tgid) == Scheduling::Turns {
            self.touch(executor, server, false);
            self.note_put_off(executor, server);
        } else if !is_same {
            self.touch(executor, None, false);
        }
    }

    /// A thread of nginx answers a request. It begins with others that it has read with it at the end of the turn, when it
    /// has done what else it was woken for.
    fn note_put_off(&mut self, executor: &Executor, answered: Option<ExchangeId>) {
        let Some(server) = answered.and_then(|id| self.servers.get(&id)) else { return };
        let is_waiting = |id: &ExchangeId| {
            let is_of_read = |other: &Server| other.number.is_none() && other.read == server.read;
            answered != Some(*id) && self.servers.get(id).is_some_and(is_of_read)
        };
        let is_mixed = self.by_connection.get(&server.connection).into_iter().flatten().any(is_waiting);
        if let Some(turn) = self.turns.get_mut(&executor.tid) {
            turn.is_mixed |= is_mixed;
        }
    }

    /// From here to its next wait, the thread works on `server`.
    pub(in crate::correlation) fn take_turn(&mut self, server: ExchangeId, executor: &Executor) {
        if matches!(executor.task, Some(Task::Goroutine { .. })) {
            return;
        }
        // One read may have brought several, which are worked on one after the other in the same turn, or at once.
        let is_numbered = self.servers.get(&server).is_some_and(|server| server.number.is_some());
        let is_over = |id: ExchangeId| !is_numbered && !self.servers.contains_key(&id);
        let is_other = self.turn(executor).is_some_and(|turn| {
            turn.is_told && !turn.server.is_some_and(|before| before == server || is_over(before))
        });
        self.set_turn(executor, (!is_other).then_some(server), false);
    }

    /// Returns what a thread works on, if it has not waited since.
    pub(super) fn turn(&self, executor: &Executor) -> Option<&Turn> {
        self.turns.get(&executor.tid).filter(|turn| turn.number == executor.turn)
    }

    pub(super) fn set_turn(&mut self, executor: &Executor, server: Option<ExchangeId>, is_answer: bool) {
        let before = self.turn(executor);
        let (read, begun, of) =
            before.map_or((self.reads, 0, Several::No), |turn| (turn.read, turn.begun, turn.of));
        let reading = before.and_then(|turn| turn.reading);
        let is_mixed = before.is_some_and(|turn| turn.is_mixed);
        let reader = executor.task;
        let server = server.filter(|server| of.allows(*server));
        let of = if of == Several::OneOf { Several::No } else { of };
        self.accepted.remove(&executor.tid);
        let turn = Turn {
            number: executor.turn,
            reader,
            read,
            server,
            is_mixed,
            begun,
            is_told: true,
            of,
            reading,
            is_shared: (!is_answer).then_some(false),
            is_unsure: false,
        };
        self.turns.insert(executor.tid, turn);
    }

    /// Returns whether a thread that reads from an encrypted connection goes on with what it has begun to read there.
    /// Records are read one by one, maybe all before the first is worked on: together they are what one
    /// read brings in clear text.
    pub(in crate::correlation) fn reads_on(&self, connection: ConnectionId, executor: &Executor) -> bool {
        self.turn(executor).is_some_and(|turn| turn.reading == Some(connection))
    }

    /// A thread has begun to read from an encrypted connection.
    pub(in crate::correlation) fn note_records(&mut self, connection: ConnectionId, executor: &Executor) {
        if let Some(turn) = self.turns.get_mut(&executor.tid).filter(|turn| turn.number == executor.turn) {
            turn.reading = Some(connection);
        }
    }

    /// A thread does something else than to read.
    pub(in crate::correlation) fn act(&mut self, executor: &Executor) {
        if let Some(turn) = self.turns.get_mut(&executor.tid) {
            turn.reading = None;
        }
    }

    /// Returns whether a thread has read what its turn is about under the task in which it is.
    pub(super) fn is_reader(&self, executor: &Executor) -> bool {
        self.turn(executor).is_some_and(|turn| turn.reader == executor.task)
    }

    /// Returns the request whose turn it is, if the thread has not waited since.
    pub(super) fn turn_owner(&self, executor: &Executor) -> Option<ExchangeId> {
        let server = self.turn(executor).filter(|turn| !turn.is_mixed)?.server?;
        self.servers.contains_key(&server).then_some(server)
    }

    /// Returns the request that causes what a thread does in its turn, if that is certain.
    pub(super) fn turn_cause(&mut self, executor: &Executor) -> Option<ExchangeId> {
        let server = self.turn_owner(executor)?;
        if self.scheduling(executor.tgid) != Scheduling::EventLoop {
            return Some(server);
        }
        let turn = self.turns.get(&executor.tid).copied()?;
        let is_shared = turn.is_shared.unwrap_or_else(|| self.is_shared(executor.tgid, &turn, server));
        if let Some(turn) = self.turns.get_mut(&executor.tid) {
            turn.is_shared = Some(is_shared);
        }
        (!is_shared).then_some(server)
    }

    /// Returns whether what an event loop does in its turn is for one of several requests, nobody knows which.
    pub(super) fn is_unsure(&self, executor: &Executor) -> bool {
        self.turn(executor).is_some_and(|turn| turn.is_unsure || turn.is_shared == Some(true))
    }

    /// Returns whether an event loop that has read the answer of a call of `server` may work for another request now: one
    /// that has no call of its own under way waits for something else, maybe for the very same answer (a promise that
    /// both await). Where all connections of a pool are in use, it waits for one of these.
    fn is_shared(&self, tgid: u32, turn: &Turn, server: ExchangeId) -> bool {
        let own = self.servers.get(&server).is_some_and(Server::is_quiet);
        let others = self.quiet.get(&tgid).map_or(0, |&quiet| quiet.saturating_sub(u32::from(own)));
        let is_just_free = |connection: &ConnectionId| self.freed.get(connection) == Some(&turn.read);
        let explained = self.unsure.open(tgid) + self.connecting(tgid, server);
        others > explained && !self.destinations.is_any_exhausted(tgid, is_just_free)
    }

    /// Returns how many requests of a process but this one wait for connections that they have opened.
    fn connecting(&self, tgid: u32, but: ExchangeId) -> u32 {
        let opened = || self.unused.values().filter(|unused| unused.tgid == tgid);
        let is_other = |id: &ExchangeId| *id != but && self.servers.get(id).is_some_and(Server::is_quiet);
        let openers: HashSet<ExchangeId> =
            opened().filter_map(|unused| unused.server).filter(is_other).collect();
        (openers.len() + opened().filter(|unused| unused.is_unsure).count()) as u32
    }
}
