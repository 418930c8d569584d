//! One channel: the calls that wait for their answers, the messages that wait for a word about them, and the consumers.

use std::collections::{BTreeMap, VecDeque};

use super::content::Content;
use super::method::{Id, PUBLISH};
use crate::held::Held;
use crate::protocol::Side;

/// Calls of one channel that wait for their answers. Clients wait for one after the other.
const MAX_CALLS: usize = 64;
/// Messages of one channel that wait for the broker's word. Of more, no word is waited for.
const MAX_CONFIRMS: usize = 1024;
/// Messages of one channel that wait for the consumer's word. More are not followed.
const MAX_UNSETTLED: usize = 1024;
/// Consumers of one channel whose queues are known.
const MAX_CONSUMERS: usize = 64;

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    /// Under which it was told.
    pub(super) number: u64,
    pub(super) method: Id,
    /// The queue that it is about.
    pub(super) queue: String,
    /// The tag under which messages come, where the client chose one.
    pub(super) consumer_tag: Vec<u8>,
    pub(super) is_no_ack: bool,
    /// Its answer is known by sight.
    pub(super) is_told: bool,
}

/// A message that waits for the broker's word.
#[derive(Debug)]
pub(super) struct Publishing {
    pub(super) number: u64,
    pub(super) is_mandatory: bool,
    /// Equal for what can be told apart by nothing when it comes back.
    pub(super) hash: u64,
    /// Why it came back.
    pub(super) returned: Option<(u16, String)>,
}

/// Whether the broker gives its word on messages.
#[derive(Debug, Default)]
pub(super) enum Confirms {
    #[default]
    Off,
    /// The channel is older than what was seen of it.
    Unknown,
    /// Each message has a number, the next this one.
    On { next: u64, waiting: BTreeMap<u64, Publishing> },
}

/// Somebody to whom the messages of a queue are brought.
#[derive(Debug)]
struct Consumer {
    tag: Vec<u8>,
    queue: String,
    is_no_ack: bool,
}

/// The state of a channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    calls: VecDeque<Call>,
    /// Answers may belong to calls that were not seen.
    is_doubtful: bool,
    /// The server has closed it, and the client does not know yet.
    pub(super) is_closing: bool,
    pub(super) confirms: Confirms,
    asked: Option<Content>,
    answered: Option<Content>,
    consumers: Vec<Consumer>,
    /// The queue that was declared last, which an empty name means.
    pub(super) last_queue: String,
    /// Messages brought to the consumer that it has not settled, by their tags.
    unsettled: BTreeMap<u64, u64>,
}

impl Channel {
    /// Returns the state of a channel of which something was missed.
    pub(super) fn doubtful() -> Self {
        Self { is_doubtful: true, confirms: Confirms::Unknown, ..Self::default() }
    }

    /// Forgets what waits: something was missed. Who consumes what is still known.
    pub(super) fn lose(&mut self) {
        let consumers = std::mem::take(&mut self.consumers);
        let last_queue = std::mem::take(&mut self.last_queue);
        *self = Self { consumers, last_queue, ..Self::doubtful() };
    }

    /// Returns the message that a side has begun.
    pub(super) fn content(&mut self, side: Side) -> &mut Option<Content> {
        match side {
            Side::Client => &mut self.asked,
            Side::Server => &mut self.answered,
        }
    }

    /// Notes a call; returns whether its answer will be known by sight. What is not awaited any more for it is added to
    /// `given_up`.
    ///
    /// `is_piling` says that the client does not wait for one answer before it asks again.
    pub(super) fn call(&mut self, mut call: Call, is_piling: bool, given_up: &mut Vec<u64>) -> bool {
        if self.calls.len() >= MAX_CALLS || (self.is_doubtful && is_piling) {
            self.give_up_calls(given_up);
            self.is_doubtful = true;
            return false;
        }
        call.is_told = !self.is_doubtful;
        let is_told = call.is_told;
        self.calls.push_back(call);
        is_told
    }

    fn give_up_calls(&mut self, given_up: &mut Vec<u64>) {
        given_up.extend(self.calls.drain(..).filter(|call| call.is_told).map(|call| call.number));
    }

    /// Ends the channel: what was told and waits for an answer is added to `given_up`.
    pub(super) fn end(mut self, given_up: &mut Vec<u64>) {
        self.give_up_calls(given_up);
        if let Confirms::On { waiting, .. } = self.confirms {
            given_up.extend(waiting.into_values().map(|publishing| publishing.number));
        }
    }

    /// Returns how many calls wait.
    pub(super) fn waiting(&self) -> usize {
        self.calls.len()
    }

    /// Returns the call that is answered.
    pub(super) fn answer(&mut self, answer: Id) -> Option<Call> {
        if !self.calls.front()?.method.is_answered_by(answer) {
            return None;
        }
        let call = self.calls.pop_front()?;
        // From here on nothing is outstanding that was not seen.
        self.is_doubtful &= !self.calls.is_empty();
        Some(call)
    }

