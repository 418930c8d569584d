//! The real agent and bridge on free ports, with data that is gone after the test.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::bridge::Bridge;
use crate::exclusive::Exclusive;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools, wait};

/// How long the agent or the bridge may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long it may take until its parts are in: processes are left alone at first, and some runtimes are slow.
const ATTACHED_WITHIN: Duration = Duration::from_secs(60);
/// How many times as long things may take in an emulated machine.
const EMULATED: u32 = 10;

/// A running agent and bridge.
#[derive(Debug)]
pub struct Remora {
    // Dropped in this order: the agent sends what it holds to the bridge.
    agent: Running,
    others: Vec<(Running, SocketAddr)>,
    bridge_process: Running,
    bridge: Bridge,
    otlp: SocketAddr,
    otlp_http: SocketAddr,
    metrics: SocketAddr,
    scratch: Scratch,
    _exclusive: Exclusive,
}

impl Remora {
    /// Starts both with their defaults, which observe every process of the host.
    pub fn start() -> Result<Self> {
        Self::with_flags(&[])
    }

    /// Starts both, the agent with additional flags.
    pub fn with_flags(flags: &[&str]) -> Result<Self> {
        let exclusive = Exclusive::wait();
        let scratch = Scratch::new("remora")?;
        let (bridge_process, ports) = start_bridge(&scratch)?;
        let (bridge, otlp, otlp_http) = (Bridge::at(ports.api), ports.otlp_grpc, ports.otlp_http);
        let metrics = net::free_address()?;
        let mut command = agent_command(&scratch, &format!("http://{otlp}"), metrics)?;
        command.args(flags).arg("--spool").arg(scratch.path().join("spool"));
        let mut agent = Running::start("agent", &scratch, &mut command)?;
        agent.wait_ready(patience(READY_WITHIN), || is_ready(metrics))?;
        let others = Vec::new();
        Ok(Self {
            agent,
            others,
            bridge_process,
            bridge,
            otlp,
            otlp_http,
            metrics,
            scratch,
            _exclusive: exclusive,
        })
    }

    /// Returns the bridge, which has what the agent has sent so far.
    #[must_use]
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Returns where the bridge takes OTLP over HTTP, from SDKs for example.
    #[must_use]
    pub fn otlp_http(&self) -> SocketAddr {
        self.otlp_http
    }

    /// Starts another agent for the same bridge, as on another host.
    pub fn add_agent(&mut self, flags: &[&str]) -> Result<()> {
        let name = format!("agent{}", self.others.len() + 2);
        let metrics = net::free_address()?;
        let mut command = agent_command(&self.scratch, &format!("http://{}", self.otlp), metrics)?;
        command.args(flags).arg("--spool").arg(self.scratch.path().join(&name));
        let mut agent = Running::start(&name, &self.scratch, &mut command)?;
        agent.wait_ready(patience(READY_WITHIN), || is_ready(metrics))?;
        self.others.push((agent, metrics));
        Ok(())
    }

    /// Ends the agents in an orderly way, which sends all it knows, and returns the bridge.
    ///
    /// This is how a test waits for "everything", including spans that should not be there.
    pub fn finish(&mut self) -> Result<&Bridge> {
        let others = self.others.iter_mut().map(|(agent, _)| agent);
        for agent in std::iter::once(&mut self.agent).chain(others) {
            let status = agent.stop()?;
            ensure!(status.success(), "the agent ended with {status}; it printed:\n{}", agent.printed());
        }
        Ok(&self.bridge)
    }

    /// Waits until the agent has judged a process and observes it.
    pub fn wait_observed(&self, process: u32) -> Result<()> {
        wait::until("the process is observed", patience(ATTACHED_WITHIN), || {
            let known = tools::curl(&[&format!("http://{}/processes/{process}", self.metrics)])?;
            let known: serde_json::Value = serde_json::from_str(&known).unwrap_or_default();
            Ok((known["is_observed"] == true).then_some(()))
        })
    }

    /// Waits until the agent has put its parts into these processes.
    pub fn wait_attached(&self, processes: &[u32]) -> Result<()> {
        wait_attached(self.metrics, processes)
    }

    /// Returns the agent's own metrics as text.
    pub fn metrics(&self) -> Result<String> {
        tools::curl(&[&format!("http://{}/metrics", self.metrics)])
    }

    /// Returns the metrics of the agents that were added, as text.
    pub fn other_metrics(&self) -> Result<Vec<String>> {
        self.others.iter().map(|(_, metrics)| tools::curl(&[&format!("http://{metrics}/metrics")])).collect()
    }

    /// Returns what the agent printed.
    #[must_use]
    pub fn agent_log(&self) -> String {
        self.agent.printed()
    }

    /// Returns the process id of the agent.
    #[must_use]
    pub fn agent_id(&self) -> u32 {
        self.agent.id()
    }

    /// Returns the process id of the bridge.
    #[must_use]
    pub fn bridge_id(&self) -> u32 {
        self.bridge_process.id()
    }
}

/// An agent that sends to a receiver of the test's own, by OTLP over HTTP.
#[derive(Debug)]
pub struct Agent {
    running: Running,
    metrics: SocketAddr,
    _scratch: Scratch,
    _exclusive: Exclusive,
}

