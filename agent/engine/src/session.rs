//! The conversation on one connection: chunks of two directions become messages of a protocol.
//!
//! Takes [`Chunk`]s, makes [`Step`]s. It finds out which protocol is spoken and who the client is, keeps what a parser
//! has not eaten, passes over what nobody wants, and finds its feet again after a gap. It knows protocols only as trait
//! objects.

mod detecting;
mod gaps;
mod lane;
mod rehearsal;
mod signing;

use std::net::SocketAddr;

use crate::connection::{Chunk, Content, Stamp};
use crate::event::{Direction, Opened, Role};
use crate::protocol::{
    Answer, Conversation, Learned, MAX_OUTSTANDING, Message, MessageKind, Parser, ParserSettings, Protocol,
    Side,
};
use crate::tls;
use lane::Lane;
use rehearsal::Rehearsal;
use signing::SignIn;

/// Chunks that may fail to be recognised before a connection is given up. A connection that was met in the middle of
/// a large body needs many; one that was seen from its first byte needs none.
const MAX_UNKNOWN_CHUNKS_MIDWAY: u32 = 256;
const MAX_UNKNOWN_CHUNKS_FROM_START: u32 = 8;
/// Breaches of the protocol after which a connection is given up.
const MAX_BREACHES: u32 = 3;
/// Bytes that one side may have waiting for the other.
const MAX_UNREAD_BYTES: usize = 1 << 20;
/// Messages that come without a pause and are longer than this together fill calls before long: it is half of what is usually
/// captured of one.
const MIN_RUN_BYTES: u64 = 2 << 10;
/// Skips that are shorter than this are not worth a message to the kernel.
const MIN_SKIP_HINT_BYTES: u64 = 16 << 10;

/// A message, and when and where on the connection it stood.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) message: Message,
    /// Name of the protocol.
    pub(crate) protocol: &'static str,
    /// Where the client's bytes go.
    pub(crate) client: Direction,
    /// Of its first and its last byte.
    pub(crate) first: Stamp,
    pub(crate) last: Stamp,
    /// Of its first byte.
    pub(crate) place: Place,
}

/// A place on the wire that both ends of a connection see alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    /// Position of the byte.
    pub(crate) position: u32,
    /// Position of the other direction.
    pub(crate) reverse_position: u32,
    /// Messages that began at the same position before this one.
    pub(crate) ordinal: u32,
    /// Whether the peer sees the same numbers without a common beginning.
    pub(crate) is_absolute: bool,
    /// The other end of the datagram, where its socket has many.
    pub(crate) peer: Option<SocketAddr>,
}

impl Place {
    /// Returns the place in the other direction at which nothing had been said yet.
    fn reverse(self) -> Self {
        Self { position: self.reverse_position, reverse_position: self.position, ..self }
    }
}

/// What stays the same while bytes pass, for parsers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Surroundings<'a> {
    pub(crate) settings: &'a ParserSettings,
    pub(crate) learned: &'a Learned,
    pub(crate) opened: &'a Opened,
}

impl Surroundings<'_> {
    fn parser(&self, protocol: &dyn Protocol, client: Direction, is_start: bool) -> Box<dyn Parser> {
        protocol.parser(&self.conversation(client, is_start))
    }

    fn conversation(&self, client: Direction, is_start: bool) -> Conversation<'_> {
        let server = match client {
            Direction::Egress => &self.opened.peer,
            Direction::Ingress => &self.opened.local,
        };
        let learned = self.learned.clone();
        Conversation { settings: self.settings, is_start, server: Some(server), learned }
    }
}

