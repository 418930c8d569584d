//! The thread that keeps the table.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use super::inspect::{Hint, Inspector, namespace_pid, started_at_ticks};
use super::libraries::Libraries;
use super::notice::{Notice, Verdict};
use super::probes::{Probe, Probes, Purpose};
use super::process::{Process, Runtime};
use super::python;
use super::selection::{Decision, InPod, Selection, Surroundings};
use super::sockets::Snapshot;
use super::table::Processes;
use super::waiting::Waiting;
use crate::health::{Counter, Known, Ledger, ProbedFile};
use crate::kubernetes::Cluster;

/// How often dead processes are forgotten and, where rules are about ports, the living judged again.
const TICK: Duration = Duration::from_secs(2);
/// Ticks between two searches for the receiver, which cost a look at every socket of the host.
const TICKS_PER_SEARCH: u32 = 8;
/// Ticks during which a Python is looked at again, should the notice be lost that it has mapped its libraries.
const MAX_LOOKS: u32 = 15;
/// How long a process is left alone after it has mapped a file: mostly it maps more.
const MAPPING_PAUSE: Duration = Duration::from_millis(10);
/// How soon those are judged again whose pods were not known.
const POD_PAUSE: Duration = Duration::from_millis(100);
/// Steps from child to parent that are followed.
const MAX_GENERATIONS: usize = 64;

/// Who has a file mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeUser {
    /// Any program of this host may, at any time.
    Host,
    /// A process.
    Process(u32),
}

/// What attaches probes, and takes them away when nobody has their files mapped any more.
pub trait ProbeAttacher: Send {
    /// Attaches probes that `user` needs, since a time of `CLOCK_MONOTONIC` where that is known, and returns those that are
    /// attached now. The same probes are found in many processes.
    fn attach(&mut self, user: ProbeUser, probes: Vec<Probe>, since_ns: Option<u64>) -> Vec<Probe>;
    /// A process has what its parent has.
    fn fork(&mut self, parent: u32, child: u32);
    /// A process has ended, or runs another program.
    fn leave(&mut self, tgid: u32);
    /// Returns the files that a process has mapped and that are probed.
    fn probed(&self, tgid: u32) -> Vec<ProbedFile>;
    /// Some seconds have passed.
    fn tidy(&mut self);
}

/// Attaches nothing.
struct Unattached;

impl ProbeAttacher for Unattached {
    fn attach(&mut self, _user: ProbeUser, probes: Vec<Probe>, _since_ns: Option<u64>) -> Vec<Probe> {
        probes
    }

    fn fork(&mut self, _parent: u32, _child: u32) {}

    fn leave(&mut self, _tgid: u32) {}

    fn probed(&self, _tgid: u32) -> Vec<ProbedFile> {
        Vec::new()
    }

    fn tidy(&mut self) {}
}

struct Attacher(Box<dyn ProbeAttacher>);

impl fmt::Debug for Attacher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Attacher")
    }
}

/// A look to be taken at what a process has mapped.
#[derive(Clone, Copy, Debug)]
struct Look {
    /// When it is to be taken.
    at: Instant,
    /// When the process may have begun to use what will be found, `CLOCK_MONOTONIC`; none where that was before it was
    /// known or selected.
    since_ns: Option<u64>,
}

impl Look {
    fn now() -> Self {
        Self { at: Instant::now(), since_ns: None }
    }

    fn soon(since_ns: Option<u64>) -> Self {
        Self { at: Instant::now() + MAPPING_PAUSE, since_ns }
    }
}

/// A Python, which maps its libraries after it has begun.
#[derive(Clone, Copy, Debug)]
struct Python {
    /// Places of it that are probed.
    probed: usize,
    /// How often it will be looked at again without a notice.
    looks: u32,
}

/// The capture side is gone; the thread ends.
struct Disconnected;

