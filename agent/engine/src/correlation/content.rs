//! Which request a call belongs to, by the ids that both name.
//!
//! This is what is left where nobody can tell who executes what. It proves little by itself: other work of the process
//! may name the same thing, because another request asked for it in a body, or because a query returned it. So an id
//! counts only if the process had not named it lately before the request that brought it came, and if no other request
//! brings it while that one is open; and even then it makes a parent only where the alternatives are excluded.

mod sightings;

use foldhash::HashMap;

use crate::pairing::ExchangeId;
use crate::protocol::{Marks, Weight};
use sightings::Sightings;

/// What is made of ids that a call and a request have in common, where no other evidence is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ContentEvidence {
    /// Nothing: requests are not searched for ids.
    Off,
    /// A link; a parent only where the request was alone in its process since it began, or where the id names the
    /// request itself (`x-request-id`).
    #[default]
    Links,
    /// A parent also where all requests in the process were seen to their last byte and the id cannot have been chosen
    /// twice. Wrong where a request works on things that another one asks for at the same time.
    Parents,
}

/// Confidence of a link to the only request that brought a long id, or two of them.
const CONFIDENCE_LONG: f64 = 0.9;
/// Likewise, while there are requests of which not all was seen.
const CONFIDENCE_UNSEEN: f64 = 0.7;
/// By a short number.
const CONFIDENCE_SHORT: f64 = 0.5;

/// The request that a call seems to belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Match {
    pub(super) server: ExchangeId,
    /// None where it is as good as certain.
    pub(super) confidence: Option<f64>,
}

/// Counts of what the rules refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Calls whose ids were brought by several requests, one each.
    pub(crate) ambiguous: u64,
    /// Calls whose ids were brought by several requests, or known before.
    pub(crate) familiar: u64,
}

/// Who brought an id.
#[derive(Debug, Default)]
struct Bringers {
    /// Open requests that brought it.
    open: u32,
    /// The one that did, if nobody else named the id lately.
    only: Option<(ExchangeId, Weight)>,
}

/// What an open request has brought.
#[derive(Debug)]
struct Brought {
    tgid: u32,
    marks: Marks,
}

/// The ids of all open requests.
#[derive(Debug)]
pub(super) struct Content {
    evidence: ContentEvidence,
    bringers: HashMap<(u32, u64), Bringers>,
    requests: HashMap<ExchangeId, Brought>,
    /// Open requests of each process of which not all was seen.
    partial: HashMap<u32, u32>,
    sightings: Sightings,
    tally: Tally,
}

impl Content {
    /// Returns the state before the first request.
    pub(super) fn new(evidence: ContentEvidence) -> Self {
        Self {
            evidence,
            bringers: HashMap::default(),
            requests: HashMap::default(),
            partial: HashMap::default(),
            sightings: Sightings::default(),
            tally: Tally::default(),
        }
    }

    /// Returns what was refused so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// Notes what a request brings to the process that serves it.
    pub(super) fn begin(&mut self, id: ExchangeId, tgid: u32, marks: Marks) {
        if self.evidence == ContentEvidence::Off {
            return;
        }
        for mark in marks.iter() {
            let is_familiar = self.sightings.see(tgid, mark.hash);
            let bringers = self.bringers.entry((tgid, mark.hash)).or_default();
            bringers.open += 1;
            bringers.only = (!is_familiar).then_some((id, mark.weight));
        }
        *self.partial.entry(tgid).or_default() += u32::from(marks.is_partial());
        self.requests.insert(id, Brought { tgid, marks });
    }

    /// Forgets a request that is over.
    pub(super) fn end(&mut self, id: ExchangeId) {
        let Some(Brought { tgid, marks }) = self.requests.remove(&id) else { return };
        for mark in marks.iter() {
            lower(&mut self.bringers, (tgid, mark.hash), 1, |bringers| &mut bringers.open);
        }
        lower(&mut self.partial, tgid, u32::from(marks.is_partial()), |count| count);
    }

    /// Returns the request that brought what a call names, if it is the only one. `is_alone` says whether a request was
    /// the only one of its process since it began.
    pub(super) fn of_call(
        &mut self,
        tgid: u32,
        marks: &Marks,
        is_alone: impl FnOnce(ExchangeId) -> bool,
    ) -> Option<Match> {
        if self.evidence == ContentEvidence::Off {
            return None;
        }
        let mut agreed: Option<Agreed> = None;
        let mut is_familiar = false;
        for mark in marks.iter() {
            match self.bringers.get(&(tgid, mark.hash)).map(|bringers| bringers.only) {
                Some(Some((server, weight))) => match &mut agreed {
                    None => agreed = Some(Agreed { server, weight, marks: 1 }),
                    Some(agreed) if agreed.server == server => {
                        agreed.weight = agreed.weight.max(weight);
                        agreed.marks += 1;
                    }
                    Some(_) => {
                        self.tally.ambiguous += 1;
                        return None;
                    }
                },
                Some(None) => is_familiar = true,
                // Who brings it later is not the first to name it.
                None => _ = self.sightings.see(tgid, mark.hash),
            }
        }
        let Some(agreed) = agreed else {
            self.tally.familiar += u64::from(is_familiar);
            return None;
        };
        let confidence = self.confidence(tgid, &agreed, is_alone);
        Some(Match { server: agreed.server, confidence })
    }

    /// Returns how sure a link is; none where it is as good as certain.
    fn confidence(
        &self,
        tgid: u32,
        agreed: &Agreed,
        is_alone: impl FnOnce(ExchangeId) -> bool,
    ) -> Option<f64> {
        let is_long = agreed.weight >= Weight::Long || agreed.marks >= 2;
        let is_own_partial =
            self.requests.get(&agreed.server).is_some_and(|brought| brought.marks.is_partial());
        let partial = self.partial.get(&tgid).copied().unwrap_or(0);
        let has_unseen = partial > u32::from(is_own_partial);
        match self.evidence {
            _ if agreed.weight == Weight::Request || is_alone(agreed.server) => None,
            ContentEvidence::Parents if is_long && !has_unseen => None,
            _ if !is_long => Some(CONFIDENCE_SHORT),
            _ if has_unseen => Some(CONFIDENCE_UNSEEN),
            _ => Some(CONFIDENCE_LONG),
        }
    }

    /// Lets time pass.
    pub(super) fn handle_timeout(&mut self, now_ns: u64) {
        self.sightings.handle_timeout(now_ns);
    }
}

/// A request, and how many of a call's ids say that it is the one.
#[derive(Clone, Copy, Debug)]
struct Agreed {
    server: ExchangeId,
    weight: Weight,
    marks: u32,
}

/// Lowers the count of an entry, and removes it with the last.
fn lower<K: std::hash::Hash + Eq, V>(
    counts: &mut HashMap<K, V>,
    key: K,
    by: u32,
    count: impl FnOnce(&mut V) -> &mut u32,
) {
    let Some(entry) = counts.get_mut(&key) else { return };
    let left = count(entry);
    *left = left.saturating_sub(by);
    if *left == 0 {
        counts.remove(&key);
    }
}

#[cfg(test)]
mod tests;
