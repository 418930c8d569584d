//! The conversation on one connection: chunks of two directions become messages of a protocol.
//!
//! Takes [`Chunk`]s, makes [`Step`]s. It finds out which protocol is spoken and who the client is, keeps what a parser
//! has not eaten, passes over what nobody wants, and finds its feet again after a gap. It knows protocols only as trait
//! objects.

mod lane;
mod rehearsal;

use crate::connection::{Chunk, Content, Stamp};
use crate::event::{Direction, Opened, Role};
use crate::protocol::{
    Answer, Conversation, DETECTION_BUDGET_BYTES, Detection, Learned, Message, Parser, ParserSettings,
    Protocol, REGISTRY, Side,
};
use lane::{Lane, Passage};
use rehearsal::Rehearsal;

/// Chunks that may fail to be recognised before a connection is given up. A connection that was met in the middle of
/// a large body needs many; one that was seen from its first byte needs none.
const MAX_UNKNOWN_CHUNKS_MIDWAY: u32 = 256;
const MAX_UNKNOWN_CHUNKS_FROM_START: u32 = 8;
/// Breaches of the protocol after which a connection is given up.
const MAX_BREACHES: u32 = 3;
/// Bytes that one side may have waiting for the other.
const MAX_UNREAD_BYTES: usize = 1 << 20;
/// Messages that the end of a direction may complete: as many exchanges as are followed on a connection.
const MAX_LAST_MESSAGES: usize = 4096;
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
pub(crate) enum Outcome {
    /// A message.
    Step(Box<Step>),
    /// What was open can no longer be completed: bytes are missing.
    Lost,
    /// The connection carries nothing that is understood; the fixed text says why.
    Ignored(&'static str),
    /// Bytes of this direction before this position are not needed.
    SkipUntil(Direction, u32),
    /// Exchanges before the pairing was known, which cannot be told any more.
    Unproven,
    /// More of each call should be captured: this much, or as much as can be.
    Wants(Option<u32>),
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
    has_wanted_more: bool,
    /// What was said since the connection was met midway, until it is known how to pair it.
    rehearsal: Option<Rehearsal>,
    /// What both sides have agreed to go on with.
    upgrade: Option<(&'static str, bool)>,
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
            has_wanted_more: false,
            rehearsal: None,
            upgrade: None,
        }
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

    /// Returns whether something was said, in no protocol that is known.
    pub(crate) fn is_unknown(&self) -> bool {
        self.is_strange || (matches!(self.state, State::Detecting) && self.first_speaker.is_some())
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
            State::Speaking { .. } => self.take(direction, chunk, out),
        }
        self.advance(direction, out);
        self.advance(direction.reverse(), out);
        if let Some((token, is_answering)) = self.upgrade.take() {
            self.go_on(token, is_answering, around, out);
            self.advance(direction, out);
            self.advance(direction.reverse(), out);
        }
        if self.rehearsal.is_some() && self.doubt().is_none() {
            self.rehearse(around, before, out);
        }
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
        trusting.has_wanted_more = self.has_wanted_more;
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
        for message in std::iter::from_fn(|| parser.end(side)).take(MAX_LAST_MESSAGES) {
            let step = Step { message, protocol: name, client, first: last, last, place: lane.place() };
            out.push(Outcome::Step(Box::new(step)));
        }
    }

    /// Returns the bytes that wait for others.
    pub(crate) fn held_bytes(&self) -> usize {
        let rehearsed = self.rehearsal.as_ref().map_or(0, Rehearsal::bytes);
        self.egress.unread().len() + self.ingress.unread().len() + rehearsed
    }

    /// Drops the bytes that wait for others, and what is open with them.
    pub(crate) fn give_up(&mut self, out: &mut Vec<Outcome>) {
        if self.rehearsal.take().is_some() {
            out.push(Outcome::Unproven);
        }
        self.lose(out);
    }

    fn lane(&mut self, direction: Direction) -> &mut Lane {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }

    fn ignore(&mut self, reason: &'static str, out: &mut Vec<Outcome>) {
        self.state = State::Ignored;
        self.egress = Lane::default();
        self.ingress = Lane::default();
        out.push(Outcome::Ignored(reason));
    }

