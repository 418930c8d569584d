//! What an agent knows of one process, as `GET /processes/PID` tells it in JSON.
//!
//! An agent of another version may leave fields out, or have more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a running agent knows of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The process, in the initial pid namespace.
    pub pid: u32,
    /// Start of the process in clock ticks since boot: tells two users of one number apart.
    #[serde(default)]
    pub started_at_ticks: Option<u64>,
    /// Version of the agent.
    #[serde(default)]
    pub agent_version: String,
    /// The agent's own process.
    #[serde(default)]
    pub agent_pid: u32,
    /// Whether its requests are told.
    pub is_observed: bool,
    /// By which rule.
    pub reason: String,
    /// What executes it, in lower case.
    #[serde(default)]
    pub runtime: String,
    /// Whether the agent looks into TLS at all (`--tls`).
    #[serde(default)]
    pub looks_into_tls: Option<bool>,
    /// The part inside; none where the agent puts none into processes of this runtime.
    #[serde(default)]
    pub part: Option<Part>,
    /// Its files in which functions are probed.
    #[serde(default)]
    pub probes: Vec<ProbedFile>,
    /// Its connections that carry TLS, those that have ended too.
    #[serde(default)]
    pub tls: Vec<TlsConnections>,
    /// Its spans so far, by protocol.
    #[serde(default)]
    pub spans: BTreeMap<String, u64>,
}

/// A part inside a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// `jvm` or `node`.
    pub platform: String,
    /// Where it is.
    pub state: PartState,
    /// Whether it tells what the platform's own TLS encrypts.
    #[serde(default)]
    pub tells_tls: bool,
}

/// Where a part is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// Inside and at work.
    Attached,
    /// It will be put in when that is safe, or was taken out.
    Outside,
    /// It was not put in, or not taken out: why.
    Refused(String),
}

/// A file in which functions are probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbedFile {
    /// Where it was found first.
    pub path: String,
    /// Places that tell plaintext of TLS.
    #[serde(default)]
    pub plaintext_places: usize,
    /// Places that tell who works for whom.
    #[serde(default)]
    pub parent_places: usize,
}

/// TLS connections of a process that have all of this in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsConnections {
    /// Why no plaintext of them was seen (`remora_agent_tls_unseen_connections` has the reasons); empty where it was.
    #[serde(default)]
    pub unseen_reason: String,
    /// The name of the server that the client has asked for, or the server's address.
    #[serde(default)]
    pub server: String,
    /// Version of TLS; empty where the beginning was not seen.
    #[serde(default)]
    pub version: String,
    /// By ALPN: what the server chose, or the client offered.
    #[serde(default)]
    pub protocols: String,
    /// How many.
    pub connections: u64,
    /// Bytes on the wire.
    #[serde(default)]
    pub bytes_sent: u64,
    /// Bytes on the wire.
    #[serde(default)]
    pub bytes_received: u64,
}
