//! OTLP over HTTP: `POST /v1/traces`, protobuf and JSON (OTLP specification, "OTLP/HTTP").

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::LengthLimitError;
use prost::Message;

use super::compression::unpack;
use super::intake::{Intake, IntakeError, RETRY_AFTER, Rejected, offload};
use super::json;
use super::reply::{RpcStatus, success};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Protobuf,
    Json,
}

/// Returns the routes of the HTTP port.
pub fn router(intake: Intake) -> Router {
    Router::new().route("/v1/traces", post(export)).layer(DefaultBodyLimit::disable()).with_state(intake)
}

async fn export(State(intake): State<Intake>, request: Request) -> Response {
    let form = match form(request.headers()) {
        Ok(form) => form,
        Err(error) => return failure(Form::Protobuf, &intake.refused(error)),
    };
    if !intake.is_allowed(text(request.headers(), header::AUTHORIZATION)) {
        intake.counters.refuse("unauthenticated");
        let status = RpcStatus {
            code: 16,
            message: "send the bearer token of the bridge's token file".to_owned(),
            details: Vec::new(),
        };
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], written(form, &status))
            .into_response();
    }
    match take(&intake, form, request).await {
        Ok(rejected) => accepted(form, rejected),
        Err(error) => failure(form, &intake.refused(error)),
    }
}

async fn take(intake: &Intake, form: Form, request: Request) -> Result<Rejected, IntakeError> {
    let encoding =
        text(request.headers(), header::CONTENT_ENCODING).unwrap_or("identity").trim().to_ascii_lowercase();
    let limit = intake.max_request_bytes;
    let body = body(request.into_body(), limit).await?;
    let content = match encoding.as_str() {
        "identity" | "" => body,
        _ => offload(body.len(), move || unpack(&encoding, &body, limit)).await?.into(),
    };
    let request = match form {
        Form::Protobuf => content,
        Form::Json => offload(content.len(), move || json::to_protobuf(&content))
            .await
            .map_err(IntakeError::Json)?
            .into(),
    };
    intake.take(request).await
}

async fn body(body: Body, limit: usize) -> Result<Bytes, IntakeError> {
    to_bytes(body, limit).await.map_err(|error| {
        let is_length =
            std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
        if is_length { IntakeError::TooLarge { limit } } else { IntakeError::Body(error.to_string()) }
    })
}

fn form(headers: &HeaderMap) -> Result<Form, IntakeError> {
    let content_type = text(headers, header::CONTENT_TYPE).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Form::Protobuf),
        "application/json" => Ok(Form::Json),
        _ => Err(IntakeError::ContentType(content_type.to_owned())),
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn accepted(form: Form, rejected: Rejected) -> Response {
    match form {
        Form::Protobuf => {
            ([(header::CONTENT_TYPE, "application/x-protobuf")], success(rejected).encode_to_vec())
                .into_response()
        }
        Form::Json => {
            let partial = (rejected.spans > 0).then(|| {
                serde_json::json!({"rejectedSpans": rejected.spans.to_string(), "errorMessage": rejected.message})
            });
            let answer = partial
                .map_or(serde_json::json!({}), |partial| serde_json::json!({"partialSuccess": partial}));
            axum::Json(answer).into_response()
        }
    }
}

fn failure(form: Form, error: &IntakeError) -> Response {
    let message = error.to_string();
    let (status, code) = match error {
        IntakeError::Protobuf(_)
        | IntakeError::Json(_)
        | IntakeError::Compression(_)
        | IntakeError::Body(_) => (StatusCode::BAD_REQUEST, 3),
        IntakeError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, 8),
        IntakeError::ContentType(_) | IntakeError::Encoding(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, 3),
        IntakeError::Refused(_) => {
            let body = written(form, &RpcStatus::retry(14, message, RETRY_AFTER));
            let after = [(header::RETRY_AFTER, RETRY_AFTER.as_secs().to_string())];
            return (StatusCode::SERVICE_UNAVAILABLE, after, body).into_response();
        }
    };
    (status, written(form, &RpcStatus { code, message, details: Vec::new() })).into_response()
}

/// Writes a status in the form of the request, as OTLP demands.
fn written(form: Form, status: &RpcStatus) -> Response {
    match form {
        Form::Protobuf => {
            ([(header::CONTENT_TYPE, "application/x-protobuf")], status.encode_to_vec()).into_response()
        }
        Form::Json => {
            axum::Json(serde_json::json!({"code": status.code, "message": status.message})).into_response()
        }
    }
}
