//! Calls of tasks that move between threads, and talk by waking each other.

use super::tasks::{Mail, Role};
use super::{Found, Key, Parents};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Executor};
use crate::pairing::ExchangeId;
use crate::span::Evidence;

/// What is known of the cause of a call at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// This request.
    Of(ExchangeId),
    /// It shows when the call is answered.
    Later,
    /// Nothing, or what is ambiguous.
    Unknown,
}

impl Parents {
    /// A task has made another, which works for whom it works for.
    pub(in crate::correlation) fn note_spawn(&mut self, maker: &Executor, task: u64, at_ns: u64) {
        let birth = maker.token.and_then(|making| self.of_task(maker.tgid, making));
        self.tasks.make(maker.tgid, task, birth, at_ns);
    }

    /// A task has woken another; returns the request that the woken one works for.
    pub(in crate::correlation) fn note_wake(
        &mut self,
        waker: &Executor,
        task: u64,
        at_ns: u64,
    ) -> Option<ExchangeId> {
        let request = waker.token.and_then(|waking| self.of_task(waker.tgid, waking));
        self.tasks.wake(waker.tgid, task, request, at_ns);
        self.of_task(waker.tgid, task)
    }

    /// Notes that a call is over.
    pub(in crate::correlation) fn note_ended(&mut self, call: ExchangeId, at_ns: u64) {
        self.tasks.end(call, at_ns);
    }

    /// The answer of the last call on a connection has shown for whom it was.
    pub(in crate::correlation) fn note_late(&mut self, connection: ConnectionId, server: ExchangeId) {
        self.tasks.learn(connection, server);
    }

    /// Returns whether the cause of a call shows when it is answered.
    pub(in crate::correlation) fn is_late(&self, call: ExchangeId) -> bool {
        self.tasks.is_late(call)
    }

    /// Returns the request that a call of a task belongs to, if that shows at its beginning.
    pub(super) fn begin_task_call(
        &mut self,
        call: ExchangeId,
        connection: ConnectionId,
        first: &Stamp,
    ) -> Option<Found> {
        let cause = self.of_task_call(connection, first);
        let request = if let Cause::Of(request) = cause { Some(request) } else { None };
        if let Some(task) = first.executor.token {
            self.tasks.begin(call, connection, task, request, cause == Cause::Later);
        }
        self.ambiguous += u64::from(cause == Cause::Unknown);
        request.map(|server| Found { server, evidence: Evidence::Task })
    }

    /// Returns the same, of a call that is not told yet.
    pub(super) fn foresee_task_call(&self, connection: ConnectionId, first: &Stamp) -> Option<Found> {
        match self.of_task_call(connection, first) {
            Cause::Of(server) => Some(Found { server, evidence: Evidence::Task }),
            Cause::Later | Cause::Unknown => None,
        }
    }

    fn of_task_call(&self, connection: ConnectionId, first: &Stamp) -> Cause {
        let Executor { tgid, token: Some(task), .. } = first.executor else { return Cause::Unknown };
        let own = self.of_task(tgid, task);
        if self.by_key.contains_key(&Key::Token { tgid, id: task }) {
            return own.map_or(Cause::Unknown, Cause::Of);
        }
        match self.tasks.role(connection, task, own.is_some()) {
            Role::Worker => own.map_or(Cause::Unknown, Cause::Of),
            Role::Multiplexer => Cause::Later,
            Role::Carrier => match self.tasks.mail(tgid, task) {
                // A call that is told late may be older than the waking.
                Mail::From(request, at_ns)
                    if at_ns <= first.at_ns
                        && self.tasks.is_fresh(connection, request, at_ns)
                        && self.servers.contains_key(&request) =>
                {
                    Cause::Of(request)
                }
                Mail::Never => own.map_or(Cause::Later, Cause::Of),
                Mail::From(..) | Mail::Nobody => Cause::Later,
            },
        }
    }

    /// Returns the request that a task serves, or that it was made for.
    fn of_task(&self, tgid: u32, task: u64) -> Option<ExchangeId> {
        match self.by_key.get(&Key::Token { tgid, id: task }) {
            Some(own) => self.of_one_connection(own),
            None => self.tasks.birth(tgid, task).filter(|birth| self.servers.contains_key(birth)),
        }
    }

    /// Returns the first of several requests, if all were read from one connection.
    fn of_one_connection(&self, requests: &[ExchangeId]) -> Option<ExchangeId> {
        let mut connections =
            requests.iter().filter_map(|id| self.servers.get(id)).map(|server| server.connection);
        let first = connections.next()?;
        if connections.any(|other| other != first) { None } else { requests.iter().copied().min() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Endpoint, Scheduling};
    use crate::pairing::Started;
    use crate::session::Place;

    const REQUEST: ExchangeId = ExchangeId(1);
    const OTHER: ExchangeId = ExchangeId(2);
    /// The tasks of the two requests, one that they make, and one that carries calls.
    const OWN: u64 = 11;
    const OWN_OF_OTHER: u64 = 12;
    const CHILD: u64 = 13;
    const CARRIER: u64 = 14;

    fn connection(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 0 }
    }

    fn peer() -> Endpoint {
        Endpoint::Unix(String::new())
    }

