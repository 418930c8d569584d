//! `bench`: measures, prints each figure beside its budget in the design, and keeps it as JSON in `target/bench/`.

mod budget;
mod table;

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use crate::build::{self, Build};
use crate::lab;
use crate::run::host;
use crate::shell::{self, step};
use crate::test::environment;
use crate::workspace;
use table::Figure;

#[derive(Args)]
pub(crate) struct Bench {
    /// Only these
    #[arg(value_enum)]
    names: Vec<Name>,
    /// Rounds of each measurement; figures are their medians
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// BPF time of a socket operation
    Bpf,
    /// Throughput that servers lose at saturation
    Throughput,
    /// Throughput that frameworks lose, and what of it is whose: tasks, contexts, hand-overs
    Mechanisms,
    /// Throughput that servers lose over TLS, and what their libraries' functions cost
    Tls,
    /// CPU and memory of the agent under a steady load
    Agent,
    /// Parsers: time, throughput and allocations on recorded sessions, large bodies, detection
    Parse,
    /// The bridge: ingest with fsync, storage, queries
    Bridge,
}

impl Name {
    fn label(self) -> &'static str {
        match self {
            Name::Bpf => "bpf",
            Name::Throughput => "throughput",
            Name::Mechanisms => "mechanisms",
            Name::Tls => "tls",
            Name::Agent => "agent",
            Name::Parse => "parse",
            Name::Bridge => "bridge",
        }
    }
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    let names = if bench.names.is_empty() { Name::value_variants() } else { &bench.names };
    let needs_host = names.iter().any(|name| !matches!(name, Name::Bridge | Name::Parse));
    if needs_host {
        if !host::is_root() {
            bail!("the agent's benches load BPF programs: run `cargo xtask bench` as root");
        }
        host::mount_missing()?;
        environment::install()?;
        build::run(&Build { bpf_only: false })?;
    }
    let mut missed = Vec::new();
    for &name in names {
        let lines = match name {
            Name::Bridge => bridge()?,
            Name::Parse => parse(bench.rounds)?,
            Name::Mechanisms => mechanisms(bench.rounds)?,
            _ => overhead(name, bench.rounds)?,
        };
        missed.extend(report(name, &lines)?);
    }
    if !missed.is_empty() {
        bail!("{} of the figures are beyond their budgets: {}", missed.len(), missed.join("; "));
    }
    Ok(())
}

fn overhead(name: Name, rounds: u32) -> Result<String> {
    let mut cargo = release_cargo();
    cargo.args(["--package", "remora-tests", "--bin", "overhead", "--", name.label(), &rounds.to_string()]);
    measure(name, &mut cargo)
}

fn mechanisms(rounds: u32) -> Result<String> {
    step("bench mechanisms");
    lab::cost(rounds).context("bench mechanisms")
}

fn bridge() -> Result<String> {
    let mut cargo = shell::cargo("build");
    cargo
        .args(["--quiet", "--release", "--package", "remora-bridge", "--target-dir"])
        .arg(workspace::target());
    shell::run("build the bridge", "the compiler's errors are above", &mut cargo)?;
    let mut cargo = release_cargo();
    cargo.args(["--package", "remora-bridge", "--example", "ingest_bench"]);
    measure(Name::Bridge, &mut cargo)
}

fn parse(rounds: u32) -> Result<String> {
    let mut cargo = release_cargo();
    cargo.args(["--package", "remora-engine", "--example", "parse_bench", "--", &rounds.to_string()]);
    measure(Name::Parse, &mut cargo)
}

fn release_cargo() -> Command {
    let mut cargo = shell::cargo("run");
    cargo.args(["--quiet", "--release", "--target-dir"]).arg(workspace::target());
    cargo
}

fn measure(name: Name, command: &mut Command) -> Result<String> {
    step(&format!("bench {}", name.label()));
    shell::output(command.stderr(Stdio::inherit())).with_context(|| format!("bench {}", name.label()))
}

/// Prints and keeps the figures. Returns the names of those that are beyond their budgets.
fn report(name: Name, lines: &str) -> Result<Vec<String>> {
    let mut figures = Vec::new();
    for line in lines.lines().filter(|line| !line.trim().is_empty()) {
        figures.push(read_figure(line).with_context(|| format!("bench {} printed `{line}`", name.label()))?);
    }
    println!("\n{}\n{}", name.label(), table::render(&figures));
    let folder = workspace::target().join("bench");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(format!("{}.json", name.label()));
    let kept: Value = figures.iter().map(|figure| figure.kept.clone()).collect();
    fs::write(&path, serde_json::to_string_pretty(&kept)?)
        .with_context(|| format!("write {}", path.display()))?;
    let is_missed = |figure: &Figure| figure.budget.is_some_and(|budget| !budget.holds(figure.value));
    Ok(figures.into_iter().filter(is_missed).map(|figure| figure.name).collect())
}

/// What every bench prints for each figure, one JSON object a line; other fields are only kept.
#[derive(Deserialize)]
struct Line {
    name: String,
    unit: String,
    value: f64,
    min: Option<f64>,
    max: Option<f64>,
}

fn read_figure(line: &str) -> Result<Figure> {
    let mut kept: Value = serde_json::from_str(line)?;
    let Line { name, unit, value, min, max } = serde_json::from_str(line)?;
    let budget = budget::of(&name);
    if let Some(budget) = budget {
        kept["budget"] = budget.to_string().into();
        kept["is_within_budget"] = budget.holds(value).into();
    }
    Ok(Figure { name, unit, value, spread: min.zip(max), budget, kept })
}
