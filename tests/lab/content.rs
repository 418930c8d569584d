//! How often conclusions from ids are right: with ids as they should be, and with ids that mislead.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::agent::{Agent, Seen};
use crate::framework::{Framework, Load};
use crate::judge::{Claims, FIRST_LONG_NUMBER, FIRST_NUMBER, Ids, Judge};
use crate::load;
use crate::measure::{self, Bench};
use crate::plan::Plan;
use crate::site::Site;

/// What the agent may be told to conclude.
const SETTINGS: [&str; 2] = ["links", "parents"];
/// Requests that have one number in common.
const SHARING: u64 = 4;

/// One row of the table.
#[derive(Debug, Serialize)]
struct Row {
    framework: &'static str,
    setting: &'static str,
    ids: Ids,
    in_flight: usize,
    requests: u64,
    failed: u64,
    claims: Claims,
}

const HEADER: [&str; 11] = [
    "framework",
    "content",
    "ids",
    "in flight",
    "requests",
    "calls",
    "right parents",
    "wrong parents",
    "right links",
    "wrong links",
    "silent",
];

/// Measures the frameworks of a plan, prints the table, and keeps it where the plan says.
pub(crate) fn run(plan: &Plan, bench: &mut Bench<'_>, frameworks: &[&Framework]) -> Result<()> {
    let mut rows = Vec::new();
    for framework in frameworks {
        for setting in SETTINGS {
            rows.extend(bench.conclude(framework, setting).with_context(|| framework.name.to_owned())?);
        }
    }
    let table = table(&rows);
    println!("{table}");
    fs::create_dir_all(&plan.results).with_context(|| format!("create {}", plan.results.display()))?;
    let results = plan.results.join("content.json");
    fs::write(&results, serde_json::to_string_pretty(&rows)?)
        .with_context(|| format!("write {}", results.display()))?;
    match &plan.page {
        Some(page) => save(page, &table),
        None => Ok(()),
    }
}

impl Bench<'_> {
    /// Measures one framework under one run of the agent.
    fn conclude(&mut self, framework: &Framework, setting: &'static str) -> Result<Vec<Row>> {
        let site = Site::new(self.servers, framework)?;
        let agent = Agent::start(self.agent, self.sink, setting)?;
        let processes = self.start(framework, &site)?;
        let mut sent = Vec::new();
        for ids in ids(framework) {
            for &in_flight in self.in_flight {
                crate::interrupt::check()?;
                sent.push(
                    self.send(framework, &site, ids, in_flight).with_context(|| measure::said(&processes))?,
                );
            }
        }
        drop(processes);
        let Seen { spans, .. } = agent.finish()?;
        let judge = Judge::new(spans, self.servers.neighbours());
        let row = |Sent { ids, in_flight, requests, failed, numbers }| Row {
            framework: framework.name,
            setting,
            ids,
            in_flight,
            requests,
            failed,
            claims: judge.claims(&numbers, ids),
        };
        Ok(sent.into_iter().map(row).collect())
    }

    fn send(&mut self, framework: &Framework, site: &Site, ids: Ids, in_flight: usize) -> Result<Sent> {
        // Pairs of neighbours, and groups that share a number, begin at a multiple.
        let base = if ids == Ids::Short { 0 } else { FIRST_LONG_NUMBER - FIRST_NUMBER };
        let first = (base + self.next_number).next_multiple_of(SHARING);
        let (route, sharing) = match ids {
            Ids::Own | Ids::Short => ("paced", 1),
            Ids::Shared => ("paced", SHARING),
            Ids::Crossed => ("crossed", 1),
        };
        let numbers = first..first + (self.requests / sharing).next_multiple_of(2);
        self.next_number = numbers.end - base;
        let requests = (numbers.end - numbers.start) * sharing;
        let path = |request| format!("/{route}/{}", first + (request - first) / sharing);
        let failures = load::http(site.target(), first..first + requests, in_flight, 1, path)?;
        let name = framework.name;
        eprintln!("{name:>18}  ids {:10}  {in_flight:3} in flight  {requests} requests", ids.label());
        if let Some(first) = &failures.first {
            eprintln!("{name:>18}  {} requests failed; the first one: {first}", failures.count);
        }
        Ok(Sent { ids, in_flight, requests, failed: failures.count, numbers })
    }
}

/// A cell whose requests were sent.
struct Sent {
    ids: Ids,
    in_flight: usize,
    requests: u64,
    failed: u64,
    numbers: Range<u64>,
}

/// Only some programs can be told to work on what another request asks for.
fn ids(framework: &Framework) -> Vec<Ids> {
    let mut ids = vec![Ids::Own, Ids::Short, Ids::Shared];
    if framework.name == "flask-executor" {
        ids.push(Ids::Crossed);
    }
    ids
}

/// Returns whether a framework can be measured: it serves the requests itself.
pub(crate) fn is_measurable(framework: &Framework) -> bool {
    matches!(framework.load, Load::Http(_)) && framework.modes.contains(&crate::framework::Mode::Work)
}

fn table(rows: &[Row]) -> String {
    let mut text = format!("| {} |\n|{}{}\n", HEADER.join(" | "), "---|".repeat(3), "---:|".repeat(8));
    for Row { framework, setting, ids, in_flight, requests, failed, claims } in rows {
        let Claims { calls, right_parents, wrong_parents, right_links, wrong_links, silent } = claims;
        let failed = if *failed > 0 { format!(" ({failed} failed)") } else { String::new() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {framework} | {setting} | {} | {in_flight} | {requests}{failed} | {calls} | {right_parents} | \
             {wrong_parents} | {right_links} | {wrong_links} | {silent} |",
            ids.label()
        );
    }
    text
}

fn save(page: &Path, table: &str) -> Result<()> {
    let text = format!("{}\n{table}", include_str!("content.md"));
    fs::write(page, text).with_context(|| format!("write {}", page.display()))
}
