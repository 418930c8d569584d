//! The work that messages ask for: from the receipt of a message to that of the next one, or to the last call.
//!
//! It is told as a CONSUMER span of its own trace, with links to the spans that sent the messages, if calls were made for
//! it. Who works on what, `parents` knows.

use foldhash::HashMap;

use super::identity::{self, Identity};
use super::messages::Messages;
use super::parents::Receiving;
use crate::connection::Stamp;
use crate::event::{ConnectionId, Endpoint, Executor, Opened};
use crate::pairing::ExchangeId;
use crate::protocol::{Keys, MessageKey, Outcome, Source};
use crate::semconv::{self, Attributes, Value};
use crate::span::{Link, Span, SpanKind, Status};

/// `messaging.operation.type` of the OpenTelemetry conventions.
pub(super) const PROCESS: &str = "process";

/// Work that is under way. For one more, the one that rests longest ends.
const MAX_WORKS: usize = 16_384;
/// How long work may rest between two calls, where nobody tells that it is over.
const MAX_REST_NS: u64 = 10_000_000_000;
/// How long it may where the next job would tell, which may be long in coming.
const MAX_HANDED_REST_NS: u64 = 60_000_000_000;
/// Age after which it is over in any case: no call is believed to belong to anything older.
const MAX_AGE_NS: u64 = 600_000_000_000;

/// A message that was received.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    pub(super) keys: &'a Keys,
    /// The queues that were asked, and the one that it came from, if that is known.
    pub(super) source: &'a Source,
    pub(super) queue: Option<String>,
    pub(super) asked: Stamp,
    pub(super) read: Stamp,
    pub(super) protocol: &'static str,
    pub(super) links: Vec<Link>,
    /// The id by which a library knows the message.
    pub(super) job: Option<u64>,
}

/// Work that is under way, or waits for whom it will be handed to.
#[derive(Debug)]
pub(super) struct Work {
    span: Span,
    receiving: Receiving,
    open_calls: u32,
    /// Messages whose producer was not known when they came.
    unknown: Vec<MessageKey>,
    /// It is told also if no calls were made for it.
    is_told: bool,
}

impl Work {
    pub(super) fn new(
        receipt: Receipt<'_>,
        receiving: Receiving,
        context: &super::Context,
        connection: ConnectionId,
        opened: &Opened,
    ) -> Self {
        let Receipt { keys, queue, protocol, read, links, .. } = receipt;
        let unknown = if links.is_empty() { keys.as_slice().to_vec() } else { Vec::new() };
        let mut span = span(context, keys, protocol, &read, connection, opened);
        if let Some(queue) = queue {
            if !super::route::is_identifier(&queue) {
                span.name = format!("{PROCESS} {queue}");
            }
            span.attributes.push((semconv::MESSAGING_DESTINATION_NAME, Value::from(queue)));
        }
        span.links = links;
        Self { span, receiving, open_calls: 0, unknown, is_told: false }
    }
}

/// All work that is under way.
#[derive(Debug, Default)]
pub(super) struct Works {
    open: HashMap<ExchangeId, Work>,
    evicted: u64,
}

impl Works {
    /// Returns how many ended because there were too many.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns whether this is work that a message asked for, and another message may end.
    pub(super) fn may_end_with_next(&self, id: ExchangeId) -> bool {
        self.open.get(&id).is_some_and(|work| work.receiving != Receiving::Handed)
    }

    /// Begins work. Its span has ids of its own, which follow from those of the exchange that brought the message.
    pub(super) fn begin(
        &mut self,
        id: ExchangeId,
        receipt: Receipt<'_>,
        receiving: Receiving,
        context: &super::Context,
        connection: ConnectionId,
        opened: &Opened,
    ) {
        self.open.insert(id, Work::new(receipt, receiving, context, connection, opened));
    }

    /// Begins work that was handed to an executor at this time.
    pub(super) fn pick_up(
        &mut self,
        id: ExchangeId,
        work: Work,
        executor: &Executor,
        at_ns: u64,
    ) -> Option<ExchangeId> {
        self.open.insert(id, work);
        self.hand(id, executor, at_ns)
    }

