//! How spans are sent.

use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::Endpoint;

/// How requests are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    None,
    /// gzip.
    Gzip,
}

/// Everything that the exporter needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where to.
    pub endpoint: Endpoint,
    /// Sent with every request. Values may be secrets.
    pub headers: Vec<(String, String)>,
    /// How long one request may take.
    pub timeout: Duration,
    /// How requests are packed.
    pub compression: Compression,
    /// Certificates of authorities, in PEM; those of the host if none.
    pub certificate: Option<PathBuf>,
    /// Spans in one request at most.
    pub batch_spans: u32,
    /// How long a span waits for others.
    pub batch_delay: Duration,
    /// Memory for spans that wait, in bytes. When it is used up, new spans are refused.
    pub queue_bytes: usize,
    /// Where spans wait while the receiver is away; nowhere but in memory if none.
    pub spool: Option<SpoolSettings>,
    /// Between attempts.
    pub backoff: Backoff,
}

impl Settings {
    /// Returns the defaults for a receiver. Nothing is compressed on loopback, where it would only cost time.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        let compression = if endpoint.is_loopback() { Compression::None } else { Compression::Gzip };
        Self {
            endpoint,
            headers: Vec::new(),
            timeout: Duration::from_secs(10),
            compression,
            certificate: None,
            batch_spans: 2048,
            batch_delay: Duration::from_secs(1),
            queue_bytes: 16 << 20,
            spool: None,
            backoff: Backoff::default(),
        }
    }
}

/// Spans on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolSettings {
    /// Where.
    pub folder: PathBuf,
    /// How much at most, in bytes. When it is used up, the oldest spans are dropped.
    pub max_bytes: u64,
    /// Whether the exporter must not start without it.
    pub is_required: bool,
}

/// How long to wait before another attempt: twice as long each time, by chance up to half more or less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most, unless the receiver asks for more.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(10) }
    }
}
