//! Who works on a message that was pushed: the thread that has read it, until it says what became of it.
//!
//! A thread that reads a message may go on with it, or put it aside: for another thread, for later, because it was
//! waiting for something else. So threads are believed only on connections whose reader was seen to go on with what it
//! had read, and only where no other message of the connection waits for a word.

use foldhash::HashMap;

use super::{Found, Key, MAX_REMEMBERED, Parents};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Executor, Scheduling};
use crate::pairing::ExchangeId;
use crate::span::Evidence;

/// Messages of one connection without a word that are counted. With more, nobody is believed to work on one.
const MAX_UNSETTLED: usize = 4_096;
/// Calls made for one message that are looked at.
const MAX_CALLS: usize = 8;
/// Messages of a connection that its reader must be seen to go on with, before that is believed of others.
const PROOFS: u32 = 2;
/// How many times as many are asked for after each that they did not.
const DISAPPOINTMENT: u32 = 4;
const MAX_PROOFS: u32 = 1 << 12;

/// What is known of pushed messages.
#[derive(Debug, Default)]
pub(in crate::correlation) struct Pushes {
    connections: HashMap<ConnectionId, Brought>,
    /// What each thread has read last, as long as it may work on it.
    threads: HashMap<(u32, u32), Current>,
    habits: HashMap<u32, Habit>,
}

/// Messages that one connection has brought.
#[derive(Debug, Default)]
struct Brought {
    /// Messages that whoever read them went on with, since the process was last seen to do otherwise. What one consumer of
    /// a process does says nothing of its others.
    proofs: u32,
    disappointments: u32,
    /// The process and thread that may work on its last message. At most one does.
    reader: Option<(u32, u32)>,
    /// Those without a word from the consumer, by their numbers.
    unsettled: HashMap<u64, ExchangeId>,
    /// There was more than one at a time, since there was none.
    is_crowded: bool,
    /// Thread and turn of what was written last.
    written: Option<(u32, u32)>,
    /// When an answer was read last.
    answered_ns: Option<u64>,
    /// The turn in which a message was read last.
    turn: u32,
}

/// A message that a thread has read.
#[derive(Debug)]
struct Current {
    work: ExchangeId,
    connection: ConnectionId,
    turn: u32,
    is_believed: bool,
    /// Calls that the thread has made since, in the same turn.
    calls: Vec<ExchangeId>,
    /// One of them was answered in the same turn.
    is_answered: bool,
}

/// How often the threads of a process did not go on with a message that they had read.
#[derive(Clone, Copy, Debug, Default)]
struct Habit {
    disappointments: u32,
}

impl Habit {
    /// Returns the proofs that each connection needs.
    fn needed(self) -> u32 {
        PROOFS.saturating_mul(DISAPPOINTMENT.saturating_pow(self.disappointments)).min(MAX_PROOFS)
    }
}

impl Brought {
    /// Returns whether its readers are known to go on with what they read.
    fn is_proven(&self, habit: Habit) -> bool {
        self.disappointments == habit.disappointments && self.proofs >= habit.needed()
    }

    fn prove(&mut self, habit: Habit) {
        if self.disappointments != habit.disappointments {
            (self.proofs, self.disappointments) = (0, habit.disappointments);
        }
        self.proofs = self.proofs.saturating_add(1).min(MAX_PROOFS);
    }
}

impl Pushes {
    fn disappoint(&mut self, tgid: u32) {
        let habit = self.habits.entry(tgid).or_default();
        habit.disappointments = habit.disappointments.saturating_add(1);
    }

    fn habit(&self, tgid: u32) -> Habit {
        self.habits.get(&tgid).copied().unwrap_or_default()
    }

    /// Returns whether the readers of a connection are known to go on with its messages.
    fn is_proven(&self, connection: ConnectionId, tgid: u32) -> bool {
        self.connections.get(&connection).is_some_and(|brought| brought.is_proven(self.habit(tgid)))
    }

    /// Nobody is known to work on any message of a connection.
    fn detach_connection(&mut self, connection: ConnectionId) {
        let reader = self.connections.get_mut(&connection).and_then(|brought| brought.reader.take());
        if let Some(place) = reader
            && self.threads.get(&place).is_some_and(|current| current.connection == connection)
        {
            self.threads.remove(&place);
        }
    }

    /// Whatever a thread works on, it is none of its messages.
    pub(super) fn detach(&mut self, tgid: u32, tid: u32) {
        self.threads.remove(&(tgid, tid));
    }

