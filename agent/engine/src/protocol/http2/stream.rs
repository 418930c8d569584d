//! What is known of each stream (RFC 9113 section 5).

use std::collections::BTreeMap;

use super::align::Standing;
use super::kept::{Kept, Room};
use super::look::Look;
use super::messages::Messages;
use crate::held::Held;
use crate::protocol::rpc::Call;
use crate::protocol::{MessageKind, Pairing, Side};

/// Most streams that are followed at once: as many exchanges as the engine follows on a connection.
const MAX_STREAMS: usize = 4096;
/// About what it takes to read the messages of a call.
const CALL_BYTES: usize = 1024;
/// Responses to later requests after which a stream, of which nothing was heard since bytes were missing, is given up:
/// its end was most likely among them.
const MAX_LATER_ANSWERS: u64 = 256;

/// Bytes that a request takes at least: the header of its frame, and one field.
const MIN_REQUEST_BYTES: u64 = 10;
/// By how much a number may be larger besides: the next requests, where a client leaves numbers out, and those whose
/// answers were seen to begin on the other side before they were read.
pub(super) const MAX_LEAD: u32 = 16;

/// What a stream is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Http,
    Grpc,
    /// What tells was not understood.
    Unknown,
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) has_begun: bool,
    pub(super) has_ended: bool,
    /// Messages of gRPC.
    pub(super) messages: Messages,
}

/// A request and its response.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) pairing: Pairing,
    pub(super) purpose: Use,
    pub(super) client: Part,
    pub(super) server: Part,
    /// Status of HTTP that the response began with.
    pub(super) status: Option<u16>,
    /// What reads its messages.
    pub(super) call: Option<Box<dyn Call>>,
    /// What is looked at in its data where it is not of gRPC.
    pub(super) look: Option<Box<Look>>,
    /// It is taken for what other streams of the connection are, since its own fields do not tell.
    pub(super) is_presumed: bool,
    /// The method of gRPC that was asked for, if it is one and there is one.
    pub(super) method: Option<String>,
    /// Bytes are missing since which nothing was heard of it; and how many responses had begun then.
    doubted_at: Option<u64>,
    /// Bytes are missing since it began.
    has_holes: bool,
}

impl Stream {
    /// Returns a stream on which a request has begun.
    pub(super) fn new(pairing: Pairing, purpose: Use) -> Self {
        let client = Part { has_begun: true, ..Part::default() };
        Self {
            pairing,
            purpose,
            client,
            server: Part::default(),
            status: None,
            call: None,
            look: None,
            is_presumed: false,
            method: None,
            doubted_at: None,
            has_holes: false,
        }
    }

    /// Has its messages read, which are kept in `room` while they go by.
    pub(super) fn have_read(&mut self, call: Box<dyn Call>, room: &Room) {
        self.client.messages = Messages::read_in(room.clone());
        self.server.messages = Messages::read_in(room.clone());
        self.call = Some(call);
    }

    /// Returns whether data of a side are of interest.
    pub(super) fn is_read(&self, side: Side) -> bool {
        self.purpose != Use::Http || self.look.as_ref().is_some_and(|look| look.is_at(side))
    }

    /// Notes that a frame of data begins, and how many bytes of them are in it.
    pub(super) fn begin_data(&mut self, side: Side, length: u32) {
        if let Some(look) = &mut self.look {
            look.begin(side, length);
        }
    }

    /// Takes in the next of `left` bytes of data: returns how many of them need not be seen.
    pub(super) fn unseen(&mut self, side: Side, left: u32) -> u32 {
        match (self.purpose, &mut self.look) {
            (Use::Http, Some(look)) => look.unseen(side, left),
            _ => self.part(side).messages.unseen(left),
        }
    }

    /// Takes in the next bytes of data, which are shown and at least one. Returns how many of them were looked at, and what
    /// they bring besides a part of the exchange.
    pub(super) fn read(&mut self, side: Side, shown: &[u8]) -> (usize, Option<MessageKind>) {
        if let (Use::Http, Some(look)) = (self.purpose, &mut self.look) {
            return (look.read(side, shown), None);
        }
        let messages = &mut self.part(side).messages;
        let read = messages.read(shown);
        let kept = messages.take();
        (read, kept.and_then(|kept| self.read_message(side, kept)))
    }

    /// Notes that the next `bytes` of data will not be seen. Returns what those before them have brought.
    pub(super) fn miss(&mut self, side: Side, bytes: u32) -> Option<MessageKind> {
        if let Some(look) = &mut self.look {
            look.miss(side, Some(bytes));
        }
        let kept = self.part(side).messages.miss(bytes)?;
        self.read_message(side, kept)
    }

    /// Notes that data of a side may be missing.
    pub(super) fn lose(&mut self, side: Side) {
        if let Some(look) = &mut self.look {
            look.miss(side, None);
        }
        self.part(side).messages.lose();
    }

