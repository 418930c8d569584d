//! The threads of the agent and what flows between them.
//!
//! ```text
//!            ring                 notices (bounded)
//! kernel ───────────▶ capture thread ───────────▶ discovery thread
//!    ▲    every 10 ms     │  │  ▲                      │
//!    └─── maps ───────────┘  │  └──── verdicts ────────┘ (bounded)
//!                            │ observations, put in order of time
//!                            ▼
//!                   engine → enrich → sink (never waits)
//! ```
//!
//! The capture thread owns the engine: no lock, no queue between an event and its span. Everything that leaves the
//! thread goes through a bounded channel whose refusals are counted. The discovery thread attaches probes, before it
//! tells the verdicts that rely on them: the kernel takes its time for that, and the ring is read meanwhile.

mod attached;
mod handovers;
mod order;
mod parts;
mod questions;
mod roster;
mod runtime;
mod unnamed;
mod unseen;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use remora_engine::Engine;
use remora_engine::event::{Event, EventKind, Executor};
use remora_engine::span::Span;

use crate::attach::Platforms;
use crate::capture::{
    self, Capture, CaptureSettings, DatagramPorts, Handover, Observation, ProcessMode, StreamEvent,
    WriteSettings,
};
use crate::discover::{Discovery, Notice, Processes, Selection, Verdict};
use crate::enrich::{ClockAnchor, Enricher, ResourceSpan};
use crate::health::{Counter, Ledger, Question, Questions, Readiness, Sample};
use crate::kubernetes::Cluster;
use crate::propagate::{self, Mechanisms, Servers};
use attached::Attached;
use handovers::LostHandovers;
use order::Order;
use parts::Parts;
use roster::Roster;
use unnamed::Unnamed;
use unseen::Coverage;

/// Notices and verdicts under way. One more is refused; the process is looked at when it is next seen.
const CHANNEL_LENGTH: usize = 16_384;
/// Pause between two looks at the ring.
const PAUSE: Duration = Duration::from_millis(10);
/// Records that are read before the engine gets to work on them.
const DRAIN_LIMIT: usize = 16_384;
/// How often counters are published.
const PUBLISH_NS: u64 = 1_000_000_000;

/// What the pipeline needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes copied of each system call at most, unless the engine wishes otherwise.
    pub capture_bytes: u32,
    /// Ports of which datagrams are captured.
    pub datagram_ports: DatagramPorts,
    /// Whether TLS libraries are probed.
    pub tls: bool,
    /// For the engine.
    pub engine: remora_engine::Settings,
    /// Which processes are observed.
    pub selection: Selection,
    /// A program that will be started once the pipeline is ready.
    pub expected: Option<PathBuf>,
    /// Which processes get a part.
    pub attach: Platforms,
    /// What was proven harmless of writing contexts into requests, and where it is done.
    pub writes: Writes,
}

/// Who writes contexts into requests.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// In which manners.
    pub mechanisms: Mechanisms,
    /// The cgroups whose selected processes do.
    pub cgroups: Vec<PathBuf>,
}

/// What the pipeline shares with the rest of the agent.
#[derive(Clone, Debug)]
pub struct Shared {
    /// All processes, written by discovery.
    pub processes: Processes,
    /// All counters.
    pub ledger: Ledger,
    /// `capture` holds while the programs are attached.
    pub readiness: Readiness,
    /// What is asked about processes.
    pub questions: Questions,
    /// What the API server of a cluster tells, where it is followed.
    pub cluster: Option<Cluster>,
}

