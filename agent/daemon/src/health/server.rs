//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime;
use tokio::sync::oneshot;

use super::{Ledger, Readiness, prometheus};

/// Why the server could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error("listen for metrics on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The thread or its runtime could not be made.
    #[error("start the metrics server: {0}")]
    Start(#[source] std::io::Error),
}

/// The running server; dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Returns a server that listens on `address` (port 0 takes a free one) on a thread of its own.
    ///
    /// # Errors
    /// The address is taken or not this host's, or no thread could be started.
    pub fn start(address: SocketAddr, ledger: Ledger, readiness: Readiness) -> Result<Self, Error> {
        let listener = std::net::TcpListener::bind(address)
            .map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr().map_err(Error::Start)?;
        listener.set_nonblocking(true).map_err(Error::Start)?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Error::Start)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    _ = axum::serve(listener, router(ledger, readiness)) => {}
                    _ = stopped => {}
                }
            });
        };
        std::thread::Builder::new()
            .name("remora-health".to_owned())
            .spawn(serve)
            .map_err(Error::Start)?;
        Ok(Self {
            address,
            _stop: stop,
        })
    }

    /// Returns the address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn router(ledger: Ledger, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .with_state(ledger)
        .route("/healthz", get(async || "ok\n"))
        .merge(
            Router::new()
                .route("/readyz", get(ready))
                .with_state(readiness),
        )
}

async fn metrics(State(ledger): State<Ledger>) -> Response {
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, prometheus::text(&ledger.samples())).into_response()
}

async fn ready(State(readiness): State<Readiness>) -> Response {
    match readiness.check() {
        Ok(()) => "ready\n".into_response(),
        Err(lines) => (StatusCode::SERVICE_UNAVAILABLE, lines).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    use super::*;

    fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_and_readiness_are_served() {
        let (ledger, readiness) = (Ledger::default(), Readiness::default());
        ledger.loss("kernel", "ring_full").add(5);
        readiness.fails("capture", "loading");
        let server = Server::start(([127, 0, 0, 1], 0).into(), ledger, readiness.clone()).unwrap();
        let expected = "remora_agent_losses_total{stage=\"kernel\",reason=\"ring_full\"} 5\n";
        assert!(get(server.address(), "/metrics").ends_with(expected));
        assert!(get(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 503"));
        readiness.holds("capture");
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Server::start(address, Ledger::default(), Readiness::default()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("listen for metrics on {address}: ")),
            "{error}"
        );
    }
}
