//! OTLP over gRPC. Payloads are encoded already and pass through as bytes.

use std::str::FromStr as _;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use super::super::Error;
use super::super::batch::Batch;
use super::super::settings::{Compression, Settings};
use super::connector::{Connector, Connectors};
use super::{Accepted, Failure, accepted, retry_info};
use crate::causes::with_causes;

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is tried, so that a receiver that vanished is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A gRPC channel.
#[derive(Debug)]
pub(in crate::export) struct Client {
    channel: Channel,
    metadata: MetadataMap,
    timeout: Duration,
    compression: Compression,
}

impl Client {
    pub(super) fn new(settings: &Settings, connectors: Connectors) -> Result<Self, Error> {
        let mut metadata = MetadataMap::new();
        for (name, value) in &settings.headers {
            let invalid = |reason: String| Error::Header { name: name.clone(), reason };
            let key = MetadataKey::<Ascii>::from_str(&name.to_lowercase())
                .map_err(|error| invalid(error.to_string()))?;
            let value: MetadataValue<Ascii> =
                value.parse().map_err(|_| invalid("its value is not ASCII".to_owned()))?;
            metadata.insert(key, value);
        }
        let origin = settings.endpoint.uri.clone();
        // To tonic the receiver is plain: TLS is the connector's, and requests name their true origin.
        let mut parts = origin.clone().into_parts();
        parts.scheme = Some(Scheme::HTTP);
        let plain = Uri::from_parts(parts).unwrap_or_else(|_| origin.clone());
        let endpoint = Endpoint::from(plain)
            .origin(origin.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .user_agent(concat!("remora/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| Error::Header { name: "user-agent".to_owned(), reason: error.to_string() })?;
        let connector = ToReceiver { connector: connectors.http2(), receiver: origin };
        Ok(Self {
            channel: endpoint.connect_with_connector_lazy(connector),
            metadata,
            timeout: settings.timeout,
            compression: settings.compression,
        })
    }

    pub(super) async fn send(&self, batch: Batch) -> Result<Accepted, Failure> {
        let answer = tokio::time::timeout(self.timeout, self.call(batch.payload)).await;
        let timed_out = || Status::deadline_exceeded(format!("no answer within {:?}", self.timeout));
        match answer.unwrap_or_else(|_| Err(timed_out())) {
            Ok(body) => Ok(accepted(&body)),
            Err(status) => Err(failure(&status)),
        }
    }

    async fn call(&self, payload: Bytes) -> Result<Bytes, Status> {
        let mut grpc =
            tonic::client::Grpc::new(self.channel.clone()).accept_compressed(CompressionEncoding::Gzip);
        if self.compression == Compression::Gzip {
            grpc = grpc.send_compressed(CompressionEncoding::Gzip);
        }
        grpc.ready().await.map_err(|error| Status::unavailable(with_causes(&error)))?;
        let mut request = Request::new(payload);
        *request.metadata_mut() = self.metadata.clone();
        let answer = grpc.unary(request, PathAndQuery::from_static(EXPORT), Verbatim).await?;
        Ok(answer.into_inner())
    }
}

/// Sorts the codes as the OTLP specification does ("OTLP/gRPC Response", failures).
fn failure(status: &Status) -> Failure {
    let retry_after = retry_info::delay(status.details());
    let is_temporary = match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => true,
        // Only if the server says that it will recover.
        Code::ResourceExhausted => retry_after.is_some(),
        // A connection that broke before there was an answer.
        Code::Unknown | Code::Internal => std::error::Error::source(status).is_some(),
        _ => false,
    };
    let reason = match std::error::Error::source(status) {
        Some(cause) => format!("{:?}: {}", status.code(), with_causes(cause)),
        None => format!("{:?}: {}", status.code(), status.message()),
    };
    if is_temporary { Failure::Temporary { reason, retry_after } } else { Failure::Permanent { reason } }
}

/// Connects to the receiver, whatever it is asked for.
#[derive(Clone, Debug)]
struct ToReceiver {
    connector: Connector,
    receiver: Uri,
}

impl Service<Uri> for ToReceiver {
    type Response = <Connector as Service<Uri>>::Response;
    type Error = <Connector as Service<Uri>>::Error;
    type Future = <Connector as Service<Uri>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        self.connector.call(self.receiver.clone())
    }
}

/// Bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Verbatim;

impl Codec for Verbatim {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Verbatim {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Verbatim {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
