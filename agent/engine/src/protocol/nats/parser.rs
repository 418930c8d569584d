//! One connection: lines of both sides become requests, messages and what becomes of them.

mod brought;
mod opening;
mod published;

use foldhash::HashMap;

use super::command::{Command, Found, Frame, find};
use super::detect::is_sound;
use super::message::Payload;
use super::subject;
use super::subscriptions::Subscriptions;
use crate::held::Held;
use crate::protocol::aged::Aged;
use crate::protocol::{Answer, Cut, Message, MessageKind, Outcome, Pairing, Parser, Response, Side, text};

/// Requests of one connection whose answers are awaited. For one more, the oldest is given up.
const MAX_WAITING: usize = 1024;
/// Messages of one connection that the client has not settled. Of more, it is not known when they are.
const MAX_UNSETTLED: usize = 1024;
/// Longest text of an error that is kept.
const MAX_ERROR_BYTES: usize = 256;
/// Value of `error.type` of a request that was given up before there was an answer.
const UNANSWERED: &str = "timeout";
/// What a TLS client begins with.
const TLS_HANDSHAKE: u8 = 0x16;

/// State of one connection.
#[derive(Debug)]
pub(super) struct NatsParser {
    subscriptions: Subscriptions,
    /// Requests whose answers are awaited, by the hash of where.
    waiting: Aged<u64, Waiting>,
    /// Numbers of requests whose answers are not awaited any more.
    given_up: Vec<u64>,
    /// Messages that the client has not settled, by the hash of where it will.
    unsettled: HashMap<u64, u64>,
    /// Bytes of the server were missing: words about messages that were not seen are about those.
    has_missed: bool,
    /// Missing bytes that counted for one message each, before the client has said a word about one.
    counted: u64,
    /// Messages that were told, and of which more were unsettled than are remembered.
    untracked: u64,
    /// Behind a message that was told, others of this side were missing.
    missed_behind: Option<Side>,
    next_number: u64,
    /// The server has not let the client in yet.
    is_opening: bool,
    client: Flow,
    server: Flow,
}

/// A request whose answer is awaited.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: u64,
    /// The answer is JetStream's.
    is_question: bool,
}

/// Where one side is in its bytes.
#[derive(Debug, Default)]
struct Flow {
    /// A line begins where the bytes begin.
    is_aligned: bool,
    /// A line without a message goes on.
    is_long: bool,
    /// Bytes at the beginning that are part of a message and need not be seen.
    rest: u64,
}

/// What a line and its message say.
#[derive(Debug)]
pub(super) enum Said {
    Nothing,
    One(MessageKind, u64),
}

impl Said {
    fn message(self) -> Option<Message> {
        match self {
            Said::Nothing => None,
            Said::One(kind, number) => Some(Message { pairing: Pairing::Id(number), kind }),
        }
    }
}

impl NatsParser {
    pub(super) fn new(is_start: bool) -> Self {
        let flow = || Flow { is_aligned: is_start, ..Flow::default() };
        Self {
            subscriptions: Subscriptions::new(!is_start),
            waiting: Aged::new(MAX_WAITING),
            given_up: Vec::new(),
            unsettled: HashMap::default(),
            has_missed: false,
            counted: 0,
            untracked: 0,
            missed_behind: None,
            next_number: 0,
            is_opening: is_start,
            client: flow(),
            server: flow(),
        }
    }

