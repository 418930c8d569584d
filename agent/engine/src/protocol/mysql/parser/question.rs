//! Packets of the client: commands, and what belongs to them.

use std::sync::Arc;

use super::{Half, Meaning, MysqlParser};
use crate::protocol::mysql::command::{Command, Form};
use crate::protocol::mysql::compressed::Lane;
use crate::protocol::mysql::handshake;
use crate::protocol::mysql::packet::{Header, Reader};
use crate::protocol::mysql::parameters;
use crate::protocol::mysql::pending::{Effect, Pending};
use crate::protocol::mysql::request;
use crate::protocol::{MessageKind, Request, Side, sql};

/// Most of a command that is read besides its statement: attributes, values of parameters, names.
const MAX_VALUES_BYTES: usize = 1024;

impl MysqlParser {
    /// Returns how many bytes of a packet's payload are of interest.
    pub(super) fn interest(&self, side: Side, header: Header, first: u8) -> usize {
        match side {
            Side::Server => self.answering.as_ref().map_or_else(
                || self.first_interest(header, first),
                |answering| answering.interest(header.length, first),
            ),
            Side::Client if header.sequence != 0 || self.is_uploading() => 0,
            Side::Client => header.length.min(match Command::of(first) {
                Some(Command::Query | Command::Prepare) => {
                    self.options.max_bytes.saturating_add(MAX_VALUES_BYTES)
                }
                Some(_) => MAX_VALUES_BYTES,
                None => 1,
            }),
        }
    }

