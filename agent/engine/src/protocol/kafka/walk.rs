//! The way through the topics, partitions and batches of a Produce request, a Fetch response or a ShareFetch response:
//! headers are read as they come, records are passed over.
//!
//! Whatever does not fit ends the way, not the connection: the frame says where it is over.

use super::batch;
use super::findings::Findings;
use super::reader::{Failure, Field, Reader};
use super::topic::Topic;

use crate::held::Held;

/// Bytes at the beginning of one batch in which contexts are looked for.
const MAX_LOOKED_BYTES: u64 = 4096;
/// The same for all batches of one request or response.
const MAX_LOOKED_BYTES_IN_ALL: u64 = 16 << 10;
/// What a look costs of these at least: unpacking a few bytes takes its time too.
const MIN_LOOK_COST: u64 = 64;
/// Longest run of fields that is waited for; more is no such message.
const MAX_FIELDS_BYTES: usize = 256 << 10;

/// What is walked through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The topics of a Produce request.
    Produce,
    /// A Fetch response.
    Fetch,
    /// A ShareFetch response (KIP-932).
    ShareFetch,
}

/// Where the way has come to.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// What stands before the topics.
    Start,
    Topics,
    Partitions,
    /// As many aborted transactions.
    Aborted(u32),
    /// The length of the records.
    Length,
    Batches,
    /// The records of a batch, which have been looked at already unless told otherwise.
    Records {
        left: u64,
        unread: Option<batch::Records>,
    },
    PartitionEnd,
    /// As many ranges of offsets, of a ShareFetch response.
    Acquired(u32),
    /// Nothing more is read.
    Over,
}

/// What was done with the bytes that were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// As many bytes are needed, counted from the first that was not eaten.
    Need(usize),
    /// As many bytes may be passed over, shown or not.
    Skip(u64),
    /// The rest of the frame holds nothing of interest.
    Over,
}

/// The way, and what was found on it.
#[derive(Debug)]
pub(super) struct Walk {
    layout: Layout,
    version: i16,
    is_flexible: bool,
    stage: Stage,
    /// Bytes of the frame that were not eaten or passed over.
    left: u64,
    topics_left: u32,
    partitions_left: u32,
    records_left: u64,
    looks_left: u64,
    pub(super) found: Findings,
}

enum Step {
    Eat(usize),
    Skip(u64),
}

impl Walk {
    /// Returns the way through the last `left` bytes of a frame.
    pub(super) fn new(layout: Layout, version: i16, is_flexible: bool, left: u64) -> Self {
        Self {
            layout,
            version,
            is_flexible,
            stage: Stage::Start,
            left,
            topics_left: 0,
            partitions_left: 0,
            records_left: 0,
            looks_left: MAX_LOOKED_BYTES_IN_ALL,
            found: Findings::default(),
        }
    }

