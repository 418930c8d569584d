//! One connection: the packets of both sides.

mod answer;
mod inflate;
mod opening;
mod question;
mod seek;

use super::answering::{Answering, Manner};
use super::compressed::{self, Compression};
use super::detect;
use super::handshake::Greeting;
use super::packet::{HEADER_BYTES, Header};
use super::pending::Queue;
use super::prepared::Statements;
use super::request::{self, Identity};
use super::shared::Shared;
use crate::held::Held;
use crate::protocol::sql;
use crate::protocol::turns::Turns;
use crate::protocol::{Answer, Conversation, Cut, Message, MessageKind, Parser, Response, Side};
use opening::cut_proof;

/// Turns after which pairing is believed on a connection that was there before, or after a loss: drivers wait for
/// answers.
const TURNS: u32 = 1;

/// State of one connection.
#[derive(Debug)]
pub(super) struct MysqlParser {
    options: sql::Options,
    opening: Opening,
    client: Half,
    server: Half,
    /// An answer without a command can only mean that the command is still to be shown.
    may_wait: bool,
    is_opaque: bool,
    identity: Identity,
    shared: Shared,
    statements: Statements,
    pending: Queue,
    /// The answer to the first of them, once it has begun.
    answering: Option<Answering>,
    manner: Manner,
    /// The client's file has ended.
    is_uploaded: bool,
    turns: Turns,
    /// Both sides compress what they send after the opening.
    compression: Option<Box<Compression>>,
    /// The opening was seen, and with it whether they do.
    is_compression_known: bool,
}

/// How far the connection is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// The server's greeting is to come.
    Greeting,
    /// The client's answer to it is to come.
    Login(Greeting),
    /// The server checks who the client is.
    Authentication,
    /// Commands and answers.
    Done,
}

/// One direction.
#[derive(Clone, Copy, Debug)]
struct Half {
    /// A packet begins where the bytes begin.
    is_aligned: bool,
    /// Bytes of the last packet that are not of interest.
    rest: u64,
    /// The next packet continues the last.
    is_continued: bool,
    /// Bytes are missing, and the end of what they belong to is looked for.
    is_seeking: bool,
    /// Number of the next packet, where it is known.
    sequence: Option<u8>,
}

impl Half {
    fn new(is_aligned: bool) -> Self {
        Self { is_aligned, rest: 0, is_continued: false, is_seeking: false, sequence: None }
    }
}

/// What a packet means.
enum Meaning {
    /// Nothing that is told.
    Silent,
    /// This.
    Tell(MessageKind),
    /// It cannot be said before the other side is seen.
    Wait,
}

