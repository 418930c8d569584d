//! The work that messages ask for: from the receipt of a message to that of the next one, or to the last call.
//!
//! It is told as a CONSUMER span of its own trace, with links to the spans that sent the messages, if calls were made for
//! it. Who works on what, `parents` knows.

use foldhash::HashMap;

use super::identity::{self, Identity};
use super::messages::Messages;
use super::parents::Receiving;
use crate::connection::Stamp;
use crate::event::{ConnectionId, Endpoint, Opened};
use crate::pairing::ExchangeId;
use crate::protocol::{Keys, MessageKey, Source};
use crate::semconv::{self, Attributes, Value};
use crate::span::{Link, Span, SpanKind, Status};

/// `messaging.operation.type` of the OpenTelemetry conventions.
const PROCESS: &str = "process";
pub(super) const RECEIVE: &str = "receive";

/// Work that is under way. For one more, the one that rests longest ends.
const MAX_WORKS: usize = 16_384;
/// How long work may rest between two calls, where nobody tells that it is over.
const MAX_REST_NS: u64 = 10_000_000_000;
/// Age after which it is over in any case: no call is believed to belong to anything older.
const MAX_AGE_NS: u64 = 600_000_000_000;

/// A message that was received.
#[derive(Debug)]
pub(super) struct Receipt<'a> {
    pub(super) keys: &'a Keys,
    /// The queues that were asked.
    pub(super) source: &'a Source,
    pub(super) asked: Stamp,
    pub(super) read: Stamp,
    pub(super) protocol: &'static str,
    pub(super) links: Vec<Link>,
}

/// Work that is under way.
#[derive(Debug)]
struct Work {
    span: Span,
    receiving: Receiving,
    open_calls: u32,
    /// Messages whose producer was not known when they came.
    unknown: Vec<MessageKey>,
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

    /// Returns whether this is work that a message asked for.
    pub(super) fn contains(&self, id: ExchangeId) -> bool {
        self.open.contains_key(&id)
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
        let Receipt { keys, source, protocol, read, links, .. } = receipt;
        let unknown = if links.is_empty() { keys.as_slice().to_vec() } else { Vec::new() };
        let mut span = span(PROCESS, context, keys, protocol, &read, connection, opened);
        if let Some(queue) = source.name.clone() {
            if !super::route::is_identifier(&queue) {
                span.name = format!("{PROCESS} {queue}");
            }
            span.attributes.push((semconv::MESSAGING_DESTINATION_NAME, Value::from(queue)));
        }
        span.links = links;
        self.open.insert(id, Work { span, receiving, open_calls: 0, unknown });
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
            let may_rest = work.receiving == Receiving::Alone || work.open_calls > 0;
            let is_resting = now_ns.saturating_sub(work.span.ended_at_ns) > MAX_REST_NS;
            (is_resting && !may_rest) || now_ns.saturating_sub(work.span.started_at_ns) > MAX_AGE_NS
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
                work.span.links.push(link);
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
    operation: &'static str,
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
        name: operation.to_owned(),
        started_at_ns: read.at_ns,
        ended_at_ns: read.at_ns,
        attributes: attributes(operation, keys, protocol, &opened.peer),
        status: Status::Unset,
        links: Vec::new(),
        protocol,
        tgid: read.executor.tgid,
        tid: read.executor.tid,
        connection,
    }
}

fn attributes(operation: &'static str, keys: &Keys, protocol: &'static str, peer: &Endpoint) -> Attributes {
    let mut attributes = vec![
        (semconv::MESSAGING_SYSTEM, Value::from(protocol)),
        (semconv::MESSAGING_OPERATION_NAME, Value::from(operation)),
        (semconv::MESSAGING_OPERATION_TYPE, Value::from(operation)),
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
