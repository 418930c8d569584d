//! What follows a line that carries a message: headers, and a payload of which the beginning is looked at.

use super::SYSTEM;
use super::command::Frame;
use super::headers::Headers;
use super::jetstream::AckSubject;
use super::subject;
use crate::protocol::{KEYED_BYTES, MessageKey, Received, set};
use crate::semconv::{self, Attributes};

/// Longest headers that are read. Of longer ones, and what follows them, the beginning is.
const MAX_HEADER_BYTES: usize = 8 << 10;
/// What a producer calls a message, so that a stream takes it once.
const MESSAGE_ID: &str = "Nats-Msg-Id";

/// Headers, and the beginning of a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) headers: Headers<'a>,
    pub(super) beginning: &'a [u8],
    /// Bytes of the whole payload.
    length: u64,
    /// All was seen that is looked at.
    is_enough: bool,
}

impl<'a> Payload<'a> {
    /// Returns how many bytes behind a line are looked at.
    pub(super) fn wanted(frame: &Frame<'_>) -> usize {
        let headers = usize::try_from(frame.header_bytes).unwrap_or(usize::MAX);
        if headers > MAX_HEADER_BYTES {
            return MAX_HEADER_BYTES;
        }
        let payload = usize::try_from(frame.total_bytes - frame.header_bytes).unwrap_or(usize::MAX);
        headers + payload.min(KEYED_BYTES)
    }

    /// Returns what stands behind a line, as far as it is there.
    pub(super) fn new(frame: &Frame<'_>, bytes: &'a [u8]) -> Self {
        let wanted = Self::wanted(frame);
        let shown = bytes.get(..wanted).unwrap_or(bytes);
        let headers = usize::try_from(frame.header_bytes).unwrap_or(usize::MAX).min(shown.len());
        let (headers, beginning) = shown.split_at_checked(headers).unwrap_or_default();
        Self {
            headers: Headers::new(headers),
            beginning,
            length: frame.total_bytes - frame.header_bytes,
            is_enough: shown.len() == wanted && frame.header_bytes <= MAX_HEADER_BYTES as u64,
        }
    }

    /// Returns the payload, if all of it is there.
    pub(super) fn whole(&self) -> Option<&'a [u8]> {
        (self.is_enough && self.beginning.len() as u64 == self.length).then_some(self.beginning)
    }

    /// Returns what both sides know a message by: its name, where its answer is awaited, or what is in it.
    pub(super) fn key(&self, frame: &Frame<'_>) -> Option<MessageKey> {
        let of = |parts: &[&[u8]]| Some(MessageKey::of_broadcast(SYSTEM, parts));
        if let Some(id) = self.headers.values(MESSAGE_ID).next() {
            return of(&[frame.subject, b"id", id]);
        }
        let is_answered = !frame.reply.is_empty() && AckSubject::of(frame.reply).is_none();
        if is_answered {
            return of(&[frame.subject, b"reply", frame.reply]);
        }
        let length = self.length.to_be_bytes();
        if self.is_enough { of(&[frame.subject, b"content", &length, self.beginning]) } else { None }
    }

    /// Returns what a subscriber got.
    pub(super) fn received(&self, frame: &Frame<'_>) -> Received {
        let mut received = Received { is_certain: true, ..Received::default() };
        self.key(frame).into_iter().for_each(|key| received.keys.add(key));
        if let Some(place) = AckSubject::of(frame.reply) {
            received.keys.add(stored_key(place.stream, place.sequence));
        }
        received.contexts.extend(self.headers.context());
        received
    }

    /// Adds what a span says of a message.
    pub(super) fn describe(&self, attributes: &mut Attributes) {
        let length = i64::try_from(self.length).unwrap_or(i64::MAX);
        set(attributes, semconv::MESSAGING_MESSAGE_BODY_SIZE, length);
        if let Some(id) = self.headers.value(MESSAGE_ID) {
            set(attributes, semconv::MESSAGING_MESSAGE_ID, id);
        }
    }
}

/// Returns the key of a message at a place in a stream.
pub(super) fn stored_key(stream: &[u8], sequence: &[u8]) -> MessageKey {
    MessageKey::of_place(SYSTEM, &[stream, b"at", sequence])
}

/// Returns a number that is equal for the same stream.
pub(super) fn source_hash(stream: &str, consumer: &str) -> u64 {
    subject::hash(&(stream, consumer))
}
