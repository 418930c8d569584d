//! Packets of the server: how far they bring the answer to a command.

use super::{Meaning, MysqlParser, tell_response};
use crate::protocol::mysql::answering::{Answering, Step};
use crate::protocol::mysql::failure::Failure;
use crate::protocol::mysql::packet::{END, EOF_BYTES, ERROR, FULL_BYTES, HEADER_BYTES, Header};
use crate::protocol::mysql::pending::{Effect, Pending};
use crate::protocol::mysql::request;
use crate::protocol::mysql::status::Status;
use crate::protocol::{MessageKind, Outcome, Response, set};
use crate::semconv::{self, Attributes};

impl MysqlParser {
    /// Returns the length of the whole rows that `bytes` begin with, and counts them.
    pub(super) fn rows(&mut self, bytes: &[u8]) -> usize {
        let Some(answering) = self.answering.as_mut().filter(|answering| answering.is_at_rows()) else {
            return 0;
        };
        if self.server.is_continued {
            return 0;
        }
        let mut eaten = 0;
        while let Some(rest) = bytes.get(eaten..)
            && let Some((header, first)) = Header::of(rest).zip(rest.get(HEADER_BYTES))
            && !matches!(*first, END | ERROR)
            && (1..FULL_BYTES).contains(&header.length)
            && header.whole() <= rest.len()
            && self.server.sequence.is_none_or(|sequence| sequence == header.sequence)
        {
            answering.row();
            self.server.sequence = self.server.sequence.map(|sequence| sequence.wrapping_add(1));
            eaten += header.whole();
        }
        eaten
    }

    /// Returns how much is of interest of the first packet of an answer.
    pub(super) fn first_interest(&self, header: Header, first: u8) -> usize {
        let form = self.pending.front().map(|pending| pending.form);
        form.map_or(header.length.min(EOF_BYTES), |form| Answering::new(form).interest(header.length, first))
    }

    /// Takes a packet of the server of which the beginning is shown.
    pub(super) fn answer(&mut self, header: Header, payload: &[u8]) -> Result<Meaning, &'static str> {
        let Some(pending) = self.pending.front() else { return self.unasked(header, payload) };
        if self.answering.is_none() {
            let is_sent = !self.client.is_continued && !self.client.is_seeking;
            let sequence = is_sent.then(|| pending.sequence.wrapping_add(1));
            self.server.sequence = sequence.filter(|_| self.compression.is_none());
            self.answering = Some(Answering::new(pending.form));
        }
        if self.is_uploading() && self.may_wait && !self.client.is_seeking {
            return Ok(Meaning::Wait);
        }
        if self.client.is_seeking {
            // Whatever it sent is over.
            (self.client.is_seeking, self.client.is_continued) = (false, false);
            self.server.sequence = None;
        }
        if self.server.sequence.is_some_and(|sequence| sequence != header.sequence) {
            return Err("packet out of order");
        }
        self.server.sequence = self.after(header.sequence);
        let Some(answering) = &mut self.answering else { return Ok(Meaning::Silent) };
        let step = answering.take(payload, header.length, &mut self.manner)?;
        Ok(self.take_step(step))
    }

    fn take_step(&mut self, step: Step<'_>) -> Meaning {
        if let Some((id, parameters)) = step.prepared
            && let Some(Pending { effect: Effect::Prepare(statement), .. }) = self.pending.front()
        {
            let statement = std::sync::Arc::clone(statement);
            self.statements.insert(id, statement, parameters);
        }
        if let Some(status) = step.status {
            self.stand(status);
        }
        if !step.is_over {
            return Meaning::Silent;
        }
        let (rows, failure) = self.answering.take().map(Answering::finish).unwrap_or_default();
        self.finish(rows, failure)
    }

    /// Notes how the server stands from now on.
    pub(super) fn stand(&mut self, status: Status<'_>) {
        self.options.backslash_escapes = !status.has_plain_backslashes;
        if let Some(database) = status.database {
            self.identity.database = Some(request::name(database)).filter(|name| !name.is_empty());
        }
    }

    /// Ends the first command.
    pub(super) fn finish(&mut self, rows: Option<u64>, failure: Option<Failure>) -> Meaning {
        self.is_uploaded = false;
        self.server.sequence = None;
        self.turns.response();
        let Some(pending) = self.pending.pop() else { return Meaning::Silent };
        if failure.is_none() {
            self.take_effect(pending.effect);
        }
        match pending.is_reported {
            true => tell_response(response(rows, failure)),
            false => Meaning::Silent,
        }
    }

    fn take_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing | Effect::Prepare(_) => {}
            Effect::Database(database) => self.identity.database = Some(database),
            Effect::User(identity) => {
                self.identity = identity;
                self.statements.clear();
            }
            Effect::Reset => self.statements.clear(),
        }
    }

    /// Takes a packet that answers no command.
    fn unasked(&mut self, header: Header, payload: &[u8]) -> Result<Meaning, &'static str> {
        match payload.first() {
            // A server that shuts down, or gives up on an idle session, says so unasked.
            Some(&ERROR) if header.sequence == 0 => Ok(self.one_way()),
            // It was not known that a packet ends definitions.
            Some(&END) if header.length == EOF_BYTES && self.manner.ends_definitions.is_none() => {
                self.manner.ends_definitions = Some(true);
                Ok(Meaning::Silent)
            }
            _ if self.may_wait => Ok(Meaning::Wait),
            _ => Err("answer to no command"),
        }
    }

    fn one_way(&self) -> Meaning {
        if self.turns.are_known() { Meaning::Tell(MessageKind::OneWay) } else { Meaning::Silent }
    }
}

pub(super) fn response(rows: Option<u64>, failure: Option<Failure>) -> Response {
    let mut attributes = Attributes::new();
    let mut outcome = Outcome::default();
    match (failure, rows) {
        (Some(failure), _) => {
            let code = failure.code.to_string();
            set(&mut attributes, semconv::DB_RESPONSE_STATUS_CODE, code.clone());
            if !failure.state.is_empty() {
                set(&mut attributes, semconv::REMORA_DB_SQLSTATE, failure.state);
            }
            let (error_type, message) = (Some(code), Some(failure.message));
            outcome = Outcome { error_type, message, is_client_fault: false };
        }
        (None, Some(rows)) => {
            let rows = i64::try_from(rows).unwrap_or(i64::MAX);
            set(&mut attributes, semconv::DB_RESPONSE_RETURNED_ROWS, rows);
        }
        (None, None) => {}
    }
    Response { attributes, outcome, ..Response::default() }
}
