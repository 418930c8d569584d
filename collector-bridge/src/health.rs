//! The bridge about itself: `/healthz`, `/readyz`, `/metrics`.

mod metrics;

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::infer::InferCounters;
use crate::join::Joiner;
use crate::receive::ReceiveCounters;
use crate::store::Store;

/// What is looked at. The store is missing until its log was read back.
#[derive(Clone)]
pub struct Health {
    /// Counters of the receivers.
    pub receive: Arc<ReceiveCounters>,
    /// What brings the sides of requests together, with its counters.
    pub join: Arc<Joiner>,
    /// Counters of inferred links.
    pub infer: Arc<InferCounters>,
    /// The store, once it is open.
    pub store: Arc<OnceLock<Store>>,
}

/// Returns the three routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn ready(State(health): State<Health>) -> Response {
    match health.store.get() {
        Some(_) => "ready\n".into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the log is being read back\n").into_response(),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    health.join.expire(Instant::now());
    let text = metrics::write(&health);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}
