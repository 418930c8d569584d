//! One connection: the messages of both sides.

mod answer;
mod question;
mod seek;

use std::sync::Arc;

use super::align::{self, CLIENT_TAIL_BYTES, READY_TAIL_BYTES};
use super::message::{HEADER_BYTES, Header, header, interest};
use super::outcome::Answered;
use super::pending::Pending;
use super::prepared::Names;
use super::request::Identity;
use super::shared::Shared;
use super::startup::{self, Found, Session, Startup};
use crate::held::Held;
use crate::protocol::marks::Marks;
use crate::protocol::sql::{self, Statement};
use crate::protocol::turns::Turns;
use crate::protocol::{
    Answer, Conversation, Cut, Message, MessageKind, Parser, Refusal, Request, Response, Side,
    text as wire_text,
};
use crate::semconv::Text;

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
    /// Bytes of the client among which no message was found, and that are kept since one may begin there.
    kept_bytes: usize,
    /// Of these, those that the server has answered: what begins there must not be taken for a new question.
    stale_bytes: usize,
    /// An answer without a question can only mean that the question is still to be shown.
    may_wait: bool,
    is_opaque: bool,
    /// The client copies data to the server, which ignores `Sync` and `Flush` meanwhile.
    is_copying_in: bool,
    identity: Identity,
    statements: Names,
    shared: Shared,
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
    /// Bytes are missing, and the end of what they belong to is looked for.
    is_seeking: bool,
}

impl Half {
    fn new(is_aligned: bool) -> Self {
        Self { is_aligned, rest: 0, is_seeking: false }
    }
}

/// What the client sent since the last `Sync`.
#[derive(Debug, Default)]
struct Batch {
    is_open: bool,
    is_reported: bool,
    has_execute: bool,
    /// A query has several statements, or may have.
    has_many_statements: bool,
    parsed: Option<Arc<Statement>>,
    /// What the last portal was bound to.
    bound: Option<Arc<Statement>>,
    /// And what its values are about.
    bound_marks: Marks,
}

impl Held for Batch {
    fn held_bytes(&self) -> usize {
        self.parsed.held_bytes() + self.bound.held_bytes()
    }
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
    /// The client may not come in.
    Refuse(Box<Refusal>),
    /// It does not belong to what is open, which was misunderstood.
    GiveUp,
}

impl PostgresqlParser {
    pub(super) fn new(conversation: &Conversation<'_>) -> Self {
        let Conversation { settings, is_start, server, ref learned } = *conversation;
        let options = sql::Options {
            dialect: sql::Dialect::Postgresql,
            redact: settings.redact_statements,
            max_bytes: settings.max_statement_bytes,
            backslash_escapes: false,
            mark_key: settings.mark_key,
        };
        Self {
            options,
            opening: if is_start { Opening::Startup } else { Opening::Done },
            client: Half::new(is_start),
            server: Half::new(is_start),
            kept_bytes: 0,
            stale_bytes: 0,
            may_wait: is_start,
            is_opaque: false,
            is_copying_in: false,
            identity: Identity::default(),
            statements: Names::default(),
            shared: Shared::new(learned, server),
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
            _ if self.client.is_seeking => self.sought_sync(bytes),
            _ if !self.client.is_aligned => self.align_client(bytes),
            _ if is_startup => self.startup(bytes),
            _ => self.message(Side::Client, bytes),
        }
    }

    fn align_client(&mut self, bytes: &[u8]) -> Answer {
        match std::mem::take(&mut self.stale_bytes).min(bytes.len()) {
            0 => {}
            eaten => {
                self.kept_bytes = 0;
                return Answer::Nothing { eaten };
            }
        }
        self.kept_bytes = bytes.len().min(CLIENT_TAIL_BYTES);
        match align::client(bytes) {
            Some(0) => {
                self.kept_bytes = 0;
                self.client.is_aligned = true;
                self.message(Side::Client, bytes)
            }
            Some(eaten) => Answer::Nothing { eaten },
            None => Answer::pass_over(bytes, CLIENT_TAIL_BYTES),
        }
    }

    fn startup(&mut self, bytes: &[u8]) -> Answer {
        match startup::find(bytes) {
            Found::Need(at_least) => Answer::Need { at_least: at_least.max(bytes.len() + 1) },
            Found::Not => self.broken("not a startup message"),
            Found::Is(Startup::Encryption, eaten) => {
                self.opening = Opening::Encryption;
                Answer::SignsIn { eaten }
            }
            Found::Is(Startup::Cancel, eaten) => {
                self.opening = Opening::Done;
                Answer::Message { eaten, message: Message::in_order(MessageKind::OneWay) }
            }
            // Whatever was taken for a question will not be answered.
            Found::Is(Startup::Session(_), _) if !self.pending.is_empty() => self.give_up(),
            Found::Is(Startup::Session(session), eaten) => {
                self.open_session(&session);
                Answer::SignsIn { eaten }
            }
        }
    }

    fn open_session(&mut self, session: &Session<'_>) {
        let name = |name| Text::from(wire_text::lossy(name, MAX_IDENTITY_BYTES)).shared();
        let user = name(session.user);
        let database = session.database.map_or_else(|| user.clone(), name);
        self.shared.identify(&database, &user);
        self.identity = Identity { database: Some(database), user: Some(user) };
        self.opening = Opening::Authentication;
        self.is_opaque = session.is_replication;
        // However we came to see it, this is the beginning.
        self.forget();
        self.may_wait = true;
        self.turns = Turns::from_start(TURNS);
        self.client = Half::new(true);
        self.server = Half::new(true);
    }