    /// Returns the number of a call, or of a message without the broker's word, that will get no answer any more, and its
    /// method.
    pub(super) fn fail_one(&mut self) -> Option<(u64, Id)> {
        while let Some(call) = self.calls.pop_front() {
            if call.is_told {
                return Some((call.number, call.method));
            }
        }
        match &mut self.confirms {
            Confirms::On { waiting, .. } => {
                waiting.pop_first().map(|(_, publishing)| (publishing.number, PUBLISH))
            }
            Confirms::Off | Confirms::Unknown => None,
        }
    }

    /// Notes that the broker will give its word on messages.
    pub(super) fn select_confirms(&mut self) {
        if matches!(self.confirms, Confirms::Off) {
            self.confirms = Confirms::On { next: 1, waiting: BTreeMap::new() };
        }
    }

    /// Notes a message; returns whether the broker's word on it is waited for.
    pub(super) fn publish(&mut self, publishing: Publishing) -> bool {
        let Confirms::On { next, waiting } = &mut self.confirms else { return false };
        let tag = *next;
        *next = next.saturating_add(1);
        let is_followed = waiting.len() < MAX_CONFIRMS;
        if is_followed {
            waiting.insert(tag, publishing);
        }
        is_followed
    }

    /// Notes that a message came back: of equal ones the first that has not.
    pub(super) fn give_back(&mut self, hash: u64, code: u16, text: &str) {
        let Confirms::On { waiting, .. } = &mut self.confirms else { return };
        let is_meant = |publishing: &&mut Publishing| {
            publishing.is_mandatory && publishing.hash == hash && publishing.returned.is_none()
        };
        if let Some(publishing) = waiting.values_mut().find(is_meant) {
            publishing.returned = Some((code, text.to_owned()));
        }
    }

    /// Returns the first message on which the broker gives its word. There may be others.
    pub(super) fn confirm(&mut self, tag: u64, is_multiple: bool) -> Option<Publishing> {
        let Confirms::On { waiting, .. } = &mut self.confirms else { return None };
        first_settled(waiting, tag, is_multiple)
    }

    /// Notes who consumes a queue.
    pub(super) fn consume(&mut self, tag: &[u8], queue: &str, is_no_ack: bool) {
        self.cancel(tag);
        if self.consumers.len() < MAX_CONSUMERS {
            self.consumers.push(Consumer { tag: tag.to_vec(), queue: queue.to_owned(), is_no_ack });
        }
    }

    /// Notes that a consumer gets no more.
    pub(super) fn cancel(&mut self, tag: &[u8]) {
        self.consumers.retain(|consumer| consumer.tag != tag);
    }

    /// Returns the queue that a consumer gets messages of, and whether it does not acknowledge them.
    pub(super) fn consumer(&self, tag: &[u8]) -> Option<(&str, bool)> {
        let consumer = self.consumers.iter().find(|consumer| consumer.tag == tag)?;
        Some((&consumer.queue, consumer.is_no_ack))
    }

    /// Notes that a message was brought to the consumer; returns whether its settling is waited for.
    pub(super) fn bring(&mut self, tag: u64, number: u64) -> bool {
        let is_followed = self.unsettled.len() < MAX_UNSETTLED;
        if is_followed {
            self.unsettled.insert(tag, number);
        }
        is_followed
    }

    /// Returns the first message that the consumer settles. There may be others.
    pub(super) fn settle(&mut self, tag: u64, is_multiple: bool) -> Option<u64> {
        first_settled(&mut self.unsettled, tag, is_multiple)
    }
}

/// Takes out the message with a tag, or the first up to it. All are meant where the tag is 0.
fn first_settled<T>(waiting: &mut BTreeMap<u64, T>, tag: u64, is_multiple: bool) -> Option<T> {
    if !is_multiple {
        return waiting.remove(&tag);
    }
    let last = if tag == 0 { u64::MAX } else { tag };
    let entry = waiting.first_entry().filter(|entry| *entry.key() <= last)?;
    Some(entry.remove())
}

impl Held for Channel {
    fn held_bytes(&self) -> usize {
        let confirms = match &self.confirms {
            Confirms::On { waiting, .. } => waiting.held_bytes(),
            Confirms::Off | Confirms::Unknown => 0,
        };
        self.calls.held_bytes()
            + confirms
            + self.asked.held_bytes()
            + self.answered.held_bytes()
            + self.consumers.held_bytes()
            + self.last_queue.held_bytes()
            + self.unsettled.held_bytes()
    }
}

impl Held for Call {
    fn held_bytes(&self) -> usize {
        self.queue.held_bytes() + self.consumer_tag.held_bytes()
    }
}

impl Held for Publishing {
    fn held_bytes(&self) -> usize {
        self.returned.as_ref().map_or(0, |(_, reason)| reason.held_bytes())
    }
}

impl Held for Consumer {
    fn held_bytes(&self) -> usize {
        self.tag.held_bytes() + self.queue.held_bytes()
    }
}
