//! One connection: requests and their responses.

use super::outstanding::Queue;
use super::requests::Requests;
use super::responses::Responses;
use crate::held::Held;
use crate::protocol::{Answer, Conversation, Cut, Learned, Message, Pairing, Parser, Side};

/// Bytes at the beginning of a request or a response that are waited for and looked at.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// State of one connection.
#[derive(Debug)]
pub(super) struct KafkaParser {
    requests: Requests,
    responses: Responses,
    shared: Shared,
}

/// What both sides need.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) mark_key: Option<u64>,
    /// Keys of messages are told, as literals of statements are.
    pub(super) tells_keys: bool,
    pub(super) learned: Learned,
    pub(super) outstanding: Queue,
    /// What the next request is called in the engine: clients may use a number of theirs twice.
    pub(super) next_number: u64,
    /// A response without a request can only mean that the request is still to be shown.
    pub(super) may_wait: bool,
    /// Frames may be tokens of a mechanism, without headers (SaslHandshake of version 0).
    pub(super) has_tokens: bool,
}

/// Returns how many bytes of a frame are waited for.
pub(super) fn wanted(frame: u64) -> usize {
    usize::try_from(frame).unwrap_or(usize::MAX).min(MAX_HEAD_BYTES)
}

impl KafkaParser {
    pub(super) fn new(conversation: &Conversation<'_>) -> Self {
        let is_start = conversation.is_start;
        Self {
            requests: Requests::new(is_start),
            responses: Responses::new(is_start),
            shared: Shared {
                mark_key: conversation.settings.mark_key,
                tells_keys: !conversation.settings.redact_statements,
                learned: conversation.learned.clone(),
                outstanding: Queue::default(),
                next_number: 0,
                may_wait: is_start,
                has_tokens: false,
            },
        }
    }
}

impl Parser for KafkaParser {
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer {
        let answer = match side {
            Side::Client => self.requests.parse(&mut self.shared, bytes),
            Side::Server => self.responses.parse(&mut self.shared, bytes),
        };
        if matches!(answer, Answer::Broken { .. }) {
            self.lost(side);
        }
        answer
    }

    fn passed(&mut self, side: Side) -> Option<Message> {
        match side {
            Side::Client => self.requests.passed(&mut self.shared),
            Side::Server => self.responses.passed(&self.shared),
        }
    }

    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let seen = u64::try_from(bytes.len()).ok()?.checked_add(missing)?;
        match side {
            Side::Client => self.requests.cut(&mut self.shared, bytes, seen),
            Side::Server => self.responses.cut(&mut self.shared, bytes, seen),
        }
    }

    fn given_up(&mut self) -> Option<Pairing> {
        self.shared.outstanding.take_given_up().map(Pairing::Id)
    }

    fn end(&mut self, _side: Side) -> Option<Message> {
        None
    }

    fn held_bytes(&self) -> usize {
        self.requests.held_bytes() + self.responses.held_bytes() + self.shared.outstanding.held_bytes()
    }

    fn lost(&mut self, _side: Side) {
        self.requests = Requests::new(false);
        self.responses = Responses::new(false);
        self.shared.outstanding.clear();
        self.shared.may_wait = false;
        self.shared.has_tokens = false;
    }

    /// Every place will do: the next frame is looked for from there.
    fn resync(&self, _side: Side, _bytes: &[u8]) -> Option<usize> {
        Some(0)
    }

    fn answers_begin_with_pieces(&self) -> bool {
        true
    }
}
