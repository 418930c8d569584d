//! One connection: the messages of both sides.

use std::sync::Arc;

use super::align::{self, CLIENT_TAIL_BYTES, READY_TAIL_BYTES};
use super::failure;
use super::message::{HEADER_BYTES, Header, header, interest, text};
use super::outcome::{Answered, aborted};
use super::pending::{Kind, Pending};
use super::prepared::Names;
use super::request::{self, Identity};
use super::startup::{self, Found, Session, Startup};
use crate::protocol::sql::{self, Statement};
use crate::protocol::turns::Turns;
use crate::protocol::{
    Answer, Cut, Message, MessageKind, Pairing, Parser, ParserSettings, Request, Response, Side, text as wire_text,
};

/// Turns after which pairing is believed on a connection that was there before, or after a loss: drivers wait for
/// the server to be ready.
const TURNS: u32 = 1;
/// Longest names of users and databases that are recorded, in bytes (the server's own limit is 63).
const MAX_IDENTITY_BYTES: usize = 128;

/// State of one connection.
#[derive(Debug)]
pub(super) struct PostgresqlParser {
    options: sql::Options,
    opening: Opening,
    client: Half,
    server: Half,
    /// An answer without a question can only mean that the question is still to be shown.
    may_wait: bool,
    is_opaque: bool,
    /// The client copies data to the server, which ignores `Sync` and `Flush` meanwhile.
    is_copying_in: bool,
    identity: Identity,
    statements: Names,
    portals: Names,
    batch: Batch,
    pending: Pending,
    answered: Answered,
    /// The response to an exchange that is over but for the `Sync` behind it, which may still fail.
    held: Option<Response>,
    turns: Turns,
}

/// How far the connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The client's first message is to come.
    Startup,
    /// The client asked for encryption.
    Encryption,
    /// The server checks who the client is.
    Authentication,
    /// The server was ready once.
    Done,
}

/// One direction.
#[derive(Clone, Copy, Debug)]
struct Half {
    /// A message begins where the bytes begin.
    is_aligned: bool,
    /// Bytes of the last message that are not of interest.
    rest: u64,
}

/// What the client sent since the last `Sync`.
#[derive(Debug, Default)]
struct Batch {
    is_open: bool,
    is_reported: bool,
    has_execute: bool,
    parsed: Option<Arc<Statement>>,
}

/// What a message means.
enum Meaning {
    /// Nothing that is told.
    Silent,
    /// This.
    Tell(MessageKind),
    /// This, and then the message is to be looked at again.
    TellBefore(MessageKind),
    /// It cannot be said before the other side is seen.
    Wait,
}

