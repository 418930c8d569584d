//! What the agent concludes from ids, and whether it is true.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{Judge, Role, Span};

/// Whose ids the calls of a request carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ids {
    /// Its own, which no other request has.
    Own,
    /// Its own, which is short.
    Short,
    /// Its own, which other requests have too, at the same time and later.
    Shared,
    /// Those of its neighbour, which is under way at the same time.
    Crossed,
}

impl Ids {
    /// Returns how tables call it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Ids::Own => "own",
            Ids::Short => "own, short",
            Ids::Shared => "shared",
            Ids::Crossed => "crossed",
        }
    }
}

/// What was concluded for the calls of one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Claims {
    pub(crate) calls: u64,
    pub(crate) right_parents: u64,
    pub(crate) wrong_parents: u64,
    pub(crate) right_links: u64,
    pub(crate) wrong_links: u64,
    /// Calls about which nothing is said.
    pub(crate) silent: u64,
}

impl Judge {
    /// Judges what is said of the calls that carry one of `numbers`.
    pub(crate) fn claims(&self, numbers: &Range<u64>, ids: Ids) -> Claims {
        let mut claims = Claims::default();
        for call in &self.spans {
            let Some(number) = call.number.filter(|number| numbers.contains(number)) else { continue };
            if !matches!(self.role(call), Some(Role::Call(_))) {
                continue;
            }
            claims.calls += 1;
            let is_true = |id: &String| {
                let server = self.by_id.get(id).and_then(|&index| self.spans.get(index));
                server.is_some_and(|server| self.is_cause(server, call, number, ids))
            };
            *match (&call.parent, call.links.first()) {
                (Some(parent), _) if is_true(parent) => &mut claims.right_parents,
                (Some(_), _) => &mut claims.wrong_parents,
                (None, Some(link)) if is_true(link) => &mut claims.right_links,
                (None, Some(_)) => &mut claims.wrong_links,
                (None, None) => &mut claims.silent,
            } += 1;
        }
        claims
    }

    fn is_cause(&self, server: &Span, call: &Span, number: u64, ids: Ids) -> bool {
        let asked = if ids == Ids::Crossed { number ^ 1 } else { number };
        let is_open = |server: &Span| {
            server.is_server
                && server.is_request
                && server.process == call.process
                && server.number == Some(asked)
                && (server.started_ns..=server.ended_ns).contains(&call.started_ns)
        };
        // Where several requests could be meant, naming one is a guess, and counts as wrong.
        is_open(server) && self.spans.iter().filter(|other| is_open(other)).count() == 1
    }
}
