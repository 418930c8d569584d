//! Messages in a reply, as its strings go by.

use super::{LengthLine, Watch, length_line, queues};
use crate::protocol::{KEYED_BYTES, Keys, Received};

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
    /// What the entries to come are of, and how deep in the reply that was said.
    stream: Option<(usize, u64)>,
    /// The channel of a push.
    channel: Vec<u8>,
}

impl Sightings {
    /// Says what is to be looked for.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = watch;
        if let Watch::Entries { stream } = watch {
            self.stream = (stream != 0).then_some((0, stream));
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
            (Watch::Entries { .. }, Some(text)) => self.see_entry(text, depth),
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
    }

    /// The text is a stream's name, an entry's id or something within an entry, which lies deeper.
    fn see_entry(&mut self, text: &[u8], depth: usize) {
        match self.stream {
            Some((named_at, stream)) if depth > named_at => {
                if queues::is_entry_id(text) {
                    self.has_message = true;
                    self.received.add(queues::entry(stream, text));
                }
            }
            _ => self.stream = Some((depth, queues::stream(text))),
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
        } else if index == channel + 1 {
            self.has_message = true;
            self.received.add(queues::published(&self.channel, length, text));
        }
    }

    /// Returns the messages that came with a reply; none where none came.
    pub(super) fn received(&mut self) -> Option<Box<Received>> {
        let keys = std::mem::take(&mut self.received);
        let is_certain = self.has_message;
        (is_certain || !keys.as_slice().is_empty())
            .then(|| Box::new(Received { keys, is_certain, contexts: Vec::new() }))
    }

    /// Returns the entries that were appended to streams.
    pub(super) fn appended(&mut self) -> Keys {
        std::mem::take(&mut self.appended)
    }
}
