//! Encoded spans that are sent together.

use bytes::Bytes;

/// One request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// `ExportTraceServiceRequest`, not compressed.
    pub payload: Bytes,
    /// Spans in it.
    pub spans: u32,
}
