//! Exchanges become spans: ids, parents and the evidence for them.
//!
//! Takes the beginnings and ends of exchanges, makes [`Span`]s. It knows executors, turns and places on the wire, and no
//! protocol. Its one hard problem is to name no parent rather than a wrong one: every rule below states what it proves.

mod describe;
mod identity;
mod late;
mod parents;
mod route;

use foldhash::HashMap;

use crate::connection::Stamp;
use crate::event::{ConnectionId, Executor, Opened, Role, Scheduling};
use crate::pairing::{Exchange, ExchangeId, Started};
use crate::protocol::WireContext;
use crate::semconv::{self, Value};
use crate::span::{Evidence, Link, Parent, Span, SpanId, SpanKind, TraceId};
use identity::{IdSource, Identity, WireKey};
use late::{Answers, Late};
use parents::{Found, Parents};
use route::Routes;

/// How long a finished client call is remembered for a server side that is told late.
const MEMORY_NS: u64 = 2_000_000_000;
/// Client calls that are remembered. One more is not, and its server side may miss its parent.
const MAX_REMEMBERED: usize = 131_072;

/// Calls whose causes are noted before they are told; and for how long.
const MAX_FORESEEN: usize = 65_536;
const FORESIGHT_NS: u64 = 60_000_000_000;

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
    wire: Option<WireContext>,
    keys: Vec<WireKey>,
    has_children: bool,
    /// The span that the other end has, if it is traced.
    caller: Option<SpanId>,
    /// The trace that begins with the exchange, if one does.
    own_trace: TraceId,
    /// Whether the request carries the context of that trace, which the agent wrote.
    is_written: bool,
}

/// A client call, as the server's side looks it up.
#[derive(Debug)]
struct Call {
    context: Context,
    forget_at_ns: Option<u64>,
}

/// The cause of a call that has not been told yet.
#[derive(Clone, Debug)]
struct Foreseen {
    cause: Context,
    received: Option<WireContext>,
    evidence: Evidence,
}

/// Counts of what the rules decided.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Server sides whose client side came too late to be the parent.
    pub(crate) late_matches: u64,
    /// Calls that were not given a parent because the thread was serving several requests.
    pub(crate) ambiguous: u64,
    /// Calls that were not given a parent because a request had too many or was too old.
    pub(crate) over_limit: u64,
    /// Client calls that could not be remembered.
    pub(crate) not_remembered: u64,
}

/// The state of all traces that pass through this host.
#[derive(Debug)]
pub(crate) struct Correlation {
    ids: IdSource,
    active: HashMap<ExchangeId, Active>,
    calls: HashMap<WireKey, Call>,
    parents: Parents,
    /// Causes of calls that are told later than they were made, by where and when they were.
    foreseen: HashMap<(ConnectionId, u64), Foreseen>,
    /// Calls that have been answered, and whose causes show by whom that wakes.
    answers: Answers,
    routes: Routes,
    tally: Tally,
    next_sweep_ns: u64,
}

