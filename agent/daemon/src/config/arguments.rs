//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::propagate::Mechanisms;

use super::settings::LogFormat;
use crate::attach::Platforms;

/// remora
#[derive(Debug, Parser)]
#[command(
    name = "remora",
    version,
    about = "Traces unmodified services from the kernel: their HTTP, gRPC, SQL, cache and messaging requests become spans, inside TLS too",
    after_help = "Examples:
  remora check                         what this kernel allows, and what is missing
  remora run                           trace this host, export to http://127.0.0.1:4317
  remora run --select 'exe=*/nginx'    only nginx
  remora trace -- curl localhost:8080  what one command asks for, as a tree
  remora watch                         this host's requests, live
  remora explain 4211                  what is seen of process 4211, and what is not"
)]
pub struct CommandLine {
    /// The agent's own log.
    #[command(flatten)]
    pub log: LogArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of the log, the same for every command.
#[derive(Clone, Debug, Default, Args)]
pub struct LogArguments {
    /// What the agent logs to stderr, as in RUST_LOG: a level, or module=level, separated by commas [default: info for run, less for the others]
    #[arg(long, value_name = "FILTER", global = true)]
    pub log: Option<String>,
    /// How log lines are written [default: text]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Trace this host and export spans over OTLP
    Run(Box<RunArguments>),
    /// Run a command, trace it and its children, and print its requests as trees
    Trace(TraceArguments),
    /// Show this host's requests, services and errors, live
    Watch(WatchArguments),
    /// Say which hooks, libraries and privileges are there, which are not, why, and what it costs
    Check(CheckArguments),
    /// Say what is seen of a process, through what, and what is not
    Explain(ExplainArguments),
    /// Make the checks of the trial, for the agent itself
    #[command(hide = true)]
    TrySockets(TrySocketsArguments),
}

const SELECTION_HELP: &str = "Selection rules are KEY=PATTERN; patterns know * and ?:
  exe=/usr/bin/python*   path of the executable
  cmd=*gunicorn*         command line
  port=8080              local TCP port, listening or connected
  pid=4211               a process and all that it starts
  container=3f1c*        container id
  cgroup=/kubepods*      control group
  namespace=shop-*       namespace of the pod, where a cluster is followed
  label=app=web          label of the pod, likewise
Without --select, every process but the agent, the bridge and the receiver of the spans is traced.";

/// `remora run`
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = format!("{SELECTION_HELP}

Examples:
  remora run --otlp http://collector:4318
  remora run --select port=8080 --select 'cmd=*celery*' --exclude 'exe=*/curl'
  remora run --print text
  remora run --select 'cmd=*server.js*' --attach node

OTEL_EXPORTER_OTLP_ENDPOINT, _PROTOCOL, _HEADERS, _TIMEOUT, _COMPRESSION and _CERTIFICATE, and the same with TRACES_, are honoured.
Precedence: flag, environment, file, default."))]
pub struct RunArguments {
    /// Where spans go; port 4318 or the path /v1/traces mean HTTP, else gRPC [default: http://127.0.0.1:4317]
    #[arg(long, value_name = "URL")]
    pub otlp: Option<String>,
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Trace only processes that this rule matches; may be repeated
    #[arg(long, value_name = "RULE")]
    pub select: Vec<String>,
    /// Never trace processes that this rule matches; may be repeated, wins over --select
    #[arg(long, value_name = "RULE")]
    pub exclude: Vec<String>,
    /// Print every span to stdout, besides exporting it [default: none]
    #[arg(long, value_name = "FORMAT")]
    pub print: Option<Print>,
    /// Folder where spans wait while the receiver is away [default: /var/lib/remora/spool]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// Size of the spool at most, 0 for none [default: 256MiB]
    #[arg(long, value_name = "SIZE")]
    pub spool_size: Option<super::ByteCount>,
    /// Bytes of each read or write that are looked at, 256 to 16384; sixteen times as many at a connection's beginning, and what a protocol needs [default: 4096]
    #[arg(long, value_name = "BYTES")]
    pub capture_bytes: Option<u32>,
    /// Write contexts: 'headers' into requests, 'tcp' into the headers of TCP, towards private networks, where servers read them too; 'auto' both. Only what is proven harmless, in the cgroups of --propagate-in; 'headers' and 'tcp' in all cgroups where none is named [default: auto]
    #[arg(long, value_name = "WHAT")]
    pub propagate: Option<Propagate>,
    /// A cgroup (v2) whose selected processes write contexts, and whose servers read those in TCP headers; may be repeated
    #[arg(long, value_name = "CGROUP")]
    pub propagate_in: Vec<PathBuf>,
    /// Put a part into the processes of these platforms, for parents across their timers, queues and pools: 'off' or a comma-separated list of: node, jvm, node-workers (worker threads too; one that ends just then can end its process) [default: off]
    #[arg(long, value_name = "PLATFORMS")]
    pub attach: Option<Platforms>,
    /// What is made of ids (in paths, statements, keys) that a call shares with one request only, where nothing else tells its cause: 'links' also makes a parent where the request was alone in its process, 'parents' where no other can be meant [default: links]
    #[arg(long, value_name = "WHAT")]
    pub content_evidence: Option<ContentEvidence>,
    /// Tell of connections of which nothing is understood too: one span each when it ends, with the bytes of both directions
    #[arg(long)]
    pub unknown_connections: bool,
    /// Look into TLS libraries, by probes at their functions, so that requests inside TLS are told like others; 'off' counts bytes only of what programs encrypt [default: on]
    #[arg(long, value_name = "SWITCH", num_args = 0..=1, default_missing_value = "on")]
    pub tls: Option<Switch>,
    /// Say of each span which pod, workload and node it is from, and name peers, by following the API server: 'auto' inside a cluster, by the pod's service account [default: auto]
    #[arg(long, value_name = "WHEN")]
    pub kubernetes: Option<Kubernetes>,
    /// How to reach the API server, instead of the service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of this node in the cluster [default: NODE_NAME, else the name of the host]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Name of the cluster, for k8s.cluster.name
    #[arg(long, value_name = "NAME")]
    pub cluster_name: Option<String>,
    /// Address of /metrics, /processes/PID, /healthz and /readyz, or 'off' [default: 127.0.0.1:7655]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics_listen: Option<String>,
}

/// `remora trace`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Trees are printed to stderr, so that the command's own output stays as it is.

Examples:
  remora trace -- curl -s http://localhost:8080/orders
  remora trace -- python3 -m pytest tests/test_orders.py
  remora trace --json -- ./migrate.sh 2> spans.jsonl")]
pub struct TraceArguments {
    /// Configuration file (TOML), for capture and redaction
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One span a line in JSON, instead of trees
    #[arg(long)]
    pub json: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `remora watch`
#[derive(Clone, Debug, Args)]
#[command(after_help = format!("{SELECTION_HELP}

Examples:
  remora watch
  remora watch --select port=5432
  remora watch --json | jq 'select(.status == \"error\")'"))]
pub struct WatchArguments {
    /// Configuration file (TOML), for selection, capture and redaction
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Watch only processes that this rule matches; may be repeated
    #[arg(long, value_name = "RULE")]
    pub select: Vec<String>,
    /// Never watch processes that this rule matches; may be repeated
    #[arg(long, value_name = "RULE")]
    pub exclude: Vec<String>,
    /// One span a line in JSON, instead of a view
    #[arg(long)]
    pub json: bool,
}

/// `remora check`
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Exit code: 0 if 'remora run' can work here, 1 if something that it needs is missing."
)]
pub struct CheckArguments {
    /// In JSON
    #[arg(long)]
    pub json: bool,
}

/// `remora explain`
#[derive(Clone, Debug, Args)]
#[command(after_help = format!("What the agent that runs knows comes first: its verdict, its probes, the part inside, the TLS connections that it has seen.
Where none answers, the process is looked at alone, and that is said.

{SELECTION_HELP}"))]
pub struct ExplainArguments {
    /// The process id
    pub pid: u32,
    /// Configuration file (TOML), for selection, and for the agent's address and token
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address of the running agent that is asked, where it serves /metrics, or 'off' [default: metrics.listen of the configuration, else 127.0.0.1:7655]
    #[arg(long, value_name = "ADDRESS")]
    pub agent: Option<String>,
    /// Judge as 'remora run' would with this rule, and ask no agent; may be repeated
    #[arg(long, value_name = "RULE")]
    pub select: Vec<String>,
    /// Likewise
    #[arg(long, value_name = "RULE")]
    pub exclude: Vec<String>,
    /// In JSON
    #[arg(long)]
    pub json: bool,
}

/// `remora try-sockets`
#[derive(Clone, Debug, Args)]
pub struct TrySocketsArguments {
    /// Make the checks in this cgroup, one round for each line of the input; without it, make a whole trial
    pub cgroup: Option<PathBuf>,
    /// With sockets that stay in the socket map, to show what that does
    #[arg(long)]
    pub lasting: bool,
    /// What is tried
    #[arg(long, value_name = "WHAT", default_value = "headers")]
    pub what: Propagate,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Whether the API server of a cluster is followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Kubernetes {
    /// Inside a cluster, or where a kubeconfig is named.
    #[default]
    Auto,
    /// It is; what is missing for it is an error.
    On,
    /// It is not.
    Off,
}

/// Which contexts are written into requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Propagate {
    /// Those that the trial proves harmless, in the cgroups that are named.
    #[default]
    Auto,
    /// None.
    Off,
    /// Headers, if the trial proves them harmless; in all cgroups where none is named.
    Headers,
    /// A TCP option, likewise.
    Tcp,
}

impl Propagate {
    /// Returns the manners of writing that are wanted.
    #[must_use]
    pub fn mechanisms(self) -> Mechanisms {
        match self {
            Propagate::Auto => Mechanisms { headers: true, option: true },
            Propagate::Off => Mechanisms::default(),
            Propagate::Headers => Mechanisms { headers: true, option: false },
            Propagate::Tcp => Mechanisms { headers: false, option: true },
        }
    }
}

/// What is made of ids that two requests have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ContentEvidence {
    /// Nothing.
    Off,
    /// Links, and parents where the request was alone or the id is that of the request itself.
    #[default]
    Links,
    /// Parents wherever no other request can be meant.
    Parents,
}

impl From<ContentEvidence> for remora_engine::ContentEvidence {
    fn from(evidence: ContentEvidence) -> Self {
        match evidence {
            ContentEvidence::Off => Self::Off,
            ContentEvidence::Links => Self::Links,
            ContentEvidence::Parents => Self::Parents,
        }
    }
}

/// How spans are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Print {
    /// Not at all.
    #[default]
    None,
    /// One line for people.
    Text,
    /// One JSON object a line.
    Json,
}
