//! The server's side: responses.

use super::api;
use super::header::{self, LENGTH_BYTES};
use super::outstanding::Outstanding;
use super::parser::{Shared, wanted};
use super::place::{End, Place, Progress};
use super::reader::{Failure, Field, Reader};
use super::response;
use super::walk::Walk;
use crate::held::Held;
use crate::protocol::{Answer, Cut, Message, MessageKind, Pairing, Response};

/// Length and number of a response.
const HEAD_BYTES: usize = 8;

/// Where the server's bytes are, and what has to be told at the end of the frame.
#[derive(Debug)]
pub(super) struct Responses {
    place: Place<Due>,
}

#[derive(Debug)]
enum Due {
    /// The response, made of what its batches have shown.
    Response(Box<Outstanding>),
    /// The end of the response to this request.
    End(u64),
}

/// The beginning of a response.
struct Head {
    /// Bytes of the response, with its length.
    frame: u64,
    correlation: i32,
}

impl Head {
    fn read(bytes: &[u8]) -> Field<Self> {
        let mut fields = Reader::new(bytes, false);
        let length = header::frame_length(fields.int32()?).ok_or(Failure::Wrong)?;
        Ok(Self { frame: u64::from(length) + LENGTH_BYTES as u64, correlation: fields.int32()? })
    }
}

impl Responses {
    /// Returns the state before the first byte, or where no response's beginning is known.
    pub(super) fn new(is_start: bool) -> Self {
        Self { place: if is_start { Place::Head } else { Place::Lost } }
    }

    pub(super) fn parse(&mut self, shared: &mut Shared, bytes: &[u8]) -> Answer {
        if matches!(self.place, Place::Lost) && !self.find(shared, bytes) {
            return match Head::read(bytes) {
                Err(Failure::Short) if !shared.outstanding.is_empty() || bytes.is_empty() => {
                    Answer::Need { at_least: bytes.len() + 1 }
                }
                _ => Answer::Nothing { eaten: bytes.len() },
            };
        }
        if matches!(self.place, Place::Head) {
            return self.head(shared, bytes);
        }
        match self.place.go_on(bytes) {
            Progress::Say(answer) => answer,
            Progress::End { eaten, end } => Answer::Message { eaten, message: ended(shared, end) },
        }
    }

    pub(super) fn passed(&mut self, shared: &Shared) -> Option<Message> {
        self.place.passed().map(|end| ended(shared, end))
    }

    pub(super) fn cut(&mut self, shared: &mut Shared, bytes: &[u8], seen: u64) -> Option<Cut> {
        if !matches!(self.place, Place::Head) {
            let (length, end) = self.place.cut(bytes, seen)?;
            return Some(Cut { message: end.map(|end| ended(shared, end)), length });
        }
        let head = Head::read(bytes).ok().filter(|head| head.frame >= seen)?;
        let Some(asked) = shared.outstanding.take(head.correlation) else {
            return Some(Cut { message: None, length: head.frame });
        };
        let mut body = Reader::new(bytes.get(HEAD_BYTES..)?, asked.has_tagged_head());
        body.tags().ok()?;
        let response = match asked.layout() {
            Some(layout) => {
                let left = head.frame - (bytes.len() - body.rest().len()) as u64;
                let mut walk = Walk::new(layout, asked.version, asked.is_flexible(), left);
                walk.advance(body.rest(), true);
                walk.give_up();
                walk.has_begun()
                    .then(|| response::fetched(&mut walk.found, asked.is_replica, &shared.learned))?
            }
            None => {
                let (response, is_complete) = plain(shared, &asked, body.rest());
                is_complete.then_some(response)?
            }
        };
        Some(Cut { message: Some(told(asked.number, response)), length: head.frame })
    }

    /// Returns whether these bytes, the first of a call, begin the response to a request that was seen.
    fn find(&mut self, shared: &Shared, bytes: &[u8]) -> bool {
        let is_it = Head::read(bytes).is_ok_and(|head| shared.outstanding.find(head.correlation).is_some());
        if is_it {
            self.place = Place::Head;
        }
        is_it
    }

