//! Who works on a message: the one that received it, until it asks for the next.

use super::{Found, Key, MAX_REMEMBERED, Owner, Parents, Server};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Executor, Scheduling};
use crate::pairing::ExchangeId;
use crate::protocol::Source;
use crate::span::Evidence;

/// How a message was received, and with that until when it is worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::correlation) enum Receiving {
    /// A thread has waited for it, and does nothing else until it asks the same queue again.
    Alone,
    /// A task or goroutine has waited for it; others that it started may work on after it asks again.
    AsTask,
    /// It was handed to a worker process, which works on nothing else until it reads the next.
    Handed,
    /// It was pushed, and its consumer will say a word about it.
    Pushed,
}

/// How long a unit of work may wait for the message that it has asked for.
const MAX_ASKING_NS: u64 = 60_000_000_000;

/// A message that is worked on.
#[derive(Debug)]
pub(super) struct Receipt {
    pub(super) work: ExchangeId,
    /// The queues that were asked, or the pipe that it came through.
    pub(super) source: u64,
    /// Whom the context of a task worked for before.
    owner: Option<Owner>,
}

impl Parents {
    /// Notes that a unit of work asks for a message, as its process tells.
    pub(in crate::correlation) fn note_asking(&mut self, tgid: u32, token: u64, at_ns: u64) {
        if self.asking.len() >= MAX_REMEMBERED {
            self.over_limit += 1;
            return;
        }
        self.asking.insert((tgid, token), at_ns);
    }

    /// Returns whether a call is that of a unit of work which asks for a message.
    pub(in crate::correlation) fn is_asking(&self, caller: &Executor) -> bool {
        caller.token.is_some_and(|token| self.asking.contains_key(&(caller.tgid, token)))
    }

    pub(super) fn sweep_asking(&mut self, now_ns: u64) {
        self.asking.retain(|_, since_ns| now_ns.saturating_sub(*since_ns) < MAX_ASKING_NS);
    }

    /// Notes that a message is asked for: whoever received one from the same queues before has done with it. Returns the
    /// work that is over with that.
    pub(in crate::correlation) fn ask(
        &mut self,
        connection: ConnectionId,
        first: &Stamp,
        source: u64,
    ) -> Option<ExchangeId> {
        if self.receipts.is_empty() {
            return None;
        }
        let key = self.key(&self.claims.writer(connection, first)?.executor);
        let receipt = self.receipts.get(&key)?;
        if receipt.source != source {
            return None;
        }
        let work = receipt.work;
        self.detach(key);
        matches!(key, Key::Thread { .. }).then_some(work)
    }

    /// Begins the work that a message asks for, which `asked` has asked for and `read` has brought. Returns how it is
    /// followed; none where nobody is known to work on it.
    ///
    /// Only who is ready to wait for a message has none left to work on. An event loop always may.
    pub(in crate::correlation) fn begin_work(
        &mut self,
        work: ExchangeId,
        connection: ConnectionId,
        source: &Source,
        asked: &Stamp,
        read: &Stamp,
    ) -> Option<Receiving> {
        let asker = self.claims.writer(connection, asked)?.executor;
        let key = self.key(&asker);
        if self.receipts.contains_key(&key) {
            // A message of one queue while another's is worked on: from here on it may be either.
            self.detach(key);
            self.ambiguous += 1;
            return None;
        }
        if !source.may_wait {
            return None;
        }
        let receiving = match (key, self.scheduling(asker.tgid)) {
            // Clients that several goroutines share have one that writes for all, and another that reads for all.
            (Key::Goroutine { .. }, _) if key != self.key(&read.executor) => return None,
            (Key::Goroutine { .. } | Key::Context { .. } | Key::Token { .. }, _) => Receiving::AsTask,
            (Key::Thread { .. }, Scheduling::Threads) if has_waited_itself(&asker, &read.executor) => {
                Receiving::Alone
            }
            _ => return None,
        };
        if let Key::Token { tgid, id } = key {
            // It works on one.
            self.asking.remove(&(tgid, id));
        }
        self.insert_work(work, key, connection, read.at_ns);
        self.attach(key, work, source.hash);
        Some(receiving)
    }

    pub(super) fn insert_work(
        &mut self,
        work: ExchangeId,
        key: Key,
        connection: ConnectionId,
        started_at_ns: u64,
    ) {
        let tgid = key.tgid();
        let server = Server {
            tgid,
            key,
            connection,
            content: None,
            started_at_ns,
            read_at_ns: started_at_ns,
            read: self.reads,
            number: None,
            is_answering: true,
            is_given: false,
            has_waited: false,
            has_called: false,
            calls: 0,
            open_calls: 0,
            calling: None,
        };
        self.servers.insert(work, server);
        *self.serving.entry(tgid).or_default() += 1;
        self.alone.remove(&tgid);
    }

    pub(super) fn attach(&mut self, key: Key, work: ExchangeId, source: u64) {
        let owner = match key {
            Key::Context { tgid, id } => self.contexts.lend(tgid, id, Owner::Request(work)),
            Key::Goroutine { .. } | Key::Token { .. } => {
                self.by_key.entry(key).or_default().push(work);
                None
            }
            Key::Thread { .. } => None,
        };
        self.receipts.insert(key, Receipt { work, source, owner });
    }

    /// Whoever received a message works on it no more.
    pub(super) fn detach(&mut self, key: Key) {
        let Some(Receipt { work, owner, .. }) = self.receipts.remove(&key) else { return };
        super::remove(&mut self.by_key, &key, work);
        if let (Key::Context { tgid, id }, Some(owner)) = (key, owner) {
            self.contexts.lend(tgid, id, owner);
        }
    }

    /// Returns the work of a thread that received a message and does nothing else.
    pub(super) fn of_receipt(&self, key: Key) -> Option<Found> {
        let server = self.receipts.get(&key)?.work;
        self.servers.contains_key(&server).then_some(Found { server, evidence: Evidence::Thread })
    }

    /// Returns whether a goroutine works on a message. Those that it has started may work on earlier ones.
    pub(super) fn has_receipt(&self, key: Key) -> bool {
        self.receipts.contains_key(&key)
    }

    /// Forgets who works on it.
    pub(in crate::correlation) fn end_work(&mut self, work: ExchangeId) {
        let key = self.servers.get(&work).map(|server| server.key);
        if let Some(key) =
            key.filter(|key| self.receipts.get(key).is_some_and(|receipt| receipt.work == work))
        {
            self.detach(key);
        }
        self.end(work);
    }
}

/// The thread that asked has read the answer, and has not waited for anything else meanwhile.
fn has_waited_itself(asker: &Executor, reader: &Executor) -> bool {
    asker.tid == reader.tid && asker.turn == reader.turn
}
