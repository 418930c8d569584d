//! What the view shows: services over the last seconds, and the latest requests.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use remora_engine::span::{SpanKind, Status};

use super::screen::Size;
use crate::enrich::ResourceSpan;
use crate::export::display::{arrow, duration, printable, status_code};
use crate::health::{self, Ledger};

/// Time over which rates and percentiles are taken.
const WINDOW: Duration = Duration::from_secs(10);
/// Requests that are kept for it; beyond it the window gets shorter.
const MAX_REQUESTS: usize = 200_000;
/// Latest requests that can be shown.
const MAX_RECENT: usize = 200;

/// The figures.
#[derive(Debug, Default)]
pub(super) struct Board {
    window: VecDeque<Request>,
    recent: VecDeque<String>,
    names: HashMap<(String, SpanKind), usize>,
    total: u64,
    errors: u64,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    at: Instant,
    name: usize,
    duration_ns: u64,
    is_error: bool,
}

impl Board {
    /// Adds a span.
    pub(super) fn insert(&mut self, span: &ResourceSpan, now: Instant) {
        let next = self.names.len();
        let name =
            *self.names.entry((printable(&span.resource.service_name), span.span.kind)).or_insert(next);
        let duration_ns = span.ended_at_unix_ns.saturating_sub(span.started_at_unix_ns);
        let is_error = matches!(span.span.status, Status::Error(_));
        if self.window.len() == MAX_REQUESTS {
            self.window.pop_front();
        }
        self.window.push_back(Request { at: now, name, duration_ns, is_error });
        self.total += 1;
        self.errors += u64::from(is_error);
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(recent(span, duration_ns, is_error));
    }

    /// Returns the lines of the view, each no longer than the screen is wide.
    pub(super) fn render(&mut self, now: Instant, size: Size, ledger: &Ledger) -> Vec<String> {
        while self.window.front().is_some_and(|request| now.duration_since(request.at) > WINDOW) {
            self.window.pop_front();
        }
        let mut lines = vec![
            format!(
                "remora watch: {} requests, {} errors, last {} s; {}",
                self.total,
                self.errors,
                WINDOW.as_secs(),
                health::summary(ledger)
            ),
            String::new(),
            format!(
                "{:<28} {:>4} {:>9} {:>7} {:>10} {:>10} {:>10}",
                "SERVICE", "", "REQ/S", "ERR %", "P50", "P95", "MAX"
            ),
        ];
        let services = self.services();
        // The latest requests keep a third of the screen at least.
        let shown = services.len().min((size.rows * 2 / 3).saturating_sub(lines.len() + 2));
        lines.extend(services.iter().take(shown).cloned());
        if shown < services.len() {
            lines.push(format!("… and {} more", services.len() - shown));
        }
        lines.push(String::new());
        let room = size.rows.saturating_sub(lines.len());
        lines.extend(self.recent.iter().skip(self.recent.len().saturating_sub(room)).cloned());
        lines.into_iter().map(|line| line.chars().take(size.columns).collect()).collect()
    }

    fn services(&self) -> Vec<String> {
        let mut by_name: BTreeMap<usize, (Vec<u64>, usize)> = BTreeMap::new();
        for request in &self.window {
            let (durations, errors) = by_name.entry(request.name).or_default();
            durations.push(request.duration_ns);
            *errors += usize::from(request.is_error);
        }
        let mut services: Vec<(usize, String)> = self
            .names
            .iter()
            .filter_map(|((service, kind), name)| {
                let (durations, errors) = by_name.get_mut(name)?;
                Some((durations.len(), service_line(service, *kind, durations, *errors)))
            })
            .collect();
        services.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        services.into_iter().map(|(_, line)| line).collect()
    }
}

fn service_line(service: &str, kind: SpanKind, durations: &mut [u64], errors: usize) -> String {
    durations.sort_unstable();
    let count = durations.len();
    let percentile = |percent: usize| {
        let at = (count * percent).div_ceil(100).max(1) - 1;
        duration(durations.get(at).copied().unwrap_or_default())
    };
    format!(
        "{service:<28} {:>4} {:>9.1} {:>7.1} {:>10} {:>10} {:>10}",
        arrow(kind),
        count as f64 / WINDOW.as_secs_f64(),
        100.0 * errors as f64 / count.max(1) as f64,
        percentile(50),
        percentile(95),
        percentile(100),
    )
}

fn recent(span: &ResourceSpan, duration_ns: u64, is_error: bool) -> String {
    let mark = if is_error { "!" } else { " " };
    let service = printable(&span.resource.service_name);
    let code = status_code(&span.span.attributes).unwrap_or_default();
    format!(
        "{mark} {service:<26} {} {:>10} {code:>5} {}",
        arrow(span.span.kind),
        duration(duration_ns),
        printable(&span.span.name)
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::enrich::{Host, Resource};
    use crate::export::sample;

    fn span(service: &str, duration_ms: u64, is_error: bool) -> ResourceSpan {
        let mut span = sample::span(1);
        let unknown = Resource::unknown(1, &Host::default());
        span.resource = Arc::new(Resource { service_name: service.to_owned(), ..unknown });
        span.ended_at_unix_ns = span.started_at_unix_ns + duration_ms * 1_000_000;
        span.span.status = if is_error { Status::Error(String::new()) } else { Status::Unset };
        span
    }

    #[test]
    fn services_are_summed_up_busiest_first() {
        let (mut board, now) = (Board::default(), Instant::now());
        for number in 1..=100 {
            board.insert(&span("cart", number, number > 90), now);
        }
        board.insert(&span("quiet", 5, false), now);
        let lines = board.render(now, Size { columns: 200, rows: 40 }, &Ledger::default());
        assert_eq!(lines[0], "remora watch: 101 requests, 10 errors, last 10 s; no losses");
        let words: Vec<_> = lines[3].split_whitespace().collect();
        assert_eq!(words, ["cart", "<-", "10.0", "10.0", "50.0", "ms", "95.0", "ms", "100.0", "ms"]);
        assert!(lines[4].starts_with("quiet"));
    }

    #[test]
    fn what_is_older_than_the_window_no_longer_counts() {
        let (mut board, start) = (Board::default(), Instant::now());
        board.insert(&span("cart", 1, false), start);
        let lines = board.render(start + WINDOW * 2, Size { columns: 80, rows: 20 }, &Ledger::default());
        assert!(!lines.iter().any(|line| line.starts_with("cart")));
        assert!(lines.iter().any(|line| line.contains("cart")), "the latest requests stay in view");
    }

    #[test]
    fn the_view_fits_the_screen() {
        let (mut board, now) = (Board::default(), Instant::now());
        for number in 0..500 {
            board.insert(&span(&format!("service-{number}-with-a-long-name"), 1, false), now);
        }
        let lines = board.render(now, Size { columns: 40, rows: 12 }, &Ledger::default());
        assert!(lines.len() <= 12);
        assert!(lines.iter().all(|line| line.chars().count() <= 40));
    }
}
