//! `lab`: how often the parents are right. It installs what the frameworks need, and has the `lab` program of `tests/`
//! set them under load beside the agent; that program knows the frameworks.

mod install;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use signal_hook::consts::SIGINT;

use crate::build::{self, Build};
use crate::run::host;
use crate::shell::{self, step};
use crate::test::environment;
use crate::workspace;

/// Requests of a cell: enough that one mistake among a thousand calls is likely to be seen.
const REQUESTS: u64 = 400;
/// Requests of a cell of the short form.
const SHORT_REQUESTS: u64 = 200;

/// Frameworks whose calls have no other evidence, or little.
const CONTENT: [&str; 3] = ["flask-executor", "axum", "worker-threads"];

#[derive(Args)]
#[command(
    after_help = "Each framework's program is as people write it: an HTTP server that asks another service, \
PostgreSQL and Redis, through the usual clients and pools. Each request has a number, and so has every call that is \
made for it: the truth is known for every span. What is printed:

  right    calls below the span of their own request
  wrong    calls below another request's span: the budget is 0.1 %
  missing  calls without a parent
  joined   spans of the other service below the call that asked it

docs/accuracy.md explains every column. All that was counted, with examples of mistakes, is in target/lab/lab.json.

Examples:
  cargo xtask lab                             everything; installs what is missing (some minutes)
  cargo xtask lab flask go --in-flight 16     two frameworks, one number of requests in flight
  cargo xtask lab --short                     the form for CI: exits with 1 above the budget or below a floor
  cargo xtask lab express --agent ./remora    another build of the agent
  cargo xtask lab --tls                       the same programs over TLS
  cargo xtask lab node --pipeline 4           four requests in one write (HTTP/1.1 pipelining)
  cargo xtask lab --content                   what is concluded from ids, and how often it is wrong
  cargo xtask lab --save                      everything, and rewrite docs/accuracy.md"
)]
pub(crate) struct Lab {
    /// Only these frameworks; --list names them
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Numbers of requests in flight
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [1, 16, 100])]
    in_flight: Vec<usize>,
    /// Requests that each connection sends before it waits for an answer
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with_all = ["content", "short", "save"])]
    pipeline: u64,
    /// Requests for each mode and number in flight [default: 400, with --short 200]
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// A few quick frameworks, and exit with 1 where parents are wrong or too few are right
    #[arg(long)]
    short: bool,
    /// Print the frameworks and do nothing
    #[arg(long)]
    list: bool,
    /// Rewrite docs/accuracy.md with the results, with --content docs/content-evidence.md
    #[arg(long)]
    save: bool,
    /// The programs with TLS on every hop; --save rewrites docs/accuracy-tls.md
    #[arg(long, conflicts_with_all = ["content", "short"])]
    tls: bool,
    /// Measure what the agent concludes from ids, which is switched off otherwise; without names, with programs for
    /// which there is no other evidence
    #[arg(long)]
    content: bool,
    /// The agent to judge, instead of one built from this checkout
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
}

/// A framework as the `lab` program tells it.
#[derive(Deserialize)]
struct Framework {
    name: String,
    title: String,
    needs: Vec<String>,
    is_short: bool,
    is_costed: bool,
    is_encrypted: bool,
}

pub(crate) fn run(lab: &Lab) -> Result<()> {
    if lab.in_flight.contains(&0) || lab.requests == Some(0) || lab.pipeline == 0 {
        bail!("--in-flight, --pipeline and --requests begin at 1");
    }
    let program = build_lab()?;
    let frameworks = frameworks(&program)?;
    if lab.list {
        frameworks.iter().for_each(|framework| println!("{:18} {}", framework.name, framework.title));
        return Ok(());
    }
    let chosen = choose(lab, &frameworks)?;
    if !host::is_root() {
        bail!("the agent loads BPF programs: run `cargo xtask lab` as root");
    }
    host::mount_missing()?;
    environment::programs()?;
    let not_run = install_needs(&chosen, !lab.names.is_empty())?;
    let plan = json!({
        "frameworks": names_of(chosen.iter().filter(|framework| !not_run.contains_key(&framework.name))),
        "not_run": not_run,
        "is_content": lab.content,
        "is_encrypted": lab.tls,
        "in_flight": lab.in_flight,
        "at_once": lab.pipeline,
        "requests": lab.requests.unwrap_or(if lab.short { SHORT_REQUESTS } else { REQUESTS }),
        "agent": agent(lab)?,
        "is_strict": lab.short,
        "results": workspace::target().join("lab"),
        "page": lab.save.then(|| workspace::root().join(page(lab))),
    });
    measure(&program, &plan.to_string())
}