impl MysqlParser {
    pub(super) fn new(conversation: &Conversation<'_>) -> Self {
        let Conversation { settings, is_start, server, ref learned } = *conversation;
        let shared = Shared::new(learned, server);
        let system = shared.system().unwrap_or(request::SYSTEM);
        let options = sql::Options {
            dialect: sql::Dialect::Mysql,
            redact: settings.redact_statements,
            max_bytes: settings.max_statement_bytes,
            backslash_escapes: true,
            mark_key: settings.mark_key,
        };
        Self {
            options,
            opening: if is_start { Opening::Greeting } else { Opening::Done },
            client: Half::new(is_start),
            server: Half::new(is_start),
            may_wait: is_start,
            is_opaque: false,
            identity: Identity { system, database: None, user: None },
            shared,
            statements: Statements::default(),
            pending: Queue::default(),
            answering: None,
            manner: Manner::default(),
            is_uploaded: false,
            turns: if is_start { Turns::from_start(TURNS) } else { Turns::from_middle(TURNS) },
            compression: None,
            is_compression_known: is_start,
        }
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// Looks at bytes that are not compressed.
    fn plain(&mut self, side: Side, bytes: &[u8]) -> Answer {
        match std::mem::take(&mut self.half(side).rest) {
            0 => {}
            rest => return self.pass(side, bytes, rest),
        }
        match (self.opening, side) {
            (Opening::Greeting, Side::Server) => self.greeting(bytes),
            (Opening::Greeting, Side::Client) => Answer::Wait,
            (Opening::Login(greeting), Side::Client) => self.login(greeting, bytes),
            (Opening::Login(_), Side::Server) => self.early_error(bytes),
            (Opening::Authentication, Side::Client) => self.authentication(bytes),
            (Opening::Authentication, Side::Server) => self.authenticated(bytes),
            (Opening::Done, Side::Client) => self.client(bytes),
            (Opening::Done, Side::Server) => self.server(bytes),
        }
    }

    fn client(&mut self, bytes: &[u8]) -> Answer {
        if self.client.is_seeking {
            return Answer::Nothing { eaten: bytes.len() };
        }
        if !self.client.is_aligned {
            match detect::command(bytes) {
                Some(0) => self.client.is_aligned = true,
                Some(eaten) => return Answer::Nothing { eaten },
                None => return Answer::pass_over(bytes, detect::TAIL_BYTES),
            }
        }
        if !self.is_compression_known && !detect::may_be_command(bytes) {
            return self.fault(bytes, "not a command");
        }
        self.packet(Side::Client, bytes)
    }

    /// Finds out whether a connection is compressed whose opening was not seen. What carries a command stands before it.
    fn find_compression(&mut self, bytes: &[u8]) {
        if self.is_compression_known || self.client.is_aligned || self.compression.is_some() {
            return;
        }
        let plain = detect::command(bytes).unwrap_or(usize::MAX);
        if compressed::command(bytes).is_some_and(|at| at < plain) {
            self.compression = Some(Box::default());
        }
    }

    fn server(&mut self, bytes: &[u8]) -> Answer {
        if self.server.is_seeking {
            return self.sought(bytes);
        }
        if !self.server.is_aligned {
            self.turns.speak();
            return Answer::Nothing { eaten: bytes.len() };
        }
        match self.rows(bytes) {
            0 => self.packet(Side::Server, bytes),
            eaten => Answer::Nothing { eaten },
        }
    }

    fn packet(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let Some(header) = Header::of(bytes) else {
            return Answer::Need { at_least: HEADER_BYTES.max(bytes.len() + 1) };
        };
        if std::mem::take(&mut self.half(side).is_continued) {
            return self.continuation(side, header, bytes);
        }
        // Empty packets have no first byte; others are known by it.
        let first = bytes.get(HEADER_BYTES).copied();
        if first.is_none() && header.length > 0 {
            return Answer::Need { at_least: HEADER_BYTES + 1 };
        }
        // The client asks again, so that the end of the last answer was among what is missing.
        if side == Side::Client && self.server.is_seeking && header.sequence == 0 {
            let answer = self.give_up();
            self.turns.speak();
            return answer;
        }
        let read = HEADER_BYTES + self.interest(side, header, first.unwrap_or(0));
        let Some(payload) = bytes.get(HEADER_BYTES..read) else { return Answer::Need { at_least: read } };
        self.manner.is_more_shown = bytes.len() > header.whole() && self.pending.len() == 1;
        let meaning = match side {
            Side::Client => self.question(header, payload),
            Side::Server => self.answer(header, payload),
        };
        let meaning = match meaning {
            Ok(meaning) => meaning,
            Err(reason) => return self.fault(bytes, reason),
        };
        if self.is_opaque {
            return Answer::Opaque;
        }
        match meaning {
            Meaning::Wait => Answer::Wait,
            Meaning::Silent => {
                self.half(side).is_continued = header.is_full();
                self.pass(side, bytes, header.whole() as u64)
            }
            Meaning::Tell(kind) => {
                self.half(side).is_continued = header.is_full();
                self.half(side).rest = (header.whole() - read) as u64;
                Answer::Message { eaten: read, message: Message::in_order(kind) }
            }
        }
    }

    /// Takes the packet that continues the last one.
    fn continuation(&mut self, side: Side, header: Header, bytes: &[u8]) -> Answer {
        self.half(side).is_continued = header.is_full();
        match side {
            Side::Client => self.sent(header.sequence),
            Side::Server => self.server.sequence = self.after(header.sequence),
        }
        self.pass(side, bytes, header.whole() as u64)
    }

    /// Passes over `length` bytes. Where it is not sure that a packet began here, no further than what is shown.
    fn pass(&mut self, side: Side, bytes: &[u8], length: u64) -> Answer {
        if self.turns.are_known() || bytes.is_empty() {
            return Answer::Skip { length };
        }
        let eaten = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
        self.half(side).rest = length - eaten as u64;
        Answer::Nothing { eaten }
    }

    /// Bytes do not fit. Where nothing is told yet, it is only a wrong beginning.
    fn fault(&mut self, bytes: &[u8], reason: &'static str) -> Answer {
        if self.turns.are_known() {
            self.lose();
            return Answer::Broken { reason };
        }
        self.forget();
        self.client = Half::new(false);
        self.server = Half::new(false);
        if !self.is_compression_known {
            self.compression = None;
        }
        self.turns.speak();
        Answer::Nothing { eaten: bytes.len() }
    }

    fn lose(&mut self) {
        self.forget();
        self.turns.lose();
        self.may_wait = false;
        self.is_compression_known &= matches!(self.opening, Opening::Authentication | Opening::Done);
        self.opening = Opening::Done;
        self.client = Half::new(false);
        self.server = Half::new(false);
        if let Some(compression) = &mut self.compression {
            compression.clear();
        }
        if !self.is_compression_known {
            self.compression = None;
        }
    }

    /// Forgets what waits for an answer.
    fn forget(&mut self) {
        self.pending.clear();
        self.answering = None;
        self.is_uploaded = false;
    }

    /// Forgets an exchange whose end was not seen.
    fn give_up(&mut self) -> Answer {
        self.lose();
        Answer::Lost
    }
}

impl Parser for MysqlParser {
    fn trust(&mut self) {
        self.client.is_aligned = true;
        self.server.is_aligned = true;
        self.turns = Turns::from_start(TURNS);
    }

    fn doubt(&self) -> Option<bool> {
        self.turns.doubt()
    }

    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        if side == Side::Client {
            self.find_compression(bytes);
        }
        match (self.is_opaque, self.opening) {
            (true, _) => Answer::Opaque,
            (false, Opening::Done) if self.compression.is_some() => self.compressed(side, bytes),
            _ => self.plain(side, bytes),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let length = (bytes.len() as u64).checked_add(missing)?;
        if self.is_opaque || !self.half(side).is_aligned {
            return None;
        }
        if self.opening == Opening::Authentication {
            return cut_proof(side, bytes, length);
        }
        if self.opening != Opening::Done {
            return None;
        }
        match &self.compression {
            Some(_) => self.cut_compressed(side, bytes, length),
            None => self.cut_plain(side, bytes, length),
        }
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.statements.held_bytes()
            + self.pending.held_bytes()
            + self.compression.held_bytes()
            + self.identity.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    /// Every place will do: the next command is looked for from there.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }

    fn answers_begin_with_pieces(&self) -> bool {
        self.opening == Opening::Done
    }
}

fn tell_response(response: Response) -> Meaning {
    Meaning::Tell(MessageKind::Response(Box::new(response)))
}
