//! Which processes are observed, as far as the capture thread has been told.

use foldhash::{HashMap, HashSet};

/// How long it is remembered that a process has ended: a verdict on it may be under way.
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
    /// How often discovery was asked where a Python keeps its contexts.
    asked: HashMap<u32, u8>,
    /// Processes that have ended, and when that was noticed.
    gone: HashMap<u32, u64>,
}

impl Roster {
    pub(super) fn new(reports_unjudged: bool) -> Self {
        Self {
            reports_unjudged,
            verdicts: HashMap::default(),
            told: HashSet::default(),
            programs: HashMap::default(),
            asked: HashMap::default(),
            gone: HashMap::default(),
        }
    }

    /// Notes a verdict on a process that had begun so many programs; returns whether it comes in time. One that was made
    /// before the last program, or comes after the end, is about something else.
    pub(super) fn judge(&mut self, tgid: u32, programs: u32, observe: bool) -> bool {
        if programs < self.programs(tgid) || self.gone.contains_key(&tgid) {
            return false;
        }
        self.verdicts.insert(tgid, observe);
        self.told.insert(tgid);
        true
    }

    /// A process runs a new program: what was said of it is void.
    pub(super) fn start(&mut self, tgid: u32) {
        self.verdicts.remove(&tgid);
        self.gone.remove(&tgid);
        self.asked.remove(&tgid);
        self.told.insert(tgid);
        *self.programs.entry(tgid).or_default() += 1;
    }

    /// A child is what its parent is until it is judged itself.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
        self.gone.remove(&child);
        if let Some(&observe) = self.verdicts.get(&parent) {
            self.verdicts.insert(child, observe);
        }
        self.told.insert(child);
        self.programs.remove(&child);
    }

    /// Discovery was not told after all: it is when the process is next seen.
    pub(super) fn untell(&mut self, tgid: u32) {
        self.told.remove(&tgid);
        self.programs.remove(&tgid);
    }

    /// A process has ended.
    pub(super) fn end(&mut self, tgid: u32, now_ns: u64) {
        self.gone.retain(|_, at_ns| now_ns.saturating_sub(*at_ns) < MOURNING_NS);
        self.gone.insert(tgid, now_ns);
        self.verdicts.remove(&tgid);
        self.told.remove(&tgid);
        self.programs.remove(&tgid);
        self.asked.remove(&tgid);
    }

    /// Returns how often the process began a program, as far as discovery was told.
    pub(super) fn programs(&self, tgid: u32) -> u32 {
        self.programs.get(&tgid).copied().unwrap_or(0)
    }

    /// Returns whether discovery is to be asked where a Python keeps its contexts; a few times true.
    pub(super) fn is_asking(&mut self, tgid: u32) -> bool {
        const MAX_ASKED: u8 = 3;
        let asked = self.asked.entry(tgid).or_default();
        let is_asking = *asked < MAX_ASKED;
        *asked += u8::from(is_asking);
        is_asking
    }

    /// Returns whether discovery has to be told of the process; at most once true.
    pub(super) fn is_new(&mut self, tgid: u32) -> bool {
        self.told.insert(tgid)
    }

    /// Returns whether the process's events are to be passed over.
    pub(super) fn is_ignored(&self, tgid: u32) -> bool {
        self.verdicts.get(&tgid) == Some(&false)
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
    fn a_verdict_on_a_process_that_has_ended_comes_too_late() {
        let mut roster = Roster::new(true);
        assert!(roster.judge(1, 0, false));
        roster.end(1, 5);
        assert!(!roster.judge(1, 0, false));
        assert!(!roster.is_ignored(1) && roster.verdicts.is_empty());
        roster.fork(2, 1);
        assert!(roster.judge(1, 0, false), "its number is used again");
        roster.end(1, 6);
        roster.start(1);
        assert!(!roster.judge(1, 0, false), "that was about its parent's program");
        assert!(roster.judge(1, 1, true));
        roster.end(1, 7);
        roster.end(3, 7 + MOURNING_NS);
        assert_eq!(roster.gone.len(), 1);
    }
}
