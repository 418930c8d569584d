//! Receipts that came before the names of their messages.
//!
//! Where the server names messages, who sent them learns the names from its answer, while the messages may have reached
//! their consumer already. Spans of such consumers wait until the answer must have come.

use std::collections::VecDeque;

use super::messages::Messages;
use super::works;
use crate::protocol::MessageKey;
use crate::span::Span;

/// How long an answer to a producer takes longer than the delivery to a consumer, at most.
const MAX_WAIT_NS: u64 = 500_000_000;
/// Spans that wait. For one more, the oldest waits no longer.
const MAX_SPANS: usize = 4096;
/// Messages that all of them wait for, likewise.
const MAX_MESSAGES: usize = 16_384;

/// The span of a consumer, and the messages whose producers were not known.
#[derive(Debug)]
struct Waiting {
    span: Span,
    unknown: Vec<MessageKey>,
    received_at_ns: u64,
}

/// Spans of consumers that wait, in the order in which they began to.
#[derive(Debug, Default)]
pub(super) struct Early {
    waiting: VecDeque<Waiting>,
    /// Messages that these wait for.
    messages: usize,
    over: Vec<Waiting>,
}

impl Early {
    /// Lets a span wait for the producers of messages that it has received.
    pub(super) fn hold(&mut self, span: Span, unknown: Vec<MessageKey>, received_at_ns: u64) {
        self.messages += unknown.len();
        while self.waiting.len() >= MAX_SPANS || self.messages > MAX_MESSAGES {
            let Some(oldest) = self.waiting.pop_front() else { break };
            self.end(oldest);
        }
        self.waiting.push_back(Waiting { span, unknown, received_at_ns });
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_over = |waiting: &mut Waiting| now_ns.saturating_sub(waiting.received_at_ns) > MAX_WAIT_NS;
        while let Some(waiting) = self.waiting.pop_front_if(is_over) {
            self.end(waiting);
        }
    }

    fn end(&mut self, waiting: Waiting) {
        self.messages = self.messages.saturating_sub(waiting.unknown.len());
        self.over.push(waiting);
    }

    /// Returns a span that waits no longer, with links to those producers that are known by now.
    pub(super) fn pop(&mut self, messages: &mut Messages) -> Option<Span> {
        let Waiting { mut span, unknown, received_at_ns } = self.over.pop()?;
        for key in unknown {
            let Some((link, sent_ns)) = messages.receive(key, received_at_ns) else { continue };
            let is_own = link.span_id == span.span_id;
            if !is_own {
                works::note_queue_time(&mut span.attributes, received_at_ns.saturating_sub(sent_ns));
            }
            if !is_own && span.links.iter().all(|known| known.span_id != link.span_id) {
                span.links.push(link);
            }
        }
        Some(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::messages::Producer;
    use crate::event::ConnectionId;
    use crate::semconv::{self, Value};
    use crate::span::{SpanId, SpanKind, Status, TraceId};

    fn span(id: u8) -> Span {
        Span {
            trace_id: TraceId([id; 16]),
            span_id: SpanId([id; 8]),
            parent: None,
            trace_state: String::new(),
            flags: 0,
            kind: SpanKind::Consumer,
            name: String::new(),
            started_at_ns: 0,
            ended_at_ns: 0,
            attributes: Vec::new(),
            status: Status::Unset,
            links: Vec::new(),
            protocol: "http2",
            tgid: 1,
            tid: 1,
            connection: ConnectionId { sock: 1, inode: 1 },
        }
    }

    fn key(id: &[u8]) -> MessageKey {
        MessageKey::of_place("gcp_pubsub", &[b"shop", id])
    }

    #[test]
    fn a_consumer_waits_for_the_names_of_its_messages() {
        let (mut early, mut messages) = (Early::default(), Messages::default());
        let received_at_ns = 3_000_000_000;
        early.hold(span(1), vec![key(b"1"), key(b"2"), key(b"3")], received_at_ns);
        early.expire(received_at_ns + MAX_WAIT_NS);
        assert_eq!(early.pop(&mut messages), None);
        let producer = |id| Producer { trace_id: TraceId([id; 16]), span_id: SpanId([id; 8]) };
        messages.send(key(b"1"), producer(7), 1_000_000_000);
        messages.send(key(b"2"), producer(7), 1_000_000_000);
        messages.send(key(b"3"), producer(1), 1_000_000_000);
        early.expire(received_at_ns + MAX_WAIT_NS + 1);
        let told = early.pop(&mut messages).unwrap();
        let links: Vec<SpanId> = told.links.iter().map(|link| link.span_id).collect();
        assert_eq!(links, [SpanId([7; 8])], "each producer once, and none is its own");
        assert_eq!(told.attributes, [(semconv::REMORA_MESSAGE_QUEUE_TIME, Value::Double(2.0))]);
    }

    #[test]
    fn consumers_that_wait_are_bounded() {
        let (mut early, mut messages) = (Early::default(), Messages::default());
        (0..=MAX_SPANS).for_each(|_| early.hold(span(1), vec![key(b"1")], 0));
        assert!(early.pop(&mut messages).is_some_and(|span| span.links.is_empty()));
        assert_eq!(early.pop(&mut messages), None);
    }
}
