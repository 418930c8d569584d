//! Who sent the messages that others received: producers by the hashes that both ends of a message make alike.
//!
//! A receipt that comes with its producer known gets a link to it, before it is stored; the request in the log stays as it
//! was sent, and is linked anew when it is read back. Agents link what they see both ends of by themselves.

use std::time::{Duration, Instant};

use super::JoinCounters;
use super::aging::Aging;
use crate::model::{
    AnyValue, KeyValue, Link, MESSAGE_QUEUE_TIME, MESSAGE_RECEIVED, MESSAGE_SENT, Span, SpanId, SpanKind,
    TraceId, find,
};

/// How long a message may be on its way.
const HOLD: Duration = Duration::from_secs(900);
/// Senders of equal messages that are told apart.
const MAX_EQUAL: usize = 4;
/// Messages of one span that are looked at; the agent tells no more.
const MAX_KEYS: usize = 128;

/// Confidence where one span alone has sent such a message, and where several have.
const SURE: f64 = 1.0;
const LIKELY: f64 = 0.5;

/// OTLP's flags of a link to a span elsewhere.
const REMOTE: u32 = 0x300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Producer {
    trace_id: TraceId,
    span_id: SpanId,
    start_unix_ns: u64,
}

/// Messages that were sent lately.
#[derive(Debug)]
pub(super) struct Messages {
    sent: Aging<u64, Vec<Producer>>,
}

impl Messages {
    pub(super) fn new(max_waiting: usize, now: Instant) -> Self {
        Self { sent: Aging::new(max_waiting, HOLD, now) }
    }

    /// Adds links to those of the spans that received messages; what the others sent is known from here on.
    pub(super) fn link(&mut self, spans: &mut [Span], now: Instant, counters: &JoinCounters) {
        self.sent.expire(now);
        for span in spans.iter() {
            let producer = Producer {
                trace_id: span.trace_id,
                span_id: span.span_id,
                start_unix_ns: span.start_unix_ns,
            };
            for key in keys(span, MESSAGE_SENT) {
                self.add(key, producer, now, counters);
            }
        }
        for span in spans {
            if !span.is_linked_to_message() {
                self.link_receipt(span, counters);
            }
        }
    }

    fn add(&mut self, key: u64, producer: Producer, now: Instant, counters: &JoinCounters) {
        let forgotten = self.sent.add(key, vec![producer], now, |equal| {
            if !equal.contains(&producer) {
                if equal.len() >= MAX_EQUAL {
                    equal.remove(0);
                }
                equal.push(producer);
            }
        });
        JoinCounters::add(&counters.evicted_messages, forgotten.evicted);
    }

    fn link_receipt(&self, span: &mut Span, counters: &JoinCounters) {
        let (mut links, mut unknown): (Vec<Link>, usize) = (Vec::new(), 0);
        let received_ns = received_unix_ns(span);
        let mut waited_ns = None;
        for key in keys(span, MESSAGE_RECEIVED) {
            let Some((producer, confidence)) = self.producer(key, span.end_unix_ns) else {
                unknown += 1;
                continue;
            };
            let is_new = links.iter().all(|link| link.span_id != producer.span_id.0);
            if is_new && producer.span_id != span.span_id {
                links.push(link(producer, confidence));
                waited_ns = waited_ns.max(received_ns.checked_sub(producer.start_unix_ns));
            }
        }
        JoinCounters::add(&counters.linked_messages, links.len());
        JoinCounters::add(&counters.unknown_messages, unknown);
        span.links.append(&mut links);
        note_queue_time(span, waited_ns);
    }

    /// Returns who sent a message that was received by `until_unix_ns`: of several, the last before. Clocks of hosts
    /// differ, so that one alone is believed whenever it was.
    fn producer(&self, key: u64, until_unix_ns: u64) -> Option<(Producer, f64)> {
        let equal: Vec<Producer> =
            self.sent.find_both(&key).into_iter().flatten().flatten().copied().collect();
        if let [only] = equal[..] {
            return Some((only, SURE));
        }
        let before = equal.iter().filter(|producer| producer.start_unix_ns <= until_unix_ns);
        before.max_by_key(|producer| producer.start_unix_ns).map(|producer| (*producer, LIKELY))
    }
}

/// Returns when the messages were there: with the response of who asked, or when what they ask for began.
fn received_unix_ns(span: &Span) -> u64 {
    if span.kind == SpanKind::Consumer { span.start_unix_ns } else { span.end_unix_ns }
}

/// Adds the time that the message which waited longest was on its way, unless the clocks of the hosts contradict it.
fn note_queue_time(span: &mut Span, waited_ns: Option<u64>) {
    let Some(waited_ns) = waited_ns.filter(|_| find(&span.attributes, MESSAGE_QUEUE_TIME).is_none()) else {
        return;
    };
    let seconds = AnyValue::Double(waited_ns as f64 / 1e9);
    span.attributes.push(KeyValue::new(MESSAGE_QUEUE_TIME, seconds));
}

fn keys<'a>(span: &'a Span, name: &str) -> impl Iterator<Item = u64> + use<'a> {
    let keys = if span.is_from_agent() { span.message_keys(name) } else { &[] };
    let number = |key: &AnyValue| u64::from_str_radix(key.as_str()?, 16).ok();
    keys.iter().take(MAX_KEYS).filter_map(number)
}

fn link(producer: Producer, confidence: f64) -> Link {
    Link {
        trace_id: producer.trace_id.0.to_vec(),
        span_id: producer.span_id.0.to_vec(),
        trace_state: String::new(),
        attributes: vec![
            KeyValue::new("remora.link.reason", "message"),
            KeyValue::new("remora.link.confidence", AnyValue::Double(confidence)),
        ],
        dropped_attributes_count: 0,
        flags: REMOTE,
    }
}
