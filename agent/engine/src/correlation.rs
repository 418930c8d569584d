//! Exchanges become spans: ids, parents and the evidence for them.
//!
//! Takes the beginnings and ends of exchanges, makes [`Span`]s. It knows executors, turns and places on the wire, and no
//! protocol. Its one hard problem is to name no parent rather than a wrong one: every rule below states what it proves.

mod connections;
mod content;
mod deliveries;
mod describe;
mod early;
mod hoping;
mod identity;
mod jobs;
mod late;
mod messages;
mod names;
mod parents;
mod route;
mod sizes;
mod works;

use std::net::SocketAddr;

use foldhash::HashMap;

use crate::connection::Stamp;
use crate::event::{Claim, Claimed, ConnectionId, Endpoint, Executor, Opened, Role, Scheduling};
use crate::pairing::{Exchange, ExchangeId, Started};
use crate::protocol::{Keys, Marks, MessageKey, Request, WireContext};
use crate::semconv::{self, Attributes, Value};
use crate::span::{Evidence, Link, Parent, Span, SpanId, SpanKind, TraceId};
use content::Content;
pub use content::ContentEvidence;
pub(crate) use deliveries::Brought;
use early::Early;
use hoping::Hoping;
use identity::{IdSource, Identity, WireKey};
use jobs::Jobs;
use late::{Answers, Late};
use messages::Messages;
use names::Names;
use parents::{Found, Parents};
use sizes::Sizes;
use works::Works;

/// How long a finished client call is remembered for a server side that is told late.
const MEMORY_NS: u64 = 2_000_000_000;
/// Client calls that are remembered. One more is not, and its server side may miss its parent.
const MAX_REMEMBERED: usize = 131_072;

/// Calls whose causes are noted before they are told; and for how long.
const MAX_FORESEEN: usize = 65_536;
const FORESIGHT_NS: u64 = 60_000_000_000;

/// W3C `sampled` and, as the ids are derived by hashing, `random`.
const ROOT_FLAGS: u8 = 0x03;

/// Who a span is, for those that refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Context {
    trace_id: TraceId,
    span_id: SpanId,
    flags: u8,
    state: String,
}

/// An exchange that has begun and not ended.
#[derive(Debug)]
struct Active {
    context: Context,
    parent: Option<Parent>,
    links: Vec<Link>,
    /// Messages that it has received before their producers were known.
    early: Vec<MessageKey>,
    wire: Option<WireContext>,
    keys: Vec<WireKey>,
    has_children: bool,
    /// The span that the other end has, if it is traced.
    caller: Option<SpanId>,
    /// The trace that begins with the exchange, if one does.
    own_trace: TraceId,
    /// Whether the request carries the context of that trace, which the agent wrote.
    is_written: bool,
    /// The other end of its request, where the socket has many.
    peer: Option<SocketAddr>,
}

impl Active {
    /// Returns what begins a trace and is no exchange.
    fn root(context: Context) -> Self {
        Self {
            own_trace: context.trace_id,
            context,
            parent: None,
            links: Vec::new(),
            early: Vec::new(),
            wire: None,
            keys: Vec::new(),
            has_children: false,
            caller: None,
            is_written: false,
            peer: None,
        }
    }
}

/// A client call, as the server's side looks it up.
#[derive(Debug)]
struct Call {
    context: Context,
    forget_at_ns: Option<u64>,
    /// Two calls that are open have the same key.
    is_ambiguous: bool,
}

impl Call {
    /// Returns whether it is the one that was found by this key. Datagrams are told apart by numbers that are used again
    /// before long: their call is open, and no other that is has the same.
    fn is_meant_by(&self, key: &WireKey) -> bool {
        !matches!(key, WireKey::Datagram { .. }) || (self.forget_at_ns.is_none() && !self.is_ambiguous)
    }
}

/// The cause of a call that has not been told yet.
#[derive(Clone, Debug)]
struct Foreseen {
    cause: Context,
    received: Option<WireContext>,
    evidence: Evidence,
}

/// What a call belongs to, as far as is known.
#[derive(Debug)]
enum Cause {
    Parent(Foreseen),
    /// With this confidence.
    Link(Foreseen, f64),
    Unknown,
}