/// What the session found out.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are messages, in a list that is used again"
)]
pub(crate) enum Outcome {
    /// A message.
    Step(Step),
    /// What was open can no longer be completed: bytes are missing, and with them at least so many exchanges.
    Lost { at_least: u64 },
    /// The connection carries nothing that is understood; the fixed text says why.
    Ignored(&'static str),
    /// Bytes of this direction before this position are not needed.
    SkipUntil(Direction, u32),
    /// A response came before any request that it could answer.
    Unasked,
    /// Exchanges before the pairing was known, which cannot be told any more.
    Unproven,
    /// More of each call in this direction should be captured: this much, or as much as can be.
    Wants(Direction, Option<u32>),
}

/// The state of one conversation.
pub(crate) struct Session {
    state: State,
    egress: Lane,
    ingress: Lane,
    unknown_chunks: u32,
    max_unknown_chunks: u32,
    breaches: u32,
    is_from_start: bool,
    /// Whose bytes came first.
    first_speaker: Option<Direction>,
    /// It was given up before any protocol was recognised.
    is_strange: bool,
    /// Something strange was said before what is taken for a protocol, in which nothing has been answered yet.
    is_doubtful: bool,
    /// What was said since the connection was met midway, until it is known how to pair it.
    rehearsal: Option<Rehearsal>,
    /// What both sides have agreed to go on with.
    upgrade: Option<(&'static str, bool)>,
    /// Where the client has signed in, of which nothing is told unless it is refused.
    sign_in: Option<Box<SignIn>>,
    /// What follows is encrypted: the bytes that are unread, and all to come.
    is_encrypted: bool,
}

enum State {
    Detecting,
    Speaking { protocol: &'static dyn Protocol, parser: Box<dyn Parser>, client: Direction },
    Ignored,
}

impl Session {
    /// Returns the state before the first byte.
    pub(crate) fn new(role: Role) -> Self {
        let is_from_start = role != Role::Unknown;
        Self {
            state: State::Detecting,
            egress: Lane::default(),
            ingress: Lane::default(),
            unknown_chunks: 0,
            max_unknown_chunks: if is_from_start {
                MAX_UNKNOWN_CHUNKS_FROM_START
            } else {
                MAX_UNKNOWN_CHUNKS_MIDWAY
            },
            breaches: 0,
            is_from_start,
            first_speaker: None,
            is_strange: false,
            is_doubtful: false,
            rehearsal: None,
            upgrade: None,
            sign_in: None,
            is_encrypted: false,
        }
    }

    /// Returns whether nothing was recognised, and nothing waits to be.
    pub(crate) fn is_undecided(&self) -> bool {
        let is_empty = self.egress.unread().is_empty() && self.ingress.unread().is_empty();
        matches!(self.state, State::Detecting) && is_empty
    }

    /// Returns whether the next byte is the first one of a connection.
    pub(crate) fn is_at_start(&self) -> bool {
        self.is_from_start && self.first_speaker.is_none()
    }

    /// What was said first was missed.
    pub(crate) fn forget_start(&mut self) {
        self.is_from_start = false;
        self.max_unknown_chunks = MAX_UNKNOWN_CHUNKS_MIDWAY;
    }

    /// Returns whether both sides have agreed to go on encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Takes out what is unread, which is ciphertext, of what was written and of what was read. The session goes on with
    /// what is told then. None where the sides have not agreed to go on encrypted.
    pub(crate) fn take_encrypted(&mut self) -> Option<[Option<Chunk>; 2]> {
        let is_agreed = std::mem::take(&mut self.is_encrypted);
        let rest = |lane: &mut Lane| std::mem::take(lane).into_rest();
        is_agreed.then(|| [rest(&mut self.egress), rest(&mut self.ingress)])
    }

    /// Returns the protocol, once it is known.
    pub(crate) fn protocol(&self) -> Option<&'static str> {
        match &self.state {
            State::Speaking { protocol, .. } => Some(protocol.name()),
            State::Detecting | State::Ignored => None,
        }
    }

    /// Returns where the client's bytes go, once it is known.
    pub(crate) fn client(&self) -> Option<Direction> {
        match &self.state {
            State::Speaking { client, .. } => Some(*client),
            State::Detecting | State::Ignored => None,
        }
    }

    /// Returns whether nothing more will come of this connection.
    pub(crate) fn is_ignored(&self) -> bool {
        matches!(self.state, State::Ignored)
    }

    /// Returns whether what is taken for a protocol may be something else: nothing was answered in it, and what came before
    /// was not of it.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Returns whether something was said, in no protocol that is known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.is_strange
            || self.is_doubtful
            || (matches!(self.state, State::Detecting) && self.first_speaker.is_some())
    }

