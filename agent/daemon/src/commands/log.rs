//! The agent's own log, to stderr.

use std::io::IsTerminal as _;

use anyhow::{Context as _, anyhow};
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Starts the log.
///
/// # Errors
/// The filter is none.
pub(super) fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(&settings.filter).with_context(|| format!("log filter {:?}", settings.filter))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_terminal = std::io::stderr().is_terminal();
    let started = match settings.format {
        LogFormat::Text => builder.with_ansi(is_terminal).with_target(false).try_init(),
        LogFormat::Json => builder.json().with_ansi(false).try_init(),
    };
    started.map_err(|error| anyhow!("start the log: {error}"))
}
