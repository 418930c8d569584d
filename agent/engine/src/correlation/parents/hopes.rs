//! Calls of tasks of which it is only guessed what they are for, until that shows.
//!
//! A guess that its task has proved by answering the request was right, whatever became of others. So the calls that the
//! task has made meanwhile, and all that it has started, were made for that request.

use foldhash::HashMap;

use super::claims::Writer;
use super::contexts::{Guess, Known, Owner};
use super::{MAX_REMEMBERED, Parents};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Task};
use crate::pairing::ExchangeId;

/// What a call is hoped to be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::correlation) struct Hope {
    /// The request.
    pub(in crate::correlation) server: ExchangeId,
    guess: Guess,
}

/// Calls that are under way, and requests whose answers have begun.
#[derive(Debug, Default)]
pub(super) struct Hopes {
    calls: HashMap<ExchangeId, Hope>,
    /// Under which guess each request was answered.
    proved: HashMap<ExchangeId, Guess>,
}

impl Hopes {
    /// Forgets an exchange that has ended.
    pub(super) fn end(&mut self, id: ExchangeId) {
        self.calls.remove(&id);
        self.proved.remove(&id);
    }
}

impl Parents {
    /// Notes what a call is hoped to be for, of which nothing is known for certain.
    pub(super) fn hope(&mut self, call: ExchangeId, connection: ConnectionId, first: &Stamp) {
        let Some(guess) = self.guess_of(connection, first) else { return };
        let server = match guess.hoped {
            Owner::Request(server) => Some(server),
            Owner::Connection(connection) => self.open_on(connection),
            Owner::Nobody => None,
        };
        let Some(server) = server.filter(|server| self.servers.contains_key(server)) else { return };
        if self.hopes.calls.len() >= MAX_REMEMBERED {
            self.over_limit += 1;
            return;
        }
        self.hopes.calls.insert(call, Hope { server, guess });
    }

    /// Returns what is guessed of the task for which something is written, where that is not believed yet.
    fn guess_of(&self, connection: ConnectionId, first: &Stamp) -> Option<Guess> {
        let Writer { executor, claimed } = self.claims.writer(connection, first)?;
        let Some(Task::Context(context)) = executor.task else { return None };
        let known = claimed.unwrap_or_else(|| self.contexts.known(executor.tgid, context))?;
        known.guess.filter(|_| known.owner == Owner::Nobody)
    }

    /// A request is answered by a task of which this is known.
    pub(super) fn prove(&mut self, server: ExchangeId, connection: ConnectionId, known: Option<Known>) {
        let guess = known.and_then(|known| known.guess).filter(|guess| guess.means(server, connection));
        if let Some(guess) = guess
            && self.hopes.proved.len() < MAX_REMEMBERED
        {
            self.hopes.proved.insert(server, guess);
        }
    }

    /// Returns what a call is hoped to be for, if that request is still served.
    pub(in crate::correlation) fn hope_of(&self, call: ExchangeId) -> Option<Hope> {
        let hope = self.hopes.calls.get(&call).copied()?;
        self.servers.contains_key(&hope.server).then_some(hope)
    }

    /// Returns whether a hope has come true: the task that made the call, or started who made it, has answered.
    pub(in crate::correlation) fn has_come_true(&self, hope: &Hope) -> bool {
        self.hopes.proved.get(&hope.server).is_some_and(|proved| proved.is_same(&hope.guess))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Endpoint, Executor, Scheduling};
    use crate::pairing::Started;
    use crate::session::Place;

    const REQUEST: ExchangeId = ExchangeId(1);
    const OTHER: ExchangeId = ExchangeId(2);
    /// The context of the server itself, and those of tasks.
    const SERVER: u64 = 100;
    const TASK: u64 = 50;
    const NEIGHBOUR: u64 = 51;
    const CHILD: u64 = 60;

    fn connection(sock: u64) -> ConnectionId {
        ConnectionId { sock, inode: 0 }
    }

    fn under(context: u64, turn: u32, at_ns: u64) -> Stamp {
        let task = Some(Task::Context(context));
        Stamp { at_ns, executor: Executor { tgid: 1, tid: 7, task, token: None, turn } }
    }

    fn started(id: ExchangeId, stamp: Stamp) -> Started {
        Started {
            id,
            first: stamp,
            last: stamp,
            place: Place::default(),
            content: None,
            number: None,
            is_relayed: false,
        }
    }

    /// Two requests are open. The server makes two tasks in the turn in which it has read one of them.
    fn parents() -> Parents {
        let mut parents = Parents::default();
        parents.set_scheduling(1, Scheduling::Threads);
        parents.begin_server(&started(OTHER, under(SERVER, 1, 8)), connection(2));
        parents.begin_server(&started(REQUEST, under(SERVER, 2, 9)), connection(1));
        parents.note_context(&under(SERVER, 2, 10).executor, TASK, 10);
        parents.note_context(&under(SERVER, 2, 11).executor, NEIGHBOUR, 11);
        parents.note_context(&under(TASK, 3, 12).executor, CHILD, 12);
        parents
    }

