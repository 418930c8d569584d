//! Messages that calls have moved: links to who sent them, and the work that they ask for.

use std::borrow::Cow;

use super::identity::{self, Identity};
use super::jobs::{Job, Message};
use super::messages::Producer;
use super::parents::Receiving;
use super::works::{self, Receipt, Work};
use super::{Active, Context, Correlation, ROOT_FLAGS};
use crate::connection::Stamp;
use crate::event::{ConnectionId, Opened};
use crate::pairing::{Exchange, ExchangeId};
use crate::protocol::{Delivery, Keys, MAX_KEYS, MessageKey, Received, Settled, Source, WireContext};
use crate::semconv::{self, Attributes, Value};
use crate::span::{Evidence, Link, Span, SpanId, TraceId};

/// Where messages came from.
#[derive(Debug, Default)]
struct Origin {
    links: Vec<Link>,
    /// How long the one that waited longest was on its way.
    waited_ns: Option<u64>,
    /// Messages whose names their producers may learn only later.
    early: Vec<MessageKey>,
}

/// Who has brought messages, and who has read them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Brought<'a> {
    pub(crate) protocol: &'static str,
    pub(crate) read: &'a Stamp,
    pub(crate) connection: ConnectionId,
    pub(crate) opened: &'a Opened,
}

