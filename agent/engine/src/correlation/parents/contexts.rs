//! What Python's contexts are for: a request, or a connection and whatever is asked on it.

use foldhash::HashMap;

use crate::event::ConnectionId;
use crate::pairing::ExchangeId;

/// Contexts that are remembered before the older half is forgotten. A copy costs no call that would tell its end.
const MAX_CONTEXTS: usize = 65_536;
/// Answers on one connection, and on no other, after which a context of unknown origin is that connection's.
const PROVEN_ANSWERS: u32 = 2;

/// What a task works for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// One request.
    Request(ExchangeId),
    /// The requests of one connection, one after the other.
    Connection(ConnectionId),
    /// No request.
    Nobody,
}

#[derive(Debug)]
struct Known {
    owner: Owner,
    /// The context it was copied from; 0 where unknown.
    origin: u64,
    made_at_ns: u64,
}

#[derive(Debug)]
struct Answers {
    connection: Option<ConnectionId>,
    count: u32,
}

/// The contexts of all processes.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    known: HashMap<(u32, u64), Known>,
    /// Who was answered under contexts that were not seen being made.
    answers: HashMap<(u32, u64), Answers>,
}

impl Contexts {
    /// Returns what a context is for; none where it was not seen being made and has not shown it.
    pub(super) fn owner(&self, tgid: u32, context: u64) -> Option<Owner> {
        self.known.get(&(tgid, context)).map(|known| known.owner)
    }

    /// Notes a new context, at an address that may have been another's.
    pub(super) fn make(&mut self, tgid: u32, context: u64, origin: u64, owner: Owner, at_ns: u64) {
        if self.known.len() >= MAX_CONTEXTS {
            let mut times: Vec<u64> = self.known.values().map(|known| known.made_at_ns).collect();
            let middle = times.len() / 2;
            let (_, &mut median, _) = times.select_nth_unstable(middle);
            self.known.retain(|_, known| known.made_at_ns > median);
        }
        self.answers.remove(&(tgid, context));
        self.known.insert((tgid, context), Known { owner, origin, made_at_ns: at_ns });
    }

    /// Notes that a request of a connection was answered under a context.
    pub(super) fn answer(&mut self, tgid: u32, context: u64, connection: ConnectionId, at_ns: u64) {
        let unknown = match self.known.get_mut(&(tgid, context)) {
            Some(known) => {
                if known.owner == Owner::Nobody {
                    known.owner = Owner::Connection(connection);
                }
                known.origin
            }
            None => context,
        };
        if unknown == 0 || self.known.contains_key(&(tgid, unknown)) {
            return;
        }
        if self.answers.len() >= MAX_CONTEXTS {
            self.answers.clear();
        }
        let first = Answers { connection: Some(connection), count: 0 };
        let answers = self.answers.entry((tgid, unknown)).or_insert(first);
        if answers.connection != Some(connection) {
            answers.connection = None;
            return;
        }
        answers.count += 1;
        if answers.count >= PROVEN_ANSWERS {
            self.make(tgid, unknown, 0, Owner::Connection(connection), at_ns);
        }
    }

    /// Forgets the contexts of a process.
    pub(super) fn forget_process(&mut self, tgid: u32) {
        self.known.retain(|(owner, _), _| *owner != tgid);
        self.answers.retain(|(owner, _), _| *owner != tgid);
    }
}
