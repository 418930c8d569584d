//! Requests that both the agent and an SDK describe: the SDK's span stays, with its parent, and what hung below the
//! agent's span hangs below it.
//!
//! | agent's span | is left out beside an SDK's span of the same service and category that |
//! |---|---|
//! | client | the request itself named as its parent |
//! | server | has the same parent, by the request's own word or by position, and overlaps it in time |
//! | server | has no parent, is of the same request by its connection, path and time, and neither could be of another |
//! | client | lies around it in time, has the same parent or one further down, and names nothing differently |
//!
//! An agent's span without such a span stays. An SDK's span keeps its parent; one without any gets the one of the agent's
//! span that it stands for.

use std::collections::{HashMap, HashSet};

use super::category::{Category, category, is_contradicted};
use crate::model::{
    Answered, CLOCK_SLACK_NS, PARENT_EVIDENCE, REMOTE_PARENT, Received, Span, SpanId, SpanKind, Teller,
};

/// Spans between an SDK's span and the agent's parent, and spans that are compared with one, at most. Where one peer
/// asks for the same more often in one trace, none is told from another.
const MAX_STEPS: usize = 32;

/// Leaves the agent's spans out that an SDK describes too; returns how many. `sent_parents` are the parents before any
/// was joined by position.
pub(super) fn merge(spans: &mut Vec<Span>, sent_parents: &[Option<SpanId>]) -> u32 {
    let view = View::new(spans, sent_parents);
    let mut kept_for: HashMap<SpanId, SpanId> = HashMap::new();
    view.named_by_the_request(&mut kept_for);
    view.same_request_received(&mut kept_for);
    let adopted = view.same_connection(&mut kept_for);
    view.covered_in_time(&mut kept_for);
    if kept_for.is_empty() {
        return 0;
    }
    adopt(spans, &adopted);
    let before = spans.len();
    spans.retain(|span| !(span.is_from_agent() && kept_for.contains_key(&span.span_id)));
    for span in spans.iter_mut() {
        span.parent_span_id = span.parent_span_id.map(|parent| resolved(&kept_for, parent));
    }
    u32::try_from(before - spans.len()).unwrap_or(u32::MAX)
}

/// Gives spans of SDKs without a parent the one of the agent's span, with its evidence: by places in `spans`.
fn adopt(spans: &mut [Span], adopted: &[(usize, usize)]) {
    for (sdk, agent) in adopted {
        let Some(agent) = spans.get(*agent) else { continue };
        let (parent, flags) = (agent.parent_span_id, agent.flags);
        let evidence = agent.attributes.iter().find(|attribute| &*attribute.key == PARENT_EVIDENCE).cloned();
        if let (Some(sdk), Some(parent)) = (spans.get_mut(*sdk), parent) {
            sdk.parent_span_id = Some(parent);
            sdk.flags |= flags & REMOTE_PARENT;
            sdk.attributes.extend(evidence);
        }
    }
}

/// What is left out stands for an SDK's span, which is never left out.
fn resolved(kept_for: &HashMap<SpanId, SpanId>, span_id: SpanId) -> SpanId {
    kept_for.get(&span_id).copied().unwrap_or(span_id)
}

/// A span with what is asked of it again and again.
struct Seen<'a> {
    span: &'a Span,
    sent_parent: Option<SpanId>,
    category: Option<Category<'a>>,
    is_from_agent: bool,
}

struct View<'a> {
    spans: Vec<Seen<'a>>,
    sdk_at: HashMap<SpanId, usize>,
}

/// Who tells of requests that are told apart by time alone, by place.
#[derive(Default)]
struct Told {
    by_sdk: Vec<(usize, Answered)>,
    by_agent: Vec<(usize, Answered)>,
}