impl Agent {
    /// Starts it with its defaults, except that programs of these names are not traced.
    pub fn exporting_to(receiver: SocketAddr, untraced: &[&str]) -> Result<Self> {
        Self::with_flags(receiver, untraced, &[])
    }

    /// Starts it likewise, with flags besides.
    pub fn with_flags(receiver: SocketAddr, untraced: &[&str], flags: &[&str]) -> Result<Self> {
        let exclusive = Exclusive::wait();
        let scratch = Scratch::new("agent")?;
        let metrics = net::free_address()?;
        let mut command = agent_command(&scratch, &format!("http://{receiver}"), metrics)?;
        command.arg("--spool").arg(scratch.path().join("spool"));
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").args(flags);
        for program in untraced {
            command.args(["--exclude", &format!("exe=*/{program}")]);
        }
        let mut running = Running::start("agent", &scratch, &mut command)?;
        running.wait_ready(patience(READY_WITHIN), || is_ready(metrics))?;
        Ok(Self { running, metrics, _scratch: scratch, _exclusive: exclusive })
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Returns where it serves its own metrics.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.metrics
    }

    /// Returns its own metrics as text.
    pub fn metrics(&self) -> Result<String> {
        tools::curl(&[&format!("http://{}/metrics", self.metrics)])
    }
}

/// Waits until the agent that serves its metrics here has put its parts into these processes and listens to them: the
/// metrics count a part when it is in, which is a moment before.
pub fn wait_attached(metrics: SocketAddr, processes: &[u32]) -> Result<()> {
    wait::until("the parts are attached", patience(ATTACHED_WITHIN), || {
        for process in processes {
            let known = tools::curl(&[&format!("http://{metrics}/processes/{process}")])?;
            let known: serde_json::Value = serde_json::from_str(&known).unwrap_or_default();
            if known["part"]["state"] != "attached" {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
}

fn agent_command(scratch: &Scratch, otlp: &str, metrics: SocketAddr) -> Result<Command> {
    let mut command = Command::new(binary("remora")?);
    command.current_dir(scratch.path()).arg("run").args(["--otlp", otlp]);
    command.args(["--metrics-listen", &metrics.to_string()]);
    Ok(command)
}

/// A bridge without an agent.
#[derive(Debug)]
pub struct BridgeOnly {
    process: Running,
    bridge: Bridge,
    otlp_http: SocketAddr,
    _scratch: Scratch,
}

impl BridgeOnly {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("bridge")?;
        let ports = Ports::free()?;
        let process = ports.start(&scratch)?;
        Ok(Self { process, bridge: Bridge::at(ports.api), otlp_http: ports.otlp_http, _scratch: scratch })
    }

    /// Returns its API.
    #[must_use]
    pub fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    /// Returns where it takes OTLP over HTTP.
    #[must_use]
    pub fn otlp_http(&self) -> SocketAddr {
        self.otlp_http
    }

    /// Returns the running process.
    #[must_use]
    pub fn process(&mut self) -> &mut Running {
        &mut self.process
    }
}

struct Ports {
    api: SocketAddr,
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
}

impl Ports {
    fn free() -> Result<Self> {
        Ok(Self {
            api: net::free_address()?,
            otlp_grpc: net::free_address()?,
            otlp_http: net::free_address()?,
        })
    }

    fn start(&self, scratch: &Scratch) -> Result<Running> {
        let mut command = Command::new(binary("remora-bridge")?);
        command.current_dir(scratch.path()).arg("serve").arg("--data").arg(scratch.path().join("data"));
        command.args(["--listen", &self.api.to_string()]);
        command.args(["--otlp-grpc", &self.otlp_grpc.to_string()]);
        command.args(["--otlp-http", &self.otlp_http.to_string()]);
        let mut process = Running::start("bridge", scratch, &mut command)?;
        process.wait_ready(patience(READY_WITHIN), || is_ready(self.api))?;
        Ok(process)
    }
}

fn start_bridge(scratch: &Scratch) -> Result<(Running, Ports)> {
    let ports = Ports::free()?;
    // Somebody may have been given one of the free ports in between.
    let (ports, process) = match ports.start(scratch) {
        Ok(process) => (ports, process),
        Err(_) => {
            let ports = Ports::free()?;
            let process = ports.start(scratch)?;
            (ports, process)
        }
    };
    Ok((process, ports))
}

fn is_ready(address: SocketAddr) -> Result<bool> {
    let url = format!("http://{address}/readyz");
    Ok(tools::curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &url])? == "200")
}

/// Returns how long something may take here that takes so long on a real machine.
#[must_use]
pub fn patience(usual: Duration) -> Duration {
    if env::var_os("REMORA_IN_VM").is_some() { usual * EMULATED } else { usual }
}

/// Returns the path of one of the two programs: in the folder that `REMORA_BIN` names, else the release build.
pub fn binary(name: &str) -> Result<PathBuf> {
    let folder =
        env::var_os("REMORA_BIN").map_or_else(|| locate::root().join("target/release"), PathBuf::from);
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is missing: run `cargo xtask build`", path.display());
    path.canonicalize().context("resolve the program's path")
}