impl PostgresqlParser {
    pub(super) fn new(settings: &ParserSettings, is_start: bool) -> Self {
        let options = sql::Options {
            redact: settings.redact_statements,
            max_bytes: settings.max_statement_bytes,
            backslash_escapes: false,
        };
        Self {
            options,
            opening: if is_start { Opening::Startup } else { Opening::Done },
            client: Half { is_aligned: is_start, rest: 0 },
            server: Half { is_aligned: is_start, rest: 0 },
            may_wait: is_start,
            is_opaque: false,
            is_copying_in: false,
            identity: Identity::default(),
            statements: Names::default(),
            portals: Names::default(),
            batch: Batch::default(),
            pending: Pending::default(),
            answered: Answered::default(),
            held: None,
            turns: if is_start { Turns::from_start(TURNS) } else { Turns::from_middle(TURNS) },
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Answer {
        let is_startup = self.opening == Opening::Startup || bytes.first() == Some(&0);
        match self.opening {
            Opening::Encryption => Answer::Wait,
            _ if is_startup && matches!(startup::find(bytes), Found::Is(..)) => self.startup(bytes),
            _ if !self.client.is_aligned => self.align_client(bytes),
            _ if is_startup => self.startup(bytes),
            _ => self.message(Side::Client, bytes),
        }
    }

    fn align_client(&mut self, bytes: &[u8]) -> Answer {
        match align::client(bytes) {
            Some(0) => {
                self.client.is_aligned = true;
                self.message(Side::Client, bytes)
            }
            Some(eaten) => Answer::Nothing { eaten },
            None => pass_over(bytes, CLIENT_TAIL_BYTES),
        }
    }

    fn startup(&mut self, bytes: &[u8]) -> Answer {
        match startup::find(bytes) {
            Found::Need(at_least) => Answer::Need { at_least: at_least.max(bytes.len() + 1) },
            Found::Not => self.broken("not a startup message"),
            Found::Is(Startup::Encryption, eaten) => {
                self.opening = Opening::Encryption;
                Answer::Nothing { eaten }
            }
            Found::Is(Startup::Cancel, eaten) => {
                self.opening = Opening::Done;
                Answer::Message { eaten, message: in_order(MessageKind::OneWay) }
            }
            Found::Is(Startup::Session(session), eaten) => {
                self.open_session(&session);
                Answer::Nothing { eaten }
            }
        }
    }

    fn open_session(&mut self, session: &Session<'_>) {
        let user = wire_text::lossy(session.user, MAX_IDENTITY_BYTES);
        let database = session.database.map(|database| wire_text::lossy(database, MAX_IDENTITY_BYTES));
        self.identity = Identity { database: Some(database.unwrap_or_else(|| user.clone())), user: Some(user) };
        self.opening = Opening::Authentication;
        self.is_opaque = session.is_replication;
        // However we came to see it, this is the beginning.
        self.forget();
        self.may_wait = true;
        self.turns = Turns::from_start(TURNS);
        self.client = Half { is_aligned: true, rest: 0 };
        self.server = Half { is_aligned: true, rest: 0 };
    }

    fn server(&mut self, bytes: &[u8]) -> Answer {
        match self.opening {
            Opening::Startup if self.may_wait => return Answer::Wait,
            Opening::Encryption => return self.encryption(bytes),
            _ => {}
        }
        if !self.server.is_aligned {
            let Some(eaten) = align::ready(bytes) else { return pass_over(bytes, READY_TAIL_BYTES) };
            self.server.is_aligned = true;
            self.turns.response();
            return Answer::Nothing { eaten };
        }
        match self.rows(bytes) {
            0 => self.message(Side::Server, bytes),
            eaten => Answer::Nothing { eaten },
        }
    }

    /// Takes the answer to a request for encryption: one byte, or an error of a server that does not know it.
    fn encryption(&mut self, bytes: &[u8]) -> Answer {
        match bytes.first() {
            Some(b'N') => {
                self.opening = Opening::Startup;
                Answer::Nothing { eaten: 1 }
            }
            Some(b'S' | b'G') => {
                self.is_opaque = true;
                Answer::Opaque
            }
            _ => {
                self.opening = Opening::Authentication;
                self.message(Side::Server, bytes)
            }
        }
    }

    /// Returns the length of the whole rows that `bytes` begin with, and counts them.
    fn rows(&mut self, bytes: &[u8]) -> usize {
        let mut eaten = 0;
        if self.pending.is_empty() {
            return 0;
        }
        while let Some(rest) = bytes.get(eaten..)
            && let Ok(Some(Header { kind: b'D', length })) = header(Side::Server, rest)
            && length <= rest.len() as u64
        {
            self.answered.row();
            eaten += usize::try_from(length).unwrap_or(rest.len());
        }
        eaten
    }

    fn message(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let header = match header(side, bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Answer::Need { at_least: HEADER_BYTES.max(bytes.len() + 1) },
            Err(reason) => return self.broken(reason),
        };
        let read = self.read_length(side, header);
        let Some(body) = bytes.get(HEADER_BYTES..read) else { return Answer::Need { at_least: read } };
        match self.take(side, header.kind, body) {
            Ok(Meaning::Silent) => Answer::Skip { length: header.length },
            Ok(Meaning::Tell(kind)) => {
                self.half(side).rest = header.length - read as u64;
                Answer::Message { eaten: read, message: in_order(kind) }
            }
            Ok(Meaning::TellBefore(kind)) => Answer::Message { eaten: 0, message: in_order(kind) },
            Ok(Meaning::Wait) => Answer::Wait,
            Err(reason) => self.broken(reason),
        }
    }

    /// Returns how much of a message is read, with its header.
    fn read_length(&self, side: Side, header: Header) -> usize {
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        length.min(HEADER_BYTES.saturating_add(interest(side, header.kind, self.options.max_bytes)))
    }

    fn take(&mut self, side: Side, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        match side {
            Side::Client => self.question(kind, body),
            Side::Server => self.answer(kind, body),
        }
    }

    fn question(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
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
                let statement = sql::read(text(body).0, self.options);
                let request = request::execute(Some(&statement), &self.identity);
                self.ask(Kind::Query, Some(request), false)
            }
            b'F' => {
                self.batch.is_open = false;
                self.ask(Kind::Function, Some(request::call_function(&self.identity)), false)
            }
            b'P' => {
                let (name, rest) = text(body);
                let statement = Arc::new(sql::read(text(rest).0, self.options));
                self.statements.insert(name, Arc::clone(&statement));
                self.batch.parsed = Some(statement);
                self.ask(Kind::Parse, None, false)
            }
            b'B' => {
                let (portal, rest) = text(body);
                match self.statements.find(text(rest).0) {
                    Some(statement) => self.portals.insert(portal, statement),
                    None => self.portals.remove(portal),
                }
                self.ask(Kind::Bind, None, false)
            }
            b'E' => {
                self.batch.has_execute = true;
                let statement = self.portals.find(text(body).0);
                let request = request::execute(statement.as_deref(), &self.identity);
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
    fn ask(&mut self, kind: Kind, request: Option<Request>, is_unnamed: bool) -> Result<Meaning, &'static str> {
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

    fn answer(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
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
            if kind == b'Z' {
                self.opening = Opening::Done;
            }
            return Ok(Meaning::Silent);
        }
        if kind == b'Z' && !self.must_tell_before_ready() {
            self.turns.response();
        }
        if !self.turns.are_known() {
            return Ok(Meaning::Silent);
        }
        match kind {
            // A server that shuts down, or gives up on an idle session, says so unasked.
            b'E' if self.pending.is_empty() => Ok(self.one_way()),
            _ if self.pending.is_empty() && self.may_wait => Ok(Meaning::Wait),
            _ if self.pending.is_empty() => Err("answer to no question"),
            _ => self.answer_to_step(kind, body),
        }
    }

    fn answer_to_step(&mut self, kind: u8, body: &[u8]) -> Result<Meaning, &'static str> {
        match kind {
            b'1' => return self.finish(Kind::Parse),
            b'2' => return self.finish(Kind::Bind),
            b'3' => return self.finish(Kind::Close),
            b'T' | b'n' if self.pending.front() == Some(Kind::Describe) => return self.finish(Kind::Describe),
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
        let is_batch = !matches!(self.pending.front(), Some(Kind::Query | Kind::Function));
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

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    fn lose(&mut self) {
        self.forget();
        self.turns.lose();
        self.may_wait = false;
        self.opening = Opening::Done;
        self.client = Half { is_aligned: false, rest: 0 };
        self.server = Half { is_aligned: false, rest: 0 };
        // Drivers give a name once; what has none is replaced all the time.
        self.statements.remove(b"");
        self.portals = Names::default();
    }

    fn forget(&mut self) {
        self.is_copying_in = false;
        self.batch = Batch::default();
        self.pending.clear();
        self.answered = Answered::default();
        self.held = None;
    }
}

impl Parser for PostgresqlParser {
    fn trust(&mut self) {
        self.client.is_aligned = true;
        self.server.is_aligned = true;
        self.turns = Turns::from_start(TURNS);
    }

    fn doubt(&self) -> Option<bool> {
        self.turns.doubt()
    }

    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        if self.is_opaque {
            return Answer::Opaque;
        }
        match std::mem::take(&mut self.half(side).rest) {
            0 if side == Side::Client => self.client(bytes),
            0 => self.server(bytes),
            length => Answer::Skip { length },
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let is_readable = self.half(side).is_aligned && self.half(side).rest == 0 && self.opening == Opening::Done;
        let header = header(side, bytes).ok().flatten().filter(|_| is_readable && !self.is_opaque)?;
        let body = bytes.get(HEADER_BYTES..)?;
        let is_enough = match (side, header.kind) {
            (Side::Client, b'Q') | (Side::Server, b'E') => true,
            (Side::Client, b'P') => body.contains(&0),
            _ => false,
        };
        let is_inside = header.length >= (bytes.len() as u64).checked_add(missing)?;
        if !is_enough || !is_inside {
            return None;
        }
        let message = match self.take(side, header.kind, body).ok()? {
            Meaning::Tell(kind) => Some(in_order(kind)),
            Meaning::Silent => None,
            Meaning::TellBefore(_) | Meaning::Wait => return None,
        };
        Some(Cut { message, length: header.length })
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: the next message is looked for from there.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

fn in_order(kind: MessageKind) -> Message {
    Message { pairing: Pairing::InOrder, kind }
}

fn tell_request(request: Request) -> Meaning {
    Meaning::Tell(MessageKind::Request(Box::new(request)))
}

fn tell_response(response: Response) -> Meaning {
    Meaning::Tell(MessageKind::Response(Box::new(response)))
}

/// Passes over all but the last bytes, which may begin what is looked for.
fn pass_over(bytes: &[u8], tail: usize) -> Answer {
    match bytes.len().saturating_sub(tail) {
        0 => Answer::Need { at_least: bytes.len() + 1 },
        eaten => Answer::Nothing { eaten },
    }
}