    fn flow(&mut self, side: Side) -> &mut Flow {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    fn line(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let (command, length) = match find(side, bytes) {
            Found::Line(command, length) => (command, length),
            Found::Unfinished => return Answer::Need { at_least: bytes.len() + 1 },
            Found::Long => {
                self.flow(side).is_long = true;
                return self.long_line(side, bytes);
            }
            Found::Broken(reason) => return self.broken(reason),
        };
        let said = match command {
            Command::Message(frame) => return self.message(side, &frame, bytes, length),
            Command::Subscribe { subject, group, sid } => {
                let replaced = self.subscriptions.add(sid, subject, group);
                self.given_up.extend(replaced.and_then(|replaced| replaced.pull));
                Said::Nothing
            }
            Command::Unsubscribe { sid, is_at_once: true } => self.unsubscribe(sid),
            Command::Unsubscribe { is_at_once: false, .. } => Said::Nothing,
            Command::Other => return self.plain(side, bytes, length),
            Command::Error(reason) => match self.refusal(reason) {
                Some(refusal) => return Answer::Refused { eaten: length, refusal },
                None => self.fail(reason),
            },
        };
        self.eat(side, said, length, 0)
    }

    /// Whatever a line without a message says, it is over with a line feed.
    fn long_line(&mut self, side: Side, bytes: &[u8]) -> Answer {
        match memchr::memchr(b'\n', bytes) {
            Some(end) => {
                self.flow(side).is_long = false;
                Answer::Nothing { eaten: end + 1 }
            }
            None => Answer::Nothing { eaten: bytes.len() },
        }
    }

    /// A line that carries a message, of which as much is looked at as is of interest.
    fn message(&mut self, side: Side, frame: &Frame<'_>, bytes: &[u8], line: usize) -> Answer {
        let wanted = line.saturating_add(Payload::wanted(frame));
        let Some(shown) = bytes.get(line..wanted) else { return Answer::Need { at_least: wanted } };
        let payload = Payload::new(frame, shown);
        let said = match side {
            Side::Client => self.published(frame, &payload),
            Side::Server => self.brought(frame, &payload),
        };
        let rest = whole(frame, line).saturating_sub(wanted as u64);
        self.eat(side, said, wanted, rest)
    }

    fn eat(&mut self, side: Side, said: Said, eaten: usize, rest: u64) -> Answer {
        self.flow(side).rest = rest;
        match said.message() {
            Some(message) => Answer::Message { eaten, message },
            None => Answer::Nothing { eaten },
        }
    }

    /// Awaits the answer to a request. One that is awaited at the same place, or the oldest of too many, is given up.
    fn wait(&mut self, reply: &[u8], waiting: Waiting) {
        let forgotten = self.waiting.insert(subject::hash(reply), waiting);
        self.given_up.extend(forgotten.map(|forgotten| forgotten.number));
    }

    /// A client that wants no answers any more has given up who waited for them.
    fn unsubscribe(&mut self, sid: &[u8]) -> Said {
        let Some(subscription) = self.subscriptions.remove(sid) else { return Said::Nothing };
        let of_subject = |subject: &[u8]| self.waiting.remove(&subject::hash(subject));
        let waiting = subscription.own_subject().and_then(of_subject).map(|waiting| waiting.number);
        self.given_up.extend(subscription.pull.filter(|_| waiting.is_some()));
        match waiting.or(subscription.pull) {
            Some(number) => Said::One(unanswered(), number),
            None => Said::Nothing,
        }
    }

    /// The server does not like something: if only one request is open, that.
    fn fail(&mut self, reason: &[u8]) -> Said {
        let is_only = self.waiting.len() == 1 && reason.starts_with(b"'Permissions Violation for Publish");
        let only = self.waiting.iter().next().map(|(place, waiting)| (*place, *waiting)).filter(|_| is_only);
        let Some((place, waiting)) = only else { return Said::Nothing };
        self.waiting.remove(&place);
        let message = text::lossy(reason.trim_ascii(), MAX_ERROR_BYTES);
        let outcome = Outcome {
            error_type: Some("permissions_violation".to_owned()),
            message: Some(message),
            is_client_fault: false,
        };
        let response = Response { outcome, ..Response::default() };
        Said::One(MessageKind::Response(Box::new(response)), waiting.number)
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    /// Bytes of one side are missing. What the other one says is no less true, and what is awaited may still come.
    fn miss(&mut self, side: Side) {
        *self.flow(side) = Flow::default();
        self.given_up.extend(self.subscriptions.miss(side));
        self.has_missed |= side == Side::Server;
    }

    /// Messages are among missing bytes: at least one. Of those that the server brings, it counts until the client says a
    /// word about it.
    fn missed(&mut self, side: Side) -> Message {
        let kind = match side {
            Side::Client => MessageKind::Missed,
            Side::Server => {
                self.counted += 1;
                MessageKind::MissedDelivery
            }
        };
        Message { pairing: Pairing::Id(0), kind }
    }

    /// The client says what became of a message that was not seen.
    fn settle_unseen(&mut self) -> Said {
        for known in [&mut self.untracked, &mut self.counted] {
            if *known > 0 {
                *known -= 1;
                return Said::Nothing;
            }
        }
        if self.has_missed { Said::One(MessageKind::MissedDelivery, 0) } else { Said::Nothing }
    }

    fn lose(&mut self) {
        (self.has_missed, self.counted, self.untracked, self.missed_behind) = (false, 0, 0, None);
        self.is_opening = false;
        self.waiting.clear();
        self.given_up.clear();
        self.unsettled.clear();
        self.subscriptions.lose();
        let flow = || Flow { is_aligned: true, ..Flow::default() };
        (self.client, self.server) = (flow(), flow());
    }
}

impl Parser for NatsParser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let flow = self.flow(side);
        let length = std::mem::take(&mut flow.rest);
        if length > 0 {
            return Answer::Skip { length };
        }
        let Some(&first) = bytes.first() else { return Answer::Need { at_least: 1 } };
        if let Some(missed) = self.missed_behind.take() {
            return Answer::Message { eaten: 0, message: self.missed(missed) };
        }
        let flow = self.flow(side);
        if flow.is_long {
            return self.long_line(side, bytes);
        }
        if !flow.is_aligned {
            match find_line(side, bytes) {
                Some(0) => self.flow(side).is_aligned = true,
                Some(eaten) => return Answer::Nothing { eaten },
                None => return Answer::Nothing { eaten: bytes.len() },
            }
        }
        if first == TLS_HANDSHAKE {
            return Answer::Encrypted { eaten: 0 };
        }
        self.line(side, bytes)
    }

