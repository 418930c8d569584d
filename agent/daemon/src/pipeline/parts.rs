//! Which processes have a part inside, as far as the capture thread has been told.

use foldhash::{HashMap, HashSet};
use remora_engine::event::{ConnectionId, Endpoint, Event, EventKind, Opened};

use crate::attach::{Attacher, Platform, Platforms};
use crate::discover::Runtime;
use crate::health::{Ledger, Part, PartState};

use super::runtime::{self, How};

/// The capture thread's view of the parts.
#[derive(Debug)]
pub(super) struct Parts {
    attacher: Attacher,
    /// Whether parts inside JVMs tell what JSSE encrypts.
    tells_jsse: bool,
    /// Processes that have a part, or may get one.
    processes: HashMap<u32, Candidate>,
    /// Ends of the agent's own connections that are observed.
    own: HashSet<ConnectionId>,
}

#[derive(Clone, Debug)]
struct Candidate {
    platform: Platform,
    /// How it is observed without a part.
    plain: How,
    is_attached: bool,
    /// Why it has no part, if it was refused.
    refusal: Option<String>,
}

impl Candidate {
    fn how(&self) -> How {
        if self.is_attached { runtime::with_part(self.platform) } else { self.plain }
    }
}

impl Parts {
    pub(super) fn start(platforms: &Platforms, ledger: &Ledger) -> Self {
        Self {
            attacher: Attacher::start(platforms, ledger),
            tells_jsse: platforms.tells_jsse(),
            processes: HashMap::default(),
            own: HashSet::default(),
        }
    }

    /// Discovery has judged a process. Returns how it is observed at present.
    pub(super) fn judge(&mut self, tgid: u32, observe: bool, runtime: &Runtime, plain: How) -> How {
        let Some(platform) = runtime::platform(runtime) else { return plain };
        if !observe {
            if self.processes.remove(&tgid).is_some() {
                self.attacher.detach(tgid, platform);
            }
            return plain;
        }
        if !self.attacher.attach(tgid, platform) {
            return plain;
        }
        let fresh = Candidate { platform, plain, is_attached: false, refusal: None };
        let candidate = self.processes.entry(tgid).or_insert(fresh);
        candidate.plain = plain;
        candidate.how()
    }

    /// Returns a process that is to be observed otherwise from here on, and how.
    pub(super) fn poll(&mut self) -> Option<(u32, How)> {
        while let Some(outcome) = self.attacher.poll_outcome() {
            if let Some(candidate) = self.processes.get_mut(&outcome.tgid) {
                candidate.is_attached = outcome.is_attached;
                candidate.refusal = outcome.refusal;
                return Some((outcome.tgid, candidate.how()));
            }
        }
        None
    }

    /// A process is gone, or runs another program.
    pub(super) fn forget(&mut self, tgid: u32) {
        if let Some(candidate) = self.processes.remove(&tgid) {
            self.attacher.forget(tgid, candidate.platform);
        }
    }

    /// Returns what is known of the part of a process; none where it gets none.
    pub(super) fn part(&self, tgid: u32) -> Option<Part> {
        let candidate = self.processes.get(&tgid)?;
        let state = match (&candidate.refusal, candidate.is_attached) {
            (Some(refusal), _) => PartState::Refused(refusal.clone()),
            (None, true) => PartState::Attached,
            (None, false) => PartState::Outside,
        };
        let tells_tls = candidate.platform == Platform::Jvm && self.tells_jsse;
        Some(Part { platform: candidate.platform.label().to_owned(), state, tells_tls })
    }

    /// Returns whether an event is about a connection of the agent's own, over which it attaches.
    pub(super) fn is_own(&mut self, tgid: u32, event: &Event) -> bool {
        match &event.kind {
            EventKind::Opened(Opened { peer: Endpoint::Ip(peer), .. })
                if self.attacher.is_own(tgid, *peer) =>
            {
                self.own.insert(event.connection);
                true
            }
            EventKind::Closed(_) => self.own.remove(&event.connection),
            _ => self.own.contains(&event.connection),
        }
    }

    /// All parts are to leave.
    pub(super) fn leave(&mut self) {
        self.attacher.leave();
    }

    /// Returns whether all parts have left, or the time for it is over.
    pub(super) fn have_left(&self) -> bool {
        self.attacher.is_finished()
    }
}
