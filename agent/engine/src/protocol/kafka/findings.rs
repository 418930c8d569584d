//! What the way through topics, partitions and batches has shown.

use super::batch;
use super::record::{self, Record};
use super::topic::Topic;
use crate::held::Held;
use crate::protocol::{Learned, MAX_KEYS, MessageKey, WireContext};

/// Names the keys' origin, so that no other system makes the same.
const SYSTEM: &str = "kafka";
/// Bytes of one batch that are unpacked.
const MAX_UNPACKED_BYTES: usize = 16 << 10;
/// Keys of records that are kept.
const MAX_RECORD_KEYS: usize = 8;
/// Longest key of a record that is kept.
const MAX_RECORD_KEY_BYTES: usize = 128;

/// A batch of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    pub(super) base_offset: i64,
    base_timestamp: i64,
}

impl Batch {
    /// Returns the name of the batch, once it is known where it was written; none where the topic's name is not known.
    ///
    /// Kafka writes all records of a batch one after the other, and hands out whole batches: its first offset tells it
    /// from others of the partition. Other clusters may have a topic of the same name, whose batches were made at other
    /// times.
    pub(super) fn message_key(&self, base_offset: i64, learned: &Learned) -> Option<MessageKey> {
        let topic = self.topic.name(learned)?;
        let (partition, offset) = (self.partition.to_be_bytes(), base_offset.to_be_bytes());
        let parts: [&[u8]; 4] = [topic.as_bytes(), &partition, &offset, &self.base_timestamp.to_be_bytes()];
        Some(MessageKey::of_place(SYSTEM, &parts))
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// How many topics there are.
    pub(super) topics: u32,
    /// The last topic and the last partition.
    topic: Option<Topic>,
    partition: i32,
    /// The only topic with messages, if it is one, and the only partition.
    pub(super) filled_topic: Only<Topic>,
    pub(super) filled_partition: Only<i32>,
    /// The first batches.
    pub(super) batches: Vec<Batch>,
    pub(super) batches_left_out: u32,
    /// Messages in all batches.
    pub(super) messages: u64,
    /// Not all batches were seen, or not all say how many messages they hold.
    pub(super) is_partial: bool,
    /// Different contexts that the messages carry.
    pub(super) contexts: Vec<WireContext>,
    /// Messages that carry a context.
    carrying: u64,
    /// Keys of the first messages.
    pub(super) record_keys: Vec<Vec<u8>>,
    /// The only message says that what its key names is no more.
    pub(super) is_tombstone: bool,
    pub(super) partitions: u32,
    /// Partitions with an error, and the first error.
    pub(super) failed_partitions: u32,
    pub(super) error: i16,
}

/// Values that may all be the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Only<T> {
    #[default]
    None,
    One(T),
    Several,
}

impl<T: PartialEq + Clone> Only<T> {
    fn extend(&mut self, value: Option<&T>) {
        let Some(value) = value else { return };
        match self {
            Only::None => *self = Only::One(value.clone()),
            Only::One(known) if known == value => {}
            _ => *self = Only::Several,
        }
    }

    /// Returns the value, if it is one.
    pub(super) fn one(&self) -> Option<&T> {
        match self {
            Only::One(value) => Some(value),
            Only::None | Only::Several => None,
        }
    }
}

impl Findings {
    /// Returns what is known where not all has been seen, and nothing so far.
    pub(super) fn partial() -> Self {
        Self { is_partial: true, ..Self::default() }
    }

    pub(super) fn enter_topic(&mut self, topic: Topic) {
        self.topic = Some(topic);
    }

    pub(super) fn enter_partition(&mut self, partition: i32) {
        self.partition = partition;
        self.partitions = self.partitions.saturating_add(1);
    }

    /// Notes an error code, of the last partition if there was one.
    pub(super) fn fail(&mut self, error: i16) {
        if error == super::errors::NONE {
            return;
        }
        if self.failed_partitions == 0 && self.error == super::errors::NONE {
            self.error = error;
        }
        self.failed_partitions = self.failed_partitions.saturating_add(u32::from(self.partitions > 0));
    }

    /// Notes a message of before 2017, which may be several that are compressed together.
    pub(super) fn enter_old_message(&mut self) {
        self.is_partial = true;
        self.fill();
    }

    /// Notes messages of the last partition of which nothing was seen.
    pub(super) fn enter_unseen(&mut self) {
        self.fill();
    }

    /// Notes that the last partition has messages.
    fn fill(&mut self) {
        self.filled_topic.extend(self.topic.as_ref());
        self.filled_partition.extend(Some(&self.partition));
    }

    /// Returns whether any partition has messages.
    pub(super) fn is_filled(&self) -> bool {
        self.filled_partition != Only::None
    }

    pub(super) fn enter_batch(&mut self, records: &batch::Records) {
        if records.is_control() {
            return;
        }
        self.fill();
        self.messages = self.messages.saturating_add(u64::from(records.count));
        let Some(topic) = &self.topic else { return };
        if self.batches.len() >= MAX_KEYS {
            self.batches_left_out = self.batches_left_out.saturating_add(1);
            return;
        }
        self.batches.push(Batch {
            topic: topic.clone(),
            partition: self.partition,
            base_offset: records.base_offset,
            base_timestamp: records.base_timestamp,
        });
    }

    /// Looks at the first records of the last batch.
    pub(super) fn look(&mut self, bytes: &[u8], records: &batch::Records) {
        let is_first = self.messages == u64::from(records.count);
        let Some(bytes) = records.unpacked(bytes, MAX_UNPACKED_BYTES) else { return };
        record::walk(&bytes, records.count, |record| self.see(record, is_first && records.count == 1));
    }

    fn see(&mut self, record: &Record<'_>, is_only: bool) {
        self.is_tombstone |= is_only && record.is_tombstone;
        if let Some(key) = record.key.filter(|key| key.len() <= MAX_RECORD_KEY_BYTES)
            && self.record_keys.len() < MAX_RECORD_KEYS
        {
            self.record_keys.push(key.to_vec());
        }
        let Some(context) = record.context() else { return };
        self.carrying += 1;
        if self.contexts.len() < MAX_KEYS && !self.contexts.contains(&context) {
            self.contexts.push(context);
        }
    }

    /// Takes the contexts that the messages carry: the one of all of them, or those of some. `is_all` says that no others
    /// follow.
    pub(super) fn take_contexts(&mut self, is_all: bool) -> (Option<WireContext>, Vec<WireContext>) {
        let mut contexts = std::mem::take(&mut self.contexts);
        let is_of_all = is_all && contexts.len() == 1 && self.count() == Some(self.carrying);
        let context = if is_of_all { contexts.pop() } else { None };
        (context, contexts)
    }

    /// Returns how many messages there are, if that is known.
    pub(super) fn count(&self) -> Option<u64> {
        (!self.is_partial).then_some(self.messages)
    }
}

impl Held for Findings {
    fn held_bytes(&self) -> usize {
        self.topic.held_bytes()
            + self.filled_topic.one().map_or(0, Topic::held_bytes)
            + self.batches.held_bytes()
            + self.contexts.held_bytes()
            + self.record_keys.held_bytes()
    }
}

impl Held for Batch {
    fn held_bytes(&self) -> usize {
        self.topic.held_bytes()
    }
}
