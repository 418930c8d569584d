//! Which processes are observed, as far as the capture thread has been told.

use std::collections::BTreeMap;

use foldhash::{HashMap, HashSet};

/// How long an ended process is remembered: its last spans, and a verdict on it, may be under way.
const MOURNING_NS: u64 = 60_000_000_000;

/// The capture thread's view of discovery's verdicts.
#[derive(Debug)]
pub(super) struct Roster {
    /// Whether processes without a verdict are reported.
    reports_unjudged: bool,
    verdicts: HashMap<u32, bool>,
    /// Processes that discovery has been told of.
    told: HashSet<u32>,
    /// How often discovery was told that a process began a program.
    programs: HashMap<u32, u32>,
    /// Tasks that a Python made whose contexts are not found yet.
    tasks: HashMap<u32, u32>,
    /// Processes that have ended, and when that was noticed.
    gone: HashMap<u32, u64>,
    /// Spans that were reported of each process, by protocol.
    spans: HashMap<u32, BTreeMap<&'static str, u64>>,
}

impl Roster {
    pub(super) fn new(reports_unjudged: bool) -> Self {
        Self {
            reports_unjudged,
            verdicts: HashMap::default(),
            told: HashSet::default(),
            programs: HashMap::default(),
            tasks: HashMap::default(),
            gone: HashMap::default(),
            spans: HashMap::default(),
        }
    }

    /// Notes a verdict on a process that had begun so many programs; returns whether anything follows from it. One that was
    /// made before the last program is about something else; one that comes after the end is only for the last spans.
    pub(super) fn judge(&mut self, tgid: u32, programs: u32, observe: bool) -> bool {
        if programs < self.programs(tgid) {
            return false;
        }
        self.verdicts.insert(tgid, observe);
        let is_alive = !self.gone.contains_key(&tgid);
        if is_alive {
            self.told.insert(tgid);
        }
        is_alive
    }

    /// A process runs a new program: what was said of it is void.
    pub(super) fn start(&mut self, tgid: u32) {
        if self.gone.contains_key(&tgid) {
            self.forget(tgid);
        }
        self.verdicts.remove(&tgid);
        self.tasks.remove(&tgid);
        self.told.insert(tgid);
        *self.programs.entry(tgid).or_default() += 1;
    }

    /// A child is what its parent is until it is judged itself.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        self.forget(child);
        if let Some(&observe) = self.verdicts.get(&parent) {
            self.verdicts.insert(child, observe);
        }
        self.told.insert(child);
    }

    /// Discovery was not told after all: it is when the process is next seen.
    pub(super) fn untell(&mut self, tgid: u32) {
        self.told.remove(&tgid);
        self.programs.remove(&tgid);
    }

    /// A process has ended.
    pub(super) fn end(&mut self, tgid: u32, now_ns: u64) {
        let is_over = |at_ns: &u64| now_ns.saturating_sub(*at_ns) >= MOURNING_NS;
        let over: Vec<u32> =
            self.gone.iter().filter(|(_, at_ns)| is_over(at_ns)).map(|(&tgid, _)| tgid).collect();
        over.into_iter().for_each(|tgid| self.forget(tgid));
        self.gone.insert(tgid, now_ns);
        self.told.remove(&tgid);
        self.tasks.remove(&tgid);
    }

    fn forget(&mut self, tgid: u32) {
        self.gone.remove(&tgid);
        self.verdicts.remove(&tgid);
        self.told.remove(&tgid);
        self.programs.remove(&tgid);
        self.tasks.remove(&tgid);
        self.spans.remove(&tgid);
    }

    /// Returns whether there is a verdict on the process's present program.
    pub(super) fn is_judged(&self, tgid: u32) -> bool {
        self.verdicts.contains_key(&tgid)
    }

    /// Returns how often the process began a program, as far as discovery was told.
    pub(super) fn programs(&self, tgid: u32) -> u32 {
        self.programs.get(&tgid).copied().unwrap_or(0)
    }

    /// Returns whether discovery is to be asked where a Python keeps its contexts, which costs it a search: at the first
    /// task, the second, the fourth, and so on, since some threads have none yet and some Pythons do not show it.
    pub(super) fn is_asking(&mut self, tgid: u32) -> bool {
        let tasks = self.tasks.entry(tgid).or_default();
        *tasks = tasks.saturating_add(1);
        tasks.is_power_of_two()
    }

    /// Returns whether discovery has to be told of the process; at most once true.
    pub(super) fn is_new(&mut self, tgid: u32) -> bool {
        if self.gone.contains_key(&tgid) {
            self.forget(tgid);
        }
        self.told.insert(tgid)
    }

    /// Returns whether the process's events are to be passed over.
    pub(super) fn is_ignored(&self, tgid: u32) -> bool {
        self.verdicts.get(&tgid) == Some(&false)
    }

    /// Counts a span of a process that is reported.
    pub(super) fn count(&mut self, tgid: u32, protocol: &'static str) {
        // Of a process that was forgotten since, nobody will ask.
        if self.verdicts.contains_key(&tgid) {
            *self.spans.entry(tgid).or_default().entry(protocol).or_default() += 1;
        }
    }

    /// Returns the spans that were reported of a process, by protocol.
    pub(super) fn spans(&self, tgid: u32) -> BTreeMap<String, u64> {
        let spans = self.spans.get(&tgid).into_iter().flatten();
        spans.map(|(protocol, count)| ((*protocol).to_owned(), *count)).collect()
    }

    /// Returns whether the process's spans are to be reported.
    pub(super) fn is_reported(&self, tgid: u32) -> bool {
        self.verdicts.get(&tgid).copied().unwrap_or(self.reports_unjudged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_on_a_process_that_has_ended_is_for_its_last_spans() {
        let mut roster = Roster::new(false);
        roster.start(1);
        roster.end(1, 5);
        assert!(!roster.is_judged(1) && !roster.is_reported(1));
        assert!(!roster.judge(1, 1, true), "nothing else follows from it");
        assert!(roster.is_judged(1) && roster.is_reported(1));
        roster.fork(2, 1);
        assert!(!roster.is_judged(1), "its number is used again");
        assert!(roster.judge(1, 0, true));
        roster.end(1, 6);
        roster.start(1);
        assert!(!roster.judge(1, 0, false), "that was about its parent's program");
        assert!(!roster.is_judged(1));
        assert!(roster.judge(1, 1, true));
        roster.count(1, "http");
        roster.count(2, "http");
        assert_eq!(roster.spans(1), BTreeMap::from([("http".to_owned(), 1)]));
        roster.end(1, 7);
        assert!(roster.is_new(1), "a process whose beginning was not told");
        assert!(!roster.is_judged(1));
        roster.end(1, 8);
        roster.end(3, 8 + MOURNING_NS);
        assert_eq!(roster.gone.len(), 1);
        assert!(roster.programs.is_empty() && roster.verdicts.is_empty() && roster.spans.is_empty());
    }
}