    fn read_message(&mut self, side: Side, kept: Kept) -> Option<MessageKind> {
        self.call.as_mut()?.read(side, kept.unpack().body())
    }

    /// Returns whether it lasts as long as its connection, and ends well with it.
    pub(super) fn is_endless(&self) -> bool {
        self.server.has_begun && self.look.as_ref().is_some_and(|look| look.is_endless())
    }

    /// Returns whether bytes are missing since which nothing was heard of it.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubted_at.is_some()
    }

    /// Returns whether its response may have gone by whole among missing bytes, though something was heard of it since.
    pub(super) fn may_be_answered(&self) -> bool {
        self.has_holes && (!self.server.has_begun || self.purpose == Use::Grpc)
    }

    fn may_send_trailers(&self) -> bool {
        !self.client.has_ended && self.purpose != Use::Grpc
    }

    /// Returns whether all data were messages of gRPC, so far and to the byte.
    pub(super) fn is_framed(&self) -> bool {
        let [asked, answered] = [&self.client, &self.server].map(|part| part.messages.whole());
        asked.is_some_and(|asked| asked > 0) && answered.is_some()
    }

    pub(super) fn part(&mut self, side: Side) -> &mut Part {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }
}

/// The streams of a connection that are open and were seen to begin.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    /// The largest number that a client was seen to use.
    newest: u32,
    /// No larger one was used in what is missing.
    is_newest_known: bool,
    /// Responses that have begun.
    answers: u64,
    /// Responses that had begun when doubtful streams were last looked for, where none was to be given up.
    looked_at: Option<u64>,
    has_doubts: bool,
    /// A client may send trailers on streams that are not followed any more.
    has_loose_ends: bool,
}

impl Streams {
    /// Returns the streams of a connection that begins, or is met later.
    pub(super) fn new(is_start: bool) -> Self {
        Self { is_newest_known: is_start, ..Self::default() }
    }

    /// Returns an open stream, which has been heard of.
    pub(super) fn hear(&mut self, number: u32) -> Option<&mut Stream> {
        let stream = self.open.get_mut(&number)?;
        stream.doubted_at = None;
        Some(stream)
    }

    pub(super) fn is_open(&self, number: u32) -> bool {
        self.open.contains_key(&number)
    }