/// Discovery: create it, then give its [`run`](Self::run) a thread.
#[derive(Debug)]
pub struct Discovery {
    selection: Selection,
    processes: Processes,
    inspector: Inspector,
    probes: Probes,
    /// Those that are observed.
    pythons: HashMap<u32, Python>,
    decisions: HashMap<u32, Decision>,
    libraries: Libraries,
    /// Whether TLS libraries are looked for.
    finds_tls: bool,
    /// Whether messages between the threads of a Node are followed.
    follows_messages: bool,
    /// A program that will be started.
    expected: Option<PathBuf>,
    /// Processes that have mapped files since they were looked at.
    mapping: HashMap<u32, Look>,
    refused: Counter,
    /// Reads that had begun before.
    reading: Counter,
    ticks: u32,
    attacher: Attacher,
    /// What is known of pods, where a cluster is followed.
    cluster: Option<Cluster>,
    /// What the cluster's generation was when processes in pods were judged.
    judged_pods: u64,
    /// Whether there may be processes whose pods will be known in a moment.
    awaits_pods: bool,
}

impl Discovery {
    /// Returns a discovery that writes into `processes` and counts into `ledger`.
    #[must_use]
    pub fn new(selection: Selection, processes: Processes, ledger: &Ledger) -> Self {
        let table = processes.clone();
        ledger.gauge("remora_agent_processes", Vec::new(), move || table.len() as f64);
        let refused = ledger.loss("discover", "process_table_full");
        Self {
            selection,
            processes,
            inspector: Inspector::new(),
            probes: Probes::default(),
            pythons: HashMap::new(),
            decisions: HashMap::new(),
            libraries: Libraries::counting(ledger.counter("remora_agent_files_searched_total")),
            finds_tls: false,
            follows_messages: false,
            expected: None,
            mapping: HashMap::new(),
            refused,
            reading: ledger.counter("remora_agent_reads_before_start_total"),
            ticks: 0,
            attacher: Attacher(Box::new(Unattached)),
            cluster: None,
            judged_pods: 0,
            awaits_pods: false,
        }
    }

    /// Has processes in pods judged by what a cluster says of these, and again when that changes.
    #[must_use]
    pub fn following(self, cluster: Option<Cluster>) -> Self {
        Self { cluster, ..self }
    }

    /// Has `attacher` attach every probe before the verdict is told that relies on it, and leaves out those that cannot be
    /// attached.
    #[must_use]
    pub fn attaching(self, attacher: impl ProbeAttacher + 'static) -> Self {
        Self { attacher: Attacher(Box::new(attacher)), ..self }
    }

    /// Has TLS libraries looked for, and probed as others are.
    #[must_use]
    pub fn looking_into_tls(self, finds_tls: bool) -> Self {
        Self { finds_tls, ..self }
    }

    /// Has messages between the threads of a Node followed, which only a part inside it makes use of.
    #[must_use]
    pub fn following_messages(self, follows_messages: bool) -> Self {
        Self { follows_messages, ..self }
    }

    /// Has a program that will be started found as others are, but before it begins: what it asks for first counts too.
    #[must_use]
    pub fn expecting(self, program: Option<PathBuf>) -> Self {
        Self { expected: program, ..self }
    }

    /// Scans `/proc`, then follows the notices until their senders, or the taker of verdicts, are gone.
    pub fn run(mut self, notices: Receiver<Notice>, verdicts: SyncSender<Verdict>) {
        let _disconnected = self.follow(&notices, &verdicts);
    }