impl Correlation {
    /// Returns the state before the first exchange.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            ids: IdSource::new(seed),
            active: HashMap::default(),
            calls: HashMap::default(),
            parents: Parents::default(),
            foreseen: HashMap::default(),
            answers: Answers::default(),
            routes: Routes::default(),
            tally: Tally::default(),
            next_sweep_ns: 0,
        }
    }

    /// Returns what the rules decided so far.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        tally.ambiguous += self.parents.ambiguous() + self.answers.ambiguous();
        tally.over_limit += self.parents.over_limit();
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

    /// Notes that a process runs on with the program of another.
    pub(crate) fn handle_fork(&mut self, parent: u32, child: u32) {
        self.parents.inherit_scheduling(parent, child);
    }

    /// Forgets a process that has ended, or runs another program.
    pub(crate) fn handle_process_exit(&mut self, tgid: u32) {
        self.parents.forget_process(tgid);
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

    /// Notes that a unit of work was handed over.
    pub(crate) fn handle_gift(&mut self, giver: &Executor, token: u64, at_ns: u64) {
        self.parents.note_gift(giver, token, at_ns);
    }

    /// Notes that a task has made another.
    pub(crate) fn handle_spawn(&mut self, maker: &Executor, task: u64, at_ns: u64) {
        self.parents.note_spawn(maker, task, at_ns);
    }

    /// Notes that a task has woken another.
    pub(crate) fn handle_wake(&mut self, waker: &Executor, task: u64, at_ns: u64) {
        let woken = self.parents.note_wake(waker, task, at_ns);
        if self.answers.is_awaited(waker) {
            let admitted = woken.filter(|&server| self.parents.admit(server, at_ns) == Some(true));
            let found = admitted.map(|server| Found { server, evidence: Evidence::Task });
            let cause = found.and_then(|found| Some((found.server, self.cause(found)?)));
            self.answers.wake(waker, cause);
        }
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

    /// Returns a span that had to wait for its parent.
    pub(crate) fn poll_late(&mut self) -> Option<Span> {
        self.answers.pop()
    }

    /// Notes for whom a connection is written to next.
    pub(crate) fn claim(&mut self, connection: ConnectionId, executor: Executor) {
        self.parents.claim(connection, executor);
    }

    /// Forgets a connection.
    pub(crate) fn handle_closed(&mut self, connection: ConnectionId, opened: &Opened) {
        self.parents.forget_connection(connection, opened);
    }

    /// Notes what a call belongs to that may be made here, before it is known whether it is one.
    pub(crate) fn foresee(&mut self, connection: ConnectionId, stamp: &Stamp) {
        if self.foreseen.len() >= MAX_FORESEEN {
            self.tally.not_remembered += 1;
            return;
        }
        let Some(found) = self.parents.foresee(connection, stamp) else { return };
        let Some(server) = self.active.get_mut(&found.server) else { return };
        server.has_children = true;
        let foreseen = Foreseen {
            cause: server.context.clone(),
            received: server.wire.clone(),
            evidence: found.evidence,
        };
        self.foreseen.insert((connection, stamp.at_ns), foreseen);
    }

    /// Notes that a connection is touched, while these exchanges are open on it, the oldest first.
    pub(crate) fn touch(&mut self, kind: SpanKind, open: Option<ExchangeId>, executor: &Executor) {
        let server = match kind {
            SpanKind::Server => open,
            SpanKind::Client => open.and_then(|call| self.parents.parent_of(call)),
        };
        self.parents.touch(executor, server);
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
        self.parents.touch(executor, server);
    }

    /// Begins the span of an exchange.
    pub(crate) fn begin(
        &mut self,
        kind: SpanKind,
        started: &Started,
        wire: Option<WireContext>,
        connection: ConnectionId,
        opened: &Opened,
    ) {
        let identity = Identity::of(kind, &started.place, opened, &mut self.ids);
        let keys = identity::wire_keys(kind, &started.place, connection, opened);
        let active = match kind {
            SpanKind::Client => self.begin_client(started, wire, connection, opened, identity, keys),
            SpanKind::Server => self.begin_server(started, wire, connection, identity, keys),
        };
        self.active.insert(started.id, active);
    }

    fn begin_client(
        &mut self,
        started: &Started,
        wire: Option<WireContext>,
        connection: ConnectionId,
        opened: &Opened,
        identity: Identity,
        keys: Vec<WireKey>,
    ) -> Active {
        let found = self.parents.of_call(started, connection, &opened.peer);
        let foreseen = self.foreseen.remove(&(connection, started.first.at_ns));
        let server = match found {
            Some(found) => self.cause(found),
            None => foreseen,
        };
        let mut links = Vec::new();
        let (parent, mut context) = match (server, &wire) {
            (Some(server), wire) if is_of_same_trace(&server, wire.as_ref()) => {
                let parent =
                    Parent { span_id: server.cause.span_id, is_remote: false, evidence: server.evidence };
                (Some(parent), Context { span_id: identity.client_span, ..server.cause })
            }
            (server, Some(wire)) => {
                // The application speaks for itself. What we believe to be the cause stays as a link.
                links.extend(server.map(|server| inferred_link(&server.cause, server.evidence)));
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
            self.calls.insert(*key, Call { context: context.clone(), forget_at_ns: None });
        }
        Active {
            context,
            parent,
            links,
            wire,
            keys,
            has_children: false,
            caller: None,
            own_trace: identity.trace,
            is_written: false,
        }
    }

    /// Notes that the agent has written a context into the request. At that moment nobody knew what the request belongs
    /// to: it names the trace that would begin with it.
    pub(crate) fn written(&mut self, id: ExchangeId) {
        if let Some(active) = self.active.get_mut(&id) {
            active.is_written = true;
        }
    }

    fn cause(&mut self, found: Found) -> Option<Foreseen> {
        let server = self.active.get_mut(&found.server)?;
        server.has_children = true;
        Some(Foreseen {
            cause: server.context.clone(),
            received: server.wire.clone(),
            evidence: found.evidence,
        })
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
            wire,
            keys,
            has_children: false,
            caller,
            own_trace: identity.trace,
            is_written: false,
        }
    }

    fn caller(&self, keys: &[WireKey]) -> Option<&Context> {
        keys.iter().find_map(|key| self.calls.get(key)).map(|call| &call.context)
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
            SpanKind::Server => self.parents.answering(id, &stamp.executor),
            SpanKind::Client => self.parents.answered(id, &stamp.executor),
        }
    }

    /// Forgets an exchange that will never be complete.
    pub(crate) fn abandon(&mut self, id: ExchangeId, now_ns: u64) {
        self.parents.end(id, now_ns);
        if let Some(active) = self.active.remove(&id) {
            self.release(&active, now_ns);
        }
    }

    /// Ends the span of an exchange.
    pub(crate) fn finish(
        &mut self,
        kind: SpanKind,
        exchange: Exchange,
        protocol: &'static str,
        connection: ConnectionId,
        opened: &Opened,
    ) -> Option<Span> {
        let mut active = self.active.remove(&exchange.id)?;
        let is_late = self.parents.is_late(exchange.id) && active.parent.is_none();
        let reader = exchange.response_last.filter(|_| is_late).map(|last| last.executor);
        let ended_at_ns = exchange.response_last.unwrap_or(exchange.request_last).at_ns;
        self.parents.end(exchange.id, ended_at_ns);
        match kind {
            SpanKind::Client => {
                self.release(&active, ended_at_ns);
                if let Some(last) = &exchange.response_last {
                    self.parents.note_free(connection, &opened.peer, &last.executor);
                }
            }
            SpanKind::Server => self.match_late(&mut active),
        }
        let mut span =
            describe::span(kind, exchange, protocol, connection, opened, &mut self.routes, &active.context);
        span.parent = active.parent;
        span.links = active.links;
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
        if let Some(reader) = reader {
            self.answers.read(&reader, Late { span, own_trace: active.own_trace });
            return None;
        }
        Some(span)
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
            active.links.push(inferred_link(&caller, Evidence::Position));
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
        self.learn();
        if now_ns < self.next_sweep_ns {
            return;
        }
        self.next_sweep_ns = now_ns.saturating_add(MEMORY_NS / 4);
        self.calls.retain(|_, call| call.forget_at_ns.is_none_or(|at_ns| at_ns > now_ns));
        self.foreseen.retain(|(_, at_ns), _| now_ns.saturating_sub(*at_ns) < FORESIGHT_NS);
        self.parents.sweep();
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
    /// W3C `sampled` and, as the ids are derived by hashing, `random`.
    const FLAGS: u8 = 0x03;
    Context { trace_id: identity.trace, span_id, flags: FLAGS, state: String::new() }
}

fn inferred_link(context: &Context, evidence: Evidence) -> Link {
    Link {
        trace_id: context.trace_id,
        span_id: context.span_id,
        attributes: vec![(semconv::REMORA_LINK_EVIDENCE, Value::from(evidence.label()))],
    }
}
