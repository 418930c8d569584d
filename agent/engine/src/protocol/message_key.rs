//! Messages of queues, as the parsers of their producers and their consumers know them alike.

use std::fmt;

use crate::mix::mix;

/// Bytes of a message's content that its key is made of, besides its length. Both sides are sure to see as many: a
/// call's capture holds more.
pub const KEYED_BYTES: usize = 2048;
/// Contents that are shorter may be anybody's.
pub const MIN_KEYED_BYTES: usize = 16;
/// Different bytes that a content has at least.
const MIN_DIFFERENT_BYTES: u32 = 8;
/// Messages of one exchange that are told from each other: as many links as a span has by OpenTelemetry's specification
/// (`OTEL_SPAN_LINK_COUNT_LIMIT`). Of more, the rest is counted.
pub const MAX_KEYS: usize = 128;

/// Names a message on its way from producer to consumer: a hash, of which nothing can be read back.
///
/// The hash is the same on all hosts and in all versions, so that the aggregator can bring both ends together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageKey {
    hash: u64,
    way: Way,
}

/// How a message gets to its consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Way {
    /// One takes it.
    Queue,
    /// All get it who listen.
    Broadcast,
    /// It stands at a place that is used once, where anyone may read it.
    Place,
}

impl MessageKey {
    /// Returns the key of a message that one consumer takes, by its length and first bytes (at most [`KEYED_BYTES`] are
    /// looked at); none where it says too little to be told from others.
    #[must_use]
    pub fn of_content(system: &str, length: u64, beginning: &[u8]) -> Option<Self> {
        let beginning = beginning.get(..KEYED_BYTES).unwrap_or(beginning);
        let is_telling = beginning.len() >= MIN_KEYED_BYTES && is_varied(beginning);
        is_telling.then(|| {
            let hash = fold(fold(length, system.as_bytes()), beginning);
            Self { hash, way: Way::Queue }
        })
    }

    /// Returns the key of a message that any number of consumers get, by what names it: a channel and a content.
    #[must_use]
    pub fn of_broadcast(system: &str, parts: &[&[u8]]) -> Self {
        Self { hash: fold_parts(system, parts), way: Way::Broadcast }
    }

    /// Returns the key of a message at a place that no other message gets: a stream and a position.
    #[must_use]
    pub fn of_place(system: &str, parts: &[&[u8]]) -> Self {
        Self { hash: fold_parts(system, parts), way: Way::Place }
    }

    /// Returns whether any number of consumers may get the message.
    #[must_use]
    pub fn is_for_many(self) -> bool {
        self.way != Way::Queue
    }

    /// Returns whether no other message of the same server has the key.
    #[must_use]
    pub fn is_place(self) -> bool {
        self.way == Way::Place
    }
}

impl fmt::Display for MessageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.hash)
    }
}

/// The messages that one side of an exchange has moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<MessageKey>,
    left_out: u32,
}

impl Keys {
    /// Adds a message once; beyond [`MAX_KEYS`] it is only counted.
    pub fn add(&mut self, key: MessageKey) {
        if self.keys.contains(&key) {
            return;
        }
        if self.keys.len() < MAX_KEYS {
            self.keys.push(key);
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Adds messages, and counts those that were left out of them.
    pub fn extend(&mut self, other: Self) {
        other.keys.into_iter().for_each(|key| self.add(key));
        self.leave_out(other.left_out);
    }

    /// Counts messages that were not even looked at.
    pub fn leave_out(&mut self, count: u32) {
        self.left_out = self.left_out.saturating_add(count);
    }

    /// Returns the messages, in their order.
    #[must_use]
    pub fn as_slice(&self) -> &[MessageKey] {
        &self.keys
    }

    /// Returns how many more there were.
    #[must_use]
    pub fn left_out(&self) -> u32 {
        self.left_out
    }
}

fn fold_parts(system: &str, parts: &[&[u8]]) -> u64 {
    parts.iter().fold(fold(1, system.as_bytes()), |hash, part| fold(hash ^ part.len() as u64, part))
}

fn fold(seed: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks();
    let hash = words.iter().fold(mix(seed), |hash, &word| mix(hash ^ u64::from_be_bytes(word)));
    if rest.is_empty() {
        return hash;
    }
    mix(hash ^ rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)))
}

/// Repetitions and fillings are no content.
fn is_varied(bytes: &[u8]) -> bool {
    let (mut seen, mut different) = ([false; 256], 0);
    for &byte in bytes {
        let Some(seen) = seen.get_mut(usize::from(byte)) else { continue };
        different += u32::from(!std::mem::replace(seen, true));
        if different >= MIN_DIFFERENT_BYTES {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(bytes: &[u8]) -> Option<MessageKey> {
        MessageKey::of_content("redis", bytes.len() as u64, bytes)
    }

    #[test]
    fn a_key_depends_on_system_length_and_beginning() {
        let long = [b"0123456789abcdef".as_slice(), &[7; KEYED_BYTES]].concat();
        let key = content(&long);
        assert!(key.is_some());
        assert_eq!(key, MessageKey::of_content("redis", long.len() as u64, &long[..KEYED_BYTES]));
        assert_ne!(key, MessageKey::of_content("redis", long.len() as u64 + 1, &long));
        assert_ne!(key, MessageKey::of_content("amqp", long.len() as u64, &long));
        assert_ne!(content(b"0123456789abcdef"), content(b"0123456789abcdeg"));
        assert_ne!(content(b"0123456789abcdef"), content(b"0123456789abcdef\0"));
    }

    /// Hosts with different versions of the agent have to agree.
    #[test]
    fn a_key_is_the_same_for_ever() {
        assert_eq!(content(br#"{"id":700000001}"#).unwrap().to_string(), "2e25dc3f541bf56e");
        assert_eq!(MessageKey::of_place("redis", &[b"orders", b"1-0"]).to_string(), "af0068907d622a8d");
    }

    #[test]
    fn what_says_little_has_no_key() {
        assert_eq!(content(b"short"), None);
        assert_eq!(content(&[b'a'; 100]), None);
        assert_eq!(content(b"0000000000000000000001"), None);
        assert!(content(b"5f3a9e70-12cd-4e8b-9a61-000000000000").is_some());
    }

    #[test]
    fn places_are_not_confused() {
        let of = |parts: &[&[u8]]| MessageKey::of_place("redis", parts);
        assert_ne!(of(&[b"ab", b"c"]), of(&[b"a", b"bc"]));
        assert_ne!(of(&[b"a", b"b"]), of(&[b"b", b"a"]));
    }

    #[test]
    fn one_exchange_tells_so_many_messages() {
        let mut keys = Keys::default();
        for number in 0..MAX_KEYS as u64 + 3 {
            keys.add(MessageKey::of_place("redis", &[&number.to_be_bytes()]));
            keys.add(MessageKey::of_place("redis", &[&0u64.to_be_bytes()]));
        }
        assert_eq!((keys.as_slice().len(), keys.left_out()), (MAX_KEYS, 3));
    }
}
