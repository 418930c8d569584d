//! The configuration file, exactly as it is written (TOML). Unknown keys are errors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Error;
use super::quantity::{ByteCount, Period};

/// Everything that can be written. What is left out keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Rules of `--select`.
    pub select: Option<Vec<String>>,
    /// Rules of `--exclude`.
    pub exclude: Option<Vec<String>>,
    /// `none`, `text` or `json`: `--print`.
    pub print: Option<String>,
    /// `off`, or platforms with commas between them: `--attach`; default `off`.
    pub attach: Option<String>,
    /// Where spans go.
    pub otlp: Otlp,
    /// Spans on disk while the receiver is away.
    pub spool: Spool,
    /// What is copied from the kernel.
    pub capture: Capture,
    /// What never leaves the host.
    pub redaction: Redaction,
    /// HTTP headers that become attributes; default none.
    pub headers: Headers,
    /// What is written into requests.
    pub propagate: Propagate,
    /// What parents may rest on.
    pub evidence: Evidence,
    /// What is told of pods.
    pub kubernetes: Kubernetes,
    /// The agent's own metrics.
    pub metrics: Metrics,
    /// The agent's own log.
    pub log: Log,
}

/// `[otlp]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Otlp {
    /// URL of the receiver; default `http://127.0.0.1:4317`.
    pub endpoint: Option<String>,
    /// `grpc` or `http/protobuf`; default by the URL.
    pub protocol: Option<String>,
    /// Sent with every request.
    pub headers: Option<BTreeMap<String, String>>,
    /// For one request; default `10s`.
    pub timeout: Option<Period>,
    /// `none` or `gzip`; default `gzip`, on loopback `none`.
    pub compression: Option<String>,
    /// PEM file with authorities to trust; default those of the host.
    pub certificate: Option<PathBuf>,
    /// Memory for spans that wait; default `16MiB`. When it is used up, new spans are refused and counted.
    pub queue: Option<ByteCount>,
}

/// `[kubernetes]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// `auto`, `on` or `off`: `--kubernetes`; default `auto`.
    pub follow: Option<String>,
    /// `--kubeconfig`; default the service account of the agent's pod.
    pub kubeconfig: Option<PathBuf>,
    /// `--node`; default `NODE_NAME`, else the name of the host.
    pub node: Option<String>,
    /// `--cluster-name`; default none.
    pub cluster_name: Option<String>,
    /// Labels of pods that become `k8s.pod.label.<key>`; patterns know one `*`. Default none.
    pub labels: Vec<String>,
    /// Annotations of pods that become `k8s.pod.annotation.<key>`, likewise.
    pub annotations: Vec<String>,
    /// Whether `app.kubernetes.io/instance`, `/name` and `/version` name services; default true.
    pub well_known_labels: Option<bool>,
}

/// `[spool]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// Folder; default `/var/lib/remora/spool`.
    pub folder: Option<PathBuf>,
    /// Size on disk at most; default `256MiB`, `0` for no spool. The oldest spans are dropped first, and counted.
    pub size: Option<ByteCount>,
}

/// `[capture]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Bytes of each read or write that are looked at, 256 to 16384; default 4096. Longer headers and statements are
    /// cut there.
    pub bytes: Option<u32>,
    /// Ports at which DNS is spoken over UDP, one to four; default 53. Other datagrams are not looked at.
    pub dns_ports: Option<Vec<u16>>,
    /// Tell of connections of which nothing is understood too, one span each: `--unknown-connections`; default false.
    pub unknown_connections: Option<bool>,
    /// Look into TLS libraries, so that requests inside TLS are seen: `--tls`; default true.
    pub tls: Option<bool>,
    /// Look into Java's own TLS (JSSE) too, where `attach` has a part in the JVM and `tls` is on; default true.
    pub jsse: Option<bool>,
}

/// `[redaction]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Redaction {
    /// Replace literals in statements by `?`; default true.
    pub statements: Option<bool>,
    /// Query parameters whose values are replaced, besides those that always are.
    pub query_parameters: Vec<String>,
    /// Headers whose values are replaced, besides those that always are.
    pub headers: Vec<String>,
}

/// `[headers]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// Of requests.
    pub request: Vec<String>,
    /// Of responses.
    pub response: Vec<String>,
    /// Keys of W3C Baggage in requests, recorded as `baggage.<key>`.
    pub baggage: Vec<String>,
}

/// `[propagate]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Propagate {
    /// `auto`, `off`, `headers` or `tcp`: `--propagate`; default `auto`.
    pub what: Option<String>,
    /// Cgroups (v2) whose selected processes write contexts: `--propagate-in`; default none.
    pub cgroups: Vec<PathBuf>,
}

/// `[evidence]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    /// `off`, `links` or `parents`: `--content-evidence`; default `links`.
    pub content: Option<String>,
}

/// `[metrics]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Address, or `off`; default `127.0.0.1:7655`.
    pub listen: Option<String>,
    /// File with the bearer token that `/metrics` asks for; needed for any address but loopback.
    pub token_file: Option<PathBuf>,
}

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// As in `RUST_LOG`; default `info` for `remora run`, less for the other commands.
    pub filter: Option<String>,
    /// `text` or `json`; default `text`.
    pub format: Option<String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or holds a key or value that is not listed here.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text =
            std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        toml::from_str(&text)
            .map_err(|source| Error::Parse { path: path.to_owned(), source: Box::new(source) })
    }
}