impl Told {
    /// Returns which are of one request, where neither could be of another.
    fn pairs(&self) -> Vec<(usize, usize)> {
        if self.by_sdk.len().max(self.by_agent.len()) > MAX_STEPS {
            return Vec::new();
        }
        let only = |found: &mut dyn Iterator<Item = usize>| found.next().filter(|_| found.next().is_none());
        let agent_of = |sdk: &Answered| {
            only(&mut self.by_agent.iter().filter(|(_, agent)| agent.holds(sdk)).map(|(index, _)| *index))
        };
        let sdk_of = |agent: &Answered| {
            only(&mut self.by_sdk.iter().filter(|(_, sdk)| agent.holds(sdk)).map(|(index, _)| *index))
        };
        let meant = self.by_agent.iter().filter_map(|(index, agent)| Some((sdk_of(agent)?, *index)));
        let is_mutual = |(place, agent): &(usize, usize)| {
            let sdk = self.by_sdk.iter().find(|(index, _)| index == place);
            sdk.is_some_and(|(_, sdk)| agent_of(sdk) == Some(*agent))
        };
        meant.filter(is_mutual).collect()
    }
}

/// What spans of the same request have in common.
type Key<'a> = (&'a str, SpanKind, Category<'a>);

impl<'a> View<'a> {
    fn new(spans: &'a [Span], sent_parents: &[Option<SpanId>]) -> Self {
        let seen = spans.iter().zip(sent_parents).map(|(span, sent_parent)| Seen {
            span,
            sent_parent: *sent_parent,
            category: category(span),
            is_from_agent: span.is_from_agent(),
        });
        let spans: Vec<Seen<'_>> = seen.collect();
        let mut sdk_at = HashMap::new();
        for (index, seen) in spans.iter().enumerate().filter(|(_, seen)| !seen.is_from_agent) {
            sdk_at.entry(seen.span.span_id).or_insert(index);
        }
        Self { spans, sdk_at }
    }

