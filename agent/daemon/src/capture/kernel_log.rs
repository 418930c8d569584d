//! What the BPF programs log becomes part of the agent's log.

use log::{Level, Log, Metadata, Record};
use tracing::level_filters::LevelFilter;

/// Hands lines on to `tracing`.
#[derive(Debug)]
pub(super) struct KernelLog;

impl Log for KernelLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        match record.level() {
            Level::Error | Level::Warn => tracing::warn!("kernel: {}", record.args()),
            _ => tracing::debug!("kernel: {}", record.args()),
        }
    }

    fn flush(&self) {}
}

/// Returns the least important level that is worth being written: what nobody reads costs the programs nothing.
pub(super) fn level() -> u8 {
    let level = if LevelFilter::current() >= LevelFilter::DEBUG { Level::Debug } else { Level::Warn };
    level as u8
}
