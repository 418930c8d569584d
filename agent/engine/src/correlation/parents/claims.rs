//! For whom a connection is written to, where others write for them.
//!
//! A task says what is to be written, and another one, or the loop at the end of its round, writes it. Such a claim is
//! for one write: what is written later without a claim is nobody's, since the claim for it may have been lost.

use foldhash::HashMap;

use crate::connection::Stamp;
use crate::event::{ConnectionId, Executor};

use super::contexts::Known;

/// Whom a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) executor: Executor,
    /// It was claimed, by another thread or earlier. Then this is what was known of the claimant's context, which may
    /// have ended since.
    pub(super) claimed: Option<Option<Known>>,
}

#[derive(Clone, Copy, Debug)]
struct Claim {
    /// None where several tasks have claimed the same write.
    executor: Option<Executor>,
    /// What was known of its context.
    known: Option<Known>,
    /// When it was written.
    written_at_ns: Option<u64>,
}

/// The last claim of each connection that was ever claimed.
#[derive(Debug, Default)]
pub(super) struct Claims {
    // Connections are bounded, and their claims go with them.
    last: HashMap<ConnectionId, Claim>,
}

impl Claims {
    /// What is written to a connection next is written for `executor`.
    pub(super) fn claim(&mut self, connection: ConnectionId, executor: Executor, known: Option<Known>) {
        let new = Claim { executor: Some(executor), known, written_at_ns: None };
        let claim = self.last.entry(connection).or_insert(new);
        let is_shared = claim.written_at_ns.is_none()
            && claim.executor.is_none_or(|other| other.task != executor.task || other.tgid != executor.tgid);
        *claim = if is_shared { Claim { executor: None, ..new } } else { new };
    }

    /// A connection is written to.
    pub(super) fn write(&mut self, connection: ConnectionId, at_ns: u64) {
        if let Some(claim) = self.last.get_mut(&connection) {
            claim.written_at_ns.get_or_insert(at_ns);
        }
    }

    /// Returns for whom something was written whose first byte bears this stamp; none where that is not known.
    pub(super) fn writer(&self, connection: ConnectionId, first: &Stamp) -> Option<Writer> {
        let Some(claim) = self.last.get(&connection) else {
            return Some(Writer { executor: first.executor, claimed: None });
        };
        let executor = claim.executor.filter(|_| claim.written_at_ns == Some(first.at_ns))?;
        Some(Writer { executor, claimed: Some(claim.known) })
    }

    /// Forgets what was told: some of it may be out of date. What was claimed once stays nobody's.
    pub(super) fn invalidate(&mut self) {
        self.last.values_mut().for_each(|claim| claim.executor = None);
    }

    /// Forgets a connection.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.last.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Task;

    const CONNECTION: ConnectionId = ConnectionId { sock: 1, inode: 1 };

    fn task(id: u64) -> Executor {
        Executor { tgid: 1, tid: 1, task: Some(Task::Context(id)), ..Executor::default() }
    }

    fn stamp(at_ns: u64) -> Stamp {
        Stamp { at_ns, executor: task(99) }
    }

    fn write(claims: &mut Claims, at_ns: u64) -> Option<Executor> {
        claims.write(CONNECTION, at_ns);
        claims.writer(CONNECTION, &stamp(at_ns)).map(|writer| writer.executor)
    }

    #[test]
    fn a_claim_is_for_one_write() {
        let mut claims = Claims::default();
        assert_eq!(write(&mut claims, 1), Some(task(99)), "nobody ever claimed it");
        claims.claim(CONNECTION, task(1), None);
        assert_eq!(write(&mut claims, 2), Some(task(1)));
        assert_eq!(write(&mut claims, 3), None, "the claim for it was lost");
        assert_eq!(
            claims.writer(CONNECTION, &stamp(2)).map(|writer| writer.executor),
            Some(task(1)),
            "the rest of a request that began then"
        );
        claims.claim(CONNECTION, task(2), None);
        assert_eq!(write(&mut claims, 4), Some(task(2)));
        claims.forget(CONNECTION);
        assert_eq!(write(&mut claims, 5), Some(task(99)));
    }

    #[test]
    fn a_write_that_several_claim_is_nobodys() {
        let mut claims = Claims::default();
        claims.claim(CONNECTION, task(1), None);
        claims.claim(CONNECTION, task(1), None);
        assert_eq!(write(&mut claims, 1), Some(task(1)));
        claims.claim(CONNECTION, task(1), None);
        claims.claim(CONNECTION, task(2), None);
        claims.claim(CONNECTION, task(1), None);
        assert_eq!(write(&mut claims, 2), None);
    }
}