    /// Notes that work was handed to an executor at this time; none where it is over.
    pub(super) fn hand(&mut self, id: ExchangeId, executor: &Executor, at_ns: u64) -> Option<ExchangeId> {
        let work = self.open.get_mut(&id)?;
        work.receiving = Receiving::Handed;
        (work.span.tgid, work.span.tid) = (executor.tgid, executor.tid);
        (work.span.started_at_ns, work.span.ended_at_ns) = (at_ns, at_ns);
        Some(id)
    }

    /// Returns whether it was handed to an executor, who tells when it is over.
    pub(super) fn is_handed(&self, id: ExchangeId) -> bool {
        self.open.get(&id).is_some_and(|work| work.receiving == Receiving::Handed)
    }

    /// Begins the work that a pushed message asks for, which its consumer says a word about at its end.
    pub(super) fn begin_pushed(&mut self, id: ExchangeId, span: Span, keys: &Keys) {
        let unknown = if span.links.is_empty() { keys.as_slice().to_vec() } else { Vec::new() };
        let receiving = Receiving::Pushed;
        self.open.insert(id, Work { span, receiving, open_calls: 0, unknown, is_told: true });
    }

    /// Notes how it went, as its consumer says.
    pub(super) fn settle(&mut self, id: ExchangeId, outcome: Outcome) {
        let Some(work) = self.open.get_mut(&id) else { return };
        if let Some(error_type) = outcome.error_type {
            work.span.attributes.push((semconv::ERROR_TYPE, Value::from(error_type)));
            work.span.status = Status::Error(outcome.message.unwrap_or_default());
        }
    }

    /// Returns whether it is told also if no calls were made for it.
    pub(super) fn is_told(&self, id: ExchangeId) -> bool {
        self.open.get(&id).is_some_and(|work| work.is_told)
    }

    /// Notes a call that was made for it.
    pub(super) fn call_began(&mut self, id: ExchangeId) {
        let Some(work) = self.open.get_mut(&id) else { return };
        work.open_calls += 1;
    }

    /// Notes that such a call has ended.
    pub(super) fn call_ended(&mut self, id: ExchangeId, at_ns: u64) {
        let Some(work) = self.open.get_mut(&id) else { return };
        work.open_calls = work.open_calls.saturating_sub(1);
        work.span.ended_at_ns = work.span.ended_at_ns.max(at_ns);
    }

    /// Returns the work of a process.
    pub(super) fn of_process(&self, tgid: u32) -> Vec<ExchangeId> {
        self.select(|work| work.span.tgid == tgid)
    }

    /// Returns the work that is over because nothing has happened for long; or one, where there is too much of it.
    pub(super) fn overdue(&mut self, now_ns: u64) -> Vec<ExchangeId> {
        let mut overdue = self.select(|work| {
            let max_rest_ns = match work.receiving {
                Receiving::AsTask => MAX_REST_NS,
                Receiving::Handed => MAX_HANDED_REST_NS,
                Receiving::Alone | Receiving::Pushed => MAX_AGE_NS,
            };
            let is_resting = now_ns.saturating_sub(work.span.ended_at_ns) > max_rest_ns;
            (is_resting && work.open_calls == 0)
                || now_ns.saturating_sub(work.span.started_at_ns) > MAX_AGE_NS
        });
        if overdue.is_empty() && self.open.len() > MAX_WORKS {
            let oldest = self.open.iter().min_by_key(|(id, work)| (work.span.ended_at_ns, **id));
            overdue.extend(oldest.map(|(id, _)| *id));
            self.evicted += 1;
        }
        overdue
    }

    /// Returns all work.
    pub(super) fn all(&self) -> Vec<ExchangeId> {
        self.select(|_| true)
    }

