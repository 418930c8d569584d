//! Results as a table for a terminal, as JSON, and as the page `docs/accuracy.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::framework::{self, SEEN_AT_LEAST, WRONG_AT_MOST};
use crate::judge::{Inferred, Tally};
use crate::measure::{Cell, Measured};
use crate::protocol::Protocol;

/// All results of one run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) kernel: String,
    pub(crate) agent: String,
    pub(crate) requests: u64,
    pub(crate) is_encrypted: bool,
    pub(crate) frameworks: Vec<Measured>,
    /// Frameworks without results, and why.
    pub(crate) not_run: BTreeMap<String, String>,
}

/// Columns of the table.
const COLUMNS: usize = 20;

const HEADER: [&str; COLUMNS] = [
    "framework",
    "mode",
    "in flight",
    "requests",
    "server",
    "http",
    "postgresql",
    "redis",
    "grpc",
    "mysql",
    "mongodb",
    "kafka",
    "calls",
    "right",
    "wrong",
    "missing",
    "other",
    "by timing, surely",
    "by timing",
    "joined",
];

fn row(framework: &str, cell: &Cell) -> [String; COLUMNS] {
    let Tally { servers, called, spans, right, wrong, missing, linked, other, sure, inferred, .. } =
        &cell.tally;
    let [http, postgresql, redis, grpc, mysql, mongodb, kafka] = Protocol::ALL
        .map(|protocol| called.get(protocol.label()).map_or("–".to_owned(), ToString::to_string));
    let missing = if *linked > 0 { format!("{missing} ({linked} linked)") } else { missing.to_string() };
    let requests = if cell.failed > 0 {
        format!("{} ({} failed)", cell.requests, cell.failed)
    } else {
        cell.requests.to_string()
    };
    [
        framework.to_owned(),
        cell.mode.label().to_owned(),
        cell.in_flight.to_string(),
        requests,
        servers.to_string(),
        http,
        postgresql,
        redis,
        grpc,
        mysql,
        mongodb,
        kafka,
        spans.to_string(),
        percent(*right, *spans),
        wrong.to_string(),
        missing,
        other.to_string(),
        inferred_right(*sure),
        inferred_right(*inferred),
        joined(&cell.tally),
    ]
}

/// Downstream spans that are joined of all that were seen, and those joined wrongly.
fn joined(tally: &Tally) -> String {
    let Tally { joined, misjoined, unjoined, .. } = tally;
    let seen = joined + misjoined + unjoined;
    match misjoined {
        0 => format!("{joined}/{seen}"),
        wrong => format!("{joined}/{seen}, {wrong} wrong"),
    }
}

/// Right links of all links.
fn inferred_right(Inferred { right, all }: Inferred) -> String {
    if all == 0 { "–".to_owned() } else { format!("{right}/{all}") }
}

/// Writes a number with commas (`1,234,567`).
fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

/// Rounded down, so that 100 % means all.
fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = part * 1000 / whole;
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

