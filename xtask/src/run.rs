//! `run`: the whole product on this host, until Ctrl-C.

mod attached;
mod children;
pub(crate) mod duration;
pub(crate) mod host;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::build::{self, Build, Built};
use crate::shell::{self, step};
use attached::Programs;
use children::{Children, Happening};

/// Where the bridge serves its page and API unless told otherwise.
const BRIDGE: &str = "127.0.0.1:7654";
/// Where the agent serves readiness and metrics unless told otherwise.
const AGENT: &str = "127.0.0.1:7655";
/// How long either may take from its start until it is ready: loading a large store, reading BTF.
const READY_WITHIN: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Run {
    /// Stop after this time, such as 60s or 5m, instead of on Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = duration::parse)]
    lasting: Option<Duration>,
    /// Where the bridge keeps its data
    #[arg(long, value_name = "DIR", default_value = "remora-data")]
    data: PathBuf,
    /// Start what was built last
    #[arg(long)]
    no_build: bool,
    /// Flags of the agent (`remora run --help` lists them)
    #[arg(last = true, value_name = "AGENT FLAGS")]
    agent_flags: Vec<String>,
}

pub(crate) fn run(run: &Run) -> Result<()> {
    let built = if run.no_build { build::outputs() } else { build::run(&Build { bpf_only: false })? };
    if !host::is_root() {
        return host::become_root();
    }
    host::mount_missing()?;
    let data = std::path::absolute(&run.data).with_context(|| format!("resolve {}", run.data.display()))?;
    let before = Programs::loaded()?;
    let mut children = Children::new()?;
    let lived = live(run, &built, &data, &before, &mut children);
    // Whatever happened above, both children end before this returns.
    let stopped = children.stop();
    lived.and_then(|attached| {
        stopped?;
        attached.wait_until_gone()
    })
}

/// Starts both, waits until the run is to end, and returns the BPF programs that the agent attached.
fn live(
    run: &Run,
    built: &Built,
    data: &Path,
    before: &Programs,
    children: &mut Children,
) -> Result<Programs> {
    let bridge: SocketAddr = BRIDGE.parse()?;
    let agent: SocketAddr = AGENT.parse()?;
    children.start("bridge", shell::program(&built.bridge).arg("serve").arg("--data").arg(data))?;
    if let Some(Happening::Signal) = children.wait_ready("bridge", bridge, READY_WITHIN)? {
        return Ok(Programs::default());
    }
    children.start(
        "agent",
        shell::program(&built.agent)
            .arg("run")
            .args(spool_flags(data, &run.agent_flags))
            .args(own_requests(&run.agent_flags)?)
            .args(&run.agent_flags),
    )?;
    if let Some(Happening::Signal) = children.wait_ready("agent", agent, READY_WITHIN)? {
        return Ok(Programs::default());
    }
    let attached = Programs::loaded()?.without(before);
    step(&format!("{} BPF programs see this host's requests; nothing else was changed", attached.len()));
    step(&format!(
        "look at http://{BRIDGE}/ (traces: POST /api/v1/traces/search; map: /api/v1/traces/dependencies)"
    ));
    step(&format!("data in {}, metrics at http://{AGENT}/metrics, Ctrl-C stops both", data.display()));
    children.wait_end(run.lasting.map(|lasting| Instant::now() + lasting))?;
    Ok(attached)
}

/// Leaves out what this program asks to see whether both are ready, unless that took the place of the user's own rules in a
/// file.
fn own_requests(agent_flags: &[String]) -> Result<Vec<OsString>> {
    if agent_flags.iter().any(|flag| flag.starts_with("--config")) {
        return Ok(Vec::new());
    }
    let mut rule = OsString::from("exe=");
    rule.push(std::env::current_exe().context("find the path of this program")?);
    Ok(vec!["--exclude".into(), rule])
}

/// Keeps what waits for the bridge beside the bridge's data, unless the user says where.
fn spool_flags(data: &Path, agent_flags: &[String]) -> Vec<OsString> {
    if agent_flags.iter().any(|flag| flag.starts_with("--spool")) {
        return Vec::new();
    }
    vec!["--spool".into(), data.join("agent-spool").into()]
}