    fn select(&self, is_meant: impl Fn(&Work) -> bool) -> Vec<ExchangeId> {
        let meant = self.open.iter().filter(|(_, work)| is_meant(work));
        let mut meant: Vec<_> = meant.map(|(id, _)| *id).collect();
        meant.sort_unstable();
        meant
    }

    /// Ends work, at `at_ns` where that is known and with its last call otherwise. Returns its span.
    pub(super) fn end(
        &mut self,
        id: ExchangeId,
        at_ns: Option<u64>,
        messages: &mut Messages,
    ) -> Option<Span> {
        let mut work = self.open.remove(&id)?;
        // A position in a stream is often told to the consumer first.
        let started_at_ns = work.span.started_at_ns;
        for key in work.unknown.drain(..) {
            if let Some((link, sent_ns)) = messages.receive(key, started_at_ns) {
                if work.span.links.iter().all(|known| known.span_id != link.span_id) {
                    work.span.links.push(link);
                }
                note_queue_time(&mut work.span.attributes, started_at_ns.saturating_sub(sent_ns));
            }
        }
        work.span.ended_at_ns = work.span.ended_at_ns.max(at_ns.unwrap_or(0));
        Some(work.span)
    }
}

/// Returns the ids of the work that follows from the receipt of a message, as a trace of its own.
pub(super) fn context(received: &super::Context) -> super::Context {
    let Identity { trace, server_span, .. } = identity::following(received.trace_id, received.span_id);
    super::Context { trace_id: trace, span_id: server_span, flags: super::ROOT_FLAGS, state: String::new() }
}

/// Returns the span of a consumer that does something with messages, from the moment on when they were read.
pub(super) fn span(
    context: &super::Context,
    keys: &Keys,
    protocol: &'static str,
    read: &Stamp,
    connection: ConnectionId,
    opened: &Opened,
) -> Span {
    Span {
        trace_id: context.trace_id,
        span_id: context.span_id,
        parent: None,
        trace_state: String::new(),
        flags: context.flags,
        kind: SpanKind::Consumer,
        name: PROCESS.to_owned(),
        started_at_ns: read.at_ns,
        ended_at_ns: read.at_ns,
        attributes: attributes(keys, protocol, &opened.peer),
        status: Status::Unset,
        links: Vec::new(),
        protocol,
        tgid: read.executor.tgid,
        tid: read.executor.tid,
        connection,
    }
}

fn attributes(keys: &Keys, protocol: &'static str, peer: &Endpoint) -> Attributes {
    let mut attributes = vec![
        (semconv::MESSAGING_SYSTEM, Value::from(protocol)),
        (semconv::MESSAGING_OPERATION_NAME, Value::from(PROCESS)),
        (semconv::MESSAGING_OPERATION_TYPE, Value::from(PROCESS)),
    ];
    if let Endpoint::Ip(address) = peer {
        attributes.push((semconv::SERVER_ADDRESS, Value::from(address.ip().to_string())));
        attributes.push((semconv::SERVER_PORT, Value::from(i64::from(address.port()))));
    }
    attributes.extend(told(semconv::REMORA_MESSAGE_RECEIVED, keys));
    attributes
}

/// Notes how long a message was on its way; of several, the longest time is kept.
pub(super) fn note_queue_time(attributes: &mut Attributes, nanoseconds: u64) {
    let seconds = nanoseconds as f64 / 1e9;
    match attributes.iter_mut().find(|(key, _)| *key == semconv::REMORA_MESSAGE_QUEUE_TIME) {
        Some((_, Value::Double(longest))) => *longest = longest.max(seconds),
        Some(_) => {}
        None => attributes.push((semconv::REMORA_MESSAGE_QUEUE_TIME, Value::Double(seconds))),
    }
}

/// Returns the attribute that tells which messages were moved; none without any.
pub(super) fn told(name: semconv::Key, keys: &Keys) -> Option<(semconv::Key, Value)> {
    let keys: Vec<_> = keys.as_slice().iter().map(ToString::to_string).collect();
    (!keys.is_empty()).then_some((name, Value::Texts(keys)))
}