    /// Takes in the next chunk of a direction.
    pub(crate) fn handle(
        &mut self,
        direction: Direction,
        chunk: Chunk,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let before = out.len();
        self.note(direction, &chunk, out);
        match self.state {
            State::Ignored => return,
            State::Detecting => self.detect(direction, chunk, around, out),
            State::Speaking { .. } => {
                self.drop_unasked(direction, &chunk, out);
                self.take(direction, chunk, out);
            }
        }
        self.advance(direction, out);
        if self.is_encrypted {
            return;
        }
        self.advance(direction.reverse(), out);
        if let Some((token, is_answering)) = self.upgrade.take() {
            self.go_on(token, is_answering, around, out);
            self.advance(direction, out);
            self.advance(direction.reverse(), out);
        }
        if self.rehearsal.is_some() && self.doubt().is_none() {
            self.rehearse(around, before, out);
        }
        self.believe(out.get(before..).unwrap_or_default());
    }

    /// What the other side answers in a protocol is of that protocol.
    fn believe(&mut self, said: &[Outcome]) {
        let is_of_server = |outcome: &Outcome| match outcome {
            Outcome::Step(step) => {
                matches!(step.message.kind, MessageKind::Response(_) | MessageKind::Delivered(_))
            }
            _ => false,
        };
        self.is_doubtful = self.is_doubtful && !said.iter().any(is_of_server);
    }

    /// Returns whether the process is the client of a conversation that is told only later.
    pub(crate) fn is_rehearsing_client(&self) -> bool {
        self.rehearsal.is_some() && self.client() == Some(Direction::Egress)
    }

    /// Returns when [`settle`](Self::settle) has something to do.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.rehearsal.as_ref().and_then(Rehearsal::deadline)
    }

    /// Lets time pass: a connection that rests after as many responses as requests is between two exchanges.
    pub(crate) fn settle(&mut self, now_ns: u64, around: &Surroundings<'_>, out: &mut Vec<Outcome>) {
        let is_due = self.deadline().is_some_and(|deadline| deadline <= now_ns);
        if is_due && self.doubt() == Some(true) {
            self.rehearse(around, out.len(), out);
        } else if is_due && let Some(rehearsal) = &mut self.rehearsal {
            rehearsal.wait_for_more();
        }
    }

    fn doubt(&self) -> Option<bool> {
        match &self.state {
            State::Speaking { parser, .. } => parser.doubt(),
            State::Detecting | State::Ignored => None,
        }
    }

    /// Keeps what is said while it is not known how to pair it, from the client's first words on.
    fn note(&mut self, direction: Direction, chunk: &Chunk, out: &mut Vec<Outcome>) {
        let is_client = self.client() == Some(direction);
        let Some(rehearsal) = &mut self.rehearsal else { return };
        if !rehearsal.note(direction, chunk, is_client) {
            self.rehearsal = None;
            out.push(Outcome::Unproven);
        }
    }

    /// Plays what was kept to a parser that trusts it, and goes on with that parser if all of it pairs. What the
    /// doubting one said of it since `before` is then void.
    fn rehearse(&mut self, around: &Surroundings<'_>, before: usize, out: &mut Vec<Outcome>) {
        let Some(rehearsal) = self.rehearsal.take() else { return };
        let State::Speaking { protocol, client, .. } = &self.state else { return };
        let (protocol, client) = (*protocol, *client);
        let mut parser = around.parser(protocol, client, false);
        parser.trust();
        let mut trusting = Self::new(Role::Unknown);
        trusting.state = State::Speaking { protocol, parser, client };
        let mut said = Vec::new();
        for (direction, chunk) in rehearsal.into_chunks() {
            trusting.take(direction, chunk, &mut said);
            trusting.advance(direction, &mut said);
            trusting.advance(direction.reverse(), &mut said);
        }
        if !rehearsal::is_coherent(&said) || trusting.doubt().is_some() {
            out.push(Outcome::Unproven);
            return;
        }
        out.truncate(before);
        out.append(&mut said);
        trusting.breaches = self.breaches;
        trusting.egress.has_wanted_more = self.egress.has_wanted_more;
        trusting.ingress.has_wanted_more = self.ingress.has_wanted_more;
        *self = trusting;
    }

