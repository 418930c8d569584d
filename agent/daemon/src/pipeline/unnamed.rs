//! Spans whose process discovery has not looked at yet, or whose pod the API server has not told of.
//!
//! A command that asks one thing and ends is told by its span and by its exec at nearly the same time. Its span waits a
//! little for its name.

use std::collections::VecDeque;

use remora_engine::span::Span;

/// How long a span waits. Discovery takes milliseconds; on a starved host, or for a program whose functions are looked
/// for in large files, more.
const PATIENCE_NS: u64 = 5_000_000_000;
/// Spans that wait. One more, and the oldest goes without a name.
const MAX_WAITING: usize = 16_384;

/// Spans that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Unnamed {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    until_ns: u64,
    /// Which of its process's programs made it.
    programs: u32,
    span: Span,
}

impl Unnamed {
    /// Lets a span wait; returns the oldest where there are too many.
    pub(super) fn push(&mut self, span: Span, programs: u32, now_ns: u64) -> Option<Span> {
        self.waiting.push_back(Waiting { until_ns: now_ns.saturating_add(PATIENCE_NS), programs, span });
        let is_over = self.waiting.len() > MAX_WAITING;
        self.waiting.pop_front_if(|_| is_over).map(|waiting| waiting.span)
    }

    /// Returns whether no span waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns a span whose process, and how often that began a program, is known by now, or that has waited long enough.
    pub(super) fn pop(&mut self, now_ns: u64, is_known: impl Fn(u32, u32) -> bool) -> Option<Span> {
        let is_over =
            |waiting: &Waiting| waiting.until_ns <= now_ns || is_known(waiting.span.tgid, waiting.programs);
        let index = self.waiting.iter().position(is_over)?;
        self.waiting.remove(index).map(|waiting| waiting.span)
    }
}
