//! Calls whose cause shows when they are answered.
//!
//! A task that sends the calls of many others over one connection reads their answers in order, and wakes who asked, one by
//! one, before it makes another system call. So the spans of what it has read wait for whom it wakes: as many as there
//! were answers, or always the same.

use foldhash::HashMap;

use super::Foreseen;
use crate::event::{ConnectionId, Executor};
use crate::pairing::ExchangeId;
use crate::protocol::MessageKey;
use crate::semconv::{self, Value};
use crate::span::{Parent, Span, TraceId};

/// How long a task takes from its reading of answers to its last waking, at most.
const MAX_WAIT_NS: u64 = 50_000_000;
/// Spans that wait. One more does not, and has no parent.
const MAX_SPANS: usize = 4096;
/// Tasks that are woken after one reading. One more makes the reading ambiguous.
const MAX_WOKEN: usize = 1024;

/// A span without a parent, and the trace that begins with it.
#[derive(Debug, PartialEq)]
pub(super) struct Late {
    pub(super) span: Span,
    /// The span is not told: it only takes part in who woke whom.
    pub(super) is_idle: bool,
    pub(super) own_trace: TraceId,
    /// Messages that it has received, and whose producers are awaited after its parent.
    pub(super) early: Vec<MessageKey>,
}

/// The request that a woken task works for.
type Woken = (ExchangeId, Foreseen);

/// Answers that a task has read at once, and for whom the tasks work that it woke since.
#[derive(Debug)]
struct Reading {
    spans: Vec<Late>,
    woken: Vec<Option<Woken>>,
    read_at_ns: u64,
}

/// The readings of all tasks, by process and task.
#[derive(Debug, Default)]
pub(super) struct Answers {
    readings: HashMap<(u32, u64), Reading>,
    spans: usize,
    done: Vec<Late>,
    /// For whom the last call was, by connection.
    learned: Vec<(ConnectionId, ExchangeId)>,
    ambiguous: u64,
}

impl Answers {
    /// Returns how many spans have no parent because it did not show whom they were for.
    pub(super) fn ambiguous(&self) -> u64 {
        self.ambiguous
    }

    /// Returns a span that waits no longer.
    pub(super) fn pop(&mut self) -> Option<Late> {
        self.done.pop()
    }

    /// Returns what the answers have shown since, in order.
    pub(super) fn take_learned(&mut self) -> Vec<(ConnectionId, ExchangeId)> {
        std::mem::take(&mut self.learned)
    }

    /// Lets a span wait for whom its reader wakes.
    pub(super) fn read(&mut self, reader: &Executor, late: Late) {
        let Some(task) = reader.token.filter(|_| self.spans < MAX_SPANS) else {
            self.ambiguous += 1;
            self.done.push(late);
            return;
        };
        self.spans += 1;
        let first = Reading { spans: Vec::new(), woken: Vec::new(), read_at_ns: late.span.ended_at_ns };
        self.readings.entry((reader.tgid, task)).or_insert(first).spans.push(late);
    }

    /// Returns whether spans wait for whom this task wakes.
    pub(super) fn is_awaited(&self, waker: &Executor) -> bool {
        waker.token.is_some_and(|task| self.readings.contains_key(&(waker.tgid, task)))
    }

    /// A task wakes another, which works for this request or for none.
    pub(super) fn wake(&mut self, waker: &Executor, cause: Option<Woken>) {
        let Some(task) = waker.token else { return };
        if let Some(reading) = self.readings.get_mut(&(waker.tgid, task))
            && reading.woken.len() <= MAX_WOKEN
        {
            reading.woken.push(cause);
        }
    }

    /// A task goes on to something else: it has woken whom it had to.
    pub(super) fn conclude(&mut self, executor: &Executor) {
        let Some(task) = executor.token else { return };
        if let Some(reading) = self.readings.remove(&(executor.tgid, task)) {
            self.tell(reading);
        }
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now_ns: u64) {
        if self.readings.is_empty() {
            return;
        }
        let is_over =
            |_: &(u32, u64), reading: &mut Reading| now_ns.saturating_sub(reading.read_at_ns) > MAX_WAIT_NS;
        let mut over: Vec<_> = self.readings.extract_if(is_over).map(|(_, reading)| reading).collect();
        over.sort_unstable_by_key(|reading| reading.read_at_ns);
        over.into_iter().for_each(|reading| self.tell(reading));
    }