    fn task(id: u64, at_ns: u64) -> Stamp {
        let executor = Executor { tgid: 1, tid: at_ns as u32, token: Some(id), ..Executor::default() };
        Stamp { at_ns, executor }
    }

    fn started(id: ExchangeId, stamp: &Stamp) -> Started {
        Started {
            id,
            first: *stamp,
            last: *stamp,
            place: Place::default(),
            content: None,
            number: None,
            is_relayed: false,
        }
    }

    fn two_requests() -> Parents {
        let mut parents = Parents::default();
        parents.set_scheduling(1, Scheduling::Tasks);
        parents.begin_server(&started(REQUEST, &task(OWN, 10)), connection(1));
        parents.begin_server(&started(OTHER, &task(OWN_OF_OTHER, 11)), connection(2));
        parents
    }

    /// Begins a call; returns the request that it belongs to, and whether that shows later.
    fn call(parents: &mut Parents, id: u64, sock: u64, stamp: &Stamp) -> (Option<ExchangeId>, bool) {
        let started = started(ExchangeId(id), stamp);
        let found = parents.of_call(&started, connection(sock), &peer()).map(|found| found.server);
        (found, parents.is_late(ExchangeId(id)))
    }

    fn end(parents: &mut Parents, id: u64, at_ns: u64) {
        parents.note_ended(ExchangeId(id), at_ns);
        parents.end(ExchangeId(id));
    }

    #[test]
    fn a_task_works_for_the_request_that_it_read_or_was_made_for() {
        let mut parents = two_requests();
        assert_eq!(call(&mut parents, 50, 9, &task(OWN, 20)), (Some(REQUEST), false));
        parents.note_spawn(&task(OWN, 21).executor, CHILD, 21);
        parents.note_spawn(&task(CHILD, 22).executor, CHILD + 100, 22);
        // Whoever frees what the child waits for wakes it.
        parents.note_wake(&task(OWN_OF_OTHER, 23).executor, CHILD, 23);
        assert_eq!(call(&mut parents, 51, 9, &task(CHILD, 24)), (Some(REQUEST), false));
        assert_eq!(call(&mut parents, 52, 9, &task(CHILD + 100, 25)), (Some(REQUEST), false));
        parents.end(REQUEST);
        assert_eq!(call(&mut parents, 53, 9, &task(CHILD, 30)), (None, false), "its request is over");
        assert_eq!(call(&mut parents, 54, 9, &task(99, 31)), (None, false), "nobody knows it");
    }

    #[test]
    fn a_task_that_reads_requests_of_several_connections_is_ambiguous() {
        let mut parents = two_requests();
        parents.begin_server(&started(ExchangeId(3), &task(OWN, 12)), connection(1));
        assert_eq!(call(&mut parents, 50, 9, &task(OWN, 20)), (Some(REQUEST), false), "pipelined");
        parents.begin_server(&started(ExchangeId(4), &task(OWN, 13)), connection(3));
        assert_eq!(call(&mut parents, 51, 9, &task(OWN, 21)), (None, false));
    }

    #[test]
    fn a_carrier_sends_for_whoever_wakes_it_unless_that_one_has_sent_last() {
        let mut parents = two_requests();
        parents.note_connect(connection(9), &peer(), &task(99, 15).executor);
        parents.note_wake(&task(OWN, 20).executor, CARRIER, 20);
        assert_eq!(call(&mut parents, 50, 9, &task(CARRIER, 21)), (Some(REQUEST), false));
        end(&mut parents, 50, 30);
        // It cleans up; the other sends before the carrier has run, and so wakes nobody.
        parents.note_wake(&task(OWN, 31).executor, CARRIER, 31);
        assert_eq!(call(&mut parents, 51, 9, &task(CARRIER, 32)), (None, true));
        end(&mut parents, 51, 40);
        parents.note_late(connection(9), OTHER);
        parents.note_wake(&task(OWN, 41).executor, CARRIER, 41);
        assert_eq!(call(&mut parents, 52, 9, &task(CARRIER, 42)), (Some(REQUEST), false));
        parents.note_wake(&task(OWN_OF_OTHER, 43).executor, CARRIER, 43);
        assert_eq!(call(&mut parents, 53, 9, &task(CARRIER, 44)), (None, true), "calls overlap");
    }

    #[test]
    fn tasks_of_no_request_wake_for_nobody() {
        let mut parents = two_requests();
        parents.note_connect(connection(9), &peer(), &task(99, 15).executor);
        parents.note_wake(&task(OWN, 20).executor, CARRIER, 20);
        parents.note_wake(&task(99, 21).executor, CARRIER, 21);
        assert_eq!(call(&mut parents, 50, 9, &task(CARRIER, 22)), (None, true));
    }

    #[test]
    fn a_call_that_is_told_late_is_not_for_who_woke_the_carrier_since() {
        let mut parents = two_requests();
        parents.note_connect(connection(9), &peer(), &task(99, 15).executor);
        parents.note_wake(&task(OWN, 30).executor, CARRIER, 30);
        assert_eq!(parents.foresee(connection(9), Some(0), &task(CARRIER, 25)), None);
        assert_eq!(call(&mut parents, 50, 9, &task(CARRIER, 25)), (None, true));
    }
}