    fn sdk(&self, span_id: SpanId) -> Option<&Seen<'a>> {
        self.sdk_at.get(&span_id).and_then(|index| self.spans.get(*index))
    }

    fn of_agent(&self, kind: SpanKind) -> impl Iterator<Item = &Seen<'a>> {
        self.spans.iter().filter(move |seen| {
            // An id that an SDK's span has as well cannot stand for another one.
            seen.is_from_agent && seen.side() == kind && !self.sdk_at.contains_key(&seen.span.span_id)
        })
    }

    /// The SDK's spans by what a double has in common with them, earliest first.
    fn by_key(&self, kind: SpanKind) -> HashMap<Key<'a>, Vec<&Seen<'a>>> {
        let mut by_key: HashMap<Key<'a>, Vec<&Seen<'a>>> = HashMap::new();
        for seen in self.spans.iter().filter(|seen| !seen.is_from_agent && seen.side() == kind) {
            if let Some(key) = seen.key() {
                by_key.entry(key).or_default().push(seen);
            }
        }
        by_key.values_mut().for_each(|seen| seen.sort_by_key(|seen| seen.span.start_unix_ns));
        by_key
    }

    fn named_by_the_request(&self, kept_for: &mut HashMap<SpanId, SpanId>) {
        for seen in self.of_agent(SpanKind::Client).filter(|seen| seen.span.has_wire_parent()) {
            let parent = seen.span.parent_span_id.and_then(|parent| self.sdk(parent));
            if let Some(parent) = parent.filter(|parent| parent.key().is_some() && parent.key() == seen.key())
            {
                kept_for.insert(seen.span.span_id, parent.span.span_id);
            }
        }
    }

    fn same_request_received(&self, kept_for: &mut HashMap<SpanId, SpanId>) {
        let by_key = self.by_key(SpanKind::Server);
        let mut taken: HashSet<SpanId> = HashSet::new();
        for seen in self.of_agent(SpanKind::Server) {
            let Some(others) = seen.key().and_then(|key| by_key.get(&key)) else { continue };
            let parents = [seen.sent_parent, seen.span.parent_span_id];
            let parents = parents.map(|parent| parent.map(|parent| resolved(kept_for, parent)));
            let same = others.iter().filter(|other| {
                let parent = other.span.parent_span_id;
                parent.is_some() && parents.contains(&parent) && !taken.contains(&other.span.span_id)
            });
            let overlap = |other: &&&Seen<'_>| overlap_ns(seen.span, other.span);
            let best = same.filter(|other| overlap(other).is_some()).max_by_key(overlap);
            if let Some(best) = best {
                taken.insert(best.span.span_id);
                kept_for.insert(seen.span.span_id, best.span.span_id);
            }
        }
    }

    /// Returns the SDK's spans that begin a trace and are of the agent's requests, each with that, by their places.
    fn same_connection(&self, kept_for: &mut HashMap<SpanId, SpanId>) -> Vec<(usize, usize)> {
        let mut told: HashMap<Received<'a>, Told> = HashMap::new();
        for (index, seen) in self.spans.iter().enumerate() {
            let Some((teller, received)) = seen.span.received() else { continue };
            let told = told.entry(received).or_default();
            match teller {
                Teller::Sdk => told.by_sdk.push((index, seen.span.answered())),
                Teller::Agent if !self.sdk_at.contains_key(&seen.span.span_id) => {
                    told.by_agent.push((index, seen.span.answered()));
                }
                Teller::Agent => {}
            }
        }
        let pairs: Vec<_> = told.values().flat_map(Told::pairs).collect();
        for (sdk, agent) in &pairs {
            if let (Some(sdk), Some(agent)) = (self.spans.get(*sdk), self.spans.get(*agent)) {
                kept_for.entry(agent.span.span_id).or_insert(sdk.span.span_id);
            }
        }
        pairs
    }

    fn covered_in_time(&self, kept_for: &mut HashMap<SpanId, SpanId>) {
        let by_key = self.by_key(SpanKind::Client);
        for seen in self.of_agent(SpanKind::Client) {
            if kept_for.contains_key(&seen.span.span_id) {
                continue;
            }
            let Some(parent) = seen.span.parent_span_id else { continue };
            let parent = resolved(kept_for, parent);
            let others = seen.key().and_then(|key| by_key.get(&key)).map(Vec::as_slice).unwrap_or_default();
            // Those that begin later cannot lie around it; of the others, the one that began last is the closest.
            let latest = seen.span.start_unix_ns.saturating_add(CLOCK_SLACK_NS);
            let begun = others.partition_point(|other| other.span.start_unix_ns <= latest);
            let before = others.get(..begun).unwrap_or_default().iter().rev().take(MAX_STEPS);
            let covering = before.into_iter().find(|other| {
                other.span.end_unix_ns.saturating_add(CLOCK_SLACK_NS) >= seen.span.end_unix_ns
                    && !is_contradicted(seen.span, other.span)
                    && self.is_below(other, parent)
            });
            if let Some(covering) = covering {
                kept_for.insert(seen.span.span_id, covering.span.span_id);
            }
        }
    }

    /// Returns whether an SDK's span has this parent, at once or behind further spans of the SDK in the same service.
    fn is_below(&self, seen: &Seen<'_>, parent: SpanId) -> bool {
        let mut at = seen.span.parent_span_id;
        for _ in 0..MAX_STEPS {
            let Some(above) = at else { return false };
            if above == parent {
                return true;
            }
            let between = self.sdk(above).map(|seen| seen.span);
            let inside = between.filter(|span| {
                let is_request = span.kind == SpanKind::Server || span.kind.is_caller();
                !is_request && span.service_name() == seen.span.service_name()
            });
            at = inside.and_then(|span| span.parent_span_id);
        }
        false
    }
}

impl<'a> Seen<'a> {
    fn key(&self) -> Option<Key<'a>> {
        Some((self.span.service_name(), self.side(), self.category?))
    }

    /// Returns the kind; that of whoever asks a database is always `CLIENT`, since SDKs tell what is sent by Redis so.
    fn side(&self) -> SpanKind {
        let is_database = matches!(self.category, Some(Category::Database(_)));
        if is_database && self.span.kind.is_caller() { SpanKind::Client } else { self.span.kind }
    }
}

/// Returns how long two spans of one host run at the same time; none if they do not.
fn overlap_ns(one: &Span, other: &Span) -> Option<u64> {
    let from = one.start_unix_ns.max(other.start_unix_ns);
    let until = one.end_unix_ns.min(other.end_unix_ns).saturating_add(CLOCK_SLACK_NS);
    until.checked_sub(from)
}
