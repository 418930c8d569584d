//! Messages on their way: who has sent them.

use std::collections::VecDeque;

use foldhash::HashMap;

use crate::protocol::MessageKey;
use crate::semconv::{self, Value};
use crate::span::{Link, SpanId, TraceId};

/// Messages that are remembered. For one more, the oldest is forgotten, which is counted.
const MAX_MESSAGES: usize = 65_536;
/// Age after which a message is forgotten: an equal one that comes later is more likely another.
const MAX_AGE_NS: u64 = 3_600_000_000_000;

/// What is sure: the key names a place, or no equal message was on its way.
const SURE: f64 = 1.0;
/// Equal messages were on their way, and queues keep the order only as a rule.
const IN_ORDER: f64 = 0.5;
/// How long after a broadcast it may still arrive, so that an equal one is not told from it.
const BROADCAST_NS: u64 = 1_000_000_000;

/// The span that handed a message over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Producer {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    producer: Producer,
    at_ns: u64,
}

/// The messages that were sent and not received, and those that anyone may still receive.
#[derive(Debug, Default)]
pub(super) struct Messages {
    sent: HashMap<MessageKey, VecDeque<Sent>>,
    /// All that were sent, oldest first, with when.
    order: VecDeque<(MessageKey, u64)>,
    forgotten: u64,
    ambiguous: u64,
}

impl Messages {
    /// Returns how many were forgotten before anyone received them.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Returns how many places were used twice: each must be a place of several servers.
    pub(super) fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// Notes a message.
    pub(super) fn send(&mut self, key: MessageKey, producer: Producer, at_ns: u64) {
        self.forget_before(at_ns.saturating_sub(MAX_AGE_NS));
        if self.order.len() >= MAX_MESSAGES {
            self.forget_oldest();
        }
        let sent = self.sent.entry(key).or_default();
        if key.is_place() && sent.iter().any(|sent| sent.producer == producer) {
            return;
        }
        self.ambiguous += u64::from(key.is_place() && sent.len() == 1);
        if key.is_for_many() && sent.len() > 1 {
            sent.pop_front();
        }
        if key.is_for_many() && !key.is_place() {
            // Whoever receives it from here on means the last.
            sent.retain(|sent| at_ns.saturating_sub(sent.at_ns) < BROADCAST_NS);
        }
        sent.push_back(Sent { producer, at_ns });
        self.order.push_back((key, at_ns));
    }

    /// Returns a link to who sent a message that was received, and when. One consumer gets it, unless it is for all: of
    /// equal ones, the first; of those for all, the last; and nobody where a place that is used once was used twice.
    pub(super) fn receive(&mut self, key: MessageKey, at_ns: u64) -> Option<(Link, u64)> {
        let waiting = self.sent.get_mut(&key)?;
        let confidence = if waiting.len() == 1 { SURE } else { IN_ORDER };
        let mut before = waiting.iter().filter(|sent| sent.at_ns <= at_ns);
        if key.is_for_many() {
            let sent = *before.next_back()?;
            let is_ambiguous = key.is_place() && waiting.len() > 1;
            return (!is_ambiguous).then(|| (link(sent.producer, confidence), sent.at_ns));
        }
        let sent = *before.next()?;
        waiting.pop_front();
        if waiting.is_empty() {
            self.sent.remove(&key);
        }
        Some((link(sent.producer, confidence), sent.at_ns))
    }

    /// Notes that a message was refused, which was to be sent.
    pub(super) fn retract(&mut self, key: MessageKey, producer: Producer) {
        let Some(waiting) = self.sent.get_mut(&key) else { return };
        waiting.retain(|sent| sent.producer != producer);
        if waiting.is_empty() {
            self.sent.remove(&key);
        }
    }

    fn forget_before(&mut self, at_ns: u64) {
        while self.order.front().is_some_and(|(_, sent_ns)| *sent_ns < at_ns) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, at_ns)) = self.order.pop_front() else { return };
        let Some(waiting) = self.sent.get_mut(&key) else { return };
        if waiting.front().is_some_and(|sent| sent.at_ns == at_ns) {
            waiting.pop_front();
            self.forgotten += u64::from(!key.is_for_many());
        }
        if waiting.is_empty() {
            self.sent.remove(&key);
        }
    }
}

