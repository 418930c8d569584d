//! Calls that have ended, and whose cause shows when the request is answered that they are hoped to be for.

use foldhash::HashMap;

use super::Foreseen;
use super::late::{Late, belong};
use super::parents::{Hope, Parents};
use super::sizes::Sizes;
use crate::pairing::ExchangeId;

/// Spans that wait. One more does not, and has no parent.
const MAX_SPANS: usize = 4096;
/// How long a span waits for its request to be answered.
const MAX_WAIT_NS: u64 = 10_000_000_000;

/// The spans that wait, by the request.
#[derive(Debug, Default)]
pub(super) struct Hoping {
    waiting: HashMap<ExchangeId, Vec<(Hope, Late)>>,
    spans: usize,
    done: Vec<Late>,
    unfulfilled: u64,
}

impl Hoping {
    /// Returns how many spans have no parent because what they were hoped to be for did not show.
    pub(super) fn unfulfilled(&self) -> u64 {
        self.unfulfilled
    }

    /// Returns a span that waits no longer.
    pub(super) fn pop(&mut self) -> Option<Late> {
        self.done.pop()
    }

    /// Lets a span wait for what it is hoped to be for.
    pub(super) fn hold(&mut self, hope: Hope, late: Late) {
        if self.spans >= MAX_SPANS {
            return self.give_up(late);
        }
        self.spans += 1;
        self.waiting.entry(hope.server).or_default().push((hope, late));
    }

    /// Returns whether spans wait for this request.
    pub(super) fn is_awaited(&self, server: ExchangeId) -> bool {
        self.waiting.contains_key(&server)
    }

    /// A request has ended: it is the cause of the calls whose hope has come true, and which it admits.
    pub(super) fn settle(
        &mut self,
        server: ExchangeId,
        cause: Option<&Foreseen>,
        parents: &mut Parents,
        sizes: &mut Sizes,
    ) {
        let waiting = self.waiting.remove(&server).unwrap_or_default();
        self.spans -= waiting.len();
        for (hope, mut late) in waiting {
            match cause.filter(|_| parents.has_come_true(&hope)) {
                Some(cause) => {
                    let at_ns = late.span.started_at_ns;
                    if parents.admits(server, at_ns) && sizes.admits(cause.cause.trace_id, at_ns) {
                        belong(&mut late.span, late.own_trace, cause.clone());
                    }
                    self.done.push(late);
                }
                None => self.give_up(late),
            }
        }
    }

    /// Lets time pass.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_over =
            |(_, late): &mut (Hope, Late)| now_ns.saturating_sub(late.span.ended_at_ns) > MAX_WAIT_NS;
        let over: Vec<_> =
            self.waiting.values_mut().flat_map(|spans| spans.extract_if(.., is_over)).collect();
        self.waiting.retain(|_, spans| !spans.is_empty());
        self.spans -= over.len();
        over.into_iter().for_each(|(_, late)| self.give_up(late));
    }

    fn give_up(&mut self, late: Late) {
        self.unfulfilled += 1;
        self.done.push(late);
    }
}