    fn server(&mut self, bytes: &[u8]) -> Answer {
        match self.opening {
            Opening::Startup if self.may_wait => return Answer::Wait,
            Opening::Encryption => return self.encryption(bytes),
            _ => {}
        }
        if self.server.is_seeking {
            return self.sought(bytes);
        }
        if !self.server.is_aligned {
            let Some(eaten) = align::ready(bytes) else { return Answer::pass_over(bytes, READY_TAIL_BYTES) };
            self.server.is_aligned = true;
            self.note_ready();
            return Answer::Nothing { eaten };
        }
        match self.rows(bytes) {
            0 => self.message(Side::Server, bytes),
            eaten => Answer::Nothing { eaten },
        }
    }

    /// Notes that the server has answered all that it was asked.
    fn note_ready(&mut self) {
        self.turns.response();
        self.stale_bytes = self.kept_bytes;
    }

    /// Takes the answer to a request for encryption: one byte, or an error of a server that does not know it.
    fn encryption(&mut self, bytes: &[u8]) -> Answer {
        match bytes.first() {
            Some(b'N') => {
                self.opening = Opening::Startup;
                Answer::Nothing { eaten: 1 }
            }
            Some(b'S') => {
                self.opening = Opening::Startup;
                Answer::Encrypted { eaten: 1 }
            }
            Some(b'G') => {
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
            // What the client says behind a question takes nothing from its answer.
            Err(_) if side == Side::Client && self.is_answer_due() => return Answer::Wait,
            Err(reason) => return self.broken(reason),
        };
        // The client asks again, so that the end of the last answer was among what is missing.
        if side == Side::Client && self.server.is_seeking && !matches!(header.kind, b'X' | b'd' | b'c' | b'f')
        {
            return self.give_up();
        }
        // And the server answers what was not seen to its end.
        if side == Side::Server && self.client.is_seeking && !matches!(header.kind, b'A' | b'N' | b'S') {
            return self.give_up();
        }
        let read = self.read_length(side, header);
        let Some(body) = bytes.get(HEADER_BYTES..read) else { return Answer::Need { at_least: read } };
        match self.take(side, header.kind, body) {
            Ok(Meaning::Silent) => Answer::Skip { length: header.length },
            Ok(Meaning::Tell(kind)) => {
                self.half(side).rest = header.length - read as u64;
                Answer::Message { eaten: read, message: Message::in_order(kind) }
            }
            Ok(Meaning::TellBefore(kind)) => Answer::Message { eaten: 0, message: Message::in_order(kind) },
            Ok(Meaning::Wait) => Answer::Wait,
            Ok(Meaning::Refuse(refusal)) => {
                self.half(side).rest = header.length - read as u64;
                Answer::Refused { eaten: read, refusal }
            }
            Ok(Meaning::GiveUp) => self.give_up(),
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

    /// Returns what the beginning of a message says that ends behind the missing bytes.
    fn cut_message(&mut self, side: Side, bytes: &[u8], length: u64) -> Option<Cut> {
        if self.half(side).is_seeking || self.half(side.reverse()).is_seeking {
            return None;
        }
        let header = header(side, bytes).ok().flatten()?;
        let body = bytes.get(HEADER_BYTES..)?;
        let is_enough = match (side, header.kind) {
            (Side::Client, b'Q') | (Side::Server, b'E') => true,
            (Side::Client, b'P') => body.contains(&0),
            _ => false,
        };
        let is_inside = header.length >= length;
        if !is_enough || !is_inside {
            return None;
        }
        let message = match self.take(side, header.kind, body).ok()? {
            Meaning::Tell(kind) => Some(Message::in_order(kind)),
            Meaning::Silent => None,
            Meaning::TellBefore(_) | Meaning::Wait | Meaning::Refuse(_) | Meaning::GiveUp => return None,
        };
        Some(Cut { message, length: header.length })
    }

    /// Returns whether something was asked whose answer will be known.
    fn is_answer_due(&self) -> bool {
        !self.pending.is_empty() && self.turns.are_known()
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
        self.client = Half::new(false);
        self.server = Half::new(false);
        // Drivers give a name once; what has none is replaced all the time.
        self.statements.remove(b"");
        self.portals = Names::default();
    }

    fn forget(&mut self) {
        (self.kept_bytes, self.stale_bytes) = (0, 0);
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
        let length = (bytes.len() as u64).checked_add(missing)?;
        let half = self.half(side);
        let is_readable = half.is_aligned && half.rest == 0;
        if !is_readable || self.is_opaque || self.opening != Opening::Done {
            return None;
        }
        if let Some(cut) = self.cut_message(side, bytes, length) {
            return Some(cut);
        }
        let is_sought = match side {
            Side::Client => self.seek_sync(bytes),
            Side::Server => self.seek_ready(),
        };
        is_sought.then_some(Cut { message: None, length })
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.statements.held_bytes()
            + self.portals.held_bytes()
            + self.pending.held_bytes()
            + self.batch.held_bytes()
            + self.held.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: the next message is looked for from there.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

fn tell_request(request: Request) -> Meaning {
    Meaning::Tell(MessageKind::Request(Box::new(request)))
}

fn tell_response(response: Response) -> Meaning {
    Meaning::Tell(MessageKind::Response(Box::new(response)))
}
