//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Takes OTLP, keeps traces, answers questions about them.
#[derive(Debug, Parser)]
#[command(name = "remora-bridge", version)]
pub struct Flags {
    /// What the bridge logs to stderr: a level, or module=level, separated by commas
    #[arg(long, env = "REMORA_LOG", value_name = "FILTER", default_value = "info", global = true)]
    pub log: String,
    /// How log lines are written
    #[arg(long, env = "REMORA_LOG_FORMAT", value_enum, default_value = "text", global = true)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the bridge until SIGINT or SIGTERM
    Serve(Serve),
}

/// Flags of `serve`; what is not given comes from the file, or has its default.
#[derive(Clone, Debug, Default, Args)]
pub struct Serve {
    /// Directory of all data [default: ./remora-data]
    #[arg(long, env = "REMORA_BRIDGE_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Address of page and API [default: 127.0.0.1:7654]
    #[arg(long, env = "REMORA_BRIDGE_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Address that takes OTLP over gRPC [default: 127.0.0.1:4317]
    #[arg(long, env = "REMORA_BRIDGE_OTLP_GRPC", value_name = "ADDRESS")]
    pub otlp_grpc: Option<SocketAddr>,
    /// Address that takes OTLP over HTTP [default: 127.0.0.1:4318]
    #[arg(long, env = "REMORA_BRIDGE_OTLP_HTTP", value_name = "ADDRESS")]
    pub otlp_http: Option<SocketAddr>,
    /// Where spans are kept
    #[arg(long, env = "REMORA_BRIDGE_STORE", value_enum)]
    pub store: Option<StoreKind>,
    /// File with one line, the token that every request must bear; needed for addresses beyond loopback
    #[arg(long, env = "REMORA_BRIDGE_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Age at which spans are removed, such as 7d or 12h [default: 7d]
    #[arg(long, env = "REMORA_BRIDGE_RETENTION", value_name = "TIME")]
    pub retention: Option<String>,
    /// Bytes of segments at which the oldest are removed, such as 10GiB [default: 10GiB]
    #[arg(long, env = "REMORA_BRIDGE_RETENTION_SIZE", value_name = "SIZE")]
    pub retention_size: Option<String>,
    /// Whether traces show links that are inferred from times, where nobody knows for whom a call was made [default: links]
    #[arg(long, env = "REMORA_BRIDGE_INFER", value_enum)]
    pub infer: Option<InferMode>,
    /// TOML file with these and further settings
    #[arg(long, env = "REMORA_BRIDGE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Where spans are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// In the data directory.
    Local,
}

/// What is inferred from times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InferMode {
    /// Links, with a confidence.
    Links,
    /// Nothing.
    Off,
}
