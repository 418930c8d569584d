//! `/metrics`, `/healthz` and `/readyz` over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
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
    /// Returns a server that listens on `address` (port 0 takes a free one) on a thread of its own. With a `token`,
    /// `/metrics` wants it as bearer; the other two say nothing that is secret.
    ///
    /// # Errors
    /// The address is taken or not this host's, or no thread could be started.
    pub fn start(
        address: SocketAddr,
        token: Option<String>,
        ledger: Ledger,
        readiness: Readiness,
    ) -> Result<Self, Error> {
        let listener =
            std::net::TcpListener::bind(address).map_err(|source| Error::Bind { address, source })?;
        let address = listener.local_addr().map_err(Error::Start)?;
        listener.set_nonblocking(true).map_err(Error::Start)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
                    return;
                };
                tokio::select! {
                    _ = axum::serve(listener, router(token, ledger, readiness)) => {}
                    _ = stopped => {}
                }
            });
        };
        std::thread::Builder::new().name("remora-health".to_owned()).spawn(serve).map_err(Error::Start)?;
        Ok(Self { address, _stop: stop })
    }

    /// Returns the address that is listened on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn router(token: Option<String>, ledger: Ledger, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .with_state((ledger, token.map(|token| format!("Bearer {token}"))))
        .route("/healthz", get(async || "ok\n"))
        .merge(Router::new().route("/readyz", get(ready)).with_state(readiness))
}

async fn metrics(State((ledger, wanted)): State<(Ledger, Option<String>)>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if wanted.is_some_and(|wanted| !is_equal(wanted.as_bytes(), given)) {
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content_type, prometheus::text(&ledger.samples())).into_response()
}

/// Compares in a time that does not tell where the difference is.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
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
        get_with(address, path, "")
    }

    fn get_with(address: SocketAddr, path: &str, header: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn metrics_and_readiness_are_served() {
        let (ledger, readiness) = (Ledger::default(), Readiness::default());
        ledger.loss("kernel", "ring_full").add(5);
        readiness.fails("capture", "loading");
        let server = Server::start(([127, 0, 0, 1], 0).into(), None, ledger, readiness.clone()).unwrap();
        let expected = "remora_agent_losses_total{stage=\"kernel\",reason=\"ring_full\"} 5\n";
        assert!(get(server.address(), "/metrics").ends_with(expected));
        assert!(get(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 503"));
        readiness.holds("capture");
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn the_token_is_asked_for() {
        let token = Some("s3cret".to_owned());
        let server =
            Server::start(([127, 0, 0, 1], 0).into(), token, Ledger::default(), Readiness::default())
                .unwrap();
        let status = |header| get_with(server.address(), "/metrics", header)[9..12].to_owned();
        assert_eq!(status(""), "401");
        assert_eq!(status("Authorization: Bearer s3creT\r\n"), "401");
        assert_eq!(status("Authorization: Bearer s3cret\r\n"), "200");
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = Server::start(address, None, Ledger::default(), Readiness::default()).unwrap_err();
        assert!(error.to_string().starts_with(&format!("listen for metrics on {address}: ")), "{error}");
    }
}
