//! Which processes are observed, as far as the capture thread has been told.

use foldhash::{HashMap, HashSet};

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
}

impl Roster {
    pub(super) fn new(reports_unjudged: bool) -> Self {
        Self {
            reports_unjudged,
            verdicts: HashMap::default(),
            told: HashSet::default(),
            programs: HashMap::default(),
            asked: HashMap::default(),
        }
    }

    /// Notes a verdict.
    pub(super) fn judge(&mut self, tgid: u32, observe: bool) {
        self.verdicts.insert(tgid, observe);
        self.told.insert(tgid);
    }

    /// A process runs a new program: what was said of it is void.
    pub(super) fn start(&mut self, tgid: u32) {
        self.verdicts.remove(&tgid);
        self.asked.remove(&tgid);
        self.told.insert(tgid);
        *self.programs.entry(tgid).or_default() += 1;
    }

    /// A child is what its parent is until it is judged itself.
    pub(super) fn fork(&mut self, parent: u32, child: u32) {
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

    pub(super) fn forget(&mut self, tgid: u32) {
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