/// What a request says that matters for what it causes, and for what caused it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    context: Option<WireContext>,
    /// The ids in it.
    marks: Marks,
    /// The messages that it hands over, and the contexts that they carry.
    sent: Keys,
    carried: Vec<WireContext>,
    /// The queues that it asks for messages.
    source: Option<u64>,
}

impl Asked {
    /// Returns what matters of a request, and takes its ids, which nothing else needs.
    pub(crate) fn of(request: &mut Request) -> Self {
        Self {
            context: request.context.clone(),
            marks: std::mem::take(&mut request.marks),
            sent: request.sent.clone(),
            carried: std::mem::take(&mut request.carried),
            source: request.source.as_ref().map(|source| source.hash),
        }
    }
}

/// Counts of what the rules decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Server sides whose client side came too late to be the parent.
    pub(crate) late_matches: u64,
    /// Calls that were not given a parent because the thread was serving several requests.
    pub(crate) ambiguous: u64,
    /// Hand-overs that were not remembered: there were too many.
    pub(crate) over_limit: u64,
    /// Calls of requests that had made too many, or had begun too long before.
    pub(crate) too_many_calls: u64,
    pub(crate) too_old: u64,
    /// Calls of traces that had grown too large.
    pub(crate) too_large: u64,
    /// Client calls that could not be remembered.
    pub(crate) not_remembered: u64,
    /// Calls that were given a parent, or a link, because of the ids in them.
    pub(crate) content_parents: u64,
    pub(crate) content_links: u64,
    /// Calls that were not, although there were ids.
    pub(crate) content: content::Tally,
    /// Messages that were told from others by nothing, because an exchange moved too many.
    pub(crate) messages_left_out: u64,
    /// Messages that were forgotten before they were received.
    pub(crate) messages_forgotten: u64,
    /// Receipts of messages whose producer was not known.
    pub(crate) messages_unknown: u64,
    /// Places of messages that were used twice, so that whose message is there is not known.
    pub(crate) messages_ambiguous: u64,
    /// Receipts that were linked to the producer.
    pub(crate) messages_linked: u64,
    /// Exchanges that are not told: polls that brought nothing, heartbeats and the like.
    pub(crate) idle_exchanges: u64,
    /// Work that messages asked for which was cut short because there was too much of it.
    pub(crate) works_evicted: u64,
    /// Jobs that were received and never seen to be worked on, or came under the id of one that still waited.
    pub(crate) jobs_forgotten: u64,
}

/// The state of all traces that pass through this host.
#[derive(Debug)]
pub(crate) struct Correlation {
    ids: IdSource,
    active: HashMap<ExchangeId, Active>,
    calls: HashMap<WireKey, Call>,
    parents: Parents,
    content: Content,
    /// Causes of calls that are told later than they were made, by where and when they were.
    foreseen: HashMap<(ConnectionId, u64), Foreseen>,
    /// Calls that have been answered, and whose causes show by whom that wakes.
    answers: Answers,
    /// Calls that have been answered, and whose causes show when these are.
    hoping: Hoping,
    names: Names,
    sizes: Sizes,
    messages: Messages,
    /// Consumers that wait for the names of their messages.
    early: Early,
    works: Works,
    jobs: Jobs,
    /// Spans of work that has ended.
    ended: Vec<Span>,
    tally: Tally,
    next_sweep_ns: u64,
}

impl Correlation {
    /// Returns the state before the first exchange.
    pub(crate) fn new(seed: u64, evidence: ContentEvidence) -> Self {
        Self {
            ids: IdSource::new(seed),
            active: HashMap::default(),
            calls: HashMap::default(),
            parents: Parents::default(),
            content: Content::new(evidence),
            foreseen: HashMap::default(),
            answers: Answers::default(),
            early: Early::default(),
            hoping: Hoping::default(),
            names: Names::default(),
            sizes: Sizes::default(),
            messages: Messages::default(),
            works: Works::default(),
            jobs: Jobs::default(),
            ended: Vec::new(),
            tally: Tally::default(),
            next_sweep_ns: 0,
        }
    }