/// Returns the rows of one framework for a terminal, columns aligned.
pub(crate) fn table(frameworks: &[Measured]) -> String {
    let header = HEADER.map(str::to_owned);
    let rows =
        frameworks.iter().flat_map(|measured| measured.cells.iter().map(|cell| row(measured.name, cell)));
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 1 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        text += "  ";
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Prints what the agent itself counted, and the mistakes that were kept as examples.
pub(crate) fn explain(measured: &Measured) {
    for loss in &measured.losses {
        eprintln!("{:>18}  {loss}", measured.name);
    }
    for cell in &measured.cells {
        for example in &cell.tally.examples {
            eprintln!("{:>18}  {} {}: {example}", measured.name, cell.mode.label(), cell.in_flight);
        }
    }
}

impl Report {
    /// Returns what breaks the budget or a floor, in words.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for measured in &self.frameworks {
            for (index, cell) in measured.cells.iter().enumerate() {
                let Tally { spans, right, wrong, servers, joined, misjoined, unjoined, .. } = cell.tally;
                let name = format!("{} {} {} in flight", measured.name, cell.mode.label(), cell.in_flight);
                if share(wrong, spans) > WRONG_AT_MOST {
                    broken.push(format!(
                        "{name}: {wrong} of {spans} parents are wrong, more than {WRONG_AT_MOST} %"
                    ));
                }
                let downstream = joined + misjoined + unjoined;
                if share(misjoined, downstream) > WRONG_AT_MOST {
                    broken.push(format!(
                        "{name}: {misjoined} of {downstream} requests are below another's call, more than {WRONG_AT_MOST} %"
                    ));
                }
                let seen = share(servers, cell.expected);
                if framework::has_servers(measured.name) && cell.expected > 0 && seen < SEEN_AT_LEAST {
                    broken.push(format!("{name}: {servers} of {} requests were seen", cell.expected));
                }
                if cell.failed > 0 {
                    broken.push(format!("{name}: {} requests failed", cell.failed));
                }
                if spans == 0 && cell.expected > 0 {
                    broken.push(format!("{name}: no call was seen"));
                }
                let floor = framework::floor(measured.name, index == 0);
                if spans > 0 && share(right, spans) < floor {
                    broken.push(format!("{name}: {} right, the floor is {floor} %", percent(right, spans)));
                }
            }
        }
        broken
    }

    /// Writes everything that was counted as JSON and returns the file: `lab.json` in `folder`.
    pub(crate) fn keep(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let path = folder.join("lab.json");
        fs::write(&path, serde_json::to_string_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Rewrites the page.
    pub(crate) fn save(&self, page: &Path) -> Result<()> {
        if let Some(folder) = page.parent() {
            fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        }
        fs::write(page, self.page()).with_context(|| format!("write {}", page.display()))?;
        eprintln!("{:>18}  {}", "page", page.display());
        Ok(())
    }

    fn page(&self) -> String {
        let Report { date, kernel, agent, requests, .. } = self;
        let explained =
            if self.is_encrypted { include_str!("page_encrypted.md") } else { include_str!("page.md") };
        let mut page = explained.to_owned();
        let tallies = || self.frameworks.iter().flat_map(|measured| &measured.cells).map(|cell| &cell.tally);
        let calls = thousands(tallies().map(|tally| tally.spans).sum());
        let wrong: u64 = tallies().map(|tally| tally.wrong).sum();
        // Writing to a String cannot fail.
        let _ = write!(
            page,
            "\n## Results\n\nMeasured on {date}, Linux {kernel}, {agent}; at least {requests} requests for each row, a quarter of that for scripts. In all tables of this page, {calls} calls, and {wrong} with a wrong parent.\n\n"
        );
        let _ = writeln!(page, "| {} |", HEADER.join(" | "));
        let _ = writeln!(page, "|{}", "---|".repeat(2) + &"---:|".repeat(HEADER.len() - 2));
        for measured in &self.frameworks {
            for cell in &measured.cells {
                let _ = writeln!(page, "| {} |", row(measured.name, cell).join(" | "));
            }
        }
        for (name, reason) in &self.not_run {
            // What follows names commands and folders of one machine.
            let reason = reason.split(": ").next().unwrap_or_default();
            let _ = writeln!(page, "| {name} | not run: {reason} |{}", " |".repeat(HEADER.len() - 2));
        }
        page += "\n## What was measured\n\n| framework | what it is | versions |\n|---|---|---|\n";
        for Measured { name, title, versions, .. } in &self.frameworks {
            let _ = writeln!(page, "| {name} | {title} | {} |", versions.join(", "));
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::framework::Mode;

    fn report(right: u64, wrong: u64, spans: u64) -> Report {
        let tally = Tally { servers: spans, right, wrong, spans, joined: spans, ..Tally::default() };
        let cell = Cell {
            mode: Mode::Work,
            in_flight: 16,
            requests: spans,
            failed: 0,
            first_failure: None,
            seconds: 1.0,
            expected: spans,
            tally,
        };
        let measured = Measured {
            name: "flask",
            title: "Flask",
            versions: vec!["flask 3".to_owned()],
            cells: vec![cell],
            losses: Vec::new(),
        };
        Report {
            date: "2026-11-21".to_owned(),
            kernel: "6.1".to_owned(),
            agent: "remora 0.1.0".to_owned(),
            requests: 1000,
            is_encrypted: false,
            frameworks: vec![measured],
            not_run: [("quarkus".to_owned(), "no Maven".to_owned())].into(),
        }
    }

    #[test]
    fn one_wrong_parent_of_a_thousand_is_the_budget() {
        assert_eq!(report(999, 1, 1000).broken(), Vec::<String>::new());
        assert_eq!(report(998, 2, 1000).broken().len(), 1);
        assert_eq!(report(0, 0, 0).broken(), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_seen_or_joined_wrongly_breaks_the_budget_too() {
        let broken = |change: fn(&mut Tally)| {
            let mut report = report(1000, 0, 1000);
            change(&mut report.frameworks[0].cells[0].tally);
            report.broken().len()
        };
        assert_eq!(broken(|_| ()), 0);
        assert_eq!(broken(|tally| tally.misjoined = 2), 1);
        assert_eq!(broken(|tally| tally.servers = 989), 1);
    }

    #[test]
    fn all_is_only_all() {
        assert_eq!([percent(9999, 10_000), percent(0, 0), percent(7, 7)], ["99.9 %", "–", "100.0 %"]);
    }

    /// Pages are put together of several runs by hand: the total must be that of the rows.
    #[test]
    fn the_total_of_the_page_is_that_of_its_rows() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let page = fs::read_to_string(root.join("docs/accuracy.md")).unwrap();
        let (mut calls, mut wrong, mut columns) = (0, 0, None);
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let at = |name: &str| cells.iter().position(|cell| *cell == name);
            columns = at("calls").zip(at("wrong")).or(columns.filter(|_| line.starts_with('|')));
            if let Some((at_calls, at_wrong)) = columns
                && let (Some(row_calls), Some(row_wrong)) = (cells.get(at_calls), cells.get(at_wrong))
            {
                calls += row_calls.parse::<u64>().unwrap_or(0);
                wrong += row_wrong.parse::<u64>().unwrap_or(0);
            }
        }
        let total = format!(
            "In all tables of this page, {} calls, and {wrong} with a wrong parent.",
            thousands(calls)
        );
        assert!(calls > 0 && page.contains(&total), "{total}");
    }

    #[test]
    fn tables_and_page_have_every_framework() {
        let report = report(999, 1, 1000);
        assert!(table(&report.frameworks).contains("99.9 %"));
        let page = report.page();
        for part in [
            "In all tables of this page, 1,000 calls, and 1 with a wrong parent.",
            "| flask | paced | 16 | 1000 |",
            "| quarkus | not run: no Maven |",
            "| flask | Flask | flask 3 |",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
