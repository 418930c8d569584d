//! The fields of a request or response of HTTP/2, as they are without gRPC (RFC 9113 section 8.3).

use crate::protocol::http::field::{Field, value};
use crate::protocol::http::request::{Body, Head};
use crate::protocol::http::{response, url};
use crate::protocol::{ParserSettings, Request, Response, text};
use crate::semconv::Text;

/// Returns what a request asks.
pub(super) fn request(fields: &[Field<'_>], is_open: bool, settings: &ParserSettings) -> Request {
    let path = value(fields, ":path").unwrap_or_default();
    let mut target = url::parse(path, &settings.redacted_query_parameters);
    target.scheme = value(fields, ":scheme").map(scheme_of);
    let body = match content_length(fields) {
        _ if !is_open => Body::None,
        Some(length) => Body::Length(length),
        None => Body::Open,
    };
    let method = value(fields, ":method");
    let head = Head { method, target, version: "2".into(), body, fields };
    let authority = value(fields, ":authority").or_else(|| value(fields, "host")).and_then(url::authority);
    Request { authority, ..head.describe(settings) }
}

/// Returns what the head of a response says.
pub(super) fn response(status: Option<u16>, fields: &[Field<'_>], settings: &ParserSettings) -> Response {
    response::describe(status, content_length(fields).filter(|&length| length > 0), fields, settings)
}

/// Returns the status of a response, if the fields name one that is valid.
pub(super) fn status(fields: &[Field<'_>]) -> Option<u16> {
    let digits = value(fields, ":status").filter(|digits| digits.len() == 3)?;
    u16::try_from(text::decimal(digits)?).ok().filter(|status| (100..1000).contains(status))
}

fn scheme_of(scheme: &[u8]) -> Text {
    match scheme {
        b"http" => "http".into(),
        b"https" => "https".into(),
        other => text::lossy(other, 16).to_ascii_lowercase().into(),
    }
}

fn content_length(fields: &[Field<'_>]) -> Option<u64> {
    value(fields, "content-length").and_then(text::decimal)
}