    pub(super) fn forget_thread(&mut self, tgid: u32, tid: u32) {
        self.threads.remove(&(tgid, tid));
    }

    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.threads.retain(|(owner, _), _| *owner != tgid);
        self.habits.remove(&tgid);
    }

    /// Returns the work that waited for a word on a connection that is gone, or of which something was missed.
    pub(in crate::correlation) fn forget_connection(&mut self, connection: ConnectionId) -> Vec<ExchangeId> {
        self.detach_connection(connection);
        let mut works: Vec<_> = self
            .connections
            .remove(&connection)
            .into_iter()
            .flat_map(|it| it.unsettled.into_values())
            .collect();
        works.sort_unstable();
        works
    }

    /// A thread makes a call.
    pub(super) fn note_call(&mut self, call: ExchangeId, connection: ConnectionId, executor: &Executor) {
        let current = self.threads.get_mut(&(executor.tgid, executor.tid));
        if let Some(current) = current
            && current.turn == executor.turn
            && current.connection != connection
            && current.calls.len() < MAX_CALLS
        {
            current.calls.push(call);
        }
    }

    /// A connection is written to.
    pub(in crate::correlation) fn write(&mut self, connection: ConnectionId, executor: &Executor) {
        if let Some(brought) = self.connections.get_mut(&connection) {
            brought.written = Some((executor.tid, executor.turn));
        }
    }

    /// A call was answered.
    pub(in crate::correlation) fn answered(&mut self, connection: ConnectionId, at_ns: u64) {
        if let Some(brought) = self.connections.get_mut(&connection) {
            brought.answered_ns = Some(at_ns);
        }
    }

    /// A thread reads on a connection, on which this call is the oldest that is open. Who reads anything but the answer
    /// to a call of its own has put its message aside.
    pub(in crate::correlation) fn read(
        &mut self,
        connection: ConnectionId,
        call: Option<ExchangeId>,
        executor: &Executor,
    ) {
        let place = (executor.tgid, executor.tid);
        let Some(current) = self.threads.get_mut(&place).filter(|current| current.connection != connection)
        else {
            return;
        };
        let is_own = call.is_some_and(|call| current.calls.contains(&call));
        if is_own && current.turn == executor.turn {
            current.is_answered = true;
            return;
        }
        self.threads.remove(&place);
        self.disappoint(executor.tgid);
    }

    /// Notes a message without a word; returns whether whoever has read it may be known to work on it.
    fn bring(&mut self, connection: ConnectionId, number: u64, work: ExchangeId, read: &Stamp) -> bool {
        let is_first = !self.connections.contains_key(&connection);
        if is_first && self.connections.len() >= MAX_REMEMBERED {
            return false;
        }
        let brought = self.connections.entry(connection).or_default();
        let Executor { tid, turn, .. } = read.executor;
        let is_polling = turn != std::mem::replace(&mut brought.turn, turn);
        // What was read along with something else is put aside until that is done.
        let is_along =
            brought.answered_ns == Some(read.at_ns) || (is_polling && brought.written == Some((tid, turn)));
        brought.is_crowded |= !brought.unsettled.is_empty() || is_along;
        if brought.unsettled.len() < MAX_UNSETTLED {
            brought.unsettled.insert(number, work);
        }
        !brought.is_crowded && !is_first
    }
}

impl Parents {
    /// Notes a message that a connection has brought, which the client will say a word about under `number`, and that
    /// nothing else is awaited there. Returns whether who has read it works on it.
    pub(in crate::correlation) fn push(
        &mut self,
        work: ExchangeId,
        connection: ConnectionId,
        number: u64,
        is_quiet: bool,
        read: &Stamp,
    ) -> bool {
        let may_be_known = self.pushes.bring(connection, number, work, read);
        self.pushes.detach_connection(connection);
        let Executor { tgid, tid, turn, .. } = read.executor;
        let key = self.key(&read.executor);
        let is_thread = matches!(key, Key::Thread { .. }) && self.scheduling(tgid) == Scheduling::Threads;
        if !may_be_known || !is_quiet || !is_thread || self.pushes.threads.len() >= MAX_REMEMBERED {
            return false;
        }
        let is_believed = self.pushes.is_proven(connection, tgid);
        let current = Current { work, connection, turn, is_believed, calls: Vec::new(), is_answered: false };
        if let Some(brought) = self.pushes.connections.get_mut(&connection) {
            brought.reader = Some((tgid, tid));
        }
        if self.pushes.threads.insert((tgid, tid), current).is_some() {
            // It has another message of another connection.
            self.pushes.detach(tgid, tid);
            self.ambiguous += 1;
            return false;
        }
        if is_believed {
            self.insert_work(work, key, connection, read.at_ns);
        }
        is_believed
    }

    /// Notes that the client has said a word about a message. Returns the work that is over with that.
    pub(in crate::correlation) fn settle(
        &mut self,
        connection: ConnectionId,
        number: u64,
        executor: &Executor,
    ) -> Option<ExchangeId> {
        let brought = self.pushes.connections.get_mut(&connection)?;
        let work = brought.unsettled.remove(&number)?;
        brought.is_crowded &= !brought.unsettled.is_empty();
        let Some(place) = brought.reader else { return Some(work) };
        let is_its = |current: &Current| current.work == work;
        if !self.pushes.threads.get(&place).is_some_and(is_its) {
            return Some(work);
        }
        let is_same = place == (executor.tgid, executor.tid);
        let is_answered = self.pushes.threads.remove(&place).is_some_and(|current| current.is_answered);
        match (is_same, is_answered) {
            (true, true) => {
                let habit = self.pushes.habit(place.0);
                if let Some(brought) = self.pushes.connections.get_mut(&connection) {
                    brought.prove(habit);
                }
            }
            (true, false) => {}
            (false, _) => self.pushes.disappoint(place.0),
        }
        Some(work)
    }

    /// Returns the message that a thread works on, which it has read in this turn.
    pub(super) fn of_push(&self, executor: &Executor) -> Option<Found> {
        let current = self.pushes.threads.get(&(executor.tgid, executor.tid))?;
        let is_known = current.is_believed && current.turn == executor.turn;
        (is_known && self.servers.contains_key(&current.work))
            .then_some(Found { server: current.work, evidence: Evidence::Thread })
    }
}