    fn follow(
        &mut self,
        notices: &Receiver<Notice>,
        verdicts: &SyncSender<Verdict>,
    ) -> Result<(), Disconnected> {
        self.scan(verdicts)?;
        self.processes.complete();
        let mut ticked_at = Instant::now();
        loop {
            match notices.recv_timeout(self.time_to_look()) {
                Ok(notice) => self.handle(notice, verdicts)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Disconnected),
            }
            self.look_at_mappings(verdicts)?;
            if self.awaits_pods {
                self.judge_pods(verdicts)?;
            }
            if ticked_at.elapsed() >= TICK {
                ticked_at = Instant::now();
                self.tick(verdicts)?;
            }
        }
    }

    fn scan(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let found: Vec<Process> =
            tgids().into_iter().filter_map(|tgid| self.inspector.inspect(tgid)).collect();
        // All first, then the judgements: some rules look at ancestors.
        let tgids: Vec<u32> = found.iter().map(|process| process.tgid).collect();
        for process in found {
            self.mapping.insert(process.tgid, Look::now());
            self.keep(process);
        }
        self.judge(&tgids, verdicts)?;
        self.look_at_installed();
        self.look_at_mappings(verdicts)?;
        self.judge_sockets(verdicts)
    }

    /// Probes what programs will map that have not begun yet, where they are all selected, or one of them is.
    fn look_at_installed(&mut self) {
        if self.finds_tls && (self.selection.observes_unknown() || self.expected.is_some()) {
            let mut probes = self.libraries.installed();
            probes.extend(self.expected.iter().flat_map(|program| self.libraries.in_file(program)));
            self.attacher.0.attach(ProbeUser::Host, probes, None);
        }
    }

    fn handle(&mut self, notice: Notice, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        match notice {
            Notice::Started { tgid, parent, arguments, comm, cgroup_id, at_ns } => {
                let hint = Hint { parent, arguments, comm, cgroup_id };
                let mut process = self.inspector.inspect(tgid).unwrap_or_else(|| {
                    let parent = self.processes.get(parent);
                    self.inspector.infer(tgid, &hint, parent.as_deref())
                });
                // A daemon whose parent has gone was adopted; rules about descent mean who made it.
                if let Some(before) = self.processes.get(tgid) {
                    process.programs = before.programs;
                    if before.parent > 1 && process.parent <= 1 {
                        process.parent = before.parent;
                    }
                }
                process.programs += 1;
                self.keep(process);
                // What was mapped before is not any more. The kernel has mapped the executable; the libraries follow.
                self.attacher.0.leave(tgid);
                self.pythons.remove(&tgid);
                self.mapping.insert(tgid, Look::soon(Some(at_ns)));
                self.judge(&[tgid], verdicts)
            }
            Notice::Mapped { tgid, at_ns } => {
                self.mapping.entry(tgid).or_insert_with(|| Look::soon(Some(at_ns)));
                Ok(())
            }
            Notice::Forked { parent, child } => self.handle_fork(parent, child, verdicts),
            Notice::Seen { tgid } if self.processes.get(tgid).is_none() => {
                let Some(process) = self.inspector.inspect(tgid) else {
                    return Ok(());
                };
                self.keep(process);
                self.judge(&[tgid], verdicts)
            }
            Notice::Seen { .. } => Ok(()),
            Notice::Tasking { tgid, thread_pointer, is_first_thread } => {
                self.find_contexts(tgid, thread_pointer, is_first_thread, verdicts)
            }
            Notice::Asked(mut question) => {
                let known = self.known(std::mem::take(&mut question.known));
                question.answer(known);
                Ok(())
            }
            Notice::Exited { tgid } => {
                self.processes.end(tgid, Instant::now());
                self.forget(tgid);
                Ok(())
            }
        }
    }

    /// Adds what is known here; none where there is no such process, or nothing was decided on it yet.
    fn known(&self, known: Known) -> Option<Known> {
        let process = self.processes.get(known.pid)?;
        let decision = self.decisions.get(&known.pid)?;
        Some(Known {
            started_at_ticks: started_at_ticks(known.pid),
            is_observed: decision.observe,
            reason: decision.reason.clone(),
            runtime: process.runtime.label().to_owned(),
            probes: self.attacher.0.probed(known.pid),
            ..known
        })
    }

    fn forget(&mut self, tgid: u32) {
        self.decisions.remove(&tgid);
        self.mapping.remove(&tgid);
        self.pythons.remove(&tgid);
        self.attacher.0.leave(tgid);
    }

    /// Returns how long nothing needs to be done.
    fn time_to_look(&self) -> Duration {
        let next = self.mapping.values().map(|look| look.at).min();
        let pause = if self.awaits_pods { POD_PAUSE } else { TICK };
        next.map_or(pause, |at| at.saturating_duration_since(Instant::now()).min(pause))
    }

    /// Probes the libraries of processes that have mapped files: those for TLS, and a Python's own.
    fn look_at_mappings(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let now = Instant::now();
        let due: Vec<(u32, Look)> = self.mapping.extract_if(|_, look| look.at <= now).collect();
        for (tgid, look) in due {
            if self.finds_tls && self.decisions.get(&tgid).is_some_and(|decision| decision.observe) {
                let probes = self.libraries.of(tgid);
                self.attacher.0.attach(ProbeUser::Process(tgid), probes, look.since_ns);
            }
            self.look_into_python(tgid, verdicts)?;
        }
        Ok(())
    }

    /// Tells what a Python has mapped since it was looked at.
    fn look_into_python(&mut self, tgid: u32, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let Some(python) = self.pythons.get(&tgid) else { return Ok(()) };
        let found = self.processes.get(tgid).zip(self.decisions.get(&tgid).cloned());
        let Some((process, decision)) = found else { return Ok(()) };
        if self.probes.of(tgid, &process.runtime).len() == python.probed {
            return Ok(());
        }
        self.answer(&process, decision, verdicts)
    }

    fn handle_fork(
        &mut self,
        parent: u32,
        child: u32,
        verdicts: &SyncSender<Verdict>,
    ) -> Result<(), Disconnected> {
        let Some(known) = self.processes.get(parent) else {
            return self.handle(Notice::Seen { tgid: child }, verdicts);
        };
        // A parent that was gone before it was looked at says little of its children: daemons begin like that.
        let seen = known.executable.is_none().then(|| self.inspector.inspect(child)).flatten();
        let is_seen = seen.is_some();
        let process = match seen {
            Some(process) => Process { parent, ..process },
            None => Inspector::fork(&known, child),
        };
        // What the agent or a traced command's shell starts is not judged like its parent.
        let inherited =
            self.decisions.get(&parent).filter(|_| self.selection.descendants_of != Some(parent)).cloned();
        let is_own_child = parent == std::process::id();
        let is_nested = known.namespace_pid.is_some();
        self.keep(process.clone());
        self.attacher.0.fork(parent, child);
        match inherited.filter(|_| !is_own_child && !is_seen) {
            Some(decision) => self.answer(&process, decision, verdicts)?,
            None => self.judge(&[child], verdicts)?,
        }
        if is_nested {
            self.keep(Process { namespace_pid: namespace_pid(child), ..process });
        }
        Ok(())
    }

    /// A Python has made a task: by now its threads show where they keep the current context.
    fn find_contexts(
        &mut self,
        tgid: u32,
        thread_pointer: u64,
        is_first_thread: bool,
        verdicts: &SyncSender<Verdict>,
    ) -> Result<(), Disconnected> {
        let Some(known) = self.processes.get(tgid) else { return Ok(()) };
        let Some(decision) = self.decisions.get(&tgid).cloned() else { return Ok(()) };
        if known.runtime != (Runtime::Python { contexts: None }) {
            return Ok(());
        }
        let Some(contexts) = python::context_offsets(tgid, thread_pointer, is_first_thread) else {
            tracing::debug!("process {tgid}: where it keeps the current context is not found");
            return Ok(());
        };
        tracing::debug!("process {tgid}: {contexts:?}");
        let runtime = Runtime::Python { contexts: Some(contexts) };
        let process = Process { runtime, ..(*known).clone() };
        self.keep(process.clone());
        self.answer(&process, decision, verdicts)
    }

    /// Looks again at the Pythons in which not all was found.
    fn look_again(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let mut tgids = Vec::new();
        for (&tgid, python) in &mut self.pythons {
            if let Some(looks) = python.looks.checked_sub(1) {
                python.looks = looks;
                tgids.push(tgid);
            }
        }
        tgids.into_iter().try_for_each(|tgid| self.look_into_python(tgid, verdicts))
    }

    fn tick(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        self.processes.expire(Instant::now());
        let living: Vec<u32> = self.processes.living().iter().map(|process| process.tgid).collect();
        let existing: HashSet<u32> = tgids().into_iter().collect();
        // Notices may be lost; `/proc` is the truth.
        for &tgid in &existing {
            self.handle(Notice::Seen { tgid }, verdicts)?;
        }
        for tgid in living.iter().filter(|tgid| !existing.contains(tgid)) {
            self.processes.end(*tgid, Instant::now());
            self.forget(*tgid);
        }
        self.ticks += 1;
        self.attacher.0.tidy();
        self.look_again(verdicts)?;
        self.judge_pods(verdicts)?;
        let is_search = self.selection.receiver_port.is_some() && self.ticks.is_multiple_of(TICKS_PER_SEARCH);
        if is_search || self.selection.has_port_rules() { self.judge_sockets(verdicts) } else { Ok(()) }
    }

    /// Judges the living again, as their sockets are by now, and tells what has changed.
    fn judge_sockets(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let surroundings = self.surroundings();
        let mut answers = Vec::new();
        for process in self.processes.living() {
            let Some(before) = self.decisions.get(&process.tgid) else {
                continue;
            };
            let decision = if before.observe {
                self.selection.excluded_by_socket(&process, &surroundings)
            } else {
                Some(self.selection.decide(&process, &surroundings))
            };
            answers.extend(decision.filter(|decision| decision.observe != before.observe).zip(Some(process)));
        }
        for (decision, process) in answers {
            if decision.observe {
                self.mapping.insert(process.tgid, Look::now());
            }
            self.answer(&process, decision, verdicts)?;
        }
        Ok(())
    }

    /// Judges processes in pods again where something is known of pods that was not when they were judged, and tells what
    /// has changed.
    fn judge_pods(&mut self, verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let Some(generation) = self.cluster.as_ref().map(Cluster::generation) else { return Ok(()) };
        if generation == self.judged_pods && !self.awaits_pods {
            return Ok(());
        }
        (self.judged_pods, self.awaits_pods) = (generation, false);
        let surroundings = self.surroundings();
        let mut answers = Vec::new();
        for process in self.processes.living() {
            let Some(before) = self.decisions.get(&process.tgid).filter(|_| process.pod_uid.is_some()) else {
                continue;
            };
            let decision = self.selection.decide_at_start(&process, &surroundings);
            if decision.awaits_pod {
                answers.push((decision, process));
            } else if decision.observe != before.observe {
                let by_socket = || self.selection.excluded_by_socket(&process, &surroundings);
                let decision = by_socket().filter(|_| decision.observe).unwrap_or(decision);
                answers.push((decision, process));
            }
        }
        for (decision, process) in answers {
            let before = self.decisions.get(&process.tgid).map(|before| before.observe);
            self.awaits_pods |= decision.awaits_pod;
            if before == Some(decision.observe) {
                self.decisions.insert(process.tgid, decision);
                continue;
            }
            if decision.observe {
                self.mapping.insert(process.tgid, Look::now());
            }
            self.answer(&process, decision, verdicts)?;
        }
        Ok(())
    }

    fn surroundings(&self) -> Host<'_> {
        Host { processes: Some(&self.processes), cluster: self.cluster.as_ref(), sockets: RefCell::default() }
    }

    fn keep(&self, process: Process) {
        if !self.processes.insert(process) {
            self.refused.add(1);
        }
    }

    /// Decides on processes of the table and tells what is new.
    fn judge(&mut self, tgids: &[u32], verdicts: &SyncSender<Verdict>) -> Result<(), Disconnected> {
        let surroundings = self.surroundings();
        let mut answers = Vec::new();
        for &tgid in tgids {
            let Some(process) = self.processes.get(tgid) else {
                continue;
            };
            answers.push((self.selection.decide_at_start(&process, &surroundings), process));
        }
        for (decision, process) in answers {
            if decision.observe {
                self.mapping.entry(process.tgid).or_insert_with(|| Look::soon(None));
            }
            self.answer(&process, decision, verdicts)?;
        }
        Ok(())
    }

    fn answer(
        &mut self,
        process: &Process,
        decision: Decision,
        verdicts: &SyncSender<Verdict>,
    ) -> Result<(), Disconnected> {
        let mut probes = self.probes.of(process.tgid, &process.runtime);
        if decision.observe {
            probes.retain(|probe| self.finds_tls || !probe.purpose.is_of_tls());
            probes.retain(|probe| self.follows_messages || !probe.purpose.is_of_messages());
            probes = self.attacher.0.attach(ProbeUser::Process(process.tgid), probes, None);
        }
        let waiting =
            if self.processes.is_complete() { Waiting::default() } else { Waiting::of(process.tgid) };
        if decision.observe {
            self.reading.add(waiting.reading);
        }
        let verdict = Verdict {
            tgid: process.tgid,
            programs: process.programs,
            observe: decision.observe,
            runtime: process.runtime.clone(),
            probes,
            waiting: waiting.for_events,
            reason: decision.reason.clone(),
        };
        if verdict.observe && matches!(verdict.runtime, Runtime::Python { .. }) {
            let takes_work = |probe: &Probe| probe.purpose == Purpose::PythonQueueGot;
            let python = self.pythons.entry(process.tgid).or_insert(Python { probed: 0, looks: MAX_LOOKS });
            python.probed = verdict.probes.len();
            if verdict.probes.iter().any(takes_work) {
                python.looks = 0;
            }
        } else {
            self.pythons.remove(&process.tgid);
        }
        self.awaits_pods |= decision.awaits_pod;
        self.decisions.insert(process.tgid, decision);
        // Waiting is right here: nothing upstream waits for this thread, and a lost verdict would stay lost.
        verdicts.send(verdict).map_err(|_| Disconnected)
    }
}

