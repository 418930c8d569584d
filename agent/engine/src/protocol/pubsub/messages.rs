//! Messages as they stand in a request or response, and what is known of all of them.

use super::SYSTEM;
use super::realm::Realm;
use crate::protocol::protobuf::{Fields, Value};
use crate::protocol::rpc::Body;
use crate::protocol::{Keys, MAX_KEYS, Received, WireContext, context, set, text};
use crate::semconv::{self, Attributes};

/// Longest id and longest ordering key that are kept, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Attributes that carry the context of who sent a message: that of the tracing in Google's own clients, and what people
/// write themselves. Where there are both, the first counts.
const CONTEXTS: [&[u8]; 2] = [b"googclient_traceparent", b"traceparent"];

/// Numbers of the fields of `PubsubMessage`, in the order of the schema.
mod field {
    pub(super) const DATA: u64 = 1;
    pub(super) const ATTRIBUTES: u64 = 2;
    pub(super) const MESSAGE_ID: u64 = 3;
    pub(super) const ORDERING_KEY: u64 = 5;
}

/// What is told of a message only where it is the only one.
#[derive(Clone, Debug, Default)]
struct Only {
    /// Bytes of its data.
    length: u64,
    id: String,
    ordering_key: String,
    ack_id: String,
    delivery_attempt: u64,
}

/// Messages that went by.
#[derive(Debug, Default)]
pub(super) struct Messages {
    count: u64,
    /// More messages than were seen may have gone by.
    is_partial: bool,
    /// The last one.
    last: Only,
    keys: Keys,
    contexts: Vec<WireContext>,
}

impl Messages {
    /// Returns the messages of a response.
    pub(super) fn received(body: Body<'_>, project: &str, realm: &Realm) -> Self {
        /// `received_messages` of `PullResponse` and of `StreamingPullResponse`.
        const RECEIVED_MESSAGES: u64 = 1;
        let mut messages = Self::default();
        let mut fields = Fields::of(body.bytes);
        for field in fields.by_ref() {
            if let Some(bytes) = field.value.shown().filter(|_| field.number == RECEIVED_MESSAGES) {
                messages.receive(bytes, project, realm);
            }
        }
        messages.is_partial = !fields.is_over() || !body.is_whole;
        messages
    }

    /// Notes a `ReceivedMessage`.
    fn receive(&mut self, bytes: &[u8], project: &str, realm: &Realm) {
        let mut ack_id = String::new();
        let mut delivery_attempt = 0;
        let mut message: &[u8] = &[];
        for field in Fields::of(bytes) {
            match (field.number, field.value) {
                (1, Value::Bytes(id)) => ack_id = text::lossy(id, MAX_ID_BYTES),
                (2, value) => message = value.shown().unwrap_or_default(),
                (3, Value::Number(attempt)) => delivery_attempt = attempt,
                _ => {}
            }
        }
        let id = self.add(message, realm);
        (self.last.ack_id, self.last.delivery_attempt) = (ack_id, delivery_attempt);
        match realm.key(project, id).filter(|_| !project.is_empty()) {
            Some(key) => self.keys.add(key),
            None => self.keys.leave_out(1),
        }
    }

    /// Notes a `PubsubMessage`; returns the id that the server gave it, nothing where it has none yet.
    pub(super) fn add<'a>(&mut self, message: &'a [u8], realm: &Realm) -> &'a [u8] {
        self.count = self.count.saturating_add(1);
        self.last = Only::default();
        let mut id: &[u8] = &[];
        let mut found: [Option<WireContext>; 2] = [None, None];
        for field in Fields::of(message) {
            match field.number {
                field::DATA => self.last.length = field.value.length().unwrap_or(0),
                field::ATTRIBUTES => note_context(field.value, &mut found),
                field::MESSAGE_ID => id = field.value.bytes().unwrap_or_default(),
                field::ORDERING_KEY if realm.tells_keys => {
                    self.last.ordering_key =
                        text::lossy(field.value.bytes().unwrap_or_default(), MAX_ID_BYTES);
                }
                _ => {}
            }
        }
        self.last.id = text::lossy(id, MAX_ID_BYTES);
        let context = found.into_iter().flatten().next();
        if let Some(context) = context.filter(|context| !self.contexts.contains(context))
            && self.contexts.len() < MAX_KEYS
        {
            self.contexts.push(context);
        }
        id
    }

    /// Notes that more messages than were seen may have gone by.
    pub(super) fn cut(&mut self) {
        self.is_partial = true;
    }

    /// Returns whether it is known that there are none.
    pub(super) fn are_none(&self) -> bool {
        self.count == 0 && !self.is_partial
    }

    /// Returns whether any was seen.
    pub(super) fn are_seen(&self) -> bool {
        self.count > 0
    }

    /// Takes the contexts that they carry, each once.
    pub(super) fn take_contexts(&mut self) -> Vec<WireContext> {
        std::mem::take(&mut self.contexts)
    }

    /// Takes what a consumer got.
    pub(super) fn take_received(&mut self) -> Received {
        Received {
            keys: std::mem::take(&mut self.keys),
            is_certain: true,
            contexts: self.take_contexts(),
            may_be_early: true,
            job: None,
            queue: None,
        }
    }

    /// Adds how many there are, or what is known of the only one.
    pub(super) fn describe(&self, attributes: &mut Attributes) {
        if self.is_partial {
            return;
        }
        if self.count != 1 {
            let count = i64::try_from(self.count).unwrap_or(i64::MAX);
            return set(attributes, semconv::MESSAGING_BATCH_MESSAGE_COUNT, count);
        }
        let Only { length, id, ordering_key, ack_id, delivery_attempt } = &self.last;
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        set(attributes, semconv::MESSAGING_MESSAGE_BODY_SIZE, number(*length));
        for (key, text) in [
            (semconv::MESSAGING_MESSAGE_ID, id),
            (semconv::MESSAGING_GCP_PUBSUB_MESSAGE_ORDERING_KEY, ordering_key),
            (semconv::MESSAGING_GCP_PUBSUB_MESSAGE_ACK_ID, ack_id),
        ] {
            if !text.is_empty() {
                set(attributes, key, text.clone());
            }
        }
        if *delivery_attempt > 0 {
            let key = semconv::MESSAGING_GCP_PUBSUB_MESSAGE_DELIVERY_ATTEMPT;
            set(attributes, key, number(*delivery_attempt));
        }
    }
}

/// Notes the context that an attribute of a message carries, an entry of a map: its key and its value.
fn note_context(entry: Value<'_>, found: &mut [Option<WireContext>; 2]) {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::of(entry.bytes().unwrap_or_default()) {
        match (field.number, field.value) {
            (1, Value::Bytes(bytes)) => key = bytes,
            (2, Value::Bytes(bytes)) => value = bytes,
            _ => {}
        }
    }
    let place = CONTEXTS.iter().position(|name| *name == key);
    if let Some(place) = place.and_then(|place| found.get_mut(place)) {
        *place = context::of_w3c(&[value], &[]);
    }
}

/// Adds what every span of a consumer has, where no request says it.
pub(super) fn set_system(attributes: &mut Attributes) {
    set(attributes, semconv::MESSAGING_SYSTEM, SYSTEM);
}
