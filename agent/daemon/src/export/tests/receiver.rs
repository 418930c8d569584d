//! An OTLP receiver that does what it is told.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use rustls::ServerConfig;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Status};

use super::super::transport::retry_details;

/// What to do with one request.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    /// Take it.
    Accept,
    /// Take it, but say that so many spans were not wanted.
    Partial(i64),
    /// Take it after a while.
    Slow(Duration),
    /// Answer with a gRPC code, maybe with a `RetryInfo`.
    Grpc(Code, Option<Duration>),
    /// Answer with an HTTP status, maybe with a `Retry-After` in seconds.
    Http(u16, Option<u64>),
}

/// What a receiver has seen, and what it will do.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Replies to the next requests; all others are accepted.
    pub replies: VecDeque<Reply>,
    /// Accepted requests.
    pub requests: Vec<ExportTraceServiceRequest>,
    /// When each request, accepted or not, came.
    pub attempts: Vec<std::time::Instant>,
    /// Headers or metadata of the last request.
    pub headers: HeaderMap,
}

impl Script {
    /// Returns the names of all accepted spans in order.
    pub(super) fn names(&self) -> Vec<u32> {
        let scopes = self
            .requests
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|group| &group.scope_spans);
        scopes.flat_map(|scope| &scope.spans).map(|span| span.name.parse().unwrap()).collect()
    }
}

/// A running receiver; it is gone when dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    pub address: SocketAddr,
    pub script: Arc<Mutex<Script>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Receiver {
    pub(super) fn grpc(replies: Vec<Reply>) -> Self {
        Self::start(([127, 0, 0, 1], 0).into(), replies, true)
    }

    pub(super) fn http(replies: Vec<Reply>) -> Self {
        Self::start(([127, 0, 0, 1], 0).into(), replies, false)
    }

    pub(super) fn start(address: SocketAddr, replies: Vec<Reply>, is_grpc: bool) -> Self {
        Self::with_tls(address, replies, is_grpc, None)
    }

    pub(super) fn with_tls(
        address: SocketAddr,
        replies: Vec<Reply>,
        is_grpc: bool,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(address).unwrap();
            socket.listen(64).unwrap()
        });
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { replies: replies.into(), ..Script::default() }));
        let (stop, stopped) = oneshot::channel::<()>();
        let service = Service(script.clone());
        let thread = std::thread::spawn(move || {
            // Dropping the runtime resets whatever is open: the receiver is gone at once.
            runtime.block_on(async move {
                tokio::select! {
                    () = serve(listener, service, is_grpc, tls) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, script, stop: Some(stop), thread: Some(thread) }
    }

    /// Returns the URL for gRPC.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the URL for HTTP.
    pub(super) fn http_url(&self) -> String {
        format!("http://{}/v1/traces", self.address)
    }

    pub(super) fn names(&self) -> Vec<u32> {
        self.script.lock().unwrap().names()
    }

    pub(super) fn attempts(&self) -> usize {
        self.script.lock().unwrap().attempts.len()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().map(std::thread::JoinHandle::join);
    }
}

async fn serve(
    listener: tokio::net::TcpListener,
    service: Service,
    is_grpc: bool,
    tls: Option<Arc<ServerConfig>>,
) {
    let router = if is_grpc {
        let service = TraceServiceServer::new(service).accept_compressed(CompressionEncoding::Gzip);
        tonic::service::Routes::new(service).into_axum_router()
    } else {
        Router::new().route("/v1/traces", post(receive)).with_state(service)
    };
    let acceptor = tls.map(tokio_rustls::TlsAcceptor::from);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (router, acceptor) = (router.clone(), acceptor.clone());
        tokio::spawn(async move {
            let service = TowerToHyperService::new(router);
            let server = auto::Builder::new(TokioExecutor::new());
            // What goes wrong here goes wrong at the client too, where it is looked at.
            match acceptor {
                None => drop(server.serve_connection(TokioIo::new(stream), service).await),
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    drop(server.serve_connection(TokioIo::new(stream), service).await);
                }
            }
        });
    }
}

#[derive(Clone)]
struct Service(Arc<Mutex<Script>>);

impl Service {
    async fn handle(&self, headers: HeaderMap, request: ExportTraceServiceRequest) -> Reply {
        let reply = {
            let mut script = self.0.lock().unwrap();
            script.attempts.push(std::time::Instant::now());
            script.headers = headers;
            script.replies.pop_front().unwrap_or(Reply::Accept)
        };
        if let Reply::Slow(delay) = reply {
            tokio::time::sleep(delay).await;
        }
        if matches!(reply, Reply::Accept | Reply::Partial(_) | Reply::Slow(_)) {
            self.0.lock().unwrap().requests.push(request);
        }
        reply
    }
}

fn response(reply: &Reply) -> ExportTraceServiceResponse {
    let partial =
        |rejected_spans| ExportTracePartialSuccess { rejected_spans, error_message: "no".to_owned() };
    ExportTraceServiceResponse {
        partial_success: match reply {
            Reply::Partial(rejected) => Some(partial(*rejected)),
            _ => None,
        },
    }
}

#[tonic::async_trait]
impl TraceService for Service {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        let headers = request.metadata().clone().into_headers();
        let reply = self.handle(headers, request.into_inner()).await;
        match &reply {
            Reply::Grpc(code, None) => Err(Status::new(*code, "told to")),
            Reply::Grpc(code, Some(delay)) => {
                Err(Status::with_details(*code, "told to", retry_details(*delay).into()))
            }
            _ => Ok(tonic::Response::new(response(&reply))),
        }
    }
}

async fn receive(State(service): State<Service>, headers: HeaderMap, body: Bytes) -> Response {
    let is_gzip = headers.get("content-encoding").is_some_and(|encoding| encoding == "gzip");
    let bytes = if is_gzip {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&body[..]), &mut bytes).unwrap();
        bytes
    } else {
        body.to_vec()
    };
    let request = ExportTraceServiceRequest::decode(&bytes[..]).unwrap();
    let reply = service.handle(headers, request).await;
    match &reply {
        Reply::Http(status, retry_after) => {
            let mut answer = (StatusCode::from_u16(*status).unwrap(), "told to").into_response();
            if let Some(seconds) = retry_after {
                answer.headers_mut().insert("retry-after", (*seconds).into());
            }
            answer
        }
        _ => ([("content-type", "application/x-protobuf")], response(&reply).encode_to_vec()).into_response(),
    }
}
