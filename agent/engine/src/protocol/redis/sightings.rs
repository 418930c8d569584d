//! Messages in a reply, as its strings go by.

use super::{LengthLine, Watch, length_line, queues};
use crate::protocol::{Delivery, KEYED_BYTES, Keys, MAX_KEYS, Received, WireContext, context, set};
use crate::semconv::{self, Attributes};

/// What was found in a reply.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    watch: Watch,
    /// Messages that came, or may have come.
    received: Keys,
    /// A message came, whether it can be told from others or not.
    has_message: bool,
    /// The entry that was appended.
    appended: Keys,
    /// What the entries to come are of, and how deep in the reply their ids are.
    stream: Option<(usize, u64)>,
    /// The last string of an entry says that the next is a trace context.
    is_context: bool,
    /// Contexts in messages.
    contexts: Vec<WireContext>,
    /// The channel of a push, and the pattern that it matches.
    channel: Vec<u8>,
    pattern: Option<Vec<u8>>,
}

impl Sightings {
    /// Says what is to be looked for.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = watch;
        if let Watch::Entries { stream, depth } = watch {
            self.stream = (stream != 0).then_some((depth, stream));
        }
    }

    /// Returns whether anything is looked for.
    pub(super) fn is_watching(&self) -> bool {
        self.watch != Watch::Nothing
    }

    /// Takes in a string of the reply: `bytes` begin with its length and hold all of it, or enough. `depth` aggregates
    /// are open around it, and it is the element number `index` of the outermost one, which begins with `first`.
    pub(super) fn see(&mut self, bytes: &[u8], depth: usize, index: u64, first: &[u8]) {
        let LengthLine::Is(Some(length @ 0..), start) = length_line(bytes) else { return };
        let length = length.unsigned_abs();
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(KEYED_BYTES);
        let content = start.checked_add(wanted).and_then(|end| bytes.get(start..end));
        match (self.watch, content) {
            (Watch::Nothing, _) => {}
            (Watch::Elements { is_keyed: true }, _) if depth == 1 && index == 0 => {}
            (Watch::Elements { .. }, content) => {
                self.has_message = true;
                self.take(length, content);
            }
            (Watch::Texts, content) => self.take(length, content),
            (Watch::Entries { depth: ids, .. }, Some(text)) => self.see_entry(text, depth, ids == 0),
            (Watch::Position { stream }, Some(id)) if queues::is_entry_id(id) => {
                self.appended.add(queues::entry(stream, id));
            }
            (Watch::Push, Some(text)) if depth == 1 => self.see_pushed(length, text, index, first),
            (Watch::Entries { .. } | Watch::Position { .. } | Watch::Push, _) => {}
        }
    }

    fn take(&mut self, length: u64, content: Option<&[u8]>) {
        if let Some(key) = content.and_then(|content| queues::content(length, content)) {
            self.received.add(key);
        }
        self.carry(content.and_then(context::of_text));
    }

    fn carry(&mut self, context: Option<WireContext>) {
        if let Some(context) = context.filter(|context| !self.contexts.contains(context))
            && self.contexts.len() < MAX_KEYS
        {
            self.contexts.push(context);
        }
    }

    /// The text is a stream's name where these are told, an entry's id two aggregates deeper, or something within an
    /// entry, which lies deeper still.
    fn see_entry(&mut self, text: &[u8], depth: usize, is_named: bool) {
        match self.stream {
            Some((ids, stream)) if depth == ids => {
                if queues::is_entry_id(text) {
                    self.has_message = true;
                    self.received.add(queues::entry(stream, text));
                }
            }
            Some((ids, _)) if depth > ids => self.see_field(text),
            _ if is_named => self.stream = Some((depth + 2, queues::stream(text))),
            _ => {}
        }
    }

    /// Names and values follow each other.
    fn see_field(&mut self, text: &[u8]) {
        if std::mem::replace(&mut self.is_context, text == b"traceparent") {
            self.carry(context::of_w3c(&[text], &[]));
        }
    }

    /// `message CHANNEL TEXT` or `pmessage PATTERN CHANNEL TEXT`.
    fn see_pushed(&mut self, length: u64, text: &[u8], index: u64, first: &[u8]) {
        let channel = match first {
            b"message" | b"smessage" => 1,
            b"pmessage" => 2,
            _ => return,
        };
        if index == channel {
            self.channel = text.to_vec();
        } else if index == 1 {
            self.pattern = Some(text.to_vec());
        } else if index == channel + 1 {
            self.has_message = true;
            self.received.add(queues::published(&self.channel, length, text));
            self.carry(context::of_text(text));
        }
    }

    /// Returns the messages that came with a reply; none where none came.
    pub(super) fn received(&mut self) -> Option<Box<Received>> {
        let keys = std::mem::take(&mut self.received);
        let is_certain = self.has_message;
        (is_certain || !keys.as_slice().is_empty())
            .then(|| Box::new(Received { keys, is_certain, contexts: std::mem::take(&mut self.contexts) }))
    }

    /// Returns what was brought unasked; none where it is no message.
    pub(super) fn delivery(mut self) -> Option<Delivery> {
        let received = *self.received()?;
        let source = (!self.channel.is_empty()).then(|| queues::channel(&self.channel));
        let pattern = self.pattern.map(|pattern| queues::name(&pattern));
        let mut attributes = Attributes::new();
        if let Some(pattern) = pattern.clone() {
            set(&mut attributes, semconv::MESSAGING_DESTINATION_TEMPLATE, pattern);
        }
        let name = pattern.map(|pattern| format!("receive {pattern}"));
        Some(Delivery { received, source, attributes, name, ..Delivery::default() })
    }

    /// Returns the entries that were appended to streams.
    pub(super) fn appended(&mut self) -> Keys {
        std::mem::take(&mut self.appended)
    }
}
