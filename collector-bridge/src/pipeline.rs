//! The bridge on one page: who hands over to whom.
//!
//! ```text
//! 4317 gRPC ─┐                 ┌ writer thread: log, fsync, live spans
//!            ├ receive ─ store ┤                                        ← api (7654)
//! 4318 HTTP ─┘             │ ↑ └ sealer thread: segments, retention
//!                         join
//! ```
//! What is stored is shown to `join`; which traces belong together goes back to the store.
//! A request is answered when the store kept it; nothing is queued outside of the store's two limits (live bytes, waiting
//! requests), and what they refuse is answered as retryable.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::api;
use crate::config::Settings;
use crate::health::{self, Health};
use crate::infer::InferCounters;
use crate::join::{JoinCounters, Joiner, Late, Sightings};
use crate::model::{Join, Span};
use crate::query::Inferrer;
use crate::receive::{self, Deliver, Intake, ReceiveCounters, Refusal, offload};
use crate::store::{AppendError, Batch, Store, StoreError};

/// How long open connections may take to end after a signal.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(5);

/// How often late sides of requests are looked for, at most.
const LATE_INTERVAL: Duration = Duration::from_secs(1);

/// How long one look may take; newer segments come first.
const LATE_PATIENCE: Duration = Duration::from_secs(2);

/// Spans that one look may find; of more, the rest is left as it is.
const MAX_LATE_FOUND: usize = 100_000;

/// File in the data directory that names the addresses in use, for programs that let the kernel choose them.
const ADDRESSES_FILE: &str = "addresses.json";

/// Why the bridge ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// An address cannot be used.
    #[error("listen on {address} ({flag}): {source}; stop what uses it, or choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that sets it.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something that only the operating system can refuse.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Runs the bridge until `stop` resolves; everything acknowledged is on the disk when this returns.
///
/// # Errors
/// If an address is taken or the data directory cannot be used.
pub async fn run(settings: Settings, stop: impl Future<Output = ()>) -> Result<(), PipelineError> {
    let api_listener = listen(settings.listen, "--listen").await?;
    let grpc_listener = listen(settings.otlp_grpc, "--otlp-grpc").await?;
    let http_listener = listen(settings.otlp_http, "--otlp-http").await?;

    // Health answers while the log is read back, which may take a while; nothing else does.
    let health = Health {
        receive: Arc::new(ReceiveCounters::default()),
        join: Arc::new(Joiner::new(&settings.join, Instant::now())),
        store: Arc::new(OnceLock::new()),
        infer: Arc::new(InferCounters::default()),
    };
    let (stopper, stopped) = watch::channel(false);
    let mut servers = JoinSet::new();
    let gate = Gate { token: settings.token.clone(), rest: Arc::new(OnceLock::new()) };
    serve(&mut servers, api_listener.listener, api_routes(&health, gate.clone()), stopped.clone());

    let store = open(&settings, &health.join).await?;
    let _ = health.store.set(store.clone());
    let inferrer = Arc::new(Inferrer::new(settings.infer.clone(), Arc::clone(&health.infer)));
    let _ = gate.rest.set(api::router(api::AppState { store: store.clone(), inferrer }));
    let intake = Intake::new(
        deliver(store.clone(), Arc::clone(&health.join), settings.join.hold),
        Arc::clone(&health.receive),
        settings.max_request_bytes,
        settings.token.clone(),
    );
    serve(&mut servers, grpc_listener.listener, receive::grpc_router(intake.clone()), stopped.clone());
    servers.spawn(join_late(store.clone(), Arc::clone(&health.join), stopped.clone()));
    serve(&mut servers, http_listener.listener, receive::http_router(intake), stopped);
    announce(&settings.store.data_dir, api_listener.address, grpc_listener.address, http_listener.address);

    stop.await;
    tracing::info!("stopping: no more requests are taken, open ones are finished");
    let _ = stopper.send(true);
    let ended = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_PATIENCE, ended).await.is_err() {
        tracing::warn!("connections were closed before their senders ended them");
    }
    servers.shutdown().await;
    closed(store).await;
    Ok(())
}

struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<Listening, PipelineError> {
    let failed = |source| PipelineError::Listen { address, flag, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listening { listener, address })
}

async fn open(settings: &Settings, joiner: &Arc<Joiner>) -> Result<Store, PipelineError> {
    let (store, hold) = (settings.store.clone(), settings.join.hold);
    let joiner = Arc::clone(joiner);
    let opening: JoinHandle<_> = tokio::task::spawn_blocking(move || {
        let store = Store::open(store, |request| {
            let mut spans = decode_logged(request)?;
            joiner.link(&mut spans, Instant::now());
            Ok(spans)
        })?;
        // The other halves of what came shortly before the end of the last process may still come.
        store.visit_recent(hold, &mut |span| join(&store, &joiner, &Sightings::of([span], 0)))?;
        Ok::<_, StoreError>(store)
    });
    let opened = opening
        .await
        .map_err(|error| PipelineError::System { action: "open the store", source: error.into() })?;
    Ok(opened?)
}

/// Reads a request from the log. It was decoded before it was written, so an error is a change of the decoder.
fn decode_logged(request: &[u8]) -> Result<Vec<Span>, String> {
    receive::decode(request).map(|decoded| decoded.spans).map_err(|error| error.to_string())
}

