//! `fuzz`: any bytes to the parsers and to the engine, by libFuzzer, for a while each.
//!
//! What it finds is kept in `agent/engine/fuzz/artifacts/`, what it learned on the way in `agent/engine/fuzz/corpus/`.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::run::duration;
use crate::shell::{self, step};
use crate::workspace;

/// What is fuzzed besides protocols.
const OTHERS: [&str; 2] = ["engine", "sql"];
/// The target that is told which protocol.
const PROTOCOL: &str = "protocol";
/// Lines of a failed run that are shown.
const SHOWN_LINES: usize = 40;

#[derive(Args)]
pub(crate) struct Fuzz {
    /// Only these: names of protocols, `engine`, `sql`
    names: Vec<String>,
    /// How long each runs (90, 90s, 5m, 2h)
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    lasting: Duration,
}

pub(crate) fn run(fuzz: &Fuzz) -> Result<()> {
    let known = known()?;
    if let Some(unknown) = fuzz.names.iter().find(|name| !known.contains(name)) {
        bail!("nothing is called {unknown}; there are {}", known.join(", "));
    }
    install()?;
    let names = if fuzz.names.is_empty() { &known } else { &fuzz.names };
    let mut targets: Vec<&str> = names.iter().map(|name| target(name)).collect();
    targets.dedup();
    for target in targets {
        let mut build = cargo_fuzz("build");
        build.arg(target);
        shell::run(
            &format!("build the fuzz target {target}"),
            "the compiler's errors are above",
            &mut build,
        )?;
    }
    let failed: Vec<&str> = names
        .iter()
        .map(|name| play(name, fuzz.lasting))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}; the inputs are in agent/engine/fuzz/artifacts", failed.join(", "));
    }
    Ok(())
}

/// Returns what can be fuzzed: the protocols that have recorded sessions, and the rest.
fn known() -> Result<Vec<String>> {
    let folder = workspace::root().join("agent/engine/fixtures");
    let mut names: Vec<String> = OTHERS.map(str::to_owned).to_vec();
    for entry in fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        let is_protocol = path.join("limits.md").exists();
        names
            .extend(path.file_name().filter(|_| is_protocol).map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn target(name: &str) -> &str {
    if OTHERS.contains(&name) { name } else { PROTOCOL }
}

/// Installs cargo-fuzz where it is missing.
fn install() -> Result<()> {
    let is_there = cargo_fuzz("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if is_there {
        return Ok(());
    }
    shell::run(
        "build cargo-fuzz into target/tools (once)",
        "it needs a C++ compiler and access to crates.io",
        shell::cargo("install").args(["cargo-fuzz", "--locked", "--root"]).arg(workspace::tools()),
    )
}

/// Returns a command of cargo-fuzz, which builds with the pinned toolchain.
fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = shell::cargo("fuzz");
    let mut path = OsString::from(workspace::tools().join("bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command
        .arg(subcommand)
        .current_dir(workspace::root().join("agent/engine"))
        .env("PATH", path)
        // Instrumentation is not stable.
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

/// Fuzzes for a while, and says how much was executed; returns the name if something was found.
fn play(name: &str, lasting: Duration) -> Result<Option<&str>> {
    step(&format!("fuzz {name} for {} s", lasting.as_secs()));
    let corpus = corpus(name)?;
    let mut command = cargo_fuzz("run");
    command.arg(target(name)).arg(&corpus).arg("--");
    command.args([&format!("-max_total_time={}", lasting.as_secs()), "-print_final_stats=1", "-timeout=10"]);
    command.env("REMORA_PROTOCOL", name);
    let output = command.output().context("start cargo fuzz")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let stat = |label: &str| {
        let line = said.lines().rev().find_map(|line| line.strip_prefix(&format!("stat::{label}:")));
        line.map_or("?", str::trim).to_owned()
    };
    let coverage = said.lines().rev().find_map(|line| line.split_once("cov: ")?.1.split(' ').next());
    println!(
        "{name}: {} inputs, {} of them new, {} edges covered, peak memory {} MB",
        stat("number_of_executed_units"),
        stat("new_units_added"),
        coverage.unwrap_or("?"),
        stat("peak_rss_mb"),
    );
    if output.status.success() {
        return Ok(None);
    }
    let lines: Vec<&str> = said.lines().collect();
    // The panic's message stands before a long way of calls, and what to do with the input behind it.
    let panic = lines.iter().position(|line| line.contains(" panicked at ")).unwrap_or(lines.len());
    let message = lines[panic..].iter().take_while(|line| !line.starts_with("stack backtrace:"));
    let end = &lines[lines.len().saturating_sub(SHOWN_LINES)..];
    eprintln!("{}", message.chain(end).copied().collect::<Vec<_>>().join("\n"));
    Ok(Some(name))
}

fn corpus(name: &str) -> Result<PathBuf> {
    let folder = workspace::root().join("agent/engine/fuzz/corpus").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
