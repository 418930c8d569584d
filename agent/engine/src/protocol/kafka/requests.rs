//! The client's side: requests.

use super::api;
use super::detect;
use super::findings::Findings;
use super::header::{self, Header, LENGTH_BYTES};
use super::outstanding::Outstanding;
use super::parser::{Shared, wanted};
use super::place::{End, Place, Progress};
use super::reader::{Failure, Reader};
use super::request;
use super::walk::{Layout, Then, Walk};
use crate::held::Held;
use crate::protocol::{Answer, Cut, Detection, Message, MessageKind, Pairing, Request};

/// Where the client's bytes are, and which request has to be told as ended.
#[derive(Debug)]
pub(super) struct Requests {
    place: Place<u64>,
}

/// A request whose beginning was read.
struct Taken {
    number: u64,
    request: Box<Request>,
    /// Bytes of it that are not understood yet.
    left: u64,
    /// The way through its batches.
    walk: Option<Box<Walk>>,
}

impl Taken {
    fn message(self) -> Message {
        Message { pairing: Pairing::Id(self.number), kind: MessageKind::Request(self.request) }
    }
}

impl Requests {
    /// Returns the state before the first byte, or where no request's beginning is known.
    pub(super) fn new(is_start: bool) -> Self {
        Self { place: if is_start { Place::Head } else { Place::Lost } }
    }

    pub(super) fn parse(&mut self, shared: &mut Shared, bytes: &[u8]) -> Answer {
        if matches!(self.place, Place::Lost) {
            match detect::detect(bytes) {
                Detection::Yes(_) => self.place = Place::Head,
                Detection::No if !bytes.is_empty() => return Answer::Nothing { eaten: bytes.len() },
                _ => return Answer::Need { at_least: bytes.len() + 1 },
            }
        }
        if matches!(self.place, Place::Head) {
            return self.head(shared, bytes);
        }
        match self.place.go_on(bytes) {
            Progress::Say(answer) => answer,
            Progress::End { eaten, end } => Answer::Message { eaten, message: ended(shared, end) },
        }
    }

    pub(super) fn passed(&mut self, shared: &mut Shared) -> Option<Message> {
        self.place.passed().map(|end| ended(shared, end))
    }

    pub(super) fn cut(&mut self, shared: &mut Shared, bytes: &[u8], seen: u64) -> Option<Cut> {
        if !matches!(self.place, Place::Head) {
            let (length, end) = self.place.cut(bytes, seen)?;
            return Some(Cut { message: end.map(|end| ended(shared, end)), length });
        }
        let header = Header::read(bytes).ok().filter(|header| header.frame >= seen)?;
        let mut taken = take(shared, &header, bytes)?;
        taken.request.is_open = false;
        if let Some(mut walk) = taken.walk.take() {
            walk.give_up();
            shared.outstanding.complete(taken.number, walk.found);
        }
        Some(Cut { message: Some(taken.message()), length: header.frame })
    }

    /// Reads the beginning of a request.
    fn head(&mut self, shared: &mut Shared, bytes: &[u8]) -> Answer {
        let header = match Header::read(bytes) {
            Ok(header) => header,
            Err(Failure::Short) => return Answer::Need { at_least: bytes.len() + 1 },
            Err(Failure::Wrong) => return token(shared, bytes),
        };
        let wanted = wanted(header.frame);
        let Some(shown) = bytes.get(..wanted) else { return Answer::Need { at_least: wanted } };
        let Some(mut taken) = take(shared, &header, shown) else {
            return Answer::Broken { reason: "not a request" };
        };
        let eaten = usize::try_from(header.frame.saturating_sub(taken.left)).unwrap_or(wanted);
        self.place = match taken.walk.take() {
            _ if taken.left == 0 => Place::Head,
            Some(walk) => Place::Batches(walk, taken.number),
            None => Place::Rest(taken.left, taken.number),
        };
        Answer::Message { eaten, message: taken.message() }
    }
}

/// Takes a request of which these bytes are shown; none where it cannot be told whether it will be answered.
fn take(shared: &mut Shared, header: &Header<'_>, shown: &[u8]) -> Option<Taken> {
    let body = shown.get(header.length..).unwrap_or_default();
    let mut taken = Taken {
        number: shared.next_number,
        request: Box::new(request::begin(header)),
        left: header.frame.saturating_sub(shown.len() as u64),
        walk: None,
    };
    if header.key == api::PRODUCE && header.is_known() {
        let walk = produce(shared, header, body, &mut taken.request)?;
        taken.left = walk.left();
        taken.walk = Some(walk);
    } else if header.is_known() {
        request::add_group(&mut taken.request, header, body, &shared.learned);
    }
    shared.next_number = taken.number.wrapping_add(1);
    shared.has_tokens = header.key == api::SASL_HANDSHAKE && header.version == 0;
    taken.request.is_open = taken.left > 0;
    if !taken.request.is_one_way {
        expect(shared, header, body, &mut taken);
    }
    Some(taken)
}

/// Tells that a request has been sent whole.
fn ended(shared: &mut Shared, end: End<u64>) -> Message {
    if let Some(walk) = end.walk {
        shared.outstanding.complete(end.due, walk.found);
    }
    Message { pairing: Pairing::Id(end.due), kind: MessageKind::RequestEnd }
}

/// Notes a request that will be answered.
fn expect(shared: &mut Shared, header: &Header<'_>, body: &[u8], taken: &mut Taken) {
    let sent = match taken.left {
        0 => taken.walk.take().map(|walk| walk.found),
        _ => None,
    };
    shared.outstanding.add(Outstanding {
        correlation: header.correlation,
        number: taken.number,
        key: header.key,
        api: header.api,
        version: header.version,
        is_replica: request::is_replica(header, body),
        sent: sent.unwrap_or_else(Findings::partial),
    });
}

/// Passes over a frame without a header.
fn token(shared: &Shared, bytes: &[u8]) -> Answer {
    let length = Reader::new(bytes, false).int32().ok().and_then(header::frame_length);
    match length.filter(|_| shared.has_tokens) {
        Some(length) => Answer::Skip { length: u64::from(length) + LENGTH_BYTES as u64 },
        None => Answer::Broken { reason: "not a request" },
    }
}

/// Reads what is shown of a Produce request; none where it breaks off before the batches.
fn produce(shared: &Shared, header: &Header<'_>, body: &[u8], request: &mut Request) -> Option<Box<Walk>> {
    let mut fields = Reader::new(body, header.is_flexible());
    request.is_one_way = request::acknowledgments(header, &mut fields).ok()? == 0;
    let read = (header.length + body.len() - fields.rest().len()) as u64;
    let left = header.frame.saturating_sub(read);
    let mut walk = Box::new(Walk::new(Layout::Produce, header.version, header.is_flexible(), left));
    if let (eaten, Then::Over) = walk.advance(fields.rest(), true) {
        // What is shown of the rest are tagged fields.
        walk.skip((fields.rest().len() - eaten) as u64);
    }
    walk.stop_looking();
    let is_all = !walk.may_find_more();
    if shared.tells_keys && is_all {
        request::add_key(request, &walk.found);
    }
    request::add_batches(request, &mut walk.found, is_all, shared.mark_key, &shared.learned);
    if request.is_one_way && walk.left() == 0 {
        request::add_count(&mut request.attributes, &walk.found);
    }
    Some(walk)
}

impl Held for Requests {
    fn held_bytes(&self) -> usize {
        self.place.held_bytes()
    }
}
