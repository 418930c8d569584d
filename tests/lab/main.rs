//! Measures whether the agent's parents are right. `cargo xtask lab` installs what is needed and runs it.
//!
//! Tables go to standard output; what is being done goes to standard error.
#![forbid(unsafe_code)]

mod agent;
mod content;
mod cost;
mod downstream;
mod encrypted;
mod framework;
mod interrupt;
mod judge;
mod links;
mod load;
mod measure;
mod plan;
mod protocol;
mod report;
mod services;
mod site;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use remora_tests::scratch::Scratch;
use remora_tests::sink::Sink;
use remora_tests::tools;
use serde_json::json;

use framework::Framework;
use measure::Bench;
use plan::Plan;
use report::Report;
use site::Servers;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => list(),
        ["downstream", address] => downstream::serve(address.parse().context("read the address")?)?,
        ["run", plan] => return measure(&Plan::read(plan)?),
        ["cost", plan, rounds] => {
            cost(&Plan::read(plan)?, rounds.parse().context("read the number of rounds")?)?;
        }
        _ => bail!("usage: lab list | lab run PLAN | lab cost PLAN ROUNDS; `cargo xtask` does them all"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the frameworks for xtask, one JSON object a line.
fn list() {
    for Framework { name, title, needs, .. } in framework::all() {
        let is_short = framework::SHORT.contains(name);
        println!(
            "{}",
            json!({ "name": name, "title": title, "needs": needs, "is_short": is_short, "is_costed": framework::COSTED.contains(name), "is_encrypted": framework::is_encrypted(name) })
        );
    }
}

fn measure(plan: &Plan) -> Result<ExitCode> {
    interrupt::watch()?;
    // A copy: the original may be built anew while it is measured.
    let scratch = Scratch::new("lab-binary")?;
    let binary = scratch.path().join("remora");
    fs::copy(&plan.agent, &binary).with_context(|| format!("copy {}", plan.agent.display()))?;
    let servers = Servers::start()?;
    let sink = Sink::start()?;
    let mut bench = Bench::new(&servers, &sink, &binary, &plan.in_flight, plan.at_once, plan.requests);
    if plan.is_content {
        let is_chosen = |framework: &&Framework| {
            plan.frameworks.iter().any(|name| name == framework.name) && content::is_measurable(framework)
        };
        let chosen: Vec<_> = framework::all().into_iter().filter(is_chosen).collect();
        content::run(plan, &mut bench, &chosen)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut report = Report {
        date: measure::today()?,
        kernel: measure::kernel()?,
        agent: version(&binary)?,
        requests: plan.requests,
        is_encrypted: plan.is_encrypted,
        frameworks: Vec::new(),
        not_run: plan.not_run.clone(),
    };
    let mut failed = Vec::new();
    for framework in framework::all() {
        if !plan.frameworks.iter().any(|name| name == framework.name) {
            continue;
        }
        match bench.measure(framework) {
            Ok(measured) => {
                println!("{}", report::table(std::slice::from_ref(&measured)));
                report::explain(&measured);
                report.frameworks.push(measured);
                // Each time, so that an interrupted run leaves what it has.
                report.keep(&plan.results)?;
            }
            Err(error) => {
                interrupt::check()?;
                eprintln!("{:>18}  not measured: {error:#}", framework.name);
                report.not_run.insert(framework.name.to_owned(), "it could not be measured".to_owned());
                failed.push(framework.name);
            }
        }
    }
    eprintln!("{:>18}  {}", "results", report.keep(&plan.results)?.display());
    if let Some(page) = &plan.page {
        report.save(page)?;
    }
    Ok(conclude(plan, &report, &failed))
}

/// Measures what the agent costs each framework.
fn cost(plan: &Plan, rounds: usize) -> Result<()> {
    interrupt::watch()?;
    let servers = Servers::start()?;
    let sink = Sink::start()?;
    let mut bench = Bench::new(&servers, &sink, &plan.agent, &plan.in_flight, plan.at_once, plan.requests);
    for framework in framework::all() {
        if plan.frameworks.iter().any(|name| name == framework.name) {
            bench.cost(framework, rounds).with_context(|| framework.name)?;
        }
    }
    Ok(())
}

/// Returns the agent's version, with the beginning of the binary's checksum, which tells builds apart.
fn version(binary: &Path) -> Result<String> {
    let version = tools::printed(Command::new(binary).arg("--version")).context("start the agent")?;
    let checksum = tools::printed(Command::new("sha256sum").arg(binary))?;
    Ok(format!("{} ({})", version.trim(), checksum.get(..8).unwrap_or_default()))
}

/// Prints everything once more in one table, and what is broken.
fn conclude(plan: &Plan, report: &Report, failed: &[&str]) -> ExitCode {
    if report.frameworks.len() > 1 {
        println!("{}", report::table(&report.frameworks));
    }
    for (name, reason) in &report.not_run {
        println!("  {name}: not run: {reason}");
    }
    let broken = report.broken();
    for line in &broken {
        println!("  {line}");
    }
    if !failed.is_empty() || (plan.is_strict && !broken.is_empty()) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
