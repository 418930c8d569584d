//! A trace → the calls that were probably made for its requests, and the requests for which its own were probably made.
//!
//! It is answered when it is asked, from what is stored: nothing is kept that a later span could make wrong, spans of
//! last week are linked as those of today, and taking spans in costs nothing. One question is answered at a time, so
//! that all of them together take one processor at most.

mod process;
mod stretch;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::infer::{InferCounters, InferSettings, Inference, Inferred};
use crate::model::{Span, TimeRange};
use crate::store::Store;

use super::QueryError;
use process::Process;
use stretch::Walk;

/// Processes of one trace that are looked at.
const MAX_PROCESSES: usize = 32;
/// Links of one trace that are shown: the earliest.
const MAX_LINKS: usize = 1000;
/// Links of other questions that are remembered (some 500 bytes each).
const MAX_REMEMBERED_LINKS: usize = 50_000;
/// How long a look may take: a trace is worth more than its links.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that take longer are looked at for so long.
const LONGEST_REQUEST_NS: u64 = 1 << 36;
/// Calls that began so lately are not linked: the request that made them may not be over.
const FRESH_NS: u64 = 5_000_000_000;

/// What can be said about a trace.
#[derive(Clone, Debug)]
pub struct InferredLinks {
    /// How much that is worth.
    pub state: InferState,
    /// Links of which one end is in the trace and the other is not, by start of the call.
    pub links: Vec<Inferred>,
}

/// How much an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InferState {
    /// It stays as it is, unless spans come late.
    Final,
    /// What is under way may change it.
    Provisional,
    /// There was too much to look at; some links may be missing.
    Partial,
    /// Another question was being answered.
    Busy,
    /// The configuration says so.
    Off,
}

/// Answers one question at a time.
#[derive(Debug)]
pub struct Inferrer {
    settings: InferSettings,
    counters: Arc<InferCounters>,
    remembered: Mutex<Remembered>,
}

impl Inferrer {
    /// Returns one that was not asked yet, and counts there.
    #[must_use]
    pub fn new(settings: InferSettings, counters: Arc<InferCounters>) -> Self {
        Self { settings, counters, remembered: Mutex::default() }
    }

    /// Returns what time says about a trace's spans, as they are stored.
    ///
    /// Cost: a look at the orphans of the trace's processes while it ran; where there are any, some 0.1 s for a thousand
    /// calls of the process around them.
    ///
    /// # Errors
    /// If the store cannot be read. What cannot be found before the deadline is left out.
    pub fn links(
        &self,
        store: &Store,
        spans: &[Span],
        now_unix_ns: u64,
        deadline: Instant,
    ) -> Result<InferredLinks, QueryError> {
        let none = |state| Ok(InferredLinks { state, links: Vec::new() });
        if !self.settings.is_on {
            return none(InferState::Off);
        }
        let wanted = wanted(spans);
        let Some(trace_id) = spans.first().map(|span| span.trace_id).filter(|_| !wanted.is_empty()) else {
            return none(InferState::Final);
        };
        let Ok(mut remembered) = self.remembered.try_lock() else {
            InferCounters::add(&self.counters.busy, 1);
            return none(InferState::Busy);
        };
        let began = Instant::now();
        let mut walk = Walk::new(store, self, &mut remembered, now_unix_ns, deadline.min(began + PATIENCE));
        let is_whole = walk.processes(&wanted)?;
        if !is_whole || wanted.len() > MAX_PROCESSES {
            walk.refuse();
        }
        let (mut state, found) = walk.finish();
        self.counters.record_time(began.elapsed());
        let mut links: Vec<Inferred> = found
            .iter()
            .flat_map(|inference| &inference.inferred)
            .filter(|link| {
                let ends = [link.call.at.trace_id, link.request.at.trace_id];
                ends.contains(&trace_id) && ends != [trace_id; 2]
            })
            .cloned()
            .collect();
        links.sort_by_key(|link| (link.call.start_unix_ns, link.call.at));
        if links.len() > MAX_LINKS {
            links.truncate(MAX_LINKS);
            state = state.max(InferState::Partial);
        }
        Ok(InferredLinks { state, links })
    }
}

/// Returns the times at which calls begin that the trace may be linked by, for each process.
fn wanted(spans: &[Span]) -> BTreeMap<Process, Vec<TimeRange>> {
    let mut wanted: BTreeMap<Process, Vec<TimeRange>> = BTreeMap::new();
    for span in spans {
        let Some(sighting) = crate::infer::Sighting::of(span) else { continue };
        let last_unix_ns = match (sighting.is_request(), sighting.is_orphan()) {
            (true, _) => sighting.end_unix_ns.min(sighting.start_unix_ns.saturating_add(LONGEST_REQUEST_NS)),
            (false, true) => sighting.start_unix_ns,
            (false, false) => continue,
        };
        if let Some(process) = Process::of(&span.resource) {
            let from_unix_ns = sighting.start_unix_ns;
            let range = TimeRange { from_unix_ns, until_unix_ns: last_unix_ns.saturating_add(1) };
            wanted.entry(process).or_default().push(range);
        }
    }
    wanted
}

/// Stretches of time that were solved, by all that went into it: what is found again is as it would be solved anew.
#[derive(Debug, Default)]
struct Remembered {
    solved: VecDeque<(u64, Arc<Inference>)>,
    links: usize,
}

impl Remembered {
    fn find(&self, fingerprint: u64) -> Option<Arc<Inference>> {
        self.solved
            .iter()
            .find(|(known, _)| *known == fingerprint)
            .map(|(_, inference)| Arc::clone(inference))
    }

    /// Forgets the oldest ones where there is no room.
    fn add(&mut self, fingerprint: u64, inference: Arc<Inference>) {
        self.links += inference.inferred.len() + 1;
        self.solved.push_back((fingerprint, inference));
        while self.links > MAX_REMEMBERED_LINKS
            && let Some((_, oldest)) = self.solved.pop_front()
        {
            self.links -= oldest.inferred.len() + 1;
        }
    }
}
