//! What `cargo xtask lab` asks for, as one JSON argument.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What to measure, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// Names of frameworks, in any order.
    pub(crate) frameworks: Vec<String>,
    /// Frameworks that cannot be measured here, and why.
    pub(crate) not_run: BTreeMap<String, String>,
    /// Numbers of requests in flight.
    pub(crate) in_flight: Vec<usize>,
    /// Requests that a connection sends before it waits for an answer.
    pub(crate) at_once: u64,
    /// Requests of each cell.
    pub(crate) requests: u64,
    /// Whether conclusions from ids are measured, instead of everything else.
    pub(crate) is_content: bool,
    /// Whether what is measured is encrypted.
    pub(crate) is_encrypted: bool,
    /// The agent's binary.
    pub(crate) agent: PathBuf,
    /// Whether budget and floors decide about success.
    pub(crate) is_strict: bool,
    /// Folder for the results as JSON.
    pub(crate) results: PathBuf,
    /// The page to rewrite.
    pub(crate) page: Option<PathBuf>,
}

impl Plan {
    /// Reads it.
    pub(crate) fn read(text: &str) -> Result<Self> {
        serde_json::from_str(text).context("read the plan: `cargo xtask lab` makes it")
    }
}
