//! One connection: frames of both sides become calls, messages and what becomes of them.

mod answer;
mod ask;
mod message;

use std::collections::BTreeMap;

use super::channel::Channel;
use super::detect;
use super::method::Id;
use super::wire::{FRAME_END, Fields, HEAD_BYTES, Head, Kind, MAX_READ_BYTES};
use crate::held::Held;
use crate::protocol::{Answer, Cut, Message, MessageKind, Pairing, Parser, Side};

/// Channels of one connection that are followed (`channel_max` of RabbitMQ, unless changed).
const MAX_CHANNELS: usize = 2048;

/// State of one connection.
#[derive(Debug)]
pub(super) struct AmqpParser {
    channels: BTreeMap<u16, Channel>,
    /// Numbers of what was told and is not followed any more.
    given_up: Vec<u64>,
    /// Of the next call or message.
    next_number: u64,
    /// Channels that are met are new.
    is_whole: bool,
    /// The client was seen to ask again before it had its answer.
    is_piling: bool,
    client: Flow,
    server: Flow,
}

/// Where one side is in its bytes.
#[derive(Debug, Default)]
struct Flow {
    /// A frame begins where the bytes begin.
    is_aligned: bool,
    /// No frame was seen.
    is_new: bool,
    /// Bytes at the beginning that are part of a frame which need not be seen.
    rest: u64,
    /// Bytes that were not there when they were last passed over.
    ahead: u64,
    /// The channel whose message's body was last seen, and the size of its frames.
    body: Option<(u16, u32)>,
}

/// What a frame says.
#[derive(Debug)]
enum Said {
    Nothing,
    One(MessageKind, u64),
    /// The frame says more than this.
    Part(MessageKind, u64),
}

impl Said {
    fn message(self) -> Option<Message> {
        match self {
            Said::Nothing => None,
            Said::One(kind, number) | Said::Part(kind, number) => {
                Some(Message { pairing: Pairing::Id(number), kind })
            }
        }
    }
}