/// Returns what the agent costs each kind of framework, one figure a line.
pub(crate) fn cost(rounds: u32) -> Result<String> {
    let program = build_lab()?;
    let frameworks = frameworks(&program)?;
    let chosen: Vec<_> = frameworks.iter().filter(|framework| framework.is_costed).collect();
    environment::programs()?;
    let not_run = install_needs(&chosen, false)?;
    let plan = json!({
        "frameworks": names_of(chosen.iter().filter(|framework| !not_run.contains_key(&framework.name))),
        "not_run": not_run,
        "in_flight": [1],
        "at_once": 1,
        "requests": 1,
        "is_content": false,
        "is_encrypted": false,
        "agent": build::run(&Build { bpf_only: false })?.agent,
        "is_strict": false,
        "results": workspace::target().join("lab"),
        "page": null,
    });
    let mut command = Command::new(&program);
    shell::output(command.args(["cost", &plan.to_string(), &rounds.to_string()]).stderr(Stdio::inherit()))
}

fn page(lab: &Lab) -> &'static str {
    match lab {
        Lab { content: true, .. } => "docs/content-evidence.md",
        Lab { tls: true, .. } => "docs/accuracy-tls.md",
        _ => "docs/accuracy.md",
    }
}

fn build_lab() -> Result<PathBuf> {
    build::embedded()?;
    let mut cargo = shell::cargo("build");
    cargo.args(["--quiet", "--release", "--package", "remora-tests", "--bin", "lab", "--target-dir"]);
    shell::run("build the lab", "the compiler's errors are above", cargo.arg(workspace::target()))?;
    Ok(workspace::target().join("release/lab"))
}

fn frameworks(program: &PathBuf) -> Result<Vec<Framework>> {
    let printed = shell::output(Command::new(program).arg("list"))?;
    let read = |line| serde_json::from_str(line).with_context(|| format!("the lab printed `{line}`"));
    printed.lines().map(read).collect()
}

fn names_of<'a>(frameworks: impl IntoIterator<Item = &'a &'a Framework>) -> Vec<&'a str> {
    frameworks.into_iter().map(|framework| framework.name.as_str()).collect()
}

fn choose<'a>(lab: &Lab, frameworks: &'a [Framework]) -> Result<Vec<&'a Framework>> {
    let unknown = lab.names.iter().find(|name| !frameworks.iter().any(|framework| framework.name == **name));
    if let Some(name) = unknown {
        let known: Vec<_> = frameworks.iter().map(|framework| framework.name.as_str()).collect();
        bail!("there is no framework `{name}`: {}", known.join(", "));
    }
    let is_chosen = |framework: &&Framework| match lab.names.as_slice() {
        [] if lab.content => CONTENT.contains(&framework.name.as_str()),
        [] if lab.short => framework.is_short,
        [] => framework.is_encrypted == lab.tls,
        names => names.contains(&framework.name),
    };
    Ok(frameworks.iter().filter(is_chosen).collect())
}

/// Returns the frameworks that cannot run here, and why. One that was asked for by name is an error.
fn install_needs(chosen: &[&Framework], is_asked: bool) -> Result<BTreeMap<String, String>> {
    let mut outcomes: BTreeMap<&str, Option<String>> = BTreeMap::new();
    let mut not_run = BTreeMap::new();
    for framework in chosen {
        for need in &framework.needs {
            let missing = outcomes.entry(need).or_insert_with(|| match install::install(need) {
                Ok(()) => None,
                Err(error) => Some(format!("{error:#}")),
            });
            let Some(reason) = missing else { continue };
            if is_asked {
                bail!("{} cannot be measured here: {reason}", framework.name);
            }
            step(&format!("{} will not run: {reason}", framework.name));
            not_run.insert(framework.name.clone(), reason.clone());
        }
    }
    Ok(not_run)
}

fn agent(lab: &Lab) -> Result<PathBuf> {
    match &lab.agent {
        Some(path) => path.canonicalize().with_context(|| format!("the agent {}", path.display())),
        None => Ok(build::run(&Build { bpf_only: false })?.agent),
    }
}

fn measure(program: &PathBuf, plan: &str) -> Result<()> {
    // Ctrl-C reaches the lab too. It ends what it started and then itself, and that is waited for.
    signal_hook::flag::register(SIGINT, Arc::new(AtomicBool::new(false))).context("watch for Ctrl-C")?;
    step("measure");
    let status = Command::new(program).args(["run", plan]).status().context("start the lab")?;
    if !status.success() {
        bail!("the lab ended with {status}: what is broken is named above");
    }
    Ok(())
}
