//! Questions about stored traces, and their answers.
//!
//! Takes typed questions and makes typed answers, from trace summaries and rollups where those suffice and from spans
//! where not. Knows nothing of HTTP, JSON or time of day. The hard problem: an answer that is the same each time it is
//! asked for, page after page, while spans keep arriving.

mod condition;
mod cursor;
mod errors;
mod inferred;
mod performance;
mod search;
mod services;

use crate::store::StoreError;

pub use condition::{AttributeCondition, Comparison, Scope};
pub use cursor::{Cursor, CursorError, LATE_NS, MAX_REMEMBERED};
pub use errors::{ErrorGroup, ErrorsQuestion, error_groups};
pub use inferred::{InferState, InferredLinks, Inferrer};
pub use performance::{Grouping, KindChoice, PerformanceQuestion, Series, performance};
pub use search::{
    FoundTrace, MAX_MATCHED_SPANS, MatchedSpan, SearchFilter, SearchPage, SearchQuestion, search,
};
pub use services::{OperationSummary, ServiceSummary, operations, services};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The question took longer than it may.
    #[error("the query took too long")]
    Deadline,
}
