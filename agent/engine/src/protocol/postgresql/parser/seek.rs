//! The end of an answer of which bytes are missing.

use super::{Meaning, PostgresqlParser, in_order, pass_over, tell_response};
use crate::protocol::postgresql::align;
use crate::protocol::postgresql::ending::{self, Ending};
use crate::protocol::postgresql::failure;
use crate::protocol::{Answer, Response};

impl PostgresqlParser {
    /// Looks for the end of the answer if only one exchange can end there; returns whether that is so.
    pub(super) fn seek_ready(&mut self) -> bool {
        let is_alone = self.turns.are_known()
            && !self.batch.is_open
            && !self.is_copying_in
            && self.pending.is_single(self.held.is_some());
        self.server.is_seeking |= is_alone;
        // What comes after a wrong end must not wait for the next question and become its answer.
        self.may_wait &= !is_alone;
        self.server.is_seeking
    }

    /// Takes bytes behind the missing ones: the server says nothing after it is ready, so that this ends what is shown.
    pub(super) fn sought(&mut self, bytes: &[u8]) -> Answer {
        let Some((before, state)) = align::ready_at_end(bytes) else {
            return pass_over(bytes, ending::MAX_BYTES);
        };
        let Some(meaning) = self.sought_ending(before, state) else { return self.give_up() };
        self.server.is_seeking = false;
        match meaning {
            Meaning::Tell(kind) => Answer::Message { eaten: bytes.len(), message: in_order(kind) },
            _ => Answer::Nothing { eaten: bytes.len() },
        }
    }

    /// None where it cannot be told how the exchange ended.
    fn sought_ending(&mut self, before: &[u8], state: u8) -> Option<Meaning> {
        let has_failed = self.answered.has_failed();
        let is_held = self.held.is_some();
        match ending::read(before) {
            Some(Ending::Failed(fields)) => self.answered.fail(failure::read(fields)),
            Some(Ending::Complete(tag)) if state != b'E' && !has_failed && !is_held => {
                self.answered.complete_unseen(tag, !self.batch.has_many_statements);
            }
            Some(Ending::Suspended) if state != b'E' && !has_failed && !is_held => {
                self.answered.complete_unseen(b"", false);
            }
            _ => return None,
        }
        self.turns.response();
        let response = self.last_response();
        self.pending.clear();
        Some(response.map_or(Meaning::Silent, tell_response))
    }

    fn last_response(&mut self) -> Option<Response> {
        let last = self.pending.last_of_exchange();
        let is_held = self.held.take().is_some();
        let is_unnamed = last.is_some_and(|step| step.is_unnamed);
        let response = self.answered.take(is_unnamed);
        (is_held || last.is_some()).then_some(response)
    }

    /// Forgets an exchange whose end was not seen.
    pub(super) fn give_up(&mut self) -> Answer {
        self.lose();
        Answer::Lost
    }
}