    /// Takes a packet of the client of which the beginning is shown.
    pub(super) fn question(&mut self, header: Header, payload: &[u8]) -> Result<Meaning, &'static str> {
        if self.is_uploading() {
            self.is_uploaded |= header.length == 0;
            self.sent(header.sequence);
            return Ok(Meaning::Silent);
        }
        if header.sequence != 0 {
            return self.more(header);
        }
        let (&first, rest) = payload.split_first().ok_or("empty command")?;
        let command = Command::of(first).ok_or("unknown command")?;
        if !command.allows(header.length) {
            return Err("impossible length of a command");
        }
        match command.form() {
            Form::Nothing => {
                self.unanswered(command, rest);
                Ok(Meaning::Silent)
            }
            form => self.ask(command, form, rest),
        }
    }

    /// Takes a packet that begins no command.
    fn more(&mut self, header: Header) -> Result<Meaning, &'static str> {
        match self.pending.front().map(|pending| pending.form) {
            Some(Form::Login) => {
                self.sent(header.sequence);
                Ok(Meaning::Silent)
            }
            // A file that the server has asked for, which is still to be shown.
            Some(Form::Results) if self.may_wait => Ok(Meaning::Wait),
            _ => Err("packet of no command"),
        }
    }

    /// Notes the number of the client's last packet.
    pub(super) fn sent(&mut self, sequence: u8) {
        let is_first = self.pending.len() == 1;
        if let Some(newest) = self.pending.newest() {
            newest.sequence = sequence;
        }
        if is_first && self.answering.is_some() {
            self.server.sequence = self.after(sequence);
        }
    }

    /// Returns the number of the packet behind one; none where those on the wire are counted in place of them.
    pub(super) fn after(&self, sequence: u8) -> Option<u8> {
        self.compression.is_none().then(|| sequence.wrapping_add(1))
    }

    /// Returns whether the client sends a file.
    pub(super) fn is_uploading(&self) -> bool {
        !self.is_uploaded && self.answering.as_ref().is_some_and(|answering| answering.is_upload())
    }

    fn unanswered(&mut self, command: Command, rest: &[u8]) {
        match command {
            Command::Close => {
                if let Some(id) = Reader::new(rest).u32() {
                    self.statements.remove(id);
                }
            }
            Command::Replication => self.is_opaque = true,
            _ => {}
        }
    }

    /// Notes a command, and tells the exchange that it begins.
    fn ask(&mut self, command: Command, form: Form, rest: &[u8]) -> Result<Meaning, &'static str> {
        let was_known = self.turns.are_known();
        let is_reported = self.turns.request();
        let is_afresh = is_reported && !was_known;
        if is_afresh {
            self.forget();
        }
        if is_afresh || !is_reported && self.pending.is_empty() {
            self.server = Half::new(true);
            if let Some(compression) = &mut self.compression {
                *compression.lane(Side::Server) = Lane { sequence: Some(1), ..Lane::default() };
            }
        }
        let (request, effect) = self.describe(command, rest);
        self.pending.push(Pending { form, effect, sequence: 0, is_reported })?;
        Ok(match is_reported {
            true => Meaning::Tell(MessageKind::Request(Box::new(request))),
            false => Meaning::Silent,
        })
    }

    fn describe(&mut self, command: Command, rest: &[u8]) -> (Request, Effect) {
        match command {
            Command::Query => self.describe_query(rest),
            Command::Prepare => {
                let statement = sql::read_shared(rest, self.options, self.shared.learned());
                self.statements.ask(Arc::clone(&statement));
                let request = request::with_statement("PREPARE", Some(&statement), &self.identity);
                (request, Effect::Prepare(statement))
            }
            Command::Execute | Command::BulkExecute => {
                (self.describe_execute(command, rest), Effect::Nothing)
            }
            Command::Fetch => {
                let found = Reader::new(rest).u32().and_then(|id| self.statements.find(id));
                let statement = found.as_ref().map(|found| &*found.statement);
                (request::with_statement("FETCH", statement, &self.identity), Effect::Nothing)
            }
            Command::InitDb => {
                (request::plain("INIT_DB", &self.identity), Effect::Database(request::name(rest)))
            }
            Command::ChangeUser => {
                let mut identity = self.identity.clone();
                if let Some((user, database)) = handshake::change_user(rest) {
                    identity.log_in(user, database);
                }
                (request::plain("CHANGE_USER", &self.identity), Effect::User(identity))
            }
            Command::ResetConnection => (request::plain("RESET_CONNECTION", &self.identity), Effect::Reset),
            Command::FieldList => (request::plain("FIELD_LIST", &self.identity), Effect::Nothing),
            Command::Statistics => (request::plain("STATISTICS", &self.identity), Effect::Nothing),
            Command::Other(name) => (request::plain(name, &self.identity), Effect::Nothing),
            Command::Quit | Command::SendLongData | Command::Close | Command::Replication => {
                (Request::default(), Effect::Nothing)
            }
        }
    }

    fn describe_query(&self, payload: &[u8]) -> (Request, Effect) {
        let Some((text, attributes)) = parameters::query(payload, self.options.mark_key) else {
            return (request::execute(None, &self.identity), Effect::Nothing);
        };
        let statement = sql::read_shared(text, self.options, self.shared.learned());
        let effect = statement.database.clone().map_or(Effect::Nothing, |name| Effect::Database(name.into()));
        let mut request = request::execute(Some(&statement), &self.identity);
        request.marks.extend_front(attributes.marks);
        // The driver's own word goes before that of the program's text.
        request.context = attributes.context.or(request.context);
        (request, effect)
    }

    fn describe_execute(&mut self, command: Command, rest: &[u8]) -> Request {
        let mut reader = Reader::new(rest);
        let id = reader.u32();
        let found = id.and_then(|id| self.statements.find(id));
        let statement = found.as_ref().map(|found| &*found.statement);
        let mut request = request::execute(statement, &self.identity);
        let (Some(id), Some(found)) = (id, &found) else { return request };
        let (Some(count), Command::Execute) = (found.parameters, command) else { return request };
        let values = parameters::execute(reader.rest(), count, &found.types, self.options.mark_key);
        if !values.types.is_empty() {
            self.statements.bind(id, &values.types);
        }
        request.marks.extend_front(values.marks);
        request.context = values.context.or(request.context);
        request
    }
}