    /// Reads the beginning of a response.
    fn head(&mut self, shared: &mut Shared, bytes: &[u8]) -> Answer {
        let head = match Head::read(bytes) {
            Ok(head) => head,
            Err(Failure::Short) => return Answer::Need { at_least: HEAD_BYTES.max(bytes.len() + 1) },
            Err(Failure::Wrong) => return Answer::Broken { reason: "not a response" },
        };
        if shared.outstanding.is_empty() && shared.may_wait && !shared.has_tokens {
            return Answer::Wait;
        }
        let Some(asked) = shared.outstanding.find(head.correlation) else {
            // Its request was not seen, or it is a token.
            return Answer::Skip { length: head.frame };
        };
        let is_walked = asked.layout().is_some();
        let wanted = if is_walked { HEAD_BYTES } else { wanted(head.frame) };
        let Some(shown) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        let mut body = Reader::new(if is_walked { bytes } else { shown }, asked.has_tagged_head());
        let tags = body.bytes(HEAD_BYTES).and_then(|_| body.tags());
        if is_walked && tags == Err(Failure::Short) && (bytes.len() as u64) < head.frame {
            return Answer::Need { at_least: bytes.len() + 1 };
        }
        let Some(asked) = shared.outstanding.take(head.correlation) else {
            return Answer::Skip { length: head.frame };
        };
        match is_walked {
            true => self.walk(head.frame, bytes.len() - body.rest().len(), asked),
            false => self.whole(shared, head.frame, shown.len(), &asked, body.rest()),
        }
    }

    /// Begins the way through a response with batches, after its first bytes.
    fn walk(&mut self, frame: u64, eaten: usize, asked: Outstanding) -> Answer {
        let left = frame.saturating_sub(eaten as u64);
        let Some(layout) = asked.layout().filter(|_| left > 0) else { return Answer::Skip { length: frame } };
        let walk = Walk::new(layout, asked.version, asked.is_flexible(), left);
        self.place = Place::Batches(Box::new(walk), Due::Response(Box::new(asked)));
        Answer::Nothing { eaten }
    }

    /// Tells a response of which the first `shown` bytes say enough.
    fn whole(
        &mut self,
        shared: &Shared,
        frame: u64,
        shown: usize,
        asked: &Outstanding,
        body: &[u8],
    ) -> Answer {
        let (mut response, _) = plain(shared, asked, body);
        let left = frame.saturating_sub(shown as u64);
        response.is_open = left > 0;
        if response.is_open {
            self.place = Place::Rest(left, Due::End(asked.number));
        }
        Answer::Message { eaten: shown, message: told(asked.number, response) }
    }
}

/// Returns the response without batches, and whether what is shown of it was enough.
fn plain(shared: &Shared, asked: &Outstanding, body: &[u8]) -> (Response, bool) {
    response::learn_topics(asked, body, &shared.learned);
    match asked.key {
        api::PRODUCE => response::produced(asked, body, &shared.learned),
        _ => response::plain(asked, body),
    }
}

fn told(number: u64, response: Response) -> Message {
    Message { pairing: Pairing::Id(number), kind: MessageKind::Response(Box::new(response)) }
}

/// Tells what is due at the end of a frame.
fn ended(shared: &Shared, end: End<Due>) -> Message {
    match (end.due, end.walk) {
        (Due::Response(asked), Some(mut walk)) => {
            told(asked.number, response::fetched(&mut walk.found, asked.is_replica, &shared.learned))
        }
        (Due::Response(asked), None) => told(asked.number, Response::default()),
        (Due::End(number), _) => {
            Message { pairing: Pairing::Id(number), kind: MessageKind::ResponseEnd(None) }
        }
    }
}

impl Held for Responses {
    fn held_bytes(&self) -> usize {
        self.place.held_bytes()
    }
}

impl Held for Due {
    fn held_bytes(&self) -> usize {
        match self {
            Due::Response(outstanding) => outstanding.held_bytes(),
            Due::End(_) => 0,
        }
    }
}
