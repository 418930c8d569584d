//! The agent under test: it prints its spans into a file, and its export goes nowhere.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::sink::Sink;
use remora_tests::{net, remora, tools};

use crate::judge::Span;
use crate::links::Links;

/// How long it may take until it observes.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The numbers of the requests stand in statements, where literals would be replaced. They are how the truth is known,
/// so that the agent must not conclude anything from them, unless just this is measured.
const CONFIGURATION: &str =
    "[headers]\nrequest = [\"x-item\"]\n[redaction]\nstatements = false\n[evidence]\n";
/// Conclude nothing from ids.
pub(crate) const NO_CONTENT: &str = "off";

/// What an agent saw in one run.
pub(crate) struct Seen {
    pub(crate) spans: Vec<Span>,
    /// The same spans, for what can be inferred about them.
    pub(crate) links: Links,
    /// What it lost.
    pub(crate) losses: Vec<String>,
}

/// A running agent.
pub(crate) struct Agent {
    running: Running,
    metrics: SocketAddr,
    spans: PathBuf,
    _scratch: Scratch,
}

impl Agent {
    /// Starts it. It observes the whole host but this process, which is the receiver of its spans. `content` says what
    /// it may conclude from ids.
    pub(crate) fn start(binary: &Path, sink: &Sink, content: &str) -> Result<Self> {
        Self::start_attaching(binary, sink, content, None)
    }

    /// As [`start`](Self::start), and it puts parts into the processes of `platform`, if one is named.
    pub(crate) fn start_attaching(
        binary: &Path,
        sink: &Sink,
        content: &str,
        platform: Option<&str>,
    ) -> Result<Self> {
        let scratch = Scratch::new("lab-agent")?;
        let configuration =
            scratch.write("remora.toml", format!("{CONFIGURATION}content = \"{content}\"\n"))?;
        let spans = scratch.path().join("spans.jsonl");
        let metrics = net::free_address()?;
        let mut command = Command::new(binary);
        command.current_dir(scratch.path()).args(["run", "--print", "json", "--config"]).arg(configuration);
        command.args(["--otlp", &format!("http://{}", sink.address())]);
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        command.args(["--attach", platform.unwrap_or("off")]);
        command.args(["--metrics-listen", &metrics.to_string(), "--spool"]).arg(scratch.path().join("spool"));
        let output = File::create(&spans).with_context(|| format!("create {}", spans.display()))?;
        let mut running = Running::start_printing_to("agent", &scratch, output, &mut command)?;
        let ready = format!("http://{metrics}/readyz");
        running.wait_ready(READY_WITHIN, || {
            Ok(tools::curl(&["--output", "/dev/null", "--write-out", "%{http_code}", &ready])? == "200")
        })?;
        Ok(Self { running, metrics, spans, _scratch: scratch })
    }

    /// Waits until it has put its parts into these processes.
    pub(crate) fn wait_attached(&self, processes: &[Running]) -> Result<()> {
        let processes: Vec<_> = processes.iter().map(Running::id).collect();
        remora::wait_attached(self.metrics, &processes)
    }

    /// Ends it, which prints all it knows, and returns that.
    pub(crate) fn finish(mut self) -> Result<Seen> {
        let losses = losses(&tools::curl(&[&format!("http://{}/metrics", self.metrics)])?);
        let status = self.running.stop()?;
        ensure!(status.success(), "the agent ended with {status}; it said:\n{}", self.running.printed());
        let file = File::open(&self.spans).with_context(|| format!("open {}", self.spans.display()))?;
        let (mut spans, mut links) = (Vec::new(), Links::default());
        for line in BufReader::new(file).lines() {
            let line = line?;
            spans.extend(Span::read(&line));
            links.read(&line);
        }
        Ok(Seen { spans, links, losses })
    }
}

/// Returns the counters of what was lost or left without parent, those above zero.
fn losses(metrics: &str) -> Vec<String> {
    let counts = |line: &&str| {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let is_loss = ["loss", "lost", "dropped", "refused"].iter().any(|word| name.contains(word));
        is_loss && !line.starts_with('#') && !line.ends_with(" 0")
    };
    metrics.lines().filter(counts).map(str::to_owned).collect()
}
