//! One connection: the frames of both sides.

mod data;
mod fields;
mod hole;
mod tables;

use super::align::{self, Place};
use super::frame::{HEADER_BYTES, Header, Kind, PREFACE, number};
use super::hpack::{Decoder, Fields};
use super::kept::Room;
use super::stream::{Stream, Streams, Use};
use crate::event::Endpoint;
use crate::held::Held;
use crate::protocol::{
    Answer, Conversation, Cut, Message, MessageKind, Pairing, Parser, ParserSettings, Side,
};
use data::Data;
use tables::Blocks;

/// Bytes in which no frame was found that are looked at again with what follows.
const MAX_UNALIGNED_BYTES: usize = 512;
/// Error codes (section 7). The second is what a stream that its server has not looked at is to its client.
const NO_ERROR: u32 = 0x0;
const REFUSED_STREAM: u32 = 0x7;
const CANCEL: u32 = 0x8;
/// The stream of a request that came by HTTP/1.1 (section 3.2 of RFC 7540).
const UPGRADED_STREAM: u32 = 1;

/// State of one connection.
#[derive(Debug)]
pub(super) struct Http2Parser {
    settings: ParserSettings,
    server_end: Option<Endpoint>,
    client: Half,
    server: Half,
    streams: Streams,
    blocks: Blocks,
    spoken: Spoken,
    /// The exchange of a stream that is not followed any more.
    given_up: Option<Pairing>,
    /// For messages that are read.
    room: Room,
    /// For the fields of the next block.
    room_for_fields: Fields,
}

/// What the requests of a connection were, of which it is known.
#[derive(Debug, Default)]
struct Spoken {
    grpc: bool,
    other: bool,
    /// Its client writes for all ([`Request::is_relayed`](crate::protocol::Request::is_relayed)).
    is_relayed: bool,
}

/// One direction.
#[derive(Debug)]
struct Half {
    state: State,
    decoder: Decoder,
    /// Bytes that were missing, or among which no frame was found, since the last frame.
    unseen: u64,
}

/// Where in a direction we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before what a client sends first.
    Preface,
    /// Before a frame.
    Frame,
    /// In a frame of data.
    Data(Data),
    /// After a frame of data that was passed over, and which may have ended its stream.
    Passed { stream: u32, is_end: bool },
    /// Anywhere; at what follows right behind a hole, or farther on.
    Unaligned { is_edge: bool },
}

impl Http2Parser {
    /// Returns the parser of a connection that begins, or is met later.
    pub(super) fn new(conversation: &Conversation<'_>) -> Self {
        let is_start = conversation.is_start;
        let half = |first| Half {
            state: if is_start { first } else { State::Unaligned { is_edge: true } },
            decoder: Decoder::new(is_start),
            unseen: 0,
        };
        Self {
            settings: conversation.settings.clone(),
            server_end: conversation.server.cloned(),
            client: half(State::Preface),
            server: half(State::Frame),
            streams: Streams::new(is_start),
            blocks: Blocks::new(is_start),
            spoken: Spoken::default(),
            given_up: None,
            room: Room::default(),
            room_for_fields: Fields::default(),
        }
    }