impl AmqpParser {
    pub(super) fn new(is_start: bool) -> Self {
        let flow = || Flow { is_aligned: is_start, is_new: is_start, ..Flow::default() };
        Self {
            channels: BTreeMap::new(),
            given_up: Vec::new(),
            next_number: 0,
            is_whole: is_start,
            is_piling: false,
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

    /// Returns a channel, as long as there are not too many.
    fn channel(&mut self, number: u16) -> Option<&mut Channel> {
        if !self.channels.contains_key(&number) {
            if self.channels.len() >= MAX_CHANNELS {
                return None;
            }
            let channel = if self.is_whole { Channel::default() } else { Channel::doubtful() };
            self.channels.insert(number, channel);
        }
        self.channels.get_mut(&number)
    }

    fn end_channel(&mut self, number: u16) {
        if let Some(channel) = self.channels.remove(&number) {
            channel.end(&mut self.given_up);
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number = self.next_number.wrapping_add(1);
        self.next_number
    }

    /// Finds the first frame of a connection that was met midway.
    fn align(&mut self, side: Side, bytes: &[u8]) -> Option<Answer> {
        if self.flow(side).is_aligned {
            return None;
        }
        match detect::find(side, bytes) {
            Some(0) => {
                self.flow(side).is_aligned = true;
                None
            }
            Some(eaten) => Some(Answer::Nothing { eaten }),
            None => Some(Answer::Nothing { eaten: bytes.len() }),
        }
    }

    /// The client names the version; a server that does not know it names its own, and hangs up.
    fn protocol_header(&mut self, side: Side, bytes: &[u8]) -> Option<Answer> {
        let header = detect::PROTOCOL_HEADER;
        if !self.flow(side).is_new || bytes.first() != header.first() {
            return None;
        }
        let Some(shown) = bytes.get(..header.len()) else {
            return Some(Answer::Need { at_least: header.len() });
        };
        if shown != header || side == Side::Server {
            return Some(Answer::Opaque);
        }
        self.flow(side).is_new = false;
        Some(Answer::Nothing { eaten: header.len() })
    }

    fn frame(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let head = match Head::read(bytes) {
            Ok(Some(head)) => head,
            Ok(None) => return Answer::Need { at_least: HEAD_BYTES },
            Err(reason) => return self.broken(reason),
        };
        self.flow(side).is_new = false;
        if head.kind == Kind::Body {
            return self.body(side, head, bytes);
        }
        // Of a frame that is too long to be kept, the beginning is read.
        let whole = head.frame_bytes();
        let wanted = usize::try_from(whole).unwrap_or(usize::MAX).min(HEAD_BYTES + MAX_READ_BYTES);
        let Some(shown) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        let is_read_whole = wanted as u64 == whole;
        if is_read_whole && shown.last() != Some(&FRAME_END) {
            return self.broken("frame without an end");
        }
        let end = if is_read_whole { wanted.saturating_sub(1) } else { wanted };
        let payload = shown.get(HEAD_BYTES..end).unwrap_or_default();
        let said = match head.kind {
            Kind::Method => self.method(side, head.channel, payload),
            Kind::Header => Ok(self.header(side, head.channel, payload)),
            Kind::Body | Kind::Heartbeat => Ok(Said::Nothing),
        };
        match said {
            Ok(said) => self.eat(side, said, wanted, whole - wanted as u64),
            Err(reason) => self.broken(reason),
        }
    }

    /// Goes on behind `eaten` bytes of a frame, after what is left of it.
    fn eat(&mut self, side: Side, said: Said, eaten: usize, rest: u64) -> Answer {
        let is_part = matches!(said, Said::Part(..));
        if !is_part {
            self.flow(side).rest = rest;
        }
        match said.message() {
            Some(message) => Answer::Message { eaten: if is_part { 0 } else { eaten }, message },
            None => Answer::Nothing { eaten },
        }
    }

    fn method(&mut self, side: Side, channel: u16, payload: &[u8]) -> Result<Said, &'static str> {
        let mut fields = Fields(payload);
        let id = Id::read(&mut fields).ok_or("method without a number")?;
        if !id.is_of(side) {
            return Err("no method of this side");
        }
        if id.is_of_connection() != (channel == 0) {
            return Err("method on a channel of another kind");
        }
        match side {
            Side::Client => self.asked(channel, id, fields).ok_or("method without its arguments"),
            Side::Server => self.answered(channel, id, fields).ok_or("method without its arguments"),
        }
    }

    fn broken(&mut self, reason: &'static str) -> Answer {
        self.lose();
        Answer::Broken { reason }
    }

    fn lose(&mut self) {
        self.is_whole = false;
        self.given_up.clear();
        self.channels.values_mut().for_each(Channel::lose);
        let flow = || Flow { is_aligned: true, ..Flow::default() };
        (self.client, self.server) = (flow(), flow());
    }

    fn cut_ahead(&mut self, side: Side, message: Option<Message>, seen: u64) -> Option<Cut> {
        let length = self.foreseen(side);
        if length < seen {
            return None;
        }
        self.forget_body(side);
        Some(Cut { message, length })
    }

    /// Returns the bytes ahead that are known to be a message's body, with the frames around it: all of a body but the
    /// last come in frames of one size, and nearly always without others between them.
    fn foreseen(&mut self, side: Side) -> u64 {
        let flow = self.flow(side);
        let (ahead, body) = (flow.ahead, flow.body);
        let Some((channel, size @ 1..)) = body else { return ahead };
        let left = self.channels.get_mut(&channel).and_then(|channel| channel.content(side).as_ref());
        let left = left.map_or(0, |content| content.left);
        let around = left.div_ceil(u64::from(size)).saturating_mul(HEAD_BYTES as u64 + 1);
        ahead.saturating_add(left).saturating_add(around)
    }
}

impl Parser for AmqpParser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let flow = self.flow(side);
        let length = std::mem::take(&mut flow.rest);
        if length > 0 {
            flow.ahead = length.saturating_sub(bytes.len() as u64);
            return Answer::Skip { length };
        }
        if bytes.is_empty() {
            return Answer::Need { at_least: 1 };
        }
        flow.ahead = 0;
        if let Some(answer) = self.align(side, bytes).or_else(|| self.protocol_header(side, bytes)) {
            return answer;
        }
        self.frame(side, bytes)
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        self.flow(side).ahead = 0;
        None
    }

    /// What is missing of a body is of no interest, as long as it is known where the next frame begins; and of other
    /// frames, the beginning may do.
    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let seen = (bytes.len() as u64).checked_add(missing)?;
        if bytes.is_empty() {
            return self.cut_ahead(side, None, seen);
        }
        let head = Head::read(bytes).ok()??;
        if head.kind == Kind::Body {
            let message = self.cut_body(side, head)?;
            self.flow(side).ahead = head.frame_bytes();
            return self.cut_ahead(side, message, seen);
        }
        let payload = bytes.get(HEAD_BYTES..)?;
        if !self.flow(side).is_aligned || head.frame_bytes() < seen {
            return None;
        }
        let said = match head.kind {
            Kind::Method => self.method(side, head.channel, payload).ok()?,
            _ => self.header(side, head.channel, payload),
        };
        Some(Cut { message: said.message(), length: head.frame_bytes() })
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.given_up.pop().map(Pairing::Id)
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.channels.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.lose();
    }

    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize> {
        detect::find(side, bytes)
    }
}
