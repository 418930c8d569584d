//! The bridge's own REST interface: HTTP in, questions to [`query`](crate::query), JSON out.
//!
//! Every route is in `openapi`, and a test holds the two together. Nothing here reads files or counts spans.

mod dependencies;
mod error;
mod errors;
mod fields;
mod inferred;
mod json;
mod names;
mod openapi;
mod page;
mod performance;
mod range;
mod search;
mod services;
mod time;
mod trace;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;

use crate::query::{Inferrer, QueryError};
use crate::store::Store;

use error::ApiError;

/// Queries that run at once; more are refused with 503, so that they cannot starve what takes in spans.
pub const MAX_QUERIES: usize = 16;
/// How long a query may take.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a body.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// What the handlers answer from.
#[derive(Clone)]
pub struct AppState {
    /// Where spans are.
    pub store: Store,
    /// What infers links.
    pub inferrer: Arc<Inferrer>,
}

/// Returns all routes below `/`, without health and metrics; everything else is answered with 404.
pub fn router(state: AppState) -> Router {
    let AppState { store, inferrer } = state;
    let api = Api { store, inferrer, permits: Arc::new(Semaphore::new(MAX_QUERIES)) };
    let add = |router: Router<Api>, (path, methods)| router.route(path, methods);
    routes().into_iter().fold(Router::new(), add).fallback(no_route).with_state(api)
}

/// Every route; a test holds the list and the description together.
fn routes() -> [(&'static str, MethodRouter<Api>); 9] {
    [
        ("/", get(page::page).fallback(only_get)),
        ("/api/v1/openapi.json", get(openapi::document).fallback(only_get)),
        ("/api/v1/traces/{id}", get(trace::trace).fallback(only_get)),
        ("/api/v1/traces/search", post(search::search).fallback(only_post)),
        ("/api/v1/traces/services", get(services::services).fallback(only_get)),
        ("/api/v1/traces/operations", get(services::operations).fallback(only_get)),
        ("/api/v1/traces/performance", get(performance::performance).fallback(only_get)),
        ("/api/v1/traces/dependencies", get(dependencies::dependencies).fallback(only_get)),
        ("/api/v1/traces/errors", get(errors::errors).fallback(only_get)),
    ]
}

/// Returns the answer to a request without the bridge's token.
#[must_use]
pub fn unauthorized() -> Response {
    ApiError::new("unauthorized", "send the bearer token of the bridge's token file").into_response()
}

/// Returns the answer to a request that comes before the store is there.
#[must_use]
pub fn starting() -> Response {
    ApiError::new("starting", "the log is being read back").into_response()
}

/// What handlers share.
#[derive(Clone)]
struct Api {
    store: Store,
    inferrer: Arc<Inferrer>,
    permits: Arc<Semaphore>,
}

impl Api {
    /// Asks the store on a thread that may wait for disks.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Store, Instant) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return Err(ApiError::new("overloaded", format!("{MAX_QUERIES} queries are running already")));
        };
        let store = self.store.clone();
        let deadline = Instant::now() + QUERY_TIMEOUT;
        let asked = tokio::task::spawn_blocking(move || {
            let answer = question(&store, deadline);
            drop(permit);
            answer
        });
        match asked.await {
            Ok(answer) => Ok(answer?),
            Err(panicked) => {
                tracing::error!(error = &panicked as &dyn std::error::Error, "query panicked");
                Err(ApiError::new("internal_error", "the query failed"))
            }
        }
    }
}

async fn no_route(uri: Uri) -> ApiError {
    let path = fields::shown(uri.path());
    ApiError::new("route_not_found", format!("no such path: {path}; GET / lists all"))
}

async fn only_get() -> ApiError {
    ApiError::new("method_not_allowed", "this path answers GET").allowing("GET, HEAD")
}

async fn only_post() -> ApiError {
    ApiError::new("method_not_allowed", "this path answers POST, with a JSON body").allowing("POST")
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_route_is_described() {
        let mut routes: Vec<&str> = super::routes().iter().map(|route| route.0).collect();
        routes.sort_unstable();
        let described = super::openapi::description()["paths"].as_object().unwrap();
        assert!(described.keys().eq(routes.iter()), "{described:?}");
    }
}