    /// Returns what the rules decided so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        tally.ambiguous += self.parents.ambiguous() + self.answers.ambiguous() + self.hoping.unfulfilled();
        tally.over_limit += self.parents.over_limit();
        tally.too_many_calls += self.parents.too_many_calls();
        tally.too_old += self.parents.too_old();
        tally.too_large += self.sizes.too_large();
        tally.content = self.content.tally();
        tally.messages_forgotten += self.messages.forgotten();
        tally.messages_ambiguous += self.messages.ambiguous();
        tally.works_evicted += self.works.evicted();
        tally.jobs_forgotten += self.jobs.forgotten();
        tally
    }

    /// Returns how many exchanges are active.
    pub(crate) fn active_len(&self) -> usize {
        self.active.len()
    }

    /// Notes how a process schedules its requests.
    pub(crate) fn handle_process(&mut self, tgid: u32, scheduling: Scheduling) {
        self.parents.set_scheduling(tgid, scheduling);
    }

    /// Notes that a thread waits for events while the agent begins to look.
    pub(crate) fn handle_waiting(&mut self, tid: u32) {
        self.parents.note_waiting(tid);
    }

    /// Notes that a process runs on with the program of another.
    pub(crate) fn handle_fork(&mut self, parent: u32, child: u32) {
        self.parents.inherit_scheduling(parent, child);
    }

    /// Forgets a process that has ended, or runs another program.
    pub(crate) fn handle_process_exit(&mut self, tgid: u32) {
        self.end_works(self.works.of_process(tgid), None);
        self.parents.forget_process(tgid);
        self.jobs.forget_process(tgid);
    }

    /// Notes who opened a connection, and during what.
    pub(crate) fn handle_opened(&mut self, connection: ConnectionId, opened: &Opened) {
        match opened.role {
            Role::Connected => self.parents.note_connect(connection, &opened.peer, &opened.executor),
            Role::Accepted => self.parents.note_accept(connection, &opened.executor),
            Role::Unknown => {}
        }
    }

    /// Notes that a Python has made a context for a new task.
    pub(crate) fn handle_task(&mut self, maker: &Executor, context: u64, at_ns: u64) {
        self.parents.note_context(maker, context, at_ns);
    }

    /// Notes that a task's context ended.
    pub(crate) fn handle_task_end(&mut self, tgid: u32, context: u64) {
        self.parents.forget_context(tgid, context);
    }

    /// Notes that a thread was made.
    pub(crate) fn handle_thread(&mut self, maker: &Executor, tid: u32, at_ns: u64) {
        self.parents.note_thread(maker, tid, at_ns);
    }

    /// Notes that a thread ended.
    pub(crate) fn handle_thread_end(&mut self, tgid: u32, tid: u32, at_ns: u64) {
        self.parents.note_thread_end(tgid, tid, at_ns);
    }

    /// Notes that tasks or gifts may have been missed.
    pub(crate) fn handle_lost_handovers(&mut self) {
        self.parents.forget_handovers();
    }

    /// Notes that a unit of work was handed over.
    pub(crate) fn handle_gift(&mut self, giver: &Executor, token: u64, at_ns: u64) {
        self.parents.note_gift(giver, token, at_ns);
    }

    /// Notes that a process was forked by another to work for it.
    pub(crate) fn handle_worker(&mut self, worker: u32, master: u32) {
        self.jobs.note_worker(worker, master);
    }

    /// Notes that a unit of work asks for a message.
    pub(crate) fn handle_ask(&mut self, tgid: u32, token: u64, at_ns: u64) {
        self.parents.note_asking(tgid, token, at_ns);
    }

    /// Notes that a goroutine writes a stream's header, which was handed over under this number.
    pub(crate) fn handle_stream_written(&mut self, writer: &Executor, header: u64, number: u64) {
        self.parents.note_stream_written(writer, header, number);
    }

    /// Notes that a goroutine serves one of the streams that its maker has read.
    pub(crate) fn handle_stream_served(&mut self, executor: &Executor, number: u64) {
        self.parents.note_stream_served(executor, number);
    }

    /// Notes that a task has made another.
    pub(crate) fn handle_spawn(&mut self, maker: &Executor, task: u64, at_ns: u64) {
        self.parents.note_spawn(maker, task, at_ns);
    }

    /// Notes that a task has woken another.
    pub(crate) fn handle_wake(&mut self, waker: &Executor, task: u64, at_ns: u64) {
        let woken = self.parents.note_wake(waker, task, at_ns);
        if self.answers.is_awaited(waker) {
            let admitted = woken.filter(|&server| self.admits(server, at_ns));
            let cause = admitted.and_then(|server| Some((server, self.late_cause(server)?)));
            self.answers.wake(waker, cause);
        }
    }

    fn late_cause(&mut self, server: ExchangeId) -> Option<Foreseen> {
        let server = self.active.get_mut(&server)?;
        server.has_children = true;
        let (cause, received) = (server.context.clone(), server.wire.clone());
        Some(Foreseen { cause, received, evidence: Evidence::Task })
    }

    /// Notes that an executor has made another call: what it woke for the answers that it had read, it has woken.
    pub(crate) fn conclude(&mut self, executor: &Executor) {
        self.answers.conclude(executor);
        self.learn();
    }

    fn learn(&mut self) {
        for (connection, server) in self.answers.take_learned() {
            self.parents.note_late(connection, server);
        }
    }

    /// Returns a span that had to wait for its parent, or for those who sent what it received.
    pub(crate) fn poll_late(&mut self) -> Option<Span> {
        while let Some(late) = self.answers.pop().or_else(|| self.hoping.pop()) {
            let told = self.tell(late);
            if told.is_some() {
                return told;
            }
        }
        self.poll_early()
    }

    /// Returns a span that waits for no parent; none where it waits for those who sent what it received, or tells
    /// nothing.
    fn tell(&mut self, late: Late) -> Option<Span> {
        if late.early.is_empty() {
            return (!late.is_idle).then_some(late.span);
        }
        let received_at_ns = late.span.ended_at_ns;
        self.early.hold(late.span, late.early, received_at_ns);
        None
    }

    /// Notes for whom a connection is written to next.
    pub(crate) fn claim(&mut self, connection: ConnectionId, claim: &Claim, at_ns: u64) {
        match claim.what {
            Claimed::Next => self.parents.claim(connection, claim.executor),
            Claimed::From(from) => self.parents.claim_from(connection, from, &claim.executor, at_ns),
            Claimed::Stream(number) => {
                self.parents.claim_stream(connection, number, &claim.executor, at_ns);
            }
        }
    }

    /// Notes that a connection is written to.
    pub(crate) fn write(&mut self, connection: ConnectionId, stamp: &Stamp) {
        self.parents.write(connection, stamp.at_ns);
        self.parents.pushes.write(connection, &stamp.executor);
    }

    /// Notes that something is read on a connection, on which this exchange is the oldest that is open.
    pub(crate) fn note_reading(
        &mut self,
        connection: ConnectionId,
        open: Option<ExchangeId>,
        executor: &Executor,
    ) {
        self.parents.pushes.read(connection, open, executor);
    }

    /// Forgets a connection.
    pub(crate) fn handle_closed(&mut self, connection: ConnectionId, opened: &Opened) {
        self.forget_brought(connection);
        self.parents.forget_connection(connection, opened);
    }

    /// Notes what a call belongs to that may be made here, before it is known whether it is one. `position` is its place on
    /// the wire, if that is known.
    pub(crate) fn foresee(&mut self, connection: ConnectionId, position: Option<u32>, stamp: &Stamp) {
        if self.foreseen.len() >= MAX_FORESEEN {
            self.tally.not_remembered += 1;
            return;
        }
        let Some(found) = self.parents.foresee(connection, position, stamp) else { return };
        let Some(foreseen) = self.foresight(found.server, found.evidence) else { return };
        self.foreseen.insert((connection, stamp.at_ns), foreseen);
    }

    /// Notes that something is written on a connection which may be a call, and will be told later.
    pub(crate) fn note_written(&mut self, connection: ConnectionId, peer: &Endpoint, executor: &Executor) {
        self.parents.note_written(connection, peer, executor);
    }

    /// Notes who was seen at work.
    pub(crate) fn see(&mut self, stamp: &Stamp) {
        self.parents.see(stamp);
    }

    /// Notes that a connection is touched, while these exchanges are open on it, the oldest first.
    pub(crate) fn touch(&mut self, kind: SpanKind, open: Option<ExchangeId>, executor: &Executor) {
        let server = match kind {
            SpanKind::Client | SpanKind::Producer => open.and_then(|call| self.parents.parent_of(call)),
            SpanKind::Server | SpanKind::Consumer => open,
        };
        self.parents.touch(executor, server, matches!(kind, SpanKind::Client | SpanKind::Producer));
    }

    /// Notes that a connection is touched on which several exchanges are open: which of them it is for is told later, but
    /// for what is more of one that `is_streaming`.
    pub(crate) fn touch_any(&mut self, executor: &Executor, is_streaming: bool, only: Option<ExchangeId>) {
        self.parents.touch_any(executor, is_streaming, only);
    }

    /// Returns whether a thread goes on to read records of a connection.
    pub(crate) fn reads_on(&self, connection: ConnectionId, executor: &Executor) -> bool {
        self.parents.reads_on(connection, executor)
    }

    /// Notes that a thread has begun to read records of a connection.
    pub(crate) fn note_records(&mut self, connection: ConnectionId, executor: &Executor) {
        self.parents.note_records(connection, executor);
    }

    /// Notes that a thread opens a connection, or writes.
    pub(crate) fn act(&mut self, executor: &Executor) {
        self.parents.act(executor);
    }

    /// Notes that something has arrived that is not understood yet.
    pub(crate) fn disturb(&mut self, executor: &Executor) {
        self.parents.disturb(executor.tgid);
    }

    /// Notes that a connection will not be understood.
    pub(crate) fn handle_ignored(&mut self, connection: ConnectionId, opened: &Opened) {
        if opened.role == Role::Accepted {
            self.parents.note_blind(connection, opened.executor.tgid);
        }
    }

    /// Notes that a unit of work has read something of the only exchange that is open on a connection, if it is the only.
    pub(crate) fn read(&mut self, kind: SpanKind, only: Option<ExchangeId>, executor: &Executor) {
        let Some(only) = only else { return };
        let server = match kind {
            SpanKind::Client => self.parents.parent_of(only),
            _ => Some(only),
        };
        self.parents.note_read(executor, server);
    }

    /// Notes that something is written to a connection on which this request is being served.
    pub(crate) fn touch_by_answer(&mut self, open: Option<ExchangeId>, executor: &Executor) {
        self.parents.touch_by_answer(executor, open);
    }

    /// Notes that a connection is closed that was used, or meant to be used, for calls.
    pub(crate) fn handle_call_closed(
        &mut self,
        connection: ConnectionId,
        open: Option<ExchangeId>,
        executor: &Executor,
    ) {
        let opener = self.parents.opener(connection);
        let server = open.and_then(|call| self.parents.parent_of(call)).or(opener);
        self.parents.touch(executor, server, true);
    }

    /// Begins the span of an exchange.
    pub(crate) fn begin(
        &mut self,
        kind: SpanKind,
        started: &Started,
        asked: Asked,
        connection: ConnectionId,
        opened: &Opened,
    ) {
        let identity = Identity::of(kind, &started.place, opened, &mut self.ids);
        let keys = identity::wire_keys(kind, started, connection, opened);
        let Asked { context: wire, mut marks, sent, carried, source } = asked;
        if let Some(wire) = &wire {
            marks.add_context(wire);
        }
        let active = if kind == SpanKind::Client {
            self.ask(connection, &started.first, source);
            let cause = self.cause_of(started, &marks, connection, opened);
            if let Some(cause) = self.parents.parent_of(started.id) {
                self.works.call_began(cause);
            }
            let mut active = self.begin_client(cause, wire, identity, keys);
            active.links.extend(carried.iter().map(deliveries::carried_link));
            self.send(&sent, &active.context, started.first.at_ns);
            active
        } else {
            self.content.begin(started.id, started.first.executor.tgid, marks);
            self.begin_server(started, wire, connection, identity, keys)
        };
        self.active.insert(started.id, Active { peer: started.place.peer, ..active });
    }

    /// Returns what a call belongs to, and what it may belong to.
    fn cause_of(
        &mut self,
        started: &Started,
        marks: &Marks,
        connection: ConnectionId,
        opened: &Opened,
    ) -> Cause {
        let found = self.parents.of_call(started, connection, &opened.peer);
        let foreseen = self.foreseen.remove(&(connection, started.first.at_ns));
        let at_ns = started.first.at_ns;
        let admitted = found.filter(|found| self.admits(found.server, at_ns));
        if let Some(Found { server, evidence }) = admitted
            && let Some(cause) = self.foresight(server, evidence)
        {
            self.parents.adopt(started.id, server);
            return Cause::Parent(cause);
        }
        // By now its thread may work on a later request.
        if let Some(foreseen) = foreseen {
            return Cause::Parent(foreseen);
        }
        if found.is_some() {
            return Cause::Unknown;
        }
        let parents = &self.parents;
        let found =
            self.content.of_call(started.first.executor.tgid, marks, |server| parents.is_alone(server));
        let Some(found) = found.filter(|found| self.admits(found.server, at_ns)) else {
            return Cause::Unknown;
        };
        let cause = self.foresight(found.server, Evidence::Content);
        match (cause, found.confidence) {
            (Some(cause), None) => {
                self.tally.content_parents += 1;
                Cause::Parent(cause)
            }
            (Some(cause), Some(confidence)) => {
                self.tally.content_links += 1;
                Cause::Link(cause, confidence)
            }
            (None, _) => Cause::Unknown,
        }
    }

    /// Returns whether a request, and the trace that it is part of, can have one more call, which was made at this time.
    fn admits(&mut self, server: ExchangeId, at_ns: u64) -> bool {
        let trace = self.active.get(&server).map(|server| server.context.trace_id);
        self.parents.admits(server, at_ns) && trace.is_some_and(|trace| self.sizes.admits(trace, at_ns))
    }

    fn begin_client(
        &mut self,
        cause: Cause,
        wire: Option<WireContext>,
        identity: Identity,
        keys: Vec<WireKey>,
    ) -> Active {
        let (server, maybe) = match cause {
            Cause::Parent(server) => (Some(server), None),
            Cause::Link(server, confidence) => (None, Some((server, confidence))),
            Cause::Unknown => (None, None),
        };
        let mut links: Vec<_> = maybe
            .iter()
            .map(|(server, confidence)| inferred_link(&server.cause, server.evidence, *confidence))
            .collect();
        let (parent, mut context) = match (server, &wire) {
            (Some(server), wire) if is_of_same_trace(&server, wire.as_ref()) => {
                let parent =
                    Parent { span_id: server.cause.span_id, is_remote: false, evidence: server.evidence };
                (Some(parent), Context { span_id: identity.client_span, ..server.cause })
            }
            (server, Some(wire)) => {
                // The application speaks for itself. What we believe to be the cause stays as a link.
                links.extend(server.map(|server| inferred_link(&server.cause, server.evidence, 1.0)));
                continued(wire, identity.client_span)
            }
            (_, None) => (None, root(&identity, identity.client_span)),
        };
        if let Some(wire) = &wire {
            context.state.clone_from(&wire.state);
            context.flags = wire.flags;
        }
        for key in &keys {
            if self.calls.len() >= MAX_REMEMBERED {
                self.tally.not_remembered += 1;
                break;
            }
            let is_ambiguous = self.calls.get(key).is_some_and(|call| call.forget_at_ns.is_none());
            self.calls.insert(*key, Call { context: context.clone(), forget_at_ns: None, is_ambiguous });
        }
        Active {
            context,
            parent,
            links,
            early: Vec::new(),
            wire,
            keys,
            has_children: false,
            caller: None,
            own_trace: identity.trace,
            is_written: false,
            peer: None,
        }
    }

    /// Notes that the agent has written a context into the request. At that moment nobody knew what the request belongs
    /// to: it names the trace that would begin with it.
    pub(crate) fn written(&mut self, id: ExchangeId) {
        if let Some(active) = self.active.get_mut(&id) {
            active.is_written = true;
        }
    }

    /// Returns a request as the cause of something.
    fn foresight(&mut self, id: ExchangeId, evidence: Evidence) -> Option<Foreseen> {
        let server = self.active.get_mut(&id)?;
        server.has_children = true;
        Some(Foreseen { cause: server.context.clone(), received: server.wire.clone(), evidence })
    }

    fn begin_server(
        &mut self,
        started: &Started,
        wire: Option<WireContext>,
        connection: ConnectionId,
        identity: Identity,
        keys: Vec<WireKey>,
    ) -> Active {
        self.parents.begin_server(started, connection);
        let (parent, context) = match (self.caller(&keys), &wire) {
            (Some(caller), _) => {
                let parent =
                    Parent { span_id: caller.span_id, is_remote: false, evidence: Evidence::Position };
                (Some(parent), Context { span_id: identity.server_span, ..caller.clone() })
            }
            (None, Some(wire)) => continued(wire, identity.server_span),
            (None, None) => (None, root(&identity, identity.server_span)),
        };
        // Where no other side is on this host, it may be on another.
        let caller = started.place.is_absolute.then_some(identity.client_span);
        Active {
            context,
            parent,
            links: Vec::new(),
            early: Vec::new(),
            wire,
            keys,
            has_children: false,
            caller,
            own_trace: identity.trace,
            is_written: false,
            peer: None,
        }
    }

    fn caller(&self, keys: &[WireKey]) -> Option<&Context> {
        let call = |key| self.calls.get(key).filter(|call| call.is_meant_by(key));
        keys.iter().find_map(call).map(|call| &call.context)
    }

    /// Notes that a request has been sent whole: its reader goes on to work on it.
    pub(crate) fn sent(&mut self, kind: SpanKind, id: ExchangeId, stamp: &Stamp) {
        if kind == SpanKind::Server {
            self.parents.take_turn(id, &stamp.executor);
        }
    }

    /// Notes that the answer has begun.
    pub(crate) fn answering(&mut self, kind: SpanKind, id: ExchangeId, stamp: &Stamp) {
        match kind {
            SpanKind::Client | SpanKind::Producer => self.parents.answered(id, &stamp.executor),
            SpanKind::Server | SpanKind::Consumer => self.parents.answering(id, stamp),
        }
    }

    /// Forgets an exchange that will never be complete.
    pub(crate) fn abandon(
        &mut self,
        exchange: &Exchange,
        connection: ConnectionId,
        opened: &Opened,
        now_ns: u64,
    ) {
        let id = exchange.id;
        self.parents.note_abandoned(connection, &opened.peer, &exchange.request_first.executor);
        if let Some(cause) = self.parents.parent_of(id) {
            self.works.call_ended(cause, now_ns);
        }
        self.parents.note_ended(id, now_ns);
        self.parents.note_request_end(id, now_ns);
        self.parents.end(id);
        self.content.end(id);
        if let Some(active) = self.active.remove(&id) {
            self.release(&active, now_ns);
        }
        self.hoping.settle(id, None, &mut self.parents, &mut self.sizes);
    }

    /// Ends the span of an exchange. There is none where nothing came of what is repeated all the time.
    pub(crate) fn finish(
        &mut self,
        kind: SpanKind,
        exchange: Exchange,
        protocol: &'static str,
        connection: ConnectionId,
        opened: &Opened,
    ) -> Option<Span> {
        let mut active = self.active.remove(&exchange.id)?;
        let met = active.peer.filter(|_| opened.has_many_peers()).map(|peer| opened.with_peer(peer));
        let opened = met.as_ref().unwrap_or(opened);
        let is_late = self.parents.is_late(exchange.id) && active.parent.is_none();
        let reader = exchange.response_last.filter(|_| is_late).map(|last| last.executor);
        let cause = self.parents.parent_of(exchange.id);
        let hope = self.parents.hope_of(exchange.id).filter(|_| active.parent.is_none());
        let last = exchange.response_last.unwrap_or(exchange.request_last);
        self.parents.note_ended(exchange.id, last.at_ns);
        self.parents.note_request_end(exchange.id, last.at_ns);
        if kind != SpanKind::Client {
            self.match_late(&mut active);
            self.fulfil(exchange.id, &active);
        }
        self.parents.end(exchange.id);
        self.content.end(exchange.id);
        if let Some(cause) = cause {
            self.works.call_ended(cause, last.at_ns);
        }
        let is_idle = exchange.is_idle();
        self.tally.idle_exchanges += u64::from(is_idle);
        let mut moved = Attributes::new();
        if kind == SpanKind::Client {
            self.release(&active, last.at_ns);
            self.parents.pushes.answered(connection, last.at_ns);
            match &exchange.response_last {
                Some(last) => self.parents.note_free(connection, &opened.peer, &last.executor),
                None => {
                    let caller = &exchange.request_first.executor;
                    self.parents.note_abandoned(connection, &opened.peer, caller);
                }
            }
            moved = self.deliver(&exchange, &mut active, cause, protocol, connection, opened);
        }
        let mut span =
            describe::span(kind, exchange, protocol, connection, opened, &mut self.names, &active.context);
        span.parent = active.parent;
        span.links = active.links;
        span.attributes.extend(moved);
        let is_matched = span.parent.is_some_and(|parent| parent.evidence == Evidence::Position);
        if let Some(caller) = active.caller.filter(|_| !is_matched) {
            span.attributes.push((semconv::REMORA_PARENT_EXPECTED, Value::from(caller.to_string())));
        }
        if active.is_written {
            span.attributes.push((semconv::REMORA_TRACE_ALIAS, Value::from(active.own_trace.to_string())));
        }
        if let Some(parent) = span.parent {
            span.attributes.push((semconv::REMORA_PARENT_EVIDENCE, Value::from(parent.evidence.label())));
        }
        let late = Late { span, is_idle, own_trace: active.own_trace, early: active.early };
        match (reader, hope) {
            (Some(reader), _) => self.answers.read(&reader, late),
            (None, Some(hope)) => self.hoping.hold(hope, late),
            (None, None) => return self.tell(late),
        }
        None
    }

    /// Tells the calls that wait for a request to end: it is their cause where what was hoped has come true.
    fn fulfil(&mut self, id: ExchangeId, active: &Active) {
        if self.hoping.is_awaited(id) {
            let (cause, received) = (active.context.clone(), active.wire.clone());
            let cause = Foreseen { cause, received, evidence: Evidence::Task };
            self.hoping.settle(id, Some(&cause), &mut self.parents, &mut self.sizes);
        }
    }

    /// The caller may have been told after its server.
    fn match_late(&mut self, active: &mut Active) {
        if active.parent.is_some_and(|parent| parent.evidence == Evidence::Position) {
            return;
        }
        let Some(caller) = self.caller(&active.keys).cloned() else { return };
        let is_same_trace = caller.trace_id == active.context.trace_id;
        if is_same_trace || !active.has_children {
            active.context.trace_id = caller.trace_id;
            active.parent =
                Some(Parent { span_id: caller.span_id, is_remote: false, evidence: Evidence::Position });
        } else {
            self.tally.late_matches += 1;
            active.links.push(inferred_link(&caller, Evidence::Position, 1.0));
        }
    }

    /// A finished call is remembered a little longer.
    fn release(&mut self, active: &Active, now_ns: u64) {
        for key in &active.keys {
            if let Some(call) = self.calls.get_mut(key)
                && call.context.span_id == active.context.span_id
            {
                call.forget_at_ns = Some(now_ns.saturating_add(MEMORY_NS));
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn handle_timeout(&mut self, now_ns: u64) {
        self.answers.expire(now_ns);
        self.early.expire(now_ns);
        self.hoping.expire(now_ns);
        self.learn();
        if now_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now_ns.saturating_add(MEMORY_NS / 4);
        self.calls.retain(|_, call| call.forget_at_ns.is_none_or(|at_ns| at_ns > now_ns));
        self.foreseen.retain(|(_, at_ns), _| now_ns.saturating_sub(*at_ns) < FORESIGHT_NS);
        self.parents.sweep(now_ns);
        self.content.handle_timeout(now_ns);
        self.sizes.expire(now_ns);
        self.jobs.expire(now_ns);
        let overdue = self.works.overdue(now_ns);
        self.end_works(overdue, None);
    }
}

/// A call carries the context of the request it belongs to, or none at all; or that of a span of the application's
/// own, which then is the parent.
fn is_of_same_trace(server: &Foreseen, wire: Option<&WireContext>) -> bool {
    let Some(wire) = wire else { return true };
    let is_forwarded = server.received.as_ref().is_some_and(|received| received.span_id == wire.span_id);
    is_forwarded && server.cause.trace_id.0 == wire.trace_id
}

fn continued(wire: &WireContext, span_id: SpanId) -> (Option<Parent>, Context) {
    let parent = Parent { span_id: SpanId(wire.span_id), is_remote: true, evidence: Evidence::Wire };
    let context =
        Context { trace_id: TraceId(wire.trace_id), span_id, flags: wire.flags, state: wire.state.clone() };
    (Some(parent), context)
}

fn root(identity: &Identity, span_id: SpanId) -> Context {
    Context { trace_id: identity.trace, span_id, flags: ROOT_FLAGS, state: String::new() }
}

fn inferred_link(context: &Context, evidence: Evidence, confidence: f64) -> Link {
    let attributes = vec![
        (semconv::REMORA_LINK_REASON, Value::from("cause")),
        (semconv::REMORA_LINK_EVIDENCE, Value::from(evidence.label())),
        (semconv::REMORA_LINK_CONFIDENCE, Value::Double(confidence)),
    ];
    Link { trace_id: context.trace_id, span_id: context.span_id, attributes }
}
