//! `/metrics`, `/processes/PID`, `/healthz` and `/readyz` over HTTP.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::runtime;
use tokio::sync::oneshot;

use super::questions::Unanswered;
use super::{Ledger, Questions, Readiness, prometheus};

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
    /// `/metrics` and `/processes/PID` want it as bearer; the other two say nothing that is secret.
    ///
    /// # Errors
    /// The address is taken or not this host's, or no thread could be started.
    pub fn start(
        address: SocketAddr,
        token: Option<String>,
        ledger: Ledger,
        readiness: Readiness,
        questions: Questions,
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
                    _ = axum::serve(listener, router(token, ledger, readiness, questions)) => {}
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

fn router(token: Option<String>, ledger: Ledger, readiness: Readiness, questions: Questions) -> Router {
    let wanted = token.map(|token| format!("Bearer {token}"));
    Router::new()
        .route("/metrics", get(metrics))
        .with_state((ledger, wanted.clone()))
        .route("/healthz", get(async || "ok\n"))
        .merge(Router::new().route("/processes/{pid}", get(process)).with_state((questions, wanted)))
        .merge(Router::new().route("/readyz", get(ready)).with_state(readiness))
}

/// Returns a refusal unless the token was given that is wanted.
fn refusal(wanted: Option<&str>, headers: &HeaderMap) -> Option<Response> {
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let is_refused = wanted.is_some_and(|wanted| !is_equal(wanted.as_bytes(), given));
    is_refused.then(|| (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")]).into_response())
}

async fn process(
    State((questions, wanted)): State<(Questions, Option<String>)>,
    Path(pid): Path<u32>,
    headers: HeaderMap,
) -> Response {
    if let Some(refusal) = refusal(wanted.as_deref(), &headers) {
        return refusal;
    }
    let answer = match questions.ask(pid).await {
        Ok(known) => serde_json::to_vec(&known),
        Err(Unanswered::NoProcess) => {
            return (StatusCode::NOT_FOUND, "the agent knows no such process\n").into_response();
        }
        Err(Unanswered::Busy) => {
            return (StatusCode::SERVICE_UNAVAILABLE, "the agent begins, ends or is too busy\n")
                .into_response();
        }
    };
    match answer {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn metrics(State((ledger, wanted)): State<(Ledger, Option<String>)>, headers: HeaderMap) -> Response {
    if let Some(refusal) = refusal(wanted.as_deref(), &headers) {
        return refusal;
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

    use super::super::Known;
    use super::*;

    fn start(token: Option<&str>, ledger: Ledger, readiness: Readiness) -> Server {
        let token = token.map(str::to_owned);
        Server::start(([127, 0, 0, 1], 0).into(), token, ledger, readiness, Questions::default()).unwrap()
    }

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
        let server = start(None, ledger, readiness.clone());
        let expected = "remora_agent_losses_total{stage=\"kernel\",reason=\"ring_full\"} 5\n";
        assert!(get(server.address(), "/metrics").ends_with(expected));
        assert!(get(server.address(), "/healthz").starts_with("HTTP/1.1 200"));
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 503"));
        readiness.holds("capture");
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn the_token_is_asked_for() {
        let server = start(Some("s3cret"), Ledger::default(), Readiness::default());
        for (path, allowed) in [("/metrics", "200"), ("/processes/1", "503")] {
            let status = |header| get_with(server.address(), path, header)[9..12].to_owned();
            assert_eq!(status(""), "401");
            assert_eq!(status("Authorization: Bearer s3creT\r\n"), "401");
            assert_eq!(status("Authorization: Bearer s3cret\r\n"), allowed);
        }
        assert!(get(server.address(), "/readyz").starts_with("HTTP/1.1 200"));
    }

    #[test]
    fn what_is_known_of_a_process_is_served_and_what_is_not_known_is_said() {
        let questions = Questions::default();
        let asked = questions.take();
        let answering = std::thread::spawn(move || {
            for question in asked {
                let known = question.known.clone();
                match known.pid {
                    1 => question.answer(Some(Known { reason: "it is the first".to_owned(), ..known })),
                    2 => question.answer(None),
                    _ => return,
                }
            }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let server =
            Server::start(address, None, Ledger::default(), Readiness::default(), questions).unwrap();
        let answer = get(server.address(), "/processes/1");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let known: Known = serde_json::from_str(body).unwrap();
        assert_eq!((known.pid, known.reason.as_str()), (1, "it is the first"));
        assert!(get(server.address(), "/processes/2").starts_with("HTTP/1.1 404"));
        assert!(get(server.address(), "/processes/all").starts_with("HTTP/1.1 400"));
        assert!(get(server.address(), "/processes/3").starts_with("HTTP/1.1 503"), "not answered");
        answering.join().unwrap();
        assert!(get(server.address(), "/processes/1").starts_with("HTTP/1.1 503"), "nobody answers");
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error =
            Server::start(address, None, Ledger::default(), Readiness::default(), Questions::default())
                .unwrap_err();
        assert!(error.to_string().starts_with(&format!("listen for metrics on {address}: ")), "{error}");
    }
}