    fn tell(&mut self, reading: Reading) {
        let Reading { spans, mut woken, .. } = reading;
        self.spans -= spans.len();
        if woken.len() != spans.len() {
            woken = shared(woken, spans.len());
        }
        let causes = woken.into_iter().chain(std::iter::repeat_with(|| None));
        for (mut late, cause) in spans.into_iter().zip(causes) {
            match cause {
                Some((server, cause)) => {
                    self.learned.push((late.span.connection, server));
                    belong(&mut late.span, late.own_trace, cause);
                }
                None => self.ambiguous += 1,
            }
            self.done.push(late);
        }
    }
}

/// Returns the request that all the woken work for, once for each of `count` answers; nothing where they differ, or are
/// fewer than the answers: somebody did not wait for his.
fn shared(woken: Vec<Option<Woken>>, count: usize) -> Vec<Option<Woken>> {
    let is_enough = woken.len() >= count;
    let mut causes = woken.into_iter();
    let Some(Some(first)) = causes.next().filter(|_| is_enough) else { return Vec::new() };
    if causes.any(|other| other.is_none_or(|(server, _)| server != first.0)) {
        return Vec::new();
    }
    vec![Some(first); count]
}

/// Makes a span part of the trace of its cause. What was told of it meanwhile is in the trace that began with it.
pub(super) fn belong(span: &mut Span, own_trace: TraceId, cause: Foreseen) {
    let Foreseen { cause, evidence, .. } = cause;
    span.trace_id = cause.trace_id;
    span.flags = cause.flags;
    span.trace_state = cause.state;
    span.parent = Some(Parent { span_id: cause.span_id, is_remote: false, evidence });
    span.attributes.push((semconv::REMORA_PARENT_EVIDENCE, Value::from(evidence.label())));
    let is_told = span.attributes.iter().any(|(key, _)| *key == semconv::REMORA_TRACE_ALIAS);
    if !is_told {
        span.attributes.push((semconv::REMORA_TRACE_ALIAS, Value::from(own_trace.to_string())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlation::messages::Producer;
    use crate::correlation::{ContentEvidence, Context, Correlation};
    use crate::span::{Evidence, SpanId, SpanKind, Status};

    const READER: Executor = Executor { tgid: 1, tid: 2, task: None, token: Some(3), turn: 0 };

    fn late(id: u8) -> Late {
        let span = Span {
            trace_id: TraceId([id; 16]),
            span_id: SpanId([id; 8]),
            parent: None,
            trace_state: String::new(),
            flags: 0,
            kind: SpanKind::Client,
            name: String::new(),
            started_at_ns: 0,
            ended_at_ns: 10,
            attributes: Vec::new(),
            status: Status::Unset,
            links: Vec::new(),
            protocol: "redis",
            tgid: 1,
            tid: 2,
            connection: ConnectionId { sock: 1, inode: 1 },
        };
        Late { span, is_idle: false, own_trace: TraceId([id; 16]), early: Vec::new() }
    }

    fn woken(id: u8) -> Woken {
        let span_id = SpanId([100 + id; 8]);
        let cause = Context { trace_id: TraceId([100 + id; 16]), span_id, flags: 3, state: String::new() };
        (ExchangeId(id.into()), Foreseen { cause, received: None, evidence: Evidence::Task })
    }

    /// Reads as many answers as `spans`, wakes for these requests, and returns the parents by span.
    fn parents(spans: u8, wakes: &[Option<u8>]) -> Vec<Option<u8>> {
        let mut answers = Answers::default();
        (0..spans).for_each(|id| answers.read(&READER, late(id)));
        assert!(answers.is_awaited(&READER));
        wakes.iter().for_each(|id| answers.wake(&READER, id.map(woken)));
        answers.conclude(&READER);
        assert!(!answers.is_awaited(&READER));
        let mut done: Vec<_> = std::iter::from_fn(|| answers.pop()).map(|late| late.span).collect();
        done.sort_by_key(|span| span.span_id);
        let of = |span: &Span| span.parent.map(|parent| parent.span_id.0[0] - 100);
        assert_eq!(answers.ambiguous(), done.iter().filter(|span| span.parent.is_none()).count() as u64);
        done.iter().map(of).collect()
    }

    #[test]
    fn answers_are_for_whom_their_reader_wakes_in_order() {
        assert_eq!(parents(3, &[Some(5), Some(6), Some(7)]), [Some(5), Some(6), Some(7)]);
        assert_eq!(parents(2, &[Some(5), None]), [Some(5), None]);
        assert_eq!(parents(2, &[Some(5), Some(5), Some(5)]), [Some(5), Some(5)], "several wakings each");
    }

    #[test]
    fn answers_for_who_no_longer_waits_make_all_ambiguous() {
        assert_eq!(parents(2, &[Some(5)]), [None, None]);
        assert_eq!(parents(2, &[Some(5), Some(6), Some(7)]), [None, None]);
        assert_eq!(parents(1, &[]), [None]);
    }

    #[test]
    fn a_span_that_was_late_says_which_trace_began_with_it() {
        let mut answers = Answers::default();
        answers.read(&READER, late(1));
        answers.wake(&READER, Some(woken(5)));
        answers.expire(10 + MAX_WAIT_NS);
        assert_eq!(answers.pop(), None);
        answers.expire(11 + MAX_WAIT_NS);
        let span = answers.pop().unwrap().span;
        assert_eq!(span.trace_id, TraceId([105; 16]));
        let alias = (semconv::REMORA_TRACE_ALIAS, Value::from(TraceId([1; 16]).to_string()));
        assert!(span.attributes.contains(&alias));
        assert_eq!(answers.take_learned(), [(span.connection, ExchangeId(5))]);
    }

    #[test]
    fn a_late_span_waits_for_who_sent_its_messages_too() {
        let mut correlation = Correlation::new(1, ContentEvidence::Off);
        let [known, unknown] = [b"1", b"2"].map(|id| MessageKey::of_place("gcp_pubsub", &[b"shop", id]));
        for (id, key) in [(1, known), (2, unknown)] {
            correlation.answers.read(&READER, Late { early: vec![key], ..late(id) });
        }
        correlation.answers.wake(&READER, Some(woken(5)));
        correlation.answers.wake(&READER, None);
        correlation.conclude(&READER);
        assert_eq!(correlation.poll_late(), None);
        let producer = Producer { trace_id: TraceId([7; 16]), span_id: SpanId([7; 8]) };
        correlation.messages.send(known, producer, 5);
        correlation.handle_timeout(1_000_000_000);
        let mut told: Vec<_> = std::iter::from_fn(|| correlation.poll_late()).collect();
        told.sort_by_key(|span| span.span_id);
        let seen: Vec<_> = told.iter().map(|span| (span.parent.is_some(), span.links.len())).collect();
        assert_eq!(seen, [(true, 1), (false, 0)]);
        let tally = correlation.tally();
        assert_eq!((tally.messages_linked, tally.messages_unknown, tally.ambiguous), (1, 1, 1));
    }

    #[test]
    fn nothing_waits_after_the_end_of_time_has_come_twice() {
        let mut correlation = Correlation::new(1, ContentEvidence::Off);
        let key = MessageKey::of_place("gcp_pubsub", &[b"shop", b"1"]);
        correlation.answers.read(&READER, Late { early: vec![key], ..late(1) });
        for is_told in [false, true] {
            correlation.handle_timeout(u64::MAX);
            assert_eq!(correlation.poll_late().is_some(), is_told);
        }
    }

    #[test]
    fn what_is_not_told_only_takes_part() {
        let mut correlation = Correlation::new(1, ContentEvidence::Off);
        correlation.answers.read(&READER, Late { is_idle: true, ..late(1) });
        correlation.answers.read(&READER, late(2));
        for id in [5, 6] {
            correlation.answers.wake(&READER, Some(woken(id)));
        }
        correlation.conclude(&READER);
        let parent = correlation.poll_late().and_then(|span| span.parent);
        assert_eq!(parent.map(|parent| parent.span_id), Some(SpanId([106; 8])));
        assert_eq!(correlation.poll_late(), None);
    }

    #[test]
    fn spans_that_wait_are_bounded() {
        let mut answers = Answers::default();
        (0..=MAX_SPANS).for_each(|_| answers.read(&READER, late(1)));
        assert!(answers.pop().is_some());
        assert_eq!((answers.pop(), answers.ambiguous()), (None, 1));
    }
}