    /// Makes a call, of which nothing is certain, and returns what it is hoped to be for.
    fn hope(parents: &mut Parents, call: u64, context: u64) -> Option<Hope> {
        let (call, stamp) = (ExchangeId(call), under(context, 4, 20));
        let found = parents.of_call(&started(call, stamp), connection(99), &Endpoint::Unix(String::new()));
        assert_eq!(found, None);
        parents.hope_of(call)
    }

    #[test]
    fn calls_are_for_the_request_that_their_task_answers() {
        let mut parents = parents();
        let hopes = [TASK, CHILD, NEIGHBOUR].map(|task| hope(&mut parents, 1000 + task, task).unwrap());
        assert!(hopes.iter().all(|hope| hope.server == REQUEST && !parents.has_come_true(hope)));
        parents.answering(REQUEST, &under(TASK, 5, 30));
        assert_eq!(hopes.map(|hope| parents.has_come_true(&hope)), [true, true, false]);
        parents.end(REQUEST);
        assert_eq!(hope(&mut parents, 2000, TASK), None, "it is over");
    }

    #[test]
    fn nothing_is_hoped_of_a_task_that_answers_another_request() {
        let mut parents = parents();
        let hope = hope(&mut parents, 1000, TASK).unwrap();
        parents.answering(OTHER, &under(TASK, 5, 30));
        parents.answering(REQUEST, &under(NEIGHBOUR, 6, 31));
        assert!(!parents.has_come_true(&hope));
    }

    /// The contexts of a connection's reader, of its requests' tasks, and of what the first of those starts.
    const READER: u64 = 70;
    const FIRST: u64 = 71;
    const POLLER: u64 = 72;
    const SECOND: u64 = 73;

    /// A server accepts a connection, for which it makes a reader.
    fn accept(parents: &mut Parents) {
        parents.set_scheduling(1, Scheduling::Threads);
        parents.note_accept(connection(1), &under(SERVER, 1, 5).executor);
        parents.note_context(&under(SERVER, 1, 6).executor, READER, 6);
    }

    /// The first request on a connection leaves something behind that goes on during the second.
    fn serve_two(parents: &mut Parents) {
        parents.begin_server(&started(REQUEST, under(READER, 2, 10)), connection(1));
        parents.note_context(&under(READER, 2, 11).executor, FIRST, 11);
        parents.note_context(&under(FIRST, 3, 12).executor, POLLER, 12);
        parents.answering(REQUEST, &under(FIRST, 4, 13));
        parents.end(REQUEST);
        parents.begin_server(&started(OTHER, under(READER, 5, 14)), connection(1));
        parents.note_context(&under(READER, 5, 15).executor, SECOND, 15);
    }

    #[test]
    fn what_outlives_its_request_is_not_hoped_to_be_for_the_connections_next() {
        let mut parents = Parents::default();
        accept(&mut parents);
        serve_two(&mut parents);
        assert_eq!(hope(&mut parents, 1000, POLLER), None);
        let second = hope(&mut parents, 1001, SECOND).unwrap();
        assert_eq!(second.server, OTHER);
        parents.answering(OTHER, &under(SECOND, 6, 30));
        assert!(parents.has_come_true(&second));
    }

    #[test]
    fn what_is_believed_late_does_not_outlive_its_request_either() {
        let mut parents = Parents::default();
        accept(&mut parents);
        // Two other connections show that the server's guesses come true.
        for (task, sock) in [(80, 8), (81, 9)] {
            let at_ns = 10 * sock;
            parents.note_accept(connection(sock), &under(SERVER, sock as u32, at_ns).executor);
            parents.note_context(&under(SERVER, sock as u32, at_ns).executor, task, at_ns);
            let id = ExchangeId(100 + sock);
            parents.begin_server(&started(id, under(task, 20, at_ns + 1)), connection(sock));
            parents.answering(id, &under(task, 21, at_ns + 2));
            parents.end(id);
        }
        serve_two(&mut parents);
        let mut of_call = |call, context| {
            let started = started(ExchangeId(call), under(context, 30, 100));
            let found = parents.of_call(&started, connection(99), &Endpoint::Unix(String::new()));
            found.map(|found| found.server)
        };
        assert_eq!(of_call(1000, FIRST), None, "it is over");
        assert_eq!(of_call(1001, SECOND), Some(OTHER));
    }

    #[test]
    fn calls_that_end_are_forgotten() {
        let mut parents = parents();
        assert!(hope(&mut parents, 1000, TASK).is_some());
        parents.end(ExchangeId(1000));
        assert_eq!(parents.hope_of(ExchangeId(1000)), None);
        assert_eq!(hope(&mut parents, 1001, SERVER), None, "the server's own");
    }
}