impl Correlation {
    /// Returns the spans of work that has ended since the last call.
    pub(crate) fn take_ended(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.ended)
    }

    /// Ends all work that messages asked for.
    pub(crate) fn end_all(&mut self) {
        self.end_works(self.works.all(), None);
    }

    pub(super) fn end_works(&mut self, works: Vec<ExchangeId>, at_ns: Option<u64>) {
        for work in works {
            self.parents.end_work(work);
            let has_calls = self.active.remove(&work).is_some_and(|work| work.has_children);
            let is_told = has_calls || self.works.is_told(work);
            let span = self.works.end(work, at_ns, &mut self.messages);
            self.ended.extend(span.filter(|_| is_told));
        }
    }

    /// Whoever asks for a message has done with the one before.
    pub(super) fn ask(&mut self, connection: ConnectionId, first: &Stamp, source: Option<u64>) {
        let over = source.and_then(|source| self.parents.ask(connection, first, source));
        self.end_works(over.into_iter().collect(), Some(first.at_ns));
    }

    pub(super) fn send(&mut self, keys: &Keys, by: &Context, at_ns: u64) {
        self.tally.messages_left_out += u64::from(keys.left_out());
        let producer = Producer { trace_id: by.trace_id, span_id: by.span_id };
        keys.as_slice().iter().for_each(|key| self.messages.send(*key, producer, at_ns));
    }

    /// Notes the messages that a call has moved. Returns the attributes that tell of them.
    pub(super) fn deliver(
        &mut self,
        exchange: &Exchange,
        active: &mut Active,
        cause: Option<ExchangeId>,
        protocol: &'static str,
        connection: ConnectionId,
        opened: &Opened,
    ) -> Attributes {
        let mut sent = exchange.request.sent.clone();
        let mut attributes = Attributes::new();
        if exchange.response.as_ref().is_some_and(|response| response.outcome.error_type.is_some()) {
            // What the response names was moved nevertheless.
            self.retract(&sent, &active.context);
            sent = Keys::default();
        }
        if let Some(response) = &exchange.response {
            self.send(&response.sent, &active.context, exchange.request_first.at_ns);
            response.sent.as_slice().iter().for_each(|key| sent.add(*key));
            active.links.extend(response.carried.iter().map(carried_link));
        }
        attributes.extend(works::told(semconv::REMORA_MESSAGE_SENT, &sent));
        let response = exchange.response.as_ref().zip(exchange.response_last);
        let Some((received, last)) = response.and_then(|(it, last)| Some((it.received.as_ref()?, last)))
        else {
            return attributes;
        };
        attributes.extend(works::told(semconv::REMORA_MESSAGE_RECEIVED, &received.keys));
        let Origin { links, waited_ns, early } = self.receive(received, active.context.span_id, last.at_ns);
        if let Some(waited_ns) = waited_ns {
            works::note_queue_time(&mut attributes, waited_ns);
        }
        if early.is_empty() && (received.is_certain || !links.is_empty()) {
            self.note_receipt(!links.is_empty());
        }
        active.early = early;
        active.links.extend_from_slice(&links);
        // What a request receives while it is served is a part of it, and so is what a worker receives otherwise than
        // its jobs.
        let is_part = cause.is_some_and(|cause| !self.works.may_end_with_next(cause));
        let source = exchange.request.source.as_ref();
        let source = if self.parents.is_asking(&exchange.request_first.executor) {
            // Where any script brings it, nothing but who sent it tells that it is a message.
            let asked_for = Source { may_wait: true, ..source.cloned().unwrap_or_default() };
            (received.is_certain || !links.is_empty()).then_some(Cow::Owned(asked_for))
        } else {
            source.filter(|_| received.is_certain && !is_part).map(Cow::Borrowed)
        };
        if let Some(source) = &source {
            let receipt = Receipt {
                keys: &received.keys,
                source,
                queue: source.name.clone().or_else(|| received.queue.clone()),
                asked: exchange.request_first,
                read: last,
                protocol,
                links,
                job: received.job,
            };
            self.begin_work(exchange.id, receipt, &active.context, connection, opened);
        }
        attributes
    }

    /// Notes messages that the server has brought unasked. `id` is that of the work that they ask for; `is_quiet` says
    /// that nothing else is awaited on the connection. What the consumer says nothing about is told at once.
    pub(crate) fn push(
        &mut self,
        id: ExchangeId,
        delivery: Delivery,
        is_quiet: bool,
        brought: Brought<'_>,
    ) -> Option<Span> {
        let Brought { protocol, read, connection, opened } = brought;
        let Identity { trace, client_span, .. } = identity::new(&mut self.ids);
        let context =
            Context { trace_id: trace, span_id: client_span, flags: ROOT_FLAGS, state: String::new() };
        let Delivery { received, source, attributes, name, number, is_routine } = delivery;
        if is_routine && number.is_none() {
            self.tally.idle_exchanges += 1;
            return None;
        }
        let mut span = works::span(&context, &received.keys, protocol, read, connection, opened);
        let Origin { links, waited_ns, early } = self.receive(&received, span.span_id, read.at_ns);
        if early.is_empty() {
            self.note_receipt(!links.is_empty());
        }
        span.links = links;
        if let Some(queue) = source.and_then(|source| source.name) {
            if !super::route::is_identifier(&queue) {
                span.name = format!("{} {queue}", works::PROCESS);
            }
            span.attributes.push((semconv::MESSAGING_DESTINATION_NAME, Value::from(queue)));
        }
        span.attributes.retain(|(known, _)| attributes.iter().all(|(key, _)| key != known));
        span.attributes.extend(attributes);
        if let Some(waited_ns) = waited_ns {
            works::note_queue_time(&mut span.attributes, waited_ns);
        }
        span.name = name.unwrap_or(span.name);
        let Some(number) = number else {
            if early.is_empty() {
                return Some(span);
            }
            self.early.hold(span, early, read.at_ns);
            return None;
        };
        let message = Message::Pushed(id);
        let job = Job { message, context: context.clone(), connection, received_at_ns: read.at_ns };
        let is_for_others = received.job.is_some_and(|name| self.jobs.wait(read.executor.tgid, name, job));
        if self.parents.push(id, connection, number, is_quiet && !is_for_others, read) {
            self.active.insert(id, Active::root(context));
        }
        self.works.begin_pushed(id, span, &received.keys);
        None
    }

    /// Notes what became of a message that was brought.
    pub(crate) fn settle(&mut self, connection: ConnectionId, settled: Settled, stamp: &Stamp) {
        let Some(work) = self.parents.settle(connection, settled.number, &stamp.executor) else { return };
        self.works.settle(work, settled.outcome);
        // Most of them are settled as soon as a worker has them.
        if !self.works.is_handed(work) {
            self.jobs.forget_pushed(work);
            self.end_works(vec![work], Some(stamp.at_ns));
        }
    }

    /// Nothing more will be heard of the messages that a connection has brought.
    pub(crate) fn forget_brought(&mut self, connection: ConnectionId) {
        let mut works = self.parents.pushes.forget_connection(connection);
        works.retain(|work| !self.works.is_handed(*work));
        works.iter().for_each(|work| self.jobs.forget_pushed(*work));
        self.end_works(works, None);
    }

    fn note_receipt(&mut self, is_linked: bool) {
        self.tally.messages_linked += u64::from(is_linked);
        self.tally.messages_unknown += u64::from(!is_linked);
    }

    fn retract(&mut self, keys: &Keys, by: &Context) {
        let producer = Producer { trace_id: by.trace_id, span_id: by.span_id };
        keys.as_slice().iter().for_each(|key| self.messages.retract(*key, producer));
    }

    /// Returns links to those who sent these messages, each once: whom the messages name, and who was seen.
    fn receive(&mut self, received: &Received, own: SpanId, at_ns: u64) -> Origin {
        let Received { keys, contexts, .. } = received;
        self.tally.messages_left_out += u64::from(keys.left_out());
        let mut origin = Origin::default();
        origin.links.extend(contexts.iter().map(carried_link));
        for key in keys.as_slice() {
            let Some((link, sent_ns)) = self.messages.receive(*key, at_ns) else {
                origin.early.extend(received.may_be_early.then_some(*key));
                continue;
            };
            if link.span_id == own {
                continue;
            }
            let waited_ns = at_ns.saturating_sub(sent_ns);
            origin.waited_ns = Some(origin.waited_ns.map_or(waited_ns, |longest| longest.max(waited_ns)));
            if origin.links.iter().any(|known| known.span_id == link.span_id) {
                continue;
            }
            match origin.links.len() < MAX_KEYS {
                true => origin.links.push(link),
                false => self.tally.messages_left_out += 1,
            }
        }
        origin
    }

    /// Returns a span that has waited for those who sent its messages.
    pub(super) fn poll_early(&mut self) -> Option<Span> {
        let span = self.early.pop(&mut self.messages)?;
        self.note_receipt(!span.links.is_empty());
        Some(span)
    }

    /// Begins the work that a message asks for; it takes the place of the exchange that brought it.
    fn begin_work(
        &mut self,
        id: ExchangeId,
        receipt: Receipt<'_>,
        received: &Context,
        connection: ConnectionId,
        opened: &Opened,
    ) {
        let Receipt { source, asked, read, .. } = receipt;
        let context = works::context(received);
        let Some(receiving) = self.parents.begin_work(id, connection, source, &asked, &read) else {
            if let Some(job) = receipt.job {
                let work = Work::new(receipt, Receiving::Handed, &context, connection, opened);
                let message = Message::Asked(Box::new(work));
                let waiting = Job { message, context, connection, received_at_ns: read.at_ns };
                self.jobs.wait(read.executor.tgid, job, waiting);
            }
            return;
        };
        self.works.begin(id, receipt, receiving, &context, connection, opened);
        self.active.insert(id, Active::root(context));
    }
}

/// Returns a link to the span whose context a message carries.
pub(super) fn carried_link(context: &WireContext) -> Link {
    Link {
        trace_id: TraceId(context.trace_id),
        span_id: SpanId(context.span_id),
        attributes: vec![
            (semconv::REMORA_LINK_REASON, Value::from("message")),
            (semconv::REMORA_LINK_EVIDENCE, Value::from(Evidence::Wire.label())),
            (semconv::REMORA_LINK_CONFIDENCE, Value::Double(1.0)),
        ],
    }
}
