//! Messages: the method that goes before one, its header with the properties, and what both sides know it by.

use super::method::Envelope;
use super::names;
use super::wire::{Fields, Table};
use crate::held::Held;
use crate::protocol::{KEYED_BYTES, MessageKey, Received, WireContext, context, job_id, set, text};
use crate::semconv::{self, Attributes};

/// The system's name in the OpenTelemetry conventions.
pub(super) const SYSTEM: &str = "rabbitmq";
/// Longest property that is kept.
const MAX_PROPERTY_BYTES: usize = 128;
/// Fields of a message's headers in which programs pass contexts on.
const CONTEXT_FIELDS: [&str; 8] = [
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-sampled",
    "x-b3-flags",
    "uber-trace-id",
];

/// What a message is on its way for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A client hands it over; `is_mandatory` says that it wants it back where no queue takes it.
    Publish { is_mandatory: bool },
    /// The server brings it to a consumer.
    Deliver,
    /// The server answers the client's question for one.
    Get,
    /// The server gives it back.
    Return { code: u16 },
}

/// A message of which not everything has been seen.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) purpose: Purpose,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) consumer_tag: Vec<u8>,
    pub(super) delivery_tag: u64,
    /// Why the server gives it back.
    pub(super) reason: String,
    /// None before the header.
    pub(super) header: Option<Header>,
    /// Bytes of the body that are still to come.
    pub(super) left: u64,
    /// It has been told.
    pub(super) is_told: bool,
}

/// What a message's header says.
#[derive(Debug, Default)]
pub(super) struct Header {
    pub(super) body_bytes: u64,
    message_id: Option<String>,
    correlation_id: Option<String>,
    pub(super) context: Option<WireContext>,
    /// Equal for equal headers.
    pub(super) hash: u64,
}

impl Content {
    /// Returns the message that a method announces.
    pub(super) fn new(purpose: Purpose, envelope: &Envelope<'_>) -> Self {
        Self {
            purpose,
            exchange: names::text_of(envelope.exchange),
            routing_key: names::text_of(envelope.routing_key),
            consumer_tag: envelope.consumer_tag.to_vec(),
            delivery_tag: envelope.delivery_tag,
            reason: envelope.reason.map(|reason| names::text_of(reason.text)).unwrap_or_default(),
            header: None,
            left: 0,
            is_told: false,
        }
    }

    /// Returns how many bytes of the body are wanted before the message is told.
    pub(super) fn wanted(&self) -> usize {
        let wants_key = !matches!(self.purpose, Purpose::Return { .. });
        let body = self.header.as_ref().map_or(0, |header| header.body_bytes);
        if wants_key { usize::try_from(body).unwrap_or(usize::MAX).min(KEYED_BYTES) } else { 0 }
    }

    /// Returns the attributes that producers and consumers share, but for the destination.
    pub(super) fn attributes(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if !self.routing_key.is_empty() {
            set(&mut attributes, semconv::MESSAGING_RABBITMQ_ROUTING_KEY, self.routing_key.clone());
        }
        if self.delivery_tag != 0 {
            let tag = i64::try_from(self.delivery_tag).unwrap_or(i64::MAX);
            set(&mut attributes, semconv::MESSAGING_RABBITMQ_DELIVERY_TAG, tag);
        }
        let Some(header) = &self.header else { return attributes };
        let size = i64::try_from(header.body_bytes).unwrap_or(i64::MAX);
        set(&mut attributes, semconv::MESSAGING_MESSAGE_BODY_SIZE, size);
        if let Some(id) = &header.message_id {
            set(&mut attributes, semconv::MESSAGING_MESSAGE_ID, id.clone());
        }
        if let Some(id) = &header.correlation_id {
            set(&mut attributes, semconv::MESSAGING_MESSAGE_CONVERSATION_ID, id.clone());
        }
        attributes
    }

