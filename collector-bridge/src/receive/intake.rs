//! What both transports share: limits, decoding, handing over.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::counters::ReceiveCounters;
use super::decode::decode;
use super::wire::WireError;
use crate::model::Span;

/// Requests that are decoded at once: bounds the memory of decoding together with the size limit.
const MAX_DECODING: usize = 8;

/// A smaller request is decoded where it is; a larger one would hold up other connections.
const OFFLOAD_BYTES: usize = 64 << 10;

/// When a refused sender should come back.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Keeps a request (its protobuf bytes, and the valid spans in them); must not answer before it is kept.
pub type Deliver =
    Arc<dyn Fn(Bytes, Vec<Span>) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>> + Send + Sync>;

/// A request could not be kept now; it may be sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// Value of the `reason` label in metrics.
    pub reason: &'static str,
    /// For the sender's operator.
    pub message: String,
}

/// Why a request is not acknowledged.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error("request is no ExportTraceServiceRequest: {0}")]
    Protobuf(#[from] WireError),
    #[error("request is no OTLP JSON: {0}")]
    Json(String),
    #[error("request cannot be unpacked: {0}")]
    Compression(std::io::Error),
    #[error("request is larger than {limit} bytes; send smaller batches, or raise max_request_size")]
    TooLarge { limit: usize },
    #[error("content type {0:?} is not supported; use application/x-protobuf or application/json")]
    ContentType(String),
    #[error("content encoding {0:?} is not supported; use gzip, zstd or identity")]
    Encoding(String),
    #[error("request body ended early: {0}")]
    Body(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl IntakeError {
    fn reason(&self) -> &'static str {
        match self {
            IntakeError::Protobuf(_) | IntakeError::Json(_) => "malformed",
            IntakeError::Compression(_) => "damaged_compression",
            IntakeError::TooLarge { .. } => "too_large",
            IntakeError::ContentType(_) => "content_type",
            IntakeError::Encoding(_) => "content_encoding",
            IntakeError::Body(_) => "body_ended",
            IntakeError::Refused(refusal) => refusal.reason,
        }
    }
}

/// Spans of a kept request that were left out, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) spans: u64,
    pub(super) message: String,
}

/// Takes requests from both transports; clones share the counters.
#[derive(Clone)]
pub struct Intake {
    deliver: Deliver,
    decoding: Arc<Semaphore>,
    pub(super) counters: Arc<ReceiveCounters>,
    pub(super) max_request_bytes: usize,
    pub(super) token: Option<Arc<str>>,
}

impl Intake {
    /// Returns an intake that hands over through `deliver`, and takes only requests with the token, if there is one.
    #[must_use]
    pub fn new(
        deliver: Deliver,
        counters: Arc<ReceiveCounters>,
        max_request_bytes: usize,
        token: Option<Arc<str>>,
    ) -> Self {
        Self { deliver, decoding: Arc::new(Semaphore::new(MAX_DECODING)), counters, max_request_bytes, token }
    }

    /// Returns whether an `Authorization` header lets a request in.
    pub(super) fn is_allowed(&self, authorization: Option<&str>) -> bool {
        self.token.as_ref().is_none_or(|token| is_bearer(authorization, token))
    }

    /// Decodes and hands over a request; returns what was left out of it.
    pub(super) async fn take(&self, request: Bytes) -> Result<Rejected, IntakeError> {
        // JSON may be longer as protobuf, and that is what is kept.
        if request.len() > self.max_request_bytes {
            return Err(IntakeError::TooLarge { limit: self.max_request_bytes });
        }
        let permit = self.decoding.acquire().await;
        let bytes = request.clone();
        let decoded = offload(request.len(), move || decode(&bytes)).await?;
        drop(permit);
        ReceiveCounters::add(&self.counters.received_bytes, request.len() as u64);
        ReceiveCounters::add(
            &self.counters.received_spans,
            decoded.spans.len() as u64 + decoded.rejected_spans,
        );
        ReceiveCounters::add(&self.counters.rejected_spans, decoded.rejected_spans);
        if !decoded.spans.is_empty() {
            (self.deliver)(request, decoded.spans).await?;
        }
        ReceiveCounters::add(&self.counters.accepted_requests, 1);
        let message =
            decoded.first_rejection.map(|reason| format!("spans were left out; the first: {reason}"));
        Ok(Rejected { spans: decoded.rejected_spans, message: message.unwrap_or_default() })
    }

    /// Counts and returns an error.
    pub(super) fn refused(&self, error: IntakeError) -> IntakeError {
        self.counters.refuse(error.reason());
        error
    }
}

/// Compares without stopping at the first difference, so that time tells nothing about the token.
pub(crate) fn is_bearer(authorization: Option<&str>, token: &str) -> bool {
    let Some(given) = authorization.and_then(|value| value.strip_prefix("Bearer ")) else {
        return false;
    };
    let differences = given.bytes().zip(token.bytes()).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == token.len() && differences == 0
}

/// Runs `work` where it disturbs nobody: here if it is small, on a thread for blocking work if not.
pub async fn offload<T: Send + 'static>(bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
    if bytes < OFFLOAD_BYTES {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
