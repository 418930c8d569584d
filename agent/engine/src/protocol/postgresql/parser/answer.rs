//! Messages of the server: which steps they end, and with them which exchanges.

use super::{Meaning, Opening, PostgresqlParser, tell_response};
use crate::protocol::postgresql::failure;
use crate::protocol::postgresql::message::text;
use crate::protocol::postgresql::outcome::{Answered, aborted};
use crate::protocol::postgresql::pending::Kind;
use crate::protocol::postgresql::request;
use crate::protocol::{MessageKind, Refusal, Response};

impl PostgresqlParser {
    /// Takes a message of the server.
    pub(super) fn answer(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        match kind {
            b'N' => return Ok(Meaning::Silent),
            b'A' => return Ok(self.one_way()),
            b'S' => {
                self.parameter(body);
                return Ok(Meaning::Silent);
            }
            _ => {}
        }
        if self.opening != Opening::Done {
            return Ok(self.opening_answer(kind, body));
        }
        if kind == b'Z' && !self.must_tell_before_ready() {
            self.note_ready();
        }
        if !self.turns.are_known() {
            return Ok(Meaning::Silent);
        }
        match kind {
            // A server that shuts down, or gives up on an idle session, says so unasked. But not amid a batch, of which the
            // step that has failed may still be to be shown.
            b'E' if self.pending.is_empty() && !(self.batch.is_open && self.may_wait) => Ok(self.one_way()),
            _ if self.pending.is_empty() && self.may_wait => Ok(Meaning::Wait),
            // Only a part of the batch has been shown, and not what it asks for.
            b'E' if self.batch.is_open && self.may_wait && !self.pending.has_exchange() => Ok(Meaning::Wait),
            _ if self.pending.is_empty() => Err("answer to no question"),
            _ => self.answer_to_step(kind, body),
        }
    }

    /// Takes a message that is part of the opening: that the server is ready, or refuses the client.
    fn opening_answer(&mut self, kind: u8, body: &[u8]) -> Meaning {
        match kind {
            b'Z' => self.opening = Opening::Done,
            b'E' if self.pending.is_empty() => {
                self.opening = Opening::Done;
                self.answered.fail(failure::read(body));
                let (request, response) = (request::connect(&self.identity), self.answered.take(false));
                return Meaning::Refuse(Box::new(Refusal { request, response }));
            }
            _ => {}
        }
        Meaning::Silent
    }

    fn answer_to_step(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        if self.pending.front() == Some(Kind::Unseen) {
            return Ok(self.answer_to_unseen(kind, body));
        }
        match kind {
            b'1' => return self.finish(Kind::Parse),
            b'2' => return self.finish(Kind::Bind),
            b'3' => return self.finish(Kind::Close),
            b'T' | b'n' if self.pending.front() == Some(Kind::Describe) => {
                return self.finish(Kind::Describe);
            }
            b'D' => self.answered.row(),
            b'C' | b'I' | b's' => {
                self.is_copying_in = false;
                self.answered.complete(body);
                if self.pending.front() != Some(Kind::Query) {
                    return self.finish(Kind::Execute);
                }
            }
            b'E' => return Ok(self.fail(body)),
            b'Z' => return self.ready(),
            b'G' | b'W' => {
                self.is_copying_in = true;
                if self.pending.front() == Some(Kind::Execute) && self.pending.remove_early_sync() {
                    self.turns.withdraw();
                }
            }
            _ => {}
        }
        Ok(Meaning::Silent)
    }

    /// Takes a message of the answer to a batch of which not all was seen: what comes twice shows that more was asked
    /// than was thought.
    fn answer_to_unseen(&mut self, kind: u8, body: &[u8]) -> Meaning {
        match kind {
            b'D' => self.answered.row(),
            b'1' | b'2' if self.answered.is_first(kind) => {}
            b'C' | b'I' | b's' if self.answered.is_first(b'C') => self.answered.complete(body),
            b'E' if !self.answered.has_come(b'C') && !self.answered.has_failed() => {
                self.answered.fail(failure::read(body));
            }
            b'T' | b'n' | b't' | b'3' => {}
            b'Z' if self.answered.has_come(b'C') || self.answered.has_failed() => {
                self.pending.pop();
                return tell_response(self.answered.take(false));
            }
            _ => return Meaning::GiveUp,
        }
        Meaning::Silent
    }

    /// Ends the first step, and with it maybe an exchange.
    fn finish(&mut self, kind: Kind) -> Result<Meaning, &'static str> {
        let Some(step) = self.pending.pop().filter(|step| step.kind == kind) else {
            return Err("answer to another question");
        };
        if !step.is_last {
            return Ok(Meaning::Silent);
        }
        let response = self.answered.take(step.is_unnamed);
        Ok(self.hold_or_tell(response))
    }

    /// A `Sync` that is known to follow may still fail the exchange: its response waits.
    fn hold_or_tell(&mut self, response: Response) -> Meaning {
        if self.pending.front() == Some(Kind::Sync) {
            self.held = Some(response);
            return Meaning::Silent;
        }
        tell_response(response)
    }

    fn fail(&mut self, body: &[u8]) -> Meaning {
        self.is_copying_in = false;
        self.answered.fail(failure::read(body));
        match self.pending.front() {
            Some(Kind::Query | Kind::Function) => Meaning::Silent,
            Some(Kind::Sync) => {
                let response = self.answered.take(false);
                match self.held.replace(response) {
                    Some(_) => Meaning::Silent,
                    None => {
                        self.held = None;
                        self.one_way()
                    }
                }
            }
            _ if self.pending.abort_exchange() => {
                let response = self.answered.take(false);
                self.hold_or_tell(response)
            }
            _ => {
                self.answered = Answered::default();
                self.one_way()
            }
        }
    }

    /// Returns whether exchanges before the next `Sync` are still to be told.
    fn must_tell_before_ready(&self) -> bool {
        let is_batch = !matches!(self.pending.front(), Some(Kind::Query | Kind::Function | Kind::Unseen));
        is_batch && self.pending.has_exchange()
    }

    fn ready(&mut self) -> Result<Meaning, &'static str> {
        if matches!(self.pending.front(), Some(Kind::Query | Kind::Function)) {
            self.pending.pop();
            return Ok(tell_response(self.answered.take(false)));
        }
        let held = self.held.take();
        if self.must_tell_before_ready() {
            if let Some(response) = held {
                return Ok(Meaning::TellBefore(MessageKind::Response(Box::new(response))));
            }
            self.pending.abort_exchange();
            return Ok(Meaning::TellBefore(MessageKind::Response(Box::new(aborted()))));
        }
        // Steps that a failed batch left over.
        while self.pending.pop().ok_or("ready without a sync")?.kind != Kind::Sync {}
        Ok(held.map_or(Meaning::Silent, tell_response))
    }

    fn parameter(&mut self, body: &[u8]) {
        let (name, rest) = text(body);
        if name == b"standard_conforming_strings" {
            self.options.backslash_escapes = text(rest).0 == b"off";
        }
    }

    fn one_way(&self) -> Meaning {
        if self.turns.are_known() { Meaning::Tell(MessageKind::OneWay) } else { Meaning::Silent }
    }
}