    /// Returns the parser of a connection that goes on by HTTP/2 after a request by HTTP/1.1, which is answered as its
    /// first stream.
    pub(super) fn upgraded(conversation: &Conversation<'_>) -> Self {
        let mut parser = Self::new(conversation);
        let mut stream = Stream::new(Pairing::InOrder, Use::Http);
        stream.client.has_ended = true;
        parser.streams.is_new(UPGRADED_STREAM);
        parser.blocks.ask(UPGRADED_STREAM);
        parser.streams.begin(UPGRADED_STREAM, stream);
        parser
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    fn preface(&mut self, bytes: &[u8]) -> Answer {
        let shown = bytes.len().min(PREFACE.len());
        if bytes.get(..shown) != PREFACE.get(..shown) {
            return self.broken("not the preface of HTTP/2");
        }
        if shown < PREFACE.len() {
            return Answer::Need { at_least: PREFACE.len() };
        }
        self.client.state = State::Frame;
        Answer::Nothing { eaten: PREFACE.len() }
    }

    /// Looks for a frame.
    fn align(&mut self, side: Side, is_edge: bool, bytes: &[u8]) -> Answer {
        if side == Side::Client && bytes.starts_with(PREFACE) {
            // The beginning after all; a server answers nothing before it.
            self.client = Half { state: State::Preface, decoder: Decoder::new(true), unseen: 0 };
            self.server.decoder = Decoder::new(true);
            self.blocks = Blocks::new(true);
            return self.preface(bytes);
        }
        let unseen = self.half(side).unseen;
        let streams = &self.streams;
        let eaten = match align::find(side, bytes, is_edge, |stream| streams.standing(stream, unseen)) {
            Place::At(at) => {
                let half = self.half(side);
                (half.state, half.unseen) = (State::Frame, 0);
                if at == 0 {
                    return self.frame(side, bytes);
                }
                return Answer::Nothing { eaten: at };
            }
            Place::MaybeAt(at) => at,
            Place::Nowhere => bytes.len().saturating_sub(MAX_UNALIGNED_BYTES),
        };
        if eaten == 0 {
            return Answer::Need { at_least: bytes.len() + 1 };
        }
        let half = self.half(side);
        half.state = State::Unaligned { is_edge: false };
        half.unseen = half.unseen.saturating_add(eaten as u64);
        if side == Side::Server {
            self.doubt_answers(None);
        }
        Answer::Nothing { eaten }
    }

    fn frame(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let Some(header) = Header::read(bytes) else { return Answer::Need { at_least: HEADER_BYTES } };
        if let Err(reason) = header.check() {
            return self.broken(reason);
        }
        if side == Side::Server && self.streams.is_ahead(header.stream) {
            // The request is told late: its call has not returned yet, or its place is not known yet.
            return Answer::Wait;
        }
        match header.kind {
            Kind::Data => self.data_frame(side, header, bytes),
            Kind::Headers | Kind::PushPromise => {
                self.fields_frame(side, header, bytes).unwrap_or_else(|reason| self.broken(reason))
            }
            Kind::ResetStream => whole(header, bytes, |payload| self.reset(side, header.stream, payload)),
            Kind::GoAway => whole(header, bytes, |payload| self.go_away(side, payload)),
            Kind::Continuation => self.broken("continuation of nothing"),
            _ => Answer::Skip { length: header.frame_bytes() as u64 },
        }
    }

    /// Ends a stream that one side has given up.
    fn reset(&mut self, side: Side, number: u32, payload: &[u8]) -> Reply {
        if side == Side::Client {
            self.blocks.reset();
        }
        let message = self.streams.remove(number).and_then(|mut stream| {
            let code = self::number(payload)?;
            // Both may say so behind a whole response (section 8.1), which may be among what is missing.
            let is_unheard = stream.is_doubtful() && !stream.is_endless();
            let may_be_answered = is_unheard || code == NO_ERROR && stream.may_be_answered();
            Some(if may_be_answered { lost(&stream) } else { fields::reset(&mut stream, side, code) })
        });
        Reply { message, is_done: true }
    }

    /// Ends the streams that a server says it has not looked at (section 6.8), one at a time.
    fn go_away(&mut self, side: Side, payload: &[u8]) -> Reply {
        let last = number(payload).unwrap_or(u32::MAX) & (u32::MAX >> 1);
        let refused = if side == Side::Server { self.streams.take_refused(last) } else { None };
        let is_done = refused.is_none();
        Reply { message: refused.map(|mut stream| fields::reset(&mut stream, side, REFUSED_STREAM)), is_done }
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.forget();
        Answer::Broken { reason }
    }

    fn forget(&mut self) {
        for half in [&mut self.client, &mut self.server] {
            half.state = State::Unaligned { is_edge: true };
            half.decoder.forget();
        }
        self.streams.clear();
        self.blocks = Blocks::new(false);
    }
}

impl Parser for Http2Parser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        if bytes.is_empty() {
            return self.parse_nothing(side);
        }
        if let Some(stream) = self.streams.take_doubtful(false) {
            self.blocks.give_up();
            return Answer::Message { eaten: 0, message: lost(&stream) };
        }
        match self.half(side).state {
            State::Preface => self.preface(bytes),
            State::Frame => self.frame(side, bytes),
            State::Data(data) => self.data(side, data, bytes, 0),
            State::Passed { .. } => match self.passed(side) {
                Some(message) => Answer::Message { eaten: 0, message },
                None => self.frame(side, bytes),
            },
            State::Unaligned { is_edge } => self.align(side, is_edge, bytes),
        }
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        let State::Passed { stream, is_end } = self.half(side).state else { return None };
        self.half(side).state = State::Frame;
        if is_end { self.end_stream(side, stream) } else { None }
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        self.cut_frame(side, bytes, missing)
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.given_up.take()
    }

    fn end(&mut self, side: Side) -> Option<Message> {
        if let Some(message) = self.passed(side) {
            return Some(message);
        }
        if side == Side::Client {
            return None;
        }
        match self.streams.take_doubtful(true) {
            Some(stream) => Some(lost(&stream)),
            None => {
                let stream = self.streams.take_endless()?;
                Some(if stream.is_doubtful() { lost(&stream) } else { fields::end(stream) })
            }
        }
    }

    fn held_bytes(&self) -> usize {
        self.client.decoder.held_bytes()
            + self.server.decoder.held_bytes()
            + self.streams.held_bytes()
            + self.blocks.held_bytes()
            + self.room.taken()
    }

    fn lost(&mut self, _side: Side) {
        self.forget();
    }

    /// Every place will do: [`align`](Self::align) finds the next frame.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }
}

/// What comes of a short frame.
struct Reply {
    message: Option<Message>,
    /// The frame need not be looked at again.
    is_done: bool,
}

/// Reads a frame once all of it is there.
fn whole(header: Header, bytes: &[u8], read: impl FnOnce(&[u8]) -> Reply) -> Answer {
    /// No more of a frame is looked at.
    const MAX_BYTES: usize = 8;
    let length = header.frame_bytes();
    let shown = HEADER_BYTES + header.length.min(MAX_BYTES);
    let Some(payload) = bytes.get(HEADER_BYTES..shown) else { return Answer::Need { at_least: shown } };
    match read(payload) {
        Reply { message: Some(message), is_done: false } => Answer::Message { eaten: 0, message },
        Reply { message: Some(message), is_done: true } => Answer::Message { eaten: length, message },
        Reply { message: None, .. } => Answer::Skip { length: length as u64 },
    }
}

/// Says of an exchange that it cannot be told.
fn lost(stream: &Stream) -> Message {
    Message { pairing: stream.pairing, kind: MessageKind::Lost }
}