fn deliver(store: Store, joiner: Arc<Joiner>, hold: Duration) -> Deliver {
    // Both sides end at about the same time: if one comes within the hold, the other one is known or to come.
    let hold_ns = u64::try_from(hold.as_nanos()).unwrap_or(u64::MAX);
    Arc::new(move |raw: Bytes, mut spans: Vec<Span>| {
        let (store, joiner) = (store.clone(), Arc::clone(&joiner));
        let late_unix_ns = unix_now_ns().saturating_sub(hold_ns);
        Box::pin(async move {
            let linker = Arc::clone(&joiner);
            let (sightings, prepared) = offload(raw.len(), move || {
                linker.link(&mut spans, Instant::now());
                (Sightings::of(&spans, late_unix_ns), Store::prepare(Batch { raw, spans }))
            })
            .await;
            // A sender that goes away must not leave spans behind that were stored and never looked at.
            let keeping = tokio::spawn(async move {
                store.append(prepared?).await?;
                join(&store, &joiner, &sightings);
                Ok::<(), AppendError>(())
            });
            let kept = keeping.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            kept.map_err(|error| Refusal { reason: error.reason(), message: error.to_string() })
        })
    })
}

/// Brings sides of requests together that are stored, and counts what became of them.
fn join(store: &Store, joiner: &Joiner, sightings: &Sightings) {
    let counters = joiner.counters();
    let now = Instant::now();
    join_all(store, counters, &counters.joined, &joiner.observe(sightings, now));
    join_all(store, counters, &counters.joined_requests, &joiner.observe_requests(sightings, now));
}

fn join_all(store: &Store, counters: &JoinCounters, joined: &AtomicU64, joins: &[Join]) {
    if joins.is_empty() {
        return;
    }
    let outcome = store.join(joins);
    JoinCounters::add(joined, outcome.joined);
    JoinCounters::add(&counters.wire_conflicts, outcome.wire_conflicts);
    JoinCounters::add(&counters.refused, outcome.refused);
}

/// Looks for the other sides of what came late among what is stored. Takes a twentieth of one processor at most.
async fn join_late(store: Store, joiner: Arc<Joiner>, mut stopped: watch::Receiver<bool>) {
    let mut pause = LATE_INTERVAL;
    while tokio::time::timeout(pause, stopped.wait_for(|is_stopped| *is_stopped)).await.is_err() {
        let began = Instant::now();
        joiner.expire(began);
        if let Some(late) = joiner.take_late() {
            let (store, joiner) = (store.clone(), Arc::clone(&joiner));
            let looking = tokio::task::spawn_blocking(move || look_for(&late, &store, &joiner));
            match looking.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "late sides of requests were not looked for"),
                Err(error) => tracing::error!(%error, "looking for late sides of requests panicked"),
            }
        }
        pause = (began.elapsed() * 20).max(LATE_INTERVAL);
    }
}

fn look_for(late: &Late, store: &Store, joiner: &Joiner) -> Result<(), StoreError> {
    let mut found: Vec<Span> = Vec::new();
    let deadline = Instant::now() + LATE_PATIENCE;
    store.find_sides(&late.clients, &late.expected, deadline, &mut |span| {
        if found.len() < MAX_LATE_FOUND {
            found.push(span.clone());
        }
    })?;
    join(store, joiner, &Sightings::of(&found, 0));
    Ok(())
}

fn unix_now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn serve(
    servers: &mut JoinSet<()>,
    listener: TcpListener,
    router: Router,
    mut stopped: watch::Receiver<bool>,
) {
    servers.spawn(async move {
        let stop = async move {
            // The sender lives until after the servers, so an error cannot come before the signal.
            let _ = stopped.wait_for(|is_stopped| *is_stopped).await;
        };
        // Answers are small and awaited: holding them back for more (Nagle) would add 40 ms with delayed ACKs.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY was not set");
            }
        });
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::error!(%error, "a server ended");
        }
    });
}

/// Holds the API's routes back until the store is there, and checks the token.
#[derive(Clone)]
struct Gate {
    token: Option<Arc<str>>,
    rest: Arc<OnceLock<Router>>,
}

fn api_routes(health: &Health, gate: Gate) -> Router {
    let open = axum::routing::any(forward).with_state(gate.clone());
    let routes = health::router(health.clone()).fallback_service(open);
    routes.layer(middleware::from_fn_with_state(gate, check_token))
}

async fn forward(State(gate): State<Gate>, request: Request) -> Response {
    use tower_service::Service;
    match gate.rest.get() {
        Some(router) => router.clone().call(request).await.into_response(),
        None => api::starting(),
    }
}

/// Lets probes of an orchestrator pass, which send no token and learn nothing.
async fn check_token(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let is_probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let is_allowed = gate.token.as_ref().is_none_or(|token| receive::is_bearer(authorization, token));
    if is_probe || is_allowed {
        return next.run(request).await;
    }
    api::unauthorized()
}

/// Writes the addresses in use down; a disk without room for that is no reason not to serve.
fn announce(data_dir: &Path, api: SocketAddr, grpc: SocketAddr, http: SocketAddr) {
    let addresses = serde_json::json!({"listen": api, "otlp_grpc": grpc, "otlp_http": http});
    let temporary = data_dir.join("addresses.tmp");
    let written = fs::write(&temporary, addresses.to_string())
        .and_then(|()| fs::rename(&temporary, data_dir.join(ADDRESSES_FILE)));
    if let Err(error) = written {
        tracing::warn!(%error, "addresses.json was not written");
        // No file is better than half a one, or the addresses of an earlier start.
        let _ = fs::remove_file(&temporary);
        let _ = fs::remove_file(data_dir.join(ADDRESSES_FILE));
    }
    tracing::info!(%api, otlp_grpc = %grpc, otlp_http = %http, "ready");
}

async fn closed(store: Store) {
    let closing = tokio::task::spawn_blocking(move || store.close());
    if closing.await.is_err() {
        tracing::error!("the store did not close; the next start reads its log back");
    }
}