    /// Asks the protocols whose bytes these are.
    fn detect(
        &mut self,
        direction: Direction,
        chunk: Chunk,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let is_gap = matches!(chunk.content, Content::Missing(_));
        self.first_speaker.get_or_insert(direction);
        let first = chunk.clone();
        let lane = self.lane(direction);
        let is_first = lane.unread().is_empty();
        let _ = lane.push(chunk);
        if is_gap {
            lane.clear();
        } else {
            match ask(lane.unread()) {
                Verdict::Is(protocol, side) => {
                    let client = if side == Side::Client { direction } else { direction.reverse() };
                    self.speak(protocol, client, around, out);
                    if self.doubt().is_some() {
                        let mut rehearsal = Rehearsal::new(client);
                        let is_kept = is_first && rehearsal.note(direction, &first, side == Side::Client);
                        self.rehearsal = is_kept.then_some(rehearsal);
                    }
                    self.settle_other(direction.reverse(), out);
                    return;
                }
                Verdict::Unsure => {
                    if let Some((protocol, client)) = self.ask_both() {
                        self.speak(protocol, client, around, out);
                        // Requests before their responses.
                        self.advance(client, out);
                    }
                    return;
                }
                Verdict::No => lane.clear(),
            }
        }
        self.unknown_chunks += 1;
        if self.unknown_chunks > self.max_unknown_chunks {
            self.is_strange = true;
            self.ignore("protocol_unknown", out);
        }
    }

    fn speak(
        &mut self,
        protocol: &'static dyn Protocol,
        client: Direction,
        around: &Surroundings<'_>,
        out: &mut Vec<Outcome>,
    ) {
        let parser = around.parser(protocol, client, self.is_whole());
        if protocol.capture_bytes() > 0 {
            out.push(Outcome::Wants(Some(protocol.capture_bytes())));
        }
        self.state = State::Speaking { protocol, parser, client };
    }

    /// Goes on with the protocol that both sides have agreed on.
    fn go_on(&mut self, token: &str, is_answering: bool, around: &Surroundings<'_>, out: &mut Vec<Outcome>) {
        let State::Speaking { client, .. } = &self.state else { return };
        let client = *client;
        let next = REGISTRY.iter().find(|protocol| protocol.upgrade_token() == Some(token));
        let Some(protocol) = next.copied() else { return self.ignore("opaque", out) };
        let conversation = around.conversation(client, true);
        let parser = match is_answering {
            true => protocol.upgraded_parser(&conversation),
            false => protocol.parser(&conversation),
        };
        self.state = State::Speaking { protocol, parser, client };
    }

    /// Returns whether all bytes since the connection's beginning are there, or understood.
    fn is_whole(&self) -> bool {
        self.is_from_start && self.unknown_chunks == 0
    }

    /// Asks the protocols about both directions, each of which alone leaves them unsure.
    fn ask_both(&self) -> Option<(&'static dyn Protocol, Direction)> {
        let client = self.first_speaker.filter(|_| self.is_whole())?;
        let (asked, answered) = match client {
            Direction::Egress => (self.egress.unread(), self.ingress.unread()),
            Direction::Ingress => (self.ingress.unread(), self.egress.unread()),
        };
        let protocol = REGISTRY.iter().find(|protocol| protocol.detect_exchange(asked, answered))?;
        Some((*protocol, client))
    }

