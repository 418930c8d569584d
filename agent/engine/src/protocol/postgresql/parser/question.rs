//! Messages of the client: the steps that it asks for (sections "Simple Query" and "Extended Query").

use std::sync::Arc;

use super::{Batch, Meaning, PostgresqlParser, tell_request};
use crate::protocol::Request;
use crate::protocol::postgresql::message::text;
use crate::protocol::postgresql::parameters;
use crate::protocol::postgresql::pending::Kind;
use crate::protocol::postgresql::request;
use crate::protocol::sql;

impl PostgresqlParser {
    /// Takes a message of the client.
    pub(super) fn question(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        match kind {
            b'c' | b'f' => self.is_copying_in = false,
            b'S' | b'H' if self.is_copying_in => {}
            b'S' => return self.sync(),
            b'H' => return Ok(self.end_batch()),
            b'X' | b'd' | b'p' => {}
            _ => return self.step(kind, body),
        }
        Ok(Meaning::Silent)
    }

    fn step(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        self.open_batch();
        match kind {
            b'Q' => {
                self.batch.is_open = false;
                let statement = sql::read_shared(text(body).0, self.options, self.shared.learned());
                self.batch.has_many_statements = statement.count > 1 || !body.ends_with(b"\0");
                let request = request::execute(Some(&statement), &self.identity);
                self.ask(Kind::Query, Some(request), false)
            }
            b'F' => {
                self.batch.is_open = false;
                self.ask(Kind::Function, Some(request::call_function(&self.identity)), false)
            }
            b'P' => {
                let (name, rest) = text(body);
                let statement = sql::read_shared(text(rest).0, self.options, self.shared.learned());
                self.statements.insert(name, Arc::clone(&statement));
                self.shared.note(name, &statement);
                self.batch.parsed = Some(statement);
                self.ask(Kind::Parse, None, false)
            }
            b'B' => {
                let (portal, rest) = text(body);
                let (statement, values) = text(rest);
                self.batch.bound = self.statements.find(statement).or_else(|| self.shared.find(statement));
                self.batch.bound_marks = parameters::marks(values, self.options.mark_key);
                match self.batch.bound.clone() {
                    Some(statement) => self.portals.insert(portal, statement),
                    None => self.portals.remove(portal),
                }
                self.ask(Kind::Bind, None, false)
            }
            b'E' => {
                self.batch.has_execute = true;
                let statement = self.portals.find(text(body).0);
                let mut request = request::execute(statement.as_deref(), &self.identity);
                // Drivers execute what they have just bound; a portal that was left open says nothing.
                request.marks.extend_front(std::mem::take(&mut self.batch.bound_marks));
                self.ask(Kind::Execute, Some(request), statement.is_none())
            }
            b'C' => {
                match body.split_first() {
                    Some((b'S', name)) => self.statements.remove(text(name).0),
                    Some((_, name)) => self.portals.remove(text(name).0),
                    None => {}
                }
                self.ask(Kind::Close, None, false)
            }
            b'D' => self.ask(Kind::Describe, None, false),
            _ => Err("unknown message type"),
        }
    }

    fn open_batch(&mut self) {
        if self.batch.is_open {
            return;
        }
        let was_known = self.turns.are_known();
        let is_reported = self.turns.request();
        if is_reported && !was_known {
            self.forget();
        }
        self.batch = Batch { is_open: true, is_reported, ..Batch::default() };
    }

    /// Notes a step, and tells the exchange that it begins.
    fn ask(
        &mut self,
        kind: Kind,
        request: Option<Request>,
        is_unnamed: bool,
    ) -> Result<Meaning, &'static str> {
        if !self.batch.is_reported {
            return Ok(Meaning::Silent);
        }
        self.pending.push(kind, is_unnamed)?;
        Ok(request.map_or(Meaning::Silent, tell_request))
    }

    fn sync(&mut self) -> Result<Meaning, &'static str> {
        self.open_batch();
        let meaning = self.end_batch();
        self.batch.is_open = false;
        self.ask(Kind::Sync, None, false)?;
        Ok(meaning)
    }

    /// A batch that only prepared something is an exchange of its own.
    fn end_batch(&mut self) -> Meaning {
        let parsed = self.batch.parsed.take().filter(|_| self.batch.is_reported && !self.batch.has_execute);
        match parsed {
            Some(statement) if self.pending.end_exchange() => {
                tell_request(request::prepare(&statement, &self.identity))
            }
            _ => Meaning::Silent,
        }
    }
}