    /// Returns the numbers of the open streams.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.open.keys().copied()
    }

    /// Returns whether the response to an open stream has begun.
    pub(super) fn has_begun_to_answer(&self, number: u32) -> Option<bool> {
        self.open.get(&number).map(|stream| stream.server.has_begun)
    }

    /// Returns whether all open streams are calls of gRPC.
    pub(super) fn are_all_grpc(&self) -> bool {
        self.open.values().all(|stream| stream.purpose == Use::Grpc)
    }

    /// Returns whether a client may still end a request with trailers. Those of gRPC do not.
    pub(super) fn may_send_trailers(&self) -> bool {
        self.has_loose_ends || self.open.values().any(Stream::may_send_trailers)
    }

    /// Returns what is known of a stream after so many bytes of a side were not seen. Each request takes some, so that
    /// numbers cannot have grown by much.
    pub(super) fn standing(&self, number: u32, unseen: u64) -> Standing {
        let begun = u32::try_from(unseen / MIN_REQUEST_BYTES).unwrap_or(u32::MAX);
        let limit = self.newest.saturating_add(begun.saturating_mul(2)).saturating_add(MAX_LEAD);
        match number {
            _ if self.is_open(number) => Standing::Open,
            _ if self.is_empty_so_far() || number <= limit => Standing::Possible,
            _ => Standing::Impossible,
        }
    }

    /// Returns whether no stream was seen yet.
    pub(super) fn is_empty_so_far(&self) -> bool {
        self.newest == 0
    }

    /// Notes that data of a side are missing: nobody knows of which streams.
    pub(super) fn lose_data(&mut self, side: Side) {
        self.open.values_mut().for_each(|stream| stream.lose(side));
    }

    /// Notes that a client uses a number; returns whether it is for the first time, as far as can be told. Numbers only
    /// grow (section 5.1.1).
    pub(super) fn is_new(&mut self, number: u32) -> bool {
        let is_new = number > self.newest;
        self.newest = self.newest.max(number);
        is_new
    }

    /// Notes that a server answers: its client has used the number before, maybe in what is missing.
    pub(super) fn answer_to(&mut self, number: u32) {
        if !self.is_newest_known {
            self.newest = self.newest.max(number);
        }
    }

    /// Notes whether the newest request was seen, or may be missing.
    pub(super) fn know_newest(&mut self, is_known: bool) {
        self.is_newest_known = is_known;
    }

    /// Returns whether no request is missing since the newest that was seen.
    pub(super) fn is_newest_known(&self) -> bool {
        self.is_newest_known
    }

    /// Returns whether a client has not used a number yet that its server uses.
    pub(super) fn is_ahead(&self, number: u32) -> bool {
        self.is_newest_known && number % 2 == 1 && number > self.newest
    }

    /// Adds a stream. Returns the oldest one, which is not followed any more, where there are too many.
    pub(super) fn begin(&mut self, number: u32, stream: Stream) -> Option<Stream> {
        self.open.insert(number, stream);
        if self.open.len() <= MAX_STREAMS {
            return None;
        }
        let (_, oldest) = self.open.pop_first()?;
        self.has_loose_ends |= oldest.may_send_trailers();
        Some(oldest)
    }

    pub(super) fn remove(&mut self, number: u32) -> Option<Stream> {
        let stream = self.open.remove(&number)?;
        self.has_loose_ends |= stream.may_send_trailers();
        Some(stream)
    }

    /// Notes that a response has begun.
    pub(super) fn answer(&mut self) {
        self.answers += 1;
    }

    /// Notes that bytes are missing, which may have ended any of the streams.
    pub(super) fn doubt(&mut self) {
        for stream in self.open.values_mut() {
            stream.doubted_at.get_or_insert(self.answers);
            stream.has_holes = true;
        }
        self.has_doubts |= !self.open.is_empty();
        self.looked_at = None;
    }

    /// Takes a stream whose end was not seen; where `is_over`, no further one will be heard of.
    pub(super) fn take_doubtful(&mut self, is_over: bool) -> Option<Stream> {
        if !self.has_doubts || !is_over && self.looked_at == Some(self.answers) {
            return None;
        }
        let limit = self.answers.saturating_sub(MAX_LATER_ANSWERS);
        // What lasts may be silent for long.
        let doubt = |stream: &Stream| stream.doubted_at.filter(|_| !stream.is_endless());
        let is_lost = |stream: &Stream| doubt(stream).is_some_and(|at| is_over || at < limit);
        let number = self.open.iter().find(|(_, stream)| is_lost(stream)).map(|(number, _)| *number);
        match number {
            Some(number) => self.remove(number),
            None => {
                self.looked_at = Some(self.answers);
                self.has_doubts = self.open.values().any(|stream| doubt(stream).is_some());
                None
            }
        }
    }

    /// Takes a stream that ends with the connection.
    pub(super) fn take_endless(&mut self) -> Option<Stream> {
        let number = self.open.iter().find(|(_, stream)| stream.is_endless()).map(|(number, _)| *number)?;
        self.remove(number)
    }

    /// Takes a stream above a number to which no response has begun.
    pub(super) fn take_refused(&mut self, last: u32) -> Option<Stream> {
        let mut above = self.open.range(last.saturating_add(1)..);
        let (&number, _) = above.find(|(_, stream)| !stream.server.has_begun)?;
        self.remove(number)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Held for Streams {
    fn held_bytes(&self) -> usize {
        self.open.held_bytes()
    }
}

impl Held for Stream {
    /// What reads messages bounds itself.
    fn held_bytes(&self) -> usize {
        let call = if self.call.is_some() { CALL_BYTES } else { 0 };
        let look = self.look.as_ref().map_or(0, |look| size_of::<Look>() + look.held_bytes());
        self.method.held_bytes() + call + look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Stream {
        Stream::new(Pairing::InOrder, Use::Http)
    }

    #[test]
    fn a_stream_is_given_up_after_many_later_answers_or_at_the_end() {
        let mut streams = Streams::default();
        streams.begin(1, stream());
        streams.begin(3, stream());
        streams.doubt();
        assert!(streams.hear(3).is_some());
        (0..=MAX_LATER_ANSWERS).for_each(|_| streams.answer());
        assert!(streams.take_doubtful(false).is_some() && !streams.is_open(1));
        assert!(streams.take_doubtful(false).is_none() && streams.is_open(3));
        assert!(streams.take_doubtful(true).is_none());
        streams.doubt();
        assert!(streams.take_doubtful(false).is_none());
        assert!(streams.take_doubtful(true).is_some() && !streams.is_open(3));
    }

    #[test]
    fn numbers_only_grow_and_what_is_followed_is_bounded() {
        let mut streams = Streams::default();
        assert!(streams.is_new(5) && !streams.is_new(5) && !streams.is_new(3) && streams.is_new(7));
        let given_up = (0..5000).filter(|&number| streams.begin(number, stream()).is_some()).count();
        assert!(given_up == 904 && streams.is_open(904) && !streams.is_open(903));
    }

    #[test]
    fn what_a_server_has_not_begun_to_answer_may_be_refused() {
        let mut streams = Streams::default();
        [1, 3, 5].into_iter().for_each(|number| assert!(streams.begin(number, stream()).is_none()));
        streams.hear(3).unwrap().server.has_begun = true;
        assert!(streams.take_refused(1).is_some() && streams.is_open(3) && !streams.is_open(5));
        assert!(streams.take_refused(1).is_none() && streams.is_open(1));
    }
}
