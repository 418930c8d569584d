//! The bridge's own REST interface.

use crate::store::Store;

/// What the handlers answer from.
#[derive(Clone)]
pub struct AppState {
    /// Where spans are.
    pub store: Store,
}

/// Returns all routes below `/`, without health and metrics.
pub fn router(_state: AppState) -> axum::Router {
    axum::Router::new()
}
