//! Answers to questions that cannot be answered.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::query::QueryError;

/// An error as the client sees it: a status and `{"error": {"code", "message", "field"}}`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// The parameter or the path in the body that is wrong.
    field: Option<String>,
    /// `Allow` of a 405.
    allow: Option<&'static str>,
}

/// Every code with its status and when it comes, for the documentation.
pub(super) const CODES: [(&str, u16, &str); 15] = [
    ("invalid_parameter", 400, "A parameter or a part of the body has a wrong value."),
    ("unknown_parameter", 400, "There is no such parameter or no such part of the body."),
    ("missing_parameter", 400, "A required parameter is missing."),
    ("invalid_range", 400, "The time range is empty or contradicts itself."),
    ("invalid_id", 400, "A trace id is not 32 (or 16) hex digits, or all zero."),
    ("invalid_body", 400, "The body is not a JSON object."),
    (
        "unauthorized",
        401,
        "The bridge has a token and the request has not: send `authorization: Bearer TOKEN`.",
    ),
    ("trace_not_found", 404, "No span of this trace is stored."),
    ("route_not_found", 404, "There is no such path."),
    ("method_not_allowed", 405, "The path has another method; `Allow` names it."),
    ("body_too_large", 413, "The body is larger than allowed."),
    ("unsupported_media_type", 415, "The body's content type is not application/json."),
    ("internal_error", 500, "The store could not be read; the bridge's log says why."),
    ("starting", 503, "The log is being read back; `Retry-After` says when to come back."),
    (
        "overloaded",
        503,
        "Too many queries are running, or this one took too long; `Retry-After` says when to come back.",
    ),
];

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFacts<'a>,
}

#[derive(Serialize)]
struct ErrorFacts<'a> {
    code: &'a str,
    message: &'a str,
    field: Option<&'a str>,
}

impl ApiError {
    /// Returns the error with a code of [`CODES`], which also gives its status.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        let status = CODES.iter().find(|known| known.0 == code).map_or(500, |known| known.1);
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), field: None, allow: None }
    }

    /// Returns `invalid_parameter` for a field.
    pub(super) fn invalid(field: &str, message: impl Into<String>) -> Self {
        Self::new("invalid_parameter", message).of(field)
    }

    /// Names the field.
    pub(super) fn of(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// Names the allowed method.
    pub(super) fn allowing(mut self, method: &'static str) -> Self {
        self.allow = Some(method);
        self
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Deadline => {
                Self::new("overloaded", "the query took too long; ask for a shorter time range")
            }
            QueryError::Store(source) => {
                tracing::error!(error = &source as &dyn std::error::Error, "query failed");
                Self::new("internal_error", "the store could not be read")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let facts = ErrorFacts { code: self.code, message: &self.message, field: self.field.as_deref() };
        let mut response = (self.status, super::json::Json(ErrorBody { error: facts })).into_response();
        let headers = response.headers_mut();
        if let Some(method) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(method));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