    /// Of a message that is not there whole, the line is enough. Behind it the next line has to be found.
    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let seen = (bytes.len() as u64).checked_add(missing)?;
        let is_aligned = self.flow(side).is_aligned && !self.flow(side).is_long;
        let found = if is_aligned { find(side, bytes) } else { Found::Unfinished };
        let Found::Line(Command::Message(frame), line) = found else {
            self.miss(side);
            return Some(Cut { message: Some(self.missed(side)), length: seen });
        };
        let payload = Payload::new(&frame, bytes.get(line..)?);
        let message = match side {
            Side::Client => self.published(&frame, &payload),
            Side::Server => self.brought(&frame, &payload),
        }
        .message();
        let length = whole(&frame, line);
        if length >= seen {
            return Some(Cut { message, length });
        }
        self.miss(side);
        self.missed_behind = message.is_some().then_some(side);
        Some(Cut { message: message.or_else(|| Some(self.missed(side))), length: seen })
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.given_up.pop().map(Pairing::Id)
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn counts_missing(&self, _side: Side) -> bool {
        true
    }

    fn held_bytes(&self) -> usize {
        self.subscriptions.held_bytes()
            + self.waiting.held_bytes()
            + self.given_up.held_bytes()
            + self.unsettled.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        find_line(side, bytes)
    }
}

/// Returns the bytes of a line, its message and the end of that.
fn whole(frame: &Frame<'_>, line: usize) -> u64 {
    frame.total_bytes.saturating_add(line as u64).saturating_add(2)
}

/// Returns where in `bytes` a line plausibly begins: one whose message is seen to end where it should.
fn find_line(side: Side, bytes: &[u8]) -> Option<usize> {
    let begins = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default();
        match find(side, rest) {
            Found::Line(Command::Message(frame), line) => {
                rest.get(line..).and_then(|rest| is_sound(&frame, rest)).unwrap_or(false)
            }
            Found::Line(Command::Other | Command::Subscribe { .. } | Command::Unsubscribe { .. }, _) => true,
            _ => false,
        }
    };
    let behind_lines = memchr::memchr_iter(b'\n', bytes).map(|end| end + 1);
    std::iter::once(0).chain(behind_lines).find(|&at| begins(at))
}

fn unanswered() -> MessageKind {
    let outcome = Outcome { error_type: Some(UNANSWERED.to_owned()), ..Outcome::default() };
    MessageKind::Response(Box::new(Response { outcome, ..Response::default() }))
}

impl Held for Waiting {
    fn held_bytes(&self) -> usize {
        0
    }
}