    /// What the other direction has kept so far was undecided; it is of the same protocol or not from a message's
    /// beginning.
    fn settle_other(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let State::Speaking { parser, client, .. } = &self.state else { return };
        let side = side_of(direction, *client);
        let lane = match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        };
        if lane.unread().is_empty() || (self.is_from_start && self.unknown_chunks == 0) {
            return;
        }
        match parser.resync(side, lane.unread()) {
            Some(offset) => lane.advance(offset),
            None => {
                lane.clear();
                lane.is_lost = true;
                out.push(Outcome::Lost);
            }
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

    /// Bytes are missing: passed over if nobody wanted them, guessed from what came before if that is enough, or lost.
    fn take_missing(&mut self, direction: Direction, chunk: &Chunk, missing: u64, out: &mut Vec<Outcome>) {
        let State::Speaking { protocol, parser, client } = &mut self.state else { return };
        let (name, client) = (protocol.name(), *client);
        let side = side_of(direction, client);
        let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
        lane.note(chunk);
        if lane.is_lost {
            return lane.clear();
        }
        if lane.is_between_messages()
            && let Answer::Skip { length } = parser.parse(side, &[])
        {
            lane.skip(length.max(1));
            if length.saturating_sub(missing) >= MIN_SKIP_HINT_BYTES {
                out.push(Outcome::SkipUntil(direction, lane.skip_target()));
            }
        }
        match lane.pass_over_missing(missing) {
            Passage::Whole => return self.passed(direction, out),
            Passage::Part => return,
            Passage::Stopped => {}
        }
        if !std::mem::replace(&mut self.has_wanted_more, true) {
            out.push(Outcome::Wants(None));
        }
        let shown = lane.unread().len();
        if lane.pending_skip() > 0 {
            parser.cut_short(side, lane.pending_skip());
        }
        let Some((cut, rest)) = parser.cut(side, lane.unread(), missing).and_then(|cut| {
            let rest = cut.length.checked_sub(shown as u64)?.checked_sub(missing)?;
            Some((cut, rest))
        }) else {
            return self.lose(out);
        };
        let place = lane.place();
        let (first, _) = lane.eat(shown);
        lane.skip_silently(missing, rest);
        if let Some(message) = cut.message {
            out.push(Outcome::Step(Box::new(Step {
                message,
                protocol: name,
                client,
                first,
                last: chunk.stamp,
                place,
            })));
        }
    }

    /// What was to be skipped has gone by.
    fn passed(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let State::Speaking { protocol, parser, client } = &mut self.state else { return };
        let (name, client) = (protocol.name(), *client);
        let side = side_of(direction, client);
        let lane = if direction == Direction::Egress { &mut self.egress } else { &mut self.ingress };
        let Some(message) = parser.passed(side) else { return };
        let stamp = lane.passed_stamp();
        out.push(Outcome::Step(Box::new(Step {
            message,
            protocol: name,
            client,
            first: stamp,
            last: stamp,
            place: lane.place(),
        })));
    }

    fn resync(&mut self, direction: Direction) {
        let State::Speaking { parser, client, .. } = &self.state else { return };
        let side = side_of(direction, *client);
        let lane = match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        };
        match parser.resync(side, lane.unread()) {
            Some(offset) => {
                lane.advance(offset);
                lane.is_lost = false;
            }
            None => lane.clear(),
        }
    }

    /// Bytes that mattered are missing: both sides start over at the next request that can be told.
    fn lose(&mut self, out: &mut Vec<Outcome>) {
        if let State::Speaking { parser, .. } = &mut self.state {
            parser.lost(Side::Client);
            parser.lost(Side::Server);
        }
        for lane in [&mut self.egress, &mut self.ingress] {
            lane.clear();
            lane.is_lost = true;
        }
        out.push(Outcome::Lost);
    }

    /// The parser gave up what was open, and goes on with the bytes of the other side than this one.
    fn start_over(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
        let lane = self.lane(direction);
        lane.clear();
        lane.is_lost = true;
        out.push(Outcome::Lost);
    }

    /// Shows a lane's unread bytes to the parser until it wants more than there is.
    fn advance(&mut self, direction: Direction, out: &mut Vec<Outcome>) {
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
            match parser.parse(side, lane.unread()) {
                Answer::Message { eaten, message } => {
                    let place = lane.place();
                    let (first, last) = lane.eat(eaten);
                    out.push(Outcome::Step(Box::new(Step {
                        message,
                        protocol: name,
                        client,
                        first,
                        last,
                        place,
                    })));
                }
                Answer::Nothing { eaten } => lane.advance(eaten.max(1)),
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

fn side_of(direction: Direction, client: Direction) -> Side {
    if direction == client { Side::Client } else { Side::Server }
}

enum Verdict {
    Is(&'static dyn Protocol, Side),
    Unsure,
    No,
}

fn ask(bytes: &[u8]) -> Verdict {
    let seen = bytes.get(..DETECTION_BUDGET_BYTES).unwrap_or(bytes);
    let mut verdict = Verdict::No;
    for &protocol in REGISTRY {
        match protocol.detect(seen) {
            Detection::Yes(side) => return Verdict::Is(protocol, side),
            Detection::Unsure if bytes.len() < DETECTION_BUDGET_BYTES => verdict = Verdict::Unsure,
            Detection::Unsure | Detection::No => {}
        }
    }
    verdict
}