    /// Returns the bytes of the frame that are left.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// Returns whether what stands before the topics was read.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self.stage, Stage::Start)
    }

    /// Looks at no more records.
    pub(super) fn stop_looking(&mut self) {
        self.looks_left = 0;
    }

    /// Notes that the rest of the frame is not seen, and returns its length.
    pub(super) fn give_up(&mut self) -> u64 {
        self.found.is_partial |= !matches!(self.stage, Stage::Over);
        if matches!(self.stage, Stage::Batches) {
            // Brokers have the kernel copy what they hand out: only its length is seen.
            self.found.enter_unseen();
        }
        self.stage = Stage::Over;
        std::mem::take(&mut self.left)
    }

    /// Returns whether messages may follow of which nothing was seen yet.
    pub(super) fn may_find_more(&self) -> bool {
        let are_all_entered = self.topics_left == 0 && self.partitions_left == 0;
        match self.stage {
            Stage::Over => false,
            Stage::Topics => self.topics_left > 0,
            Stage::Partitions | Stage::PartitionEnd | Stage::Acquired(_) => !are_all_entered,
            Stage::Records { left, .. } => !are_all_entered || self.records_left > left,
            Stage::Start | Stage::Aborted(_) | Stage::Length | Stage::Batches => true,
        }
    }

    /// Looks at the beginning of a batch's records behind which bytes are missing, and passes over the batch if so many bytes
    /// are of it. Returns its length.
    pub(super) fn cut_batch(&mut self, bytes: &[u8], missing_to: u64) -> Option<u64> {
        let Stage::Records { left, .. } = self.stage else { return None };
        if left < missing_to || left > self.left {
            return None;
        }
        // Looking takes no more than there is where that is all.
        let _ = self.step(bytes, true);
        self.skip(left);
        Some(left)
    }

    /// Returns how many bytes may be passed over where the next ones are missing.
    pub(super) fn pass_missing(&mut self) -> u64 {
        match self.stage {
            Stage::Records { left, .. } if left > 0 => {
                let passed = left.min(self.left);
                self.skip(passed);
                passed
            }
            _ => self.give_up(),
        }
    }

    /// Goes on through `bytes`; `is_all` says that no more will be shown. Returns how many bytes were eaten.
    pub(super) fn advance(&mut self, bytes: &[u8], is_all: bool) -> (usize, Then) {
        let mut eaten = 0;
        loop {
            let rest = bytes.get(eaten..).unwrap_or_default();
            let is_end = rest.len() as u64 >= self.left;
            let shown = usize::try_from(self.left).ok().and_then(|left| rest.get(..left)).unwrap_or(rest);
            if matches!(self.stage, Stage::Over) {
                return (eaten, Then::Over);
            }
            match self.step(shown, is_all || is_end) {
                Ok(Step::Eat(length)) => {
                    eaten += length;
                    self.left = self.left.saturating_sub(length as u64);
                }
                Ok(Step::Skip(length)) => match usize::try_from(length) {
                    Ok(length) if length <= shown.len() => {
                        eaten += length;
                        self.left -= length as u64;
                        self.passed();
                    }
                    _ => return (eaten, Then::Skip(length.min(self.left))),
                },
                Err(Failure::Short) if !is_end && rest.len() < MAX_FIELDS_BYTES => {
                    // The frame may be over before, whatever its fields say.
                    let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                    return (eaten, Then::Need(self.wanted(rest.len()).min(left)));
                }
                Err(_) => {
                    self.found.is_partial = true;
                    self.stage = Stage::Over;
                }
            }
        }
    }

    /// Notes that what was to be skipped goes by.
    pub(super) fn skip(&mut self, length: u64) {
        self.left -= length.min(self.left);
        self.passed();
    }

    fn passed(&mut self) {
        if let Stage::Records { left, .. } = self.stage {
            self.records_left = self.records_left.saturating_sub(left);
        }
        self.stage = if self.records_left == 0 { Stage::PartitionEnd } else { Stage::Batches };
    }

    /// Returns how many bytes the next step needs at least; more than `shown`.
    fn wanted(&self, shown: usize) -> usize {
        let wanted = match self.stage {
            Stage::Batches if shown < batch::MAGIC_END => batch::MAGIC_END,
            Stage::Batches => batch::HEADER_BYTES,
            Stage::Records { left, .. } => usize::try_from(left.min(MAX_LOOKED_BYTES)).unwrap_or(0),
            _ => 0,
        };
        wanted.max(shown + 1)
    }

    fn step(&mut self, bytes: &[u8], is_all: bool) -> Field<Step> {
        match self.stage {
            Stage::Batches => return self.batch(bytes),
            Stage::Records { left, unread } => return self.records(bytes, left, unread, is_all),
            _ => {}
        }
        let mut reader = Reader::new(bytes, self.is_flexible);
        self.fields(&mut reader)?;
        Ok(Step::Eat(bytes.len() - reader.rest().len()))
    }

    /// Reads the fields of one stage. The state changes only if all of them are there.
    fn fields(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        match self.stage {
            Stage::Start => self.start(reader),
            Stage::Topics if self.topics_left == 0 => {
                self.stage = Stage::Over;
                Ok(())
            }
            Stage::Topics => self.topic(reader),
            Stage::Partitions if self.partitions_left == 0 => {
                reader.tags()?;
                self.stage = Stage::Topics;
                Ok(())
            }
            Stage::Partitions => self.partition(reader),
            Stage::Aborted(0) => self.preferred(reader),
            Stage::Aborted(left) => {
                reader.bytes(16)?;
                reader.tags()?;
                self.stage = Stage::Aborted(left - 1);
                Ok(())
            }
            Stage::Length => {
                self.records_left = reader.length()?;
                self.stage = if self.records_left == 0 { Stage::PartitionEnd } else { Stage::Batches };
                Ok(())
            }
            Stage::PartitionEnd => {
                match self.layout {
                    Layout::ShareFetch => self.stage = Stage::Acquired(reader.count()?),
                    Layout::Produce | Layout::Fetch => self.end_partition(reader)?,
                }
                Ok(())
            }
            Stage::Acquired(0) => self.end_partition(reader),
            Stage::Acquired(left) => {
                reader.bytes(8 + 8 + 2)?;
                reader.tags()?;
                self.stage = Stage::Acquired(left - 1);
                Ok(())
            }
            Stage::Batches | Stage::Records { .. } | Stage::Over => Err(Failure::Wrong),
        }
    }

    fn end_partition(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        reader.tags()?;
        self.stage = Stage::Partitions;
        Ok(())
    }

    fn start(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        let mut error = 0;
        match self.layout {
            Layout::Produce => {}
            Layout::Fetch => {
                if self.version >= 1 {
                    reader.int32()?;
                }
                if self.version >= 7 {
                    error = reader.int16()?;
                    reader.int32()?;
                }
            }
            Layout::ShareFetch => {
                reader.int32()?;
                error = reader.int16()?;
                reader.string()?;
                if self.version >= 1 {
                    reader.int32()?;
                }
            }
        }
        self.topics_left = reader.count()?;
        self.found.topics = self.topics_left;
        self.found.fail(error);
        self.stage = Stage::Topics;
        Ok(())
    }

    fn has_ids(&self) -> bool {
        match self.layout {
            Layout::Produce | Layout::Fetch => self.version >= 13,
            Layout::ShareFetch => true,
        }
    }

    fn topic(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        let topic = Topic::read(reader, self.has_ids())?;
        self.partitions_left = reader.count()?;
        self.topics_left -= 1;
        self.found.enter_topic(topic);
        self.stage = Stage::Partitions;
        Ok(())
    }

    fn partition(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        let partition = reader.int32()?;
        let mut error = 0;
        let next = match self.layout {
            Layout::Produce => Stage::Length,
            Layout::Fetch => {
                error = reader.int16()?;
                reader.int64()?;
                if self.version >= 4 {
                    reader.int64()?;
                }
                if self.version >= 5 {
                    reader.int64()?;
                }
                Stage::Aborted(if self.version >= 4 { reader.count()? } else { 0 })
            }
            Layout::ShareFetch => {
                error = reader.int16()?;
                reader.string()?;
                let acknowledging = reader.int16()?;
                error = if error == 0 { acknowledging } else { error };
                reader.string()?;
                // The current leader.
                reader.bytes(8)?;
                reader.tags()?;
                Stage::Length
            }
        };
        self.partitions_left -= 1;
        self.found.enter_partition(partition);
        self.found.fail(error);
        self.stage = next;
        Ok(())
    }

    fn preferred(&mut self, reader: &mut Reader<'_>) -> Field<()> {
        if self.version >= 11 {
            reader.int32()?;
        }
        self.stage = Stage::Length;
        Ok(())
    }

    fn batch(&mut self, bytes: &[u8]) -> Field<Step> {
        let shown =
            usize::try_from(self.records_left).ok().and_then(|left| bytes.get(..left)).unwrap_or(bytes);
        let header = match batch::Header::read(shown) {
            // The last batch of a response may be cut off.
            Err(Failure::Short) if (shown.len() as u64) < self.records_left => return Err(Failure::Short),
            Err(Failure::Short) => return Ok(self.pass_records()),
            other => other?,
        };
        if header.total > self.records_left {
            return Ok(self.pass_records());
        }
        let Some(records) = header.records else {
            self.found.enter_old_message();
            self.stage = Stage::Records { left: header.total, unread: None };
            return Ok(Step::Eat(0));
        };
        self.found.enter_batch(&records);
        let left = header.total - batch::HEADER_BYTES as u64;
        let is_read = !records.is_control() && self.looks_left > 0;
        self.records_left -= batch::HEADER_BYTES as u64;
        self.stage = Stage::Records { left, unread: is_read.then_some(records) };
        Ok(Step::Eat(batch::HEADER_BYTES))
    }

    /// Passes over the beginning of a batch whose end is not there.
    fn pass_records(&mut self) -> Step {
        self.stage = Stage::Records { left: self.records_left, unread: None };
        Step::Eat(0)
    }

    fn records(
        &mut self,
        bytes: &[u8],
        left: u64,
        unread: Option<batch::Records>,
        is_all: bool,
    ) -> Field<Step> {
        let Some(records) = unread else { return Ok(Step::Skip(left)) };
        let wanted = usize::try_from(left.min(MAX_LOOKED_BYTES)).unwrap_or(usize::MAX);
        if bytes.len() < wanted && !is_all {
            return Err(Failure::Short);
        }
        let looked = bytes.get(..wanted).unwrap_or(bytes);
        self.looks_left = self.looks_left.saturating_sub((looked.len() as u64).max(MIN_LOOK_COST));
        if !looked.is_empty() {
            self.found.look(looked, &records);
        }
        self.stage = Stage::Records { left, unread: None };
        Ok(Step::Eat(0))
    }
}

impl Held for Walk {
    fn held_bytes(&self) -> usize {
        self.found.held_bytes()
    }
}