/// Observes the host until `stop` is set, handing every span to `sink`, which must not wait.
///
/// # Errors
///
/// Fails where the programs cannot be loaded or attached. Nothing stays attached when it returns.
pub fn run(
    settings: Settings,
    shared: &Shared,
    stop: &AtomicBool,
    sink: impl FnMut(ResourceSpan),
) -> Result<(), capture::Error> {
    allow_descriptors();
    let mut capture = load(&settings)?;
    capture.set_process(std::process::id(), ProcessMode::Ignore);
    let (notices, notices_rx) = sync_channel(CHANNEL_LENGTH);
    let (verdicts_tx, verdicts) = sync_channel(CHANNEL_LENGTH);
    let discovery = Discovery::new(settings.selection.clone(), shared.processes.clone(), &shared.ledger)
        .looking_into_tls(settings.tls)
        .following_messages(settings.attach.reaches_workers())
        .expecting(settings.expected.clone())
        .following(shared.cluster.clone())
        .attaching(Attached::new(capture.prober(), &shared.ledger));
    shared.readiness.fails("capture", "the processes of this host are being looked at");
    capture.attach()?;
    for cgroup in &settings.writes.cgroups {
        capture.write_in(cgroup)?;
    }
    thread::scope(|scope| {
        scope.spawn(move || discovery.run(notices_rx, verdicts_tx));
        Pipeline {
            capture,
            order: Order::default(),
            roster: Roster::new(settings.selection.observes_unknown()),
            engine: Engine::new(remora_engine::Settings {
                max_capture_bytes: capture::MAX_CAPTURE_BYTES,
                is_tls_off: !settings.tls,
                ..settings.engine
            }),
            enricher: Enricher::new(shared.processes.clone(), ClockAnchor::measure(), &shared.ledger)
                .with_cluster(shared.cluster.clone(), &shared.ledger),
            notices_refused: shared.ledger.loss("capture", "notice_queue_full"),
            unselected: shared.ledger.counter("remora_agent_spans_unselected_total"),
            undecided: shared.ledger.loss("discover", "span_of_undecided_process"),
            parts: Parts::start(&settings.attach, &shared.ledger),
            unnamed: Unnamed::default(),
            servers: Servers::default(),
            processes: shared.processes.clone(),
            coverage: Coverage::default(),
            is_ready: false,
            lost_handovers: LostHandovers::default(),
            questions: shared.questions.take(),
            looks_into_tls: settings.tls,
            notices,
            verdicts,
            sink,
            next_publish_ns: 0,
        }
        .run(stop, shared);
    });
    shared.readiness.fails("capture", "the programs are detached");
    Ok(())
}

struct Pipeline<S> {
    capture: Capture,
    order: Order,
    roster: Roster,
    engine: Engine,
    enricher: Enricher,
    notices: SyncSender<Notice>,
    verdicts: Receiver<Verdict>,
    notices_refused: Counter,
    unselected: Counter,
    undecided: Counter,
    parts: Parts,
    /// Spans of processes that discovery has not looked at yet.
    unnamed: Unnamed,
    /// Servers towards which contexts may be written.
    servers: Servers,
    processes: Processes,
    /// What is known of TLS that is not seen.
    coverage: Coverage,
    is_ready: bool,
    lost_handovers: LostHandovers,
    questions: Receiver<Question>,
    looks_into_tls: bool,
    sink: S,
    next_publish_ns: u64,
}

impl<S: FnMut(ResourceSpan)> Pipeline<S> {
    fn run(mut self, stop: &AtomicBool, shared: &Shared) {
        let ledger = &shared.ledger;
        while !stop.load(Ordering::Relaxed) {
            let records = self.turn(now_ns());
            self.answer();
            self.note_readiness(&shared.readiness);
            if now_ns() >= self.next_publish_ns {
                self.next_publish_ns = now_ns() + PUBLISH_NS;
                self.publish(ledger);
            }
            if records < DRAIN_LIMIT {
                self.pause();
            }
        }
        self.parts.leave();
        while !self.parts.have_left() {
            self.turn(now_ns());
            thread::sleep(PAUSE);
        }
        self.turn(now_ns());
        self.finish();
        self.publish(ledger);
    }

    /// The agent is ready when every process that was there before it is known and judged.
    fn note_readiness(&mut self, readiness: &Readiness) {
        if !self.is_ready && self.processes.is_complete() {
            // The verdicts were sent before; this round may have begun before that.
            self.take_verdicts();
            self.is_ready = true;
            readiness.holds("capture");
        }
    }

