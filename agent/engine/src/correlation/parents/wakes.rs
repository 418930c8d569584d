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
