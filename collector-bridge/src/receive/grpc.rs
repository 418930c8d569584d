//! OTLP over gRPC: `opentelemetry.proto.collector.trace.v1.TraceService/Export`.
//!
//! tonic frames and unpacks; the message stays bytes, because the log wants the bytes and decoding is ours.

use std::pin::Pin;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::intake::{Intake, IntakeError, RETRY_AFTER};
use super::reply::{RpcStatus, success};

const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Returns the routes of the gRPC port.
pub fn router(intake: Intake) -> Router {
    Router::new().route(EXPORT_PATH, post(export)).fallback(unimplemented).with_state(intake)
}

async fn unimplemented() -> Response {
    into_response(Status::unimplemented("this port takes TraceService/Export only"))
}

async fn export(State(intake): State<Intake>, request: Request) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if !intake.is_allowed(authorization) {
        intake.counters.refuse("unauthenticated");
        return into_response(Status::unauthenticated("send the bearer token of the bridge's token file"));
    }
    let counters = std::sync::Arc::clone(&intake.counters);
    let mut grpc = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(intake.max_request_bytes);
    let mut response = grpc.unary(Export { intake }, request).await;
    if is_too_large(response.headers()) {
        counters.refuse("too_large");
        // tonic says OUT_OF_RANGE before and RESOURCE_EXHAUSTED after unpacking. OTLP has senders repeat the former.
        response.headers_mut().insert("grpc-status", HeaderValue::from(Code::ResourceExhausted as i32));
    }
    response.map(Body::new).into_response()
}

fn is_too_large(headers: &HeaderMap) -> bool {
    let code = headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()));
    code == Some(Code::OutOfRange) || code == Some(Code::ResourceExhausted)
}

fn into_response(status: Status) -> Response {
    let response: axum::http::Response<tonic::body::Body> = status.into_http();
    response.map(Body::new).into_response()
}

struct Export {
    intake: Intake,
}

impl UnaryService<Bytes> for Export {
    type Response = ExportTraceServiceResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Self::Response>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let intake = self.intake.clone();
        Box::pin(async move {
            match intake.take(request.into_inner()).await {
                Ok(rejected) => Ok(tonic::Response::new(success(rejected))),
                Err(error) => Err(status(&intake.refused(error))),
            }
        })
    }
}

fn status(error: &IntakeError) -> Status {
    let message = error.to_string();
    match error {
        IntakeError::Refused(_) => {
            let code = Code::Unavailable;
            let details = RpcStatus::retry(code as i32, message.clone(), RETRY_AFTER).encode_to_vec();
            Status::with_details(code, message, details.into())
        }
        _ => Status::invalid_argument(message),
    }
}

/// Gives the message's bytes as they are.
#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = ExportTraceServiceResponse;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn encode(&mut self, item: Self::Item, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put_slice(&item.encode_to_vec());
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
