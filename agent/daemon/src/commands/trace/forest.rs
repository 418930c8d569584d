//! Spans that arrive in any order become trees.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use remora_engine::span::{SpanId, Status, TraceId};

use crate::enrich::ResourceSpan;
use crate::export::display::{arrow, duration, printable, status_code, target};

/// How long a trace must be quiet before it is printed. Spans of one exchange end within moments of each other.
const QUIET: Duration = Duration::from_millis(300);
/// How long a trace waits for parents that are still running.
const PATIENCE: Duration = Duration::from_secs(10);
/// Spans that wait in all; beyond it, what waits is printed as it is.
const MAX_SPANS: usize = 50_000;

/// Traces that are not printed yet.
#[derive(Debug, Default)]
pub(super) struct Forest {
    traces: HashMap<TraceId, Waiting>,
    spans: usize,
}

#[derive(Debug)]
struct Waiting {
    spans: Vec<ResourceSpan>,
    began_at: Instant,
    changed_at: Instant,
}

impl Forest {
    /// Adds a span.
    pub(super) fn insert(&mut self, span: ResourceSpan, now: Instant) {
        let fresh = || Waiting { spans: Vec::new(), began_at: now, changed_at: now };
        let waiting = self.traces.entry(span.span.trace_id).or_insert_with(fresh);
        waiting.changed_at = now;
        waiting.spans.push(span);
        self.spans += 1;
    }

    /// Returns the traces that are quiet and whole, or have waited long enough.
    pub(super) fn take_settled(&mut self, now: Instant) -> String {
        if self.spans > MAX_SPANS {
            return self.take_all();
        }
        let settled =
            self.traces.iter().filter(|(_, waiting)| waiting.is_settled(now)).map(|(id, _)| *id).collect();
        self.take(settled)
    }

    /// Returns everything.
    pub(super) fn take_all(&mut self) -> String {
        let all = self.traces.keys().copied().collect();
        self.take(all)
    }

    fn take(&mut self, ids: Vec<TraceId>) -> String {
        let mut trees: Vec<Vec<ResourceSpan>> =
            ids.into_iter().filter_map(|id| self.traces.remove(&id)).map(|waiting| waiting.spans).collect();
        trees.sort_by_key(|spans| spans.iter().map(|span| span.started_at_unix_ns).min());
        self.spans -= trees.iter().map(Vec::len).sum::<usize>();
        trees.iter().map(|spans| tree(spans)).collect()
    }
}

impl Waiting {
    fn is_settled(&self, now: Instant) -> bool {
        let is_quiet = now.duration_since(self.changed_at) >= QUIET;
        let is_here = |id: SpanId| self.spans.iter().any(|span| span.span.span_id == id);
        let waits = |span: &ResourceSpan| {
            span.span.parent.is_some_and(|parent| !parent.is_remote && !is_here(parent.span_id))
        };
        is_quiet && !self.spans.iter().any(waits) || now.duration_since(self.began_at) >= PATIENCE
    }
}

/// Returns the trees of one trace, a line for each span. Parents that are not here make their children roots.
fn tree(spans: &[ResourceSpan]) -> String {
    let known: HashMap<SpanId, usize> =
        spans.iter().enumerate().map(|(at, span)| (span.span.span_id, at)).collect();
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate() {
        let parent = span.span.parent.and_then(|parent| known.get(&parent.span_id).copied());
        children.entry(parent.filter(|&parent| parent != at)).or_default().push(at);
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|&at| spans.get(at).map(|span| span.started_at_unix_ns));
    }
    let mut text = String::new();
    let mut stack: Vec<(usize, String, String)> = Vec::new();
    // Roots come first; what is left after them hangs on a circle of hostile ids, and is cut open.
    while let Some((_, roots)) = children.pop_first() {
        push(&mut stack, roots, "", true);
        while let Some((at, lead, indent)) = stack.pop() {
            if let Some(span) = spans.get(at) {
                let _ = writeln!(text, "{lead}{}", line(span));
            }
            push(&mut stack, children.remove(&Some(at)).unwrap_or_default(), &indent, false);
        }
    }
    text
}

/// Pushes siblings so that the first is popped first.
fn push(stack: &mut Vec<(usize, String, String)>, siblings: Vec<usize>, indent: &str, is_root: bool) {
    let count = siblings.len();
    for (index, at) in siblings.into_iter().enumerate().rev() {
        let (branch, below) = match (is_root, index + 1 == count) {
            (true, _) => ("", ""),
            (false, true) => ("└─ ", "   "),
            (false, false) => ("├─ ", "│  "),
        };
        stack.push((at, format!("{indent}{branch}"), format!("{indent}{below}")));
    }
}

fn line(span: &ResourceSpan) -> String {
    let taken = duration(span.ended_at_unix_ns.saturating_sub(span.started_at_unix_ns));
    let service = printable(&span.resource.service_name);
    let mut line = format!("{service} {} {}", arrow(span.span.kind), printable(&span.span.name));
    if let Some(target) = target(&span.span.name, &span.span.attributes) {
        let _ = write!(line, " {target}");
    }
    let _ = write!(line, "  {taken}");
    if let Some(code) = status_code(&span.span.attributes) {
        let _ = write!(line, "  {code}");
    }
    if let Status::Error(message) = &span.span.status {
        let _ = write!(line, "  ERROR {}", printable(message));
    }
    line
}

#[cfg(test)]
mod tests;