    /// Tells that a direction has ended.
    pub(crate) fn handle_end(&mut self, direction: Direction, stamp: Stamp, out: &mut Vec<Outcome>) {
        let State::Speaking { protocol, parser, client } = &mut self.state else { return };
        let (name, client) = (protocol.name(), *client);
        let side = side_of(direction, client);
        let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
        let last = lane.last_stamp().unwrap_or(stamp);
        // What lasts as long as its connection ends now, however long it has been silent.
        let last = Stamp { at_ns: stamp.at_ns.max(last.at_ns), ..last };
        for message in std::iter::from_fn(|| parser.end(side)).take(MAX_OUTSTANDING) {
            let step =
                Step { message, protocol: name, client, first: last, last, place: lane.place_between() };
            out.push(Outcome::Step(step));
        }
    }

    /// Returns the bytes that wait for others, and what is known of them. It costs little.
    pub(crate) fn waiting_bytes(&self) -> usize {
        let rehearsed = self.rehearsal.as_ref().map_or(0, Rehearsal::held_bytes);
        self.egress.held_bytes() + self.ingress.held_bytes() + rehearsed
    }

    /// Returns the bytes that the parser's state holds. It looks at all of it.
    pub(crate) fn remembered_bytes(&self) -> usize {
        match &self.state {
            State::Speaking { parser, .. } => parser.held_bytes(),
            State::Detecting | State::Ignored => 0,
        }
    }

    /// Drops the bytes that wait for others, and what is open with them.
    pub(crate) fn give_up(&mut self, out: &mut Vec<Outcome>) {
        if self.rehearsal.take().is_some() {
            out.push(Outcome::Unproven);
        }
        self.lose(out);
    }

    /// Drops all that it holds: what waits, what is open, and what was learned of the connection since it began. Where
    /// that `is_breach` it is given up before long.
    pub(crate) fn forget(&mut self, is_breach: bool, around: &Surroundings<'_>, out: &mut Vec<Outcome>) {
        self.give_up(out);
        if let State::Speaking { protocol, parser, client } = &mut self.state {
            *parser = around.parser(*protocol, *client, false);
        }
        self.breaches += u32::from(is_breach);
        if self.breaches > MAX_BREACHES {
            self.ignore("holds_too_much", out);
        }
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }

    /// Gives the connection up.
    pub(crate) fn ignore(&mut self, reason: &'static str, out: &mut Vec<Outcome>) {
        self.state = State::Ignored;
        self.is_encrypted = false;
        self.egress = Lane::default();
        self.ingress = Lane::default();
        out.push(Outcome::Ignored(reason));
    }

    /// Drops what waits for the request that a chunk begins, and was moved before it: some servers say that they close a
    /// connection on which nothing is asked.
    fn drop_unasked(&mut self, direction: Direction, chunk: &Chunk, out: &mut Vec<Outcome>) {
        let State::Speaking { parser, client, .. } = &self.state else { return };
        let is_request = direction == *client && chunk.is_absolute && parser.is_unasked();
        if is_request
            && self.lane(direction).is_between_messages()
            && self.lane(direction.reverse()).drop_moved_before(chunk.position)
        {
            out.push(Outcome::Unasked);
        }
    }

    /// Appends a chunk to its lane, finding the next message's beginning if the lane is lost.
    fn take(&mut self, direction: Direction, chunk: Chunk, out: &mut Vec<Outcome>) {
        match chunk.content {
            Content::Missing(bytes) => self.take_missing(direction, &chunk, bytes, out),
            Content::Bytes(_) => {
                if self.lane(direction).push(chunk) {
                    self.passed(direction, out);
                }
                if self.lane(direction).is_lost {
                    self.resync(direction);
                }
            }
        }
    }

    /// Reads what is unread of a lane.
    fn advance(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let (before, from) = (out.len(), self.lane(direction).offset());
        self.read(direction, out);
        let bytes = self.lane(direction).offset().saturating_sub(from);
        let said = out.get(before..).unwrap_or_default();
        if bytes >= MIN_RUN_BYTES && said.iter().filter(|outcome| begins_message(outcome)).nth(1).is_some() {
            // What one call moves may hold many messages, and what is cut of it some whole ones.
            self.want_more(direction, out);
        }
    }