    /// One round: what the kernel told, what discovery judged, what became of it.
    fn turn(&mut self, now_ns: u64) -> usize {
        if let Some(at_ns) = self.lost_handovers.look(self.capture.lost_handovers(), now_ns) {
            self.order.push(Observation::HandoversLost { at_ns });
        }
        let (order, roster, engine) = (&mut self.order, &mut self.roster, &mut self.engine);
        let parts = &mut self.parts;
        let notices = &self.notices;
        let refused = &self.notices_refused;
        let records = self.capture.drain(DRAIN_LIMIT, |observation| {
            // At once: what discovery finds out comes later, and must not be undone.
            match &observation {
                Observation::Fork { parent, child } => engine.handle_fork(*parent, *child),
                Observation::Exec { tgid, .. } => {
                    engine.handle_exec(*tgid);
                    parts.forget(*tgid);
                }
                Observation::Exit { tgid, .. } => parts.forget(*tgid),
                _ => {}
            }
            if let Some(notice) = notice(&observation, roster)
                && let Err(TrySendError::Full(notice) | TrySendError::Disconnected(notice)) =
                    notices.try_send(notice)
            {
                refused.add(1);
                roster.untell(notice.tgid());
            }
            order.push(observation);
        });
        self.take_verdicts();
        self.take_parts();
        let settled_ns = self.order.settled_ns(now_ns);
        while let Some(observation) = self.order.pop(settled_ns) {
            self.observe(observation);
        }
        self.engine.handle_timeout(settled_ns);
        self.collect();
        records
    }

    /// Waits for the ring to fill, or for a verdict: a program that has just begun may connect within 10 ms, and counts
    /// for nothing before.
    fn pause(&mut self) {
        match self.verdicts.recv_timeout(PAUSE) {
            Ok(verdict) => self.apply(verdict),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(PAUSE),
        }
    }

    fn take_verdicts(&mut self) {
        while let Ok(verdict) = self.verdicts.try_recv() {
            self.apply(verdict);
        }
    }

    /// A process got a part, or lost it.
    fn take_parts(&mut self) {
        while let Some((tgid, how)) = self.parts.poll() {
            self.capture.set_process(tgid, how.mode());
            self.engine.handle_process(tgid, how.scheduling);
        }
    }

    fn apply(&mut self, verdict: Verdict) {
        let Verdict { tgid, programs, observe, runtime, probes, waiting, reason: _ } = verdict;
        if !self.roster.judge(tgid, programs, observe) {
            return;
        }
        let process = self.processes.get(tgid).filter(|process| process.instance.tgid != tgid);
        let master =
            process.filter(|process| runtime::has_jobs(process)).map(|process| process.instance.tgid);
        let plain = runtime::plain(&runtime, &probes, master.is_some());
        let how = self.parts.judge(tgid, observe, &runtime, plain);
        self.capture.set_process(tgid, if observe { how.mode() } else { ProcessMode::Ignore });
        self.engine.handle_process(tgid, how.scheduling);
        if let Some(master) = master.filter(|_| how.reads_pipes) {
            self.engine.handle_worker(tgid, master);
        }
        waiting.into_iter().for_each(|tid| self.engine.handle_waiting(tid));
    }

    fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Socket { event, tgid } => {
                // The end of a connection that somebody else has used, or that was known before the verdict.
                let is_end = matches!(event.kind, EventKind::Closed(_));
                if !self.parts.is_own(tgid, &event) && (is_end || !self.roster.is_ignored(tgid)) {
                    self.engine.handle_event(event);
                }
            }
            Observation::Exit { tgid, at_ns } => {
                self.engine.handle_process_exit(tgid, at_ns);
                // Its last spans are judged by what is known of it now.
                self.collect();
                self.roster.end(tgid, now_ns());
                // A verdict may have come after the programs had removed it.
                self.capture.forget_process(tgid);
            }
            Observation::Task { executor, context, at_ns, .. } => {
                self.engine.handle_task(executor, context, at_ns);
            }
            Observation::Gift { handover, giver, token, at_ns } => {
                self.hand_over(handover, &giver, token, at_ns);
            }
            Observation::Stream { what: StreamEvent::Written, executor, token, number, .. } => {
                self.engine.handle_stream_written(&executor, token, number);
            }
            Observation::Stream { what: StreamEvent::Served, executor, number, .. } => {
                self.engine.handle_stream_served(&executor, number);
            }
            Observation::Share { executor, length, .. } => self.engine.handle_share(&executor, length),
            Observation::Pipe(read) => self.engine.handle_pipe_read(&read),
            Observation::TaskEnd { tgid, context, .. } => self.engine.handle_task_end(tgid, context),
            Observation::Thread { maker, tid, at_ns } => self.engine.handle_thread(&maker, tid, at_ns),
            Observation::ThreadEnd { tgid, tid, at_ns } => self.engine.handle_thread_end(tgid, tid, at_ns),
            Observation::HandoversLost { .. } => self.engine.handle_lost_handovers(),
            Observation::Beginning { sock, own, told, at_ns } => {
                self.engine.handle_beginning(sock, own, told, at_ns);
            }
            Observation::Plaintext { plaintext, at_ns, .. } => {
                if !self.roster.is_ignored(plaintext.tls.tgid) {
                    self.engine.handle_plaintext(plaintext, at_ns);
                }
            }
            Observation::Ciphertext { ciphertext, at_ns } => {
                self.engine.handle_ciphertext(ciphertext, at_ns);
            }
            Observation::TlsEnd { tls, .. } => self.engine.handle_tls_end(tls),
            // The engine, or discovery, was told when they came.
            Observation::Exec { .. } | Observation::Fork { .. } | Observation::Mapped { .. } => {}
        }
    }

    fn hand_over(&mut self, handover: Handover, giver: &Executor, token: u64, at_ns: u64) {
        match handover {
            Handover::Gift => self.engine.handle_gift(giver, token, at_ns),
            Handover::Spawn => self.engine.handle_spawn(giver, token, at_ns),
            Handover::Wake => self.engine.handle_wake(giver, token, at_ns),
            Handover::Ask => self.engine.handle_ask(giver.tgid, token, at_ns),
        }
    }

    /// Carries away what the engine has made.
    fn collect(&mut self) {
        while let Some(command) = self.engine.poll_command() {
            self.capture.apply(command);
        }
        let now_ns = now_ns();
        while let Some(span) = self.next_named(now_ns) {
            self.report(span);
        }
        while let Some(span) = self.engine.poll_span() {
            if let Some(writing) = self.capture.writing()
                && let Some(server) = self.servers.learn(&span, now_ns)
            {
                writing.note_server(server, now_ns);
            }
            let programs = self.roster.programs(span.tgid);
            let is_known = is_known(&self.processes, &self.roster, span.tgid, programs);
            if is_known && !self.enricher.awaits(span.tgid) {
                self.report(span);
            } else if let Some(oldest) = self.unnamed.push(span, programs, now_ns) {
                self.report(oldest);
            }
        }
    }

    /// Returns a span that has waited for what is known by now, or long enough.
    fn next_named(&mut self, now_ns: u64) -> Option<Span> {
        let (processes, roster, enricher) = (&self.processes, &self.roster, &self.enricher);
        let is_named = |tgid, programs| is_known(processes, roster, tgid, programs) && !enricher.awaits(tgid);
        self.unnamed.pop(now_ns, is_named)
    }

    fn report(&mut self, span: Span) {
        if self.roster.is_reported(span.tgid) {
            self.roster.count(span.tgid, span.protocol);
            (self.sink)(self.enricher.enrich(span));
        } else if self.roster.is_judged(span.tgid) {
            self.unselected.add(1);
        } else {
            self.undecided.add(1);
        }
    }

    fn finish(&mut self) {
        while let Some(observation) = self.order.pop(u64::MAX) {
            self.observe(observation);
        }
        self.engine.finish(now_ns());
        self.collect();
        // Discovery is still at work: the last processes get their names too.
        while !self.unnamed.is_empty() {
            thread::sleep(PAUSE);
            self.take_verdicts();
            self.collect();
        }
    }

    fn publish(&mut self, ledger: &Ledger) {
        self.capture.tell_log();
        let kernel = self.capture.losses().map(|(reason, count)| Sample::loss("kernel", reason, count));
        let counts = self.capture.counts().map(|(label, count)| {
            Sample::counter("remora_agent_kernel_total", vec![("what", label.into())], count)
        });
        let engine = self.engine.counters().into_iter().map(engine_sample);
        let samples: Vec<_> = kernel.chain(counts).chain(engine).collect();
        ledger.publish("pipeline", samples);
        let ended = self.engine.take_ended_unseen_tls();
        let coverage = self.coverage.samples(ended, self.engine.unseen_tls(), &self.processes);
        ledger.publish("coverage", coverage);
        self.publish_writing(ledger);
    }

    /// Counts what was written, and ends it where it does harm.
    fn publish_writing(&mut self, ledger: &Ledger) {
        let Some(writing) = self.capture.writing() else { return };
        let counts: Vec<_> = writing.counts().collect();
        let tripped = propagate::judge(&counts);
        let counter = |(what, count): (&'static str, u64)| {
            Sample::counter("remora_agent_contexts_total", vec![("what", what.into())], count)
        };
        let mut samples: Vec<_> = counts.into_iter().map(counter).collect();
        let is_on = if tripped.is_some() { 0.0 } else { 1.0 };
        samples.push(Sample::gauge("remora_agent_writes_contexts", Vec::new(), is_on));
        ledger.publish("writing", samples);
        if let Some(reason) = tripped {
            tracing::error!(%reason, "no more contexts are written");
            self.capture.stop_writing();
        }
    }
}