fn link(producer: Producer, confidence: f64) -> Link {
    Link {
        trace_id: producer.trace_id,
        span_id: producer.span_id,
        attributes: vec![
            (semconv::REMORA_LINK_REASON, Value::from("message")),
            (semconv::REMORA_LINK_CONFIDENCE, Value::Double(confidence)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producer(number: u8) -> Producer {
        Producer { trace_id: TraceId([number; 16]), span_id: SpanId([number; 8]) }
    }

    fn content() -> MessageKey {
        MessageKey::of_content("redis", 16, b"0123456789abcdef").unwrap()
    }

    /// Returns the number of the producer and the confidence.
    fn received(messages: &mut Messages, key: MessageKey, at_ns: u64) -> Option<(u8, f64)> {
        messages.receive(key, at_ns).map(|(link, _)| {
            let Value::Double(confidence) = link.attributes[1].1 else { panic!("no confidence") };
            (link.span_id.0[0], confidence)
        })
    }

    #[test]
    fn one_consumer_gets_a_message_and_equal_ones_come_in_order() {
        let mut messages = Messages::default();
        messages.send(content(), producer(1), 10);
        assert_eq!(received(&mut messages, content(), 9), None, "not sent yet");
        assert_eq!(received(&mut messages, content(), 11), Some((1, SURE)));
        assert_eq!(received(&mut messages, content(), 12), None);
        messages.send(content(), producer(2), 20);
        messages.send(content(), producer(3), 21);
        assert_eq!(received(&mut messages, content(), 22), Some((2, IN_ORDER)));
        assert_eq!(received(&mut messages, content(), 23), Some((3, SURE)));
    }

    #[test]
    fn a_broadcast_reaches_everyone() {
        let key = MessageKey::of_broadcast("redis", &[b"news", b"hello"]);
        let mut messages = Messages::default();
        messages.send(key, producer(1), 10);
        for _ in 0..3 {
            assert_eq!(received(&mut messages, key, 11), Some((1, SURE)));
        }
        for number in 2..5 {
            messages.send(key, producer(number), 20);
            assert_eq!(
                received(&mut messages, key, 21),
                Some((number, IN_ORDER)),
                "the one before may be late"
            );
        }
        messages.send(key, producer(5), 20 + BROADCAST_NS);
        assert_eq!(received(&mut messages, key, 21 + BROADCAST_NS), Some((5, SURE)));
    }

    #[test]
    fn a_place_that_is_used_twice_is_of_two_servers() {
        let key = MessageKey::of_place("redis", &[b"orders", b"1-0"]);
        let mut messages = Messages::default();
        for _ in 0..2 {
            messages.send(key, producer(1), 10);
            assert_eq!(received(&mut messages, key, 11), Some((1, SURE)));
        }
        for number in 2..5 {
            messages.send(key, producer(number), 20);
            assert_eq!(received(&mut messages, key, 21), None);
        }
        assert_eq!(messages.ambiguous(), 1);
    }

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let mut messages = Messages::default();
        messages.send(content(), producer(1), 0);
        let other = |number: u64| MessageKey::of_place("redis", &[&number.to_be_bytes()]);
        messages.send(other(0), producer(2), MAX_AGE_NS + 1);
        assert_eq!(received(&mut messages, content(), MAX_AGE_NS + 2), None);
        assert_eq!(messages.forgotten(), 1);
        for number in 1..=MAX_MESSAGES as u64 {
            messages.send(other(number), producer(3), MAX_AGE_NS + 3);
        }
        assert_eq!(received(&mut messages, other(0), MAX_AGE_NS + 4), None);
        assert_eq!((messages.sent.len(), messages.order.len()), (MAX_MESSAGES, MAX_MESSAGES));
    }
}