    /// Shows a lane's unread bytes to the parser until it wants more than there is.
    fn read(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        loop {
            let State::Speaking { protocol, parser, client } = &mut self.state else { return };
            let (name, client) = (protocol.name(), *client);
            let side = side_of(direction, client);
            let lane = match direction {
                Direction::Egress => &mut self.egress,
                Direction::Ingress => &mut self.ingress,
            };
            if lane.is_lost || !lane.is_worthwhile() {
                return;
            }
            if !lane.is_absolute {
                parser.meet(lane.peer.filter(|_| client == Direction::Ingress));
            }
            let answer = parser.parse(side, lane.unread());
            tell_given_up(parser.as_mut(), lane, name, client, out);
            match answer {
                Answer::Message { eaten, message } => {
                    let place = if eaten == 0 { lane.place_between() } else { lane.place() };
                    let (first, last) = lane.eat(eaten);
                    // Whoever says something is signed in.
                    self.sign_in = None;
                    out.push(Outcome::Step(Step { message, protocol: name, client, first, last, place }));
                }
                Answer::Nothing { eaten } => lane.advance(eaten.max(1)),
                Answer::SignsIn { eaten } => self.sign_in = Some(Box::new(SignIn::eat(lane, eaten.max(1)))),
                Answer::Refused { eaten, refusal } => {
                    let refused = SignIn::eat(lane, eaten.max(1));
                    let asked = self.sign_in.take();
                    out.extend(refused.refuse(asked.as_deref(), *refusal, name, client).map(Outcome::Step));
                }
                Answer::Skip { length } => {
                    if lane.skip(length.max(1)) {
                        self.passed(direction, out);
                    } else if lane.pending_skip() >= MIN_SKIP_HINT_BYTES {
                        out.push(Outcome::SkipUntil(direction, lane.skip_target()));
                    }
                }
                Answer::Need { at_least } => {
                    lane.need(at_least);
                    if lane.unread().len() > MAX_UNREAD_BYTES {
                        self.lose(out);
                    }
                    return;
                }
                Answer::Wait => {
                    if lane.unread().len() > MAX_UNREAD_BYTES {
                        self.lose(out);
                    }
                    return;
                }
                Answer::Lost => self.start_over(direction.reverse(), out),
                Answer::Upgraded { token, is_answering } => {
                    self.upgrade = Some((token, is_answering));
                    return;
                }
                Answer::Encrypted { eaten } => {
                    lane.advance(eaten);
                    self.is_encrypted = true;
                    return;
                }
                Answer::Opaque if is_hello(lane.unread()) => {
                    self.state = State::Detecting;
                    self.is_encrypted = true;
                    return;
                }
                Answer::Opaque => return self.ignore("opaque", out),
                Answer::Broken { reason } => {
                    self.breaches += 1;
                    if self.breaches > MAX_BREACHES {
                        return self.ignore(reason, out);
                    }
                    return self.lose(out);
                }
            }
        }
    }
}

/// Tells of the exchanges that the parser does not follow any more.
fn tell_given_up(
    parser: &mut dyn Parser,
    lane: &Lane,
    name: &'static str,
    client: Direction,
    out: &mut Vec<Outcome>,
) {
    while let Some(pairing) = parser.given_up() {
        let message = Message { pairing, kind: MessageKind::Lost };
        out.push(Outcome::Step(lane.silent_step(message, name, client)));
    }
}

/// Returns whether it is a message that asks for something, or comes unasked: others follow those, of which they say how
/// many there are.
fn begins_message(outcome: &Outcome) -> bool {
    let Outcome::Step(step) = outcome else { return false };
    matches!(step.message.kind, MessageKind::Request(_) | MessageKind::OneWay | MessageKind::Delivered(_))
}

/// Returns whether a tunnel begins with TLS.
fn is_hello(bytes: &[u8]) -> bool {
    tls::begins(bytes, u32::try_from(bytes.len()).unwrap_or(u32::MAX)) == Some(tls::Begins::Here)
}

fn side_of(direction: Direction, client: Direction) -> Side {
    if direction == client { Side::Client } else { Side::Server }
}
