//! The ends of answers and of batches of which bytes are missing.

use super::{Batch, Meaning, PostgresqlParser, tell_response};
use crate::protocol::postgresql::align;
use crate::protocol::postgresql::ending::{self, Ending};
use crate::protocol::postgresql::message::HEADER_BYTES;
use crate::protocol::postgresql::pending::Kind;
use crate::protocol::postgresql::{failure, request};
use crate::protocol::{Answer, Message, MessageKind, Response};

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
            return Answer::pass_over(bytes, ending::MAX_BYTES);
        };
        let Some(meaning) = self.sought_ending(before, state) else { return self.give_up() };
        self.server.is_seeking = false;
        match meaning {
            Meaning::Tell(kind) => Answer::Message { eaten: bytes.len(), message: Message::in_order(kind) },
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

    /// Looks for the end of the client's batch if it may be the only one and executes nothing so far; returns whether
    /// that is so.
    pub(super) fn seek_sync(&mut self, bytes: &[u8]) -> bool {
        if self.client.is_seeking {
            return true;
        }
        let is_first = if self.batch.is_open { !self.pending.has_end() } else { self.pending.is_empty() };
        if !is_first || self.is_copying_in || self.server.is_seeking || !self.take_beginning(bytes) {
            return false;
        }
        let is_known = self.batch.bound.is_some() || self.batch.parsed.is_some();
        self.client.is_seeking = is_known && self.batch.is_open && self.batch.is_reported;
        self.may_wait &= !self.client.is_seeking;
        self.client.is_seeking
    }

    /// Takes the names and the statement at the beginning of a message; returns whether nothing speaks against it.
    fn take_beginning(&mut self, bytes: &[u8]) -> bool {
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let texts = body.iter().filter(|&&byte| byte == 0).take(2).count();
        match (bytes.first(), texts) {
            (Some(&kind @ b'P'), 1..) | (Some(&kind @ b'B'), 2) => self.question(kind, body).is_ok(),
            (Some(b'P' | b'B' | b'D') | None, _) => true,
            _ => false,
        }
    }

    /// Takes bytes of a batch behind the missing ones, up to an `Execute` and a `Sync` that end what is shown.
    pub(super) fn sought_sync(&mut self, bytes: &[u8]) -> Answer {
        match ending::execute(bytes) {
            None => return Answer::pass_over(bytes, ending::MAX_BYTES),
            Some(0) => {}
            // The exchange begins with it.
            Some(eaten) => return Answer::Nothing { eaten },
        }
        let bound = self.batch.bound.take();
        let bound_marks = std::mem::take(&mut self.batch.bound_marks);
        let Some(statement) = bound.or_else(|| self.batch.parsed.take()) else { return self.give_up() };
        self.client.is_seeking = false;
        self.batch = Batch { is_reported: true, has_execute: true, ..Batch::default() };
        self.pending.clear();
        if self.pending.push(Kind::Unseen, false).is_err() {
            return self.give_up();
        }
        let mut request = request::execute(Some(&statement), &self.identity);
        request.marks.extend_front(bound_marks);
        Answer::Message {
            eaten: bytes.len(),
            message: Message::in_order(MessageKind::Request(Box::new(request))),
        }
    }

    /// Forgets an exchange whose end was not seen.
    pub(super) fn give_up(&mut self) -> Answer {
        self.lose();
        Answer::Lost
    }
}