/// Decides on one process, asking only `/proc`.
pub(super) fn decide(selection: &Selection, process: &Process) -> Decision {
    selection.decide(process, &Host { processes: None, cluster: None, sockets: RefCell::default() })
}

struct Host<'a> {
    processes: Option<&'a Processes>,
    cluster: Option<&'a Cluster>,
    sockets: RefCell<Snapshot>,
}

impl Host<'_> {
    fn parent(&self, tgid: u32) -> Option<u32> {
        if let Some(process) = self.processes.and_then(|processes| processes.get(tgid)) {
            return Some(process.parent);
        }
        let process = procfs::process::Process::new(i32::try_from(tgid).ok()?).ok()?;
        u32::try_from(process.stat().ok()?.ppid).ok()
    }
}

impl Surroundings for Host<'_> {
    fn has_local_port(&self, tgid: u32, port: u16) -> bool {
        self.sockets.borrow_mut().has_port(tgid, port, false)
    }

    fn listens_on(&self, tgid: u32, port: u16) -> bool {
        self.sockets.borrow_mut().has_port(tgid, port, true)
    }

    fn pod(&self, process: &Process) -> InPod {
        let Some(cluster) = self.cluster else { return InPod::No };
        let (container, uid) = (process.container_id.as_deref(), process.pod_uid.as_deref());
        match cluster.pod(container, uid) {
            Some(pod) => InPod::Of(pod),
            None if cluster.awaits(container, uid, Instant::now()) => InPod::Awaited,
            None => InPod::No,
        }
    }

    fn descends_from(&self, process: &Process, ancestor: u32) -> bool {
        let mut parent = Some(process.parent);
        for _ in 0..MAX_GENERATIONS {
            match parent {
                Some(tgid) if tgid == ancestor => return true,
                Some(tgid) if tgid > 1 => parent = self.parent(tgid),
                _ => return false,
            }
        }
        false
    }
}

fn tgids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}