fn load(settings: &Settings) -> Result<Capture, capture::Error> {
    let capture = CaptureSettings {
        capture_bytes: settings.capture_bytes,
        datagram_ports: settings.datagram_ports,
        observes_by_default: true,
        exec_resets_verdict: true,
        tells_mappings: true,
    };
    let Writes { mechanisms: Mechanisms { headers, option }, cgroups } = &settings.writes;
    if cgroups.is_empty() {
        return Capture::load(capture);
    }
    let mut capture = Capture::load_for_writing(capture)?;
    if let Some(writing) = capture.writing() {
        writing.set(WriteSettings {
            headers: *headers,
            option: *option,
            control: propagate::CONTROL,
            ..WriteSettings::default()
        })?;
    }
    Ok(capture)
}

/// Returns whether discovery has looked at a process since it began its present program, and has judged it.
fn is_known(processes: &Processes, roster: &Roster, tgid: u32, programs: u32) -> bool {
    roster.is_judged(tgid) && processes.get(tgid).is_some_and(|process| process.programs >= programs)
}

fn engine_sample(counter: remora_engine::Counter) -> Sample {
    let remora_engine::Counter { family, label, protocol, value } = counter;
    match family {
        "loss" => Sample::loss("engine", label, value),
        "received_bytes" => {
            Sample::counter("remora_agent_received_bytes_total", vec![("what", label.into())], value)
        }
        "state" => Sample::gauge(format!("remora_agent_engine_{label}"), Vec::new(), value as f64),
        "messages" | "exchanges" | "exchanges_incomplete" => Sample::counter(
            format!("remora_agent_{family}_total"),
            vec![("protocol", protocol.into())],
            value,
        ),
        _ => Sample::counter(format!("remora_agent_{family}_total"), vec![("reason", label.into())], value),
    }
}

/// Allows as many descriptors as may be: each probe takes one.
fn allow_descriptors() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::debug!("the limit of descriptors stays: {error}");
    }
}

/// Returns what discovery should know of an observation.
fn notice(observation: &Observation, roster: &mut Roster) -> Option<Notice> {
    match observation {
        Observation::Exec { tgid, parent, cgroup_id, arguments, comm, at_ns } => {
            roster.start(*tgid);
            Some(Notice::Started {
                tgid: *tgid,
                parent: *parent,
                arguments: arguments.clone(),
                comm: comm.clone(),
                cgroup_id: *cgroup_id,
                at_ns: *at_ns,
            })
        }
        Observation::Fork { parent, child } => {
            roster.fork(*parent, *child);
            Some(Notice::Forked { parent: *parent, child: *child })
        }
        Observation::Exit { tgid, .. } => Some(Notice::Exited { tgid: *tgid }),
        Observation::Socket { event: Event { kind: EventKind::Opened(_), .. }, tgid } => {
            roster.is_new(*tgid).then_some(Notice::Seen { tgid: *tgid })
        }
        Observation::Mapped { tgid, at_ns } => Some(Notice::Mapped { tgid: *tgid, at_ns: *at_ns }),
        Observation::Task { executor, thread_pointer: Some(thread_pointer), .. } => {
            let Executor { tgid, tid, .. } = *executor;
            let thread_pointer = *thread_pointer;
            let notice = Notice::Tasking { tgid, thread_pointer, is_first_thread: tid == tgid };
            roster.is_asking(tgid).then_some(notice)
        }
        Observation::Socket { .. }
        | Observation::Task { .. }
        | Observation::TaskEnd { .. }
        | Observation::Gift { .. }
        | Observation::Stream { .. }
        | Observation::Share { .. }
        | Observation::Pipe(_)
        | Observation::Thread { .. }
        | Observation::ThreadEnd { .. }
        | Observation::Beginning { .. }
        | Observation::Plaintext { .. }
        | Observation::Ciphertext { .. }
        | Observation::TlsEnd { .. }
        | Observation::HandoversLost { .. } => None,
    }
}

/// Returns `CLOCK_MONOTONIC`, the clock of all events.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}
