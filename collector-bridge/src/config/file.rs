//! The configuration file, as a user writes it.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::flags::{InferMode, StoreKind};

/// A TOML file. Names that are not here are refused.
///
/// ```toml
/// data = "/var/lib/remora"
/// retention = "30d"
///
/// [ingest]
/// seal_age = "30s"
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Directory of all data. Default `./remora-data`.
    pub data: Option<PathBuf>,
    /// Address of page and API. Default `127.0.0.1:7654`.
    pub listen: Option<SocketAddr>,
    /// Address for OTLP over gRPC. Default `127.0.0.1:4317`.
    pub otlp_grpc: Option<SocketAddr>,
    /// Address for OTLP over HTTP. Default `127.0.0.1:4318`.
    pub otlp_http: Option<SocketAddr>,
    /// `local`.
    pub store: Option<StoreKind>,
    /// File with the token that every request must bear. Default none, which loopback addresses allow.
    pub token_file: Option<PathBuf>,
    /// Age at which spans are removed (`s`, `m`, `h`, `d`). Default `7d`.
    pub retention: Option<String>,
    /// Bytes of segments at which the oldest are removed (`KiB`, `MiB`, `GiB`, `TiB`). Default `10GiB`.
    pub retention_size: Option<String>,
    /// Limits of ingest.
    pub ingest: Ingest,
    /// Joining of traces across hosts.
    pub join: Join,
    /// Links that are inferred from times.
    pub infer: Infer,
}

/// Links that are inferred from times.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Infer {
    /// `links` or `off`. Default `links`.
    pub mode: Option<InferMode>,
    /// Links with less confidence, from 0 to 1, are not shown. Default 0.5.
    pub min_confidence: Option<f64>,
}

/// Joining of traces across hosts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Join {
    /// How long one side of a request waits for the other one at least, if there is room. Default `60s`.
    pub hold: Option<String>,
    /// Sides that wait at most: client spans and server spans each. Default 1000000.
    pub max_waiting: Option<usize>,
    /// Traces that are known to be part of others, at most; the oldest are forgotten. Default 1000000.
    pub max_aliases: Option<usize>,
}

/// Limits of ingest.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ingest {
    /// Largest request, as it comes and unpacked. Default `64MiB`, at most `256MiB`.
    pub max_request_size: Option<String>,
    /// Memory of spans that are not in segments yet; more is refused. Default `512MiB`.
    pub live_limit: Option<String>,
    /// Memory of spans that make a segment. Default `128MiB`.
    pub seal_size: Option<String>,
    /// Age of spans that make a segment. Default `60s`.
    pub seal_age: Option<String>,
}
