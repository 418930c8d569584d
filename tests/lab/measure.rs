//! One framework: the agent, the program, its load cell by cell, and the verdicts.

use std::net::TcpStream;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use remora_tests::running::Running;
use remora_tests::sink::Sink;
use remora_tests::tools;
use serde::Serialize;

use crate::agent::{Agent, NO_CONTENT, Seen};
use crate::framework::{self, Framework, Load, Mode};
use crate::judge::{FIRST_NUMBER, Judge, Tally};
use crate::load::{self, Failures, Target};
use crate::site::{Servers, Site};

/// How long a program may take until it answers: Java's frameworks on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How often each of the load's connections is used at least, on the average.
const REUSES: u64 = 4;
/// A program that runs once for each number costs as much as so many requests.
const RUNS_SHARE: u64 = 4;

/// One row of the table.
#[derive(Debug, Serialize)]
pub(crate) struct Cell {
    pub(crate) mode: Mode,
    pub(crate) in_flight: usize,
    pub(crate) requests: u64,
    /// Requests that were not answered, or not with a 200.
    pub(crate) failed: u64,
    pub(crate) first_failure: Option<String>,
    pub(crate) seconds: f64,
    /// Spans expected of each of HTTP, PostgreSQL and Redis; a retry or a second round trip makes more.
    pub(crate) expected: u64,
    #[serde(flatten)]
    pub(crate) tally: Tally,
}

/// What was measured of one framework.
#[derive(Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) versions: Vec<String>,
    pub(crate) cells: Vec<Cell>,
    /// What the agent counted as lost, or left without parent.
    pub(crate) losses: Vec<String>,
}

/// What is the same for all frameworks.
pub(crate) struct Bench<'a> {
    pub(crate) servers: &'a Servers,
    pub(crate) sink: &'a Sink,
    pub(crate) agent: &'a Path,
    pub(crate) in_flight: &'a [usize],
    /// Requests that a connection sends before it waits for an answer.
    pub(crate) at_once: u64,
    pub(crate) requests: u64,
    /// The first number that was not given yet.
    pub(crate) next_number: u64,
}

impl<'a> Bench<'a> {
    pub(crate) fn new(
        servers: &'a Servers,
        sink: &'a Sink,
        agent: &'a Path,
        in_flight: &'a [usize],
        at_once: u64,
        requests: u64,
    ) -> Self {
        Self { servers, sink, agent, in_flight, at_once, requests, next_number: FIRST_NUMBER }
    }

    /// Measures all cells of a framework under one run of the agent.
    pub(crate) fn measure(&mut self, framework: &Framework) -> Result<Measured> {
        let Framework { name, title, .. } = *framework;
        let versions = (framework.versions)().context("ask for versions")?;
        let site = Site::new(self.servers, framework)?;
        let platform = framework::platform(name);
        let agent = Agent::start_attaching(self.agent, self.sink, NO_CONTENT, platform)?;
        let processes = self.start(framework, &site)?;
        if platform.is_some() {
            agent.wait_attached(&processes).with_context(|| said(&processes))?;
        }
        let mut loaded = Vec::new();
        for &mode in framework.modes {
            for &in_flight in self.in_flight {
                crate::interrupt::check()?;
                loaded.push(self.load(framework, &site, mode, in_flight).with_context(|| said(&processes))?);
            }
        }
        drop(processes);
        let Seen { spans, links, losses } = agent.finish()?;
        let judge = Judge::new(spans, self.servers.neighbours()).with_links(links.infer());
        let cells = loaded.into_iter().map(|cell| cell.judged(&judge, framework)).collect();
        Ok(Measured { name, title, versions, cells, losses })
    }

    pub(crate) fn start(&self, framework: &Framework, site: &Site) -> Result<Vec<Running>> {
        let commands = match framework.load {
            Load::Http(commands) | Load::Jobs(commands) => commands(site)?,
            Load::Runs(_) => Vec::new(),
        };
        let mut processes = Vec::new();
        for (index, mut command) in commands.into_iter().enumerate() {
            let name = format!("{}-{index}", framework.name);
            processes.push(Running::start(&name, site.scratch(), &mut command)?);
        }
        if let Some(first) = processes.first_mut() {
            first.wait_ready(READY_WITHIN, || answers(site.target()))?;
        }
        Ok(processes)
    }

    fn load(&mut self, framework: &Framework, site: &Site, mode: Mode, in_flight: usize) -> Result<Loaded> {
        let requests = match framework.load {
            Load::Runs(_) => self.requests.div_ceil(RUNS_SHARE),
            Load::Http(_) | Load::Jobs(_) => self.requests.max(REUSES * in_flight as u64),
        };
        let numbers = self.next_number..self.next_number + requests;
        self.next_number = numbers.end;
        let begin = Instant::now();
        let gets = self.servers.redis_gets()?;
        let path = |number| format!("/{}/{number}", mode.route());
        let failures = match framework.load {
            Load::Http(_) => load::http(site.target(), numbers.clone(), in_flight, self.at_once, path)?,
            Load::Jobs(_) => {
                let failures = load::http(site.target(), numbers.clone(), in_flight, self.at_once, path)?;
                self.servers.wait_redis_gets(gets + requests - failures.count)?;
                failures
            }
            Load::Runs(command) => {
                load::commands(numbers.clone(), in_flight, |number| command(site, mode, number))?
            }
        };
        let seconds = begin.elapsed().as_secs_f64();
        let (name, route) = (framework.name, mode.label());
        eprintln!("{name:>18}  {route:5}  {in_flight:3} in flight  {requests} requests in {seconds:.1} s");
        if let Some(first) = &failures.first {
            eprintln!("{name:>18}  {} requests failed; the first one: {first}", failures.count);
        }
        Ok(Loaded { mode, in_flight, numbers, failures, seconds })
    }
}

/// A cell whose requests were sent.
struct Loaded {
    mode: Mode,
    in_flight: usize,
    numbers: Range<u64>,
    failures: Failures,
    seconds: f64,
}

impl Loaded {
    fn judged(self, judge: &Judge, framework: &Framework) -> Cell {
        let requests = self.numbers.end - self.numbers.start;
        Cell {
            mode: self.mode,
            in_flight: self.in_flight,
            requests,
            failed: self.failures.count,
            first_failure: self.failures.first,
            seconds: self.seconds,
            expected: requests - self.failures.count,
            tally: judge.tally(&self.numbers, framework.truth),
        }
    }
}

/// Whether the program answers at all: proxies and frameworks are asked for the same path.
fn answers(target: &Target) -> Result<bool> {
    if TcpStream::connect(target.address).is_err() {
        return Ok(false);
    }
    let url = target.url("/healthz");
    // Whether the program is who it says is not the question.
    let code = tools::curl(&["--insecure", "--output", "/dev/null", "--write-out", "%{http_code}", &url])?;
    Ok(code == "200")
}

/// Returns what the programs printed, for errors.
pub(crate) fn said(processes: &[Running]) -> String {
    let printed: Vec<_> = processes.iter().map(Running::printed).collect();
    let printed = printed.join("\n");
    let tail = printed.char_indices().rev().nth(3000).map_or(0, |(at, _)| at);
    format!("the program printed: {}", &printed[tail..])
}

/// Returns the kernel's release.
pub(crate) fn kernel() -> Result<String> {
    Ok(tools::printed(Command::new("uname").arg("-r"))?.trim().to_owned())
}

/// Returns the day, as `2026-11-21`.
pub(crate) fn today() -> Result<String> {
    Ok(tools::printed(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned())
}