    /// Returns what both sides know the message by, given the beginning of its body; none where it says too little.
    ///
    /// The default exchange brings a message to one queue. Any other may have copied it.
    pub(super) fn key(&self, beginning: &[u8]) -> Option<MessageKey> {
        let header = self.header.as_ref()?;
        let beginning = beginning.get(..self.wanted()).unwrap_or(beginning);
        if beginning.len() < self.wanted() {
            return None;
        }
        let length = header.body_bytes;
        let body = MessageKey::of_content(SYSTEM, length, beginning);
        let id = header.message_id.as_deref().or(header.correlation_id.as_deref()).unwrap_or_default();
        if self.exchange.is_empty() {
            let named = [id.as_bytes(), self.routing_key.as_bytes(), beginning].join(&0);
            // An id alone tells a message, and so does a content that is not everybody's.
            return (!id.is_empty() || body.is_some())
                .then(|| MessageKey::of_content(SYSTEM, length, &named))
                .flatten();
        }
        (!id.is_empty() || body.is_some()).then(|| {
            let parts = [
                self.exchange.as_bytes(),
                self.routing_key.as_bytes(),
                id.as_bytes(),
                &length.to_be_bytes(),
                beginning,
            ];
            MessageKey::of_broadcast(SYSTEM, &parts)
        })
    }

    /// Returns what a consumer got, given the beginning of the body.
    pub(super) fn received(&self, beginning: &[u8]) -> Received {
        let mut received = Received { is_certain: true, ..Received::default() };
        self.key(beginning).into_iter().for_each(|key| received.keys.add(key));
        let id = self.header.as_ref().and_then(|header| header.correlation_id.as_deref());
        received.job = id.and_then(|id| job_id(id.as_bytes()));
        received.contexts.extend(self.header.as_ref().and_then(|header| header.context.clone()));
        received
    }
}

impl Header {
    /// Reads a content header's payload; what is not there is left out.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let mut fields = Fields(payload);
        let (_class, _weight) = (fields.short()?, fields.short()?);
        let body_bytes = fields.long_long()?;
        let mut header = Self { body_bytes, hash: names::hash(payload), ..Self::default() };
        let _ = header.read_properties(&mut fields);
        Some(header)
    }

    /// The properties that are there stand in this order (specification, section 4.2.6.1; `basic` class).
    fn read_properties(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let flags = fields.short()?;
        let has = |bit: u16| flags >> bit & 1 != 0;
        // More flags follow; no property of this class needs them.
        if has(0) {
            return None;
        }
        for _ in [15, 14].into_iter().filter(|&bit| has(bit)) {
            fields.short_string()?;
        }
        if has(13) {
            self.context = carried(Table(fields.long_string()?));
        }
        for _ in [12, 11].into_iter().filter(|&bit| has(bit)) {
            fields.octet()?;
        }
        if has(10) {
            self.correlation_id = property(fields.short_string()?);
        }
        for _ in [9, 8].into_iter().filter(|&bit| has(bit)) {
            fields.short_string()?;
        }
        if has(7) {
            self.message_id = property(fields.short_string()?);
        }
        Some(())
    }
}

fn property(value: &[u8]) -> Option<String> {
    (!value.is_empty()).then(|| text::lossy(value, MAX_PROPERTY_BYTES))
}

/// Returns the context that a message's headers name.
fn carried(table: Table<'_>) -> Option<WireContext> {
    let found: Vec<(&str, &[u8])> = table
        .filter_map(|(name, value)| {
            let known = CONTEXT_FIELDS.iter().find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
            Some((*known, value))
        })
        .take(CONTEXT_FIELDS.len() * 2)
        .collect();
    if found.is_empty() {
        return None;
    }
    context::of_fields(|name| found.iter().filter(move |(known, _)| *known == name).map(|(_, value)| *value))
}

impl Held for Content {
    fn held_bytes(&self) -> usize {
        self.exchange.held_bytes()
            + self.routing_key.held_bytes()
            + self.consumer_tag.held_bytes()
            + self.reason.held_bytes()
            + self.header.held_bytes()
    }
}

impl Held for Header {
    fn held_bytes(&self) -> usize {
        self.message_id.held_bytes() + self.correlation_id.held_bytes() + self.context.held_bytes()
    }
}
