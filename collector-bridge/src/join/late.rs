//! Sides of requests that came so late that the other one may be forgotten.

use std::collections::HashSet;

use crate::model::SpanId;

/// Sides that are looked for at once, at most, of each kind; of more, the rest waits as others do.
const MAX_LATE: usize = 65_536;

/// What is to be looked for among what is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Late {
    /// Client spans that server spans wait for.
    pub clients: HashSet<SpanId>,
    /// Client spans that server spans may have expected before.
    pub expected: HashSet<SpanId>,
}

impl Late {
    pub(super) fn want_client(&mut self, client: SpanId) {
        insert(&mut self.clients, client);
    }

    pub(super) fn want_servers_of(&mut self, client: SpanId) {
        insert(&mut self.expected, client);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.expected.is_empty()
    }
}

fn insert(wanted: &mut HashSet<SpanId>, span_id: SpanId) {
    if wanted.len() < MAX_LATE {
        wanted.insert(span_id);
    }
}
