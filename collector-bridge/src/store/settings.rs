//! Where and how much the store keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Settings of a store; [`StoreSettings::at`] has the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// Directory of all files; made if missing.
    pub data_dir: PathBuf,
    /// Memory of spans that are not in segments yet, at most; more is refused. Default 512 MiB.
    pub live_limit_bytes: usize,
    /// Memory of spans at which they become a segment. Default 128 MiB.
    pub seal_bytes: usize,
    /// Spans at which they become a segment. Default 1,000,000.
    pub seal_spans: usize,
    /// Age of the oldest span at which they become a segment. Default 60 s.
    pub seal_age: Duration,
    /// Age at which a segment is removed, counted from when it was written. Default 7 days.
    pub retention_age: Duration,
    /// Bytes of all segments, at most; the oldest are removed. Default 10 GiB.
    pub retention_bytes: u64,
    /// Ids of traces that became part of others, at most (about 250 bytes of memory each); the oldest are forgotten.
    /// Default 1,000,000.
    pub max_aliases: usize,
}

impl StoreSettings {
    /// Returns the defaults for a directory.
    #[must_use]
    pub fn at(data_dir: &Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            live_limit_bytes: 512 << 20,
            seal_bytes: 128 << 20,
            seal_spans: 1_000_000,
            seal_age: Duration::from_secs(60),
            retention_age: Duration::from_secs(7 * 24 * 3600),
            retention_bytes: 10 << 30,
            max_aliases: 1_000_000,
        }
    }
}
