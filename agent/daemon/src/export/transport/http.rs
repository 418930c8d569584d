//! OTLP over HTTP with protobuf bodies.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;

use super::super::Error;
use super::super::batch::Batch;
use super::super::settings::{Compression, Settings};
use super::connector::{Connector, Connectors};
use super::{Accepted, Failure, accepted};
use crate::causes::with_causes;

/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Part of an error's body that is logged, in characters.
const MAX_REASON_CHARACTERS: usize = 200;

/// An HTTP client with its pool.
#[derive(Debug)]
pub(in crate::export) struct Client {
    client: HyperClient<Connector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    timeout: Duration,
    compression: Compression,
}

impl Client {
    pub(super) fn new(settings: &Settings, connectors: Connectors) -> Result<Self, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("remora/", env!("CARGO_PKG_VERSION"))));
        if settings.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &settings.headers {
            let invalid = |reason: String| Error::Header { name: name.clone(), reason };
            let key: HeaderName =
                name.parse().map_err(|error: http::header::InvalidHeaderName| invalid(error.to_string()))?;
            let mut value: HeaderValue =
                value.parse().map_err(|_| invalid("its value is not printable".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Self {
            client: HyperClient::builder(TokioExecutor::new()).build(connectors.http1()),
            uri: settings.endpoint.uri.clone(),
            headers,
            timeout: settings.timeout,
            compression: settings.compression,
        })
    }

    pub(super) async fn send(&self, batch: Batch) -> Result<Accepted, Failure> {
        let temporary = |reason| Failure::Temporary { reason, retry_after: None };
        match tokio::time::timeout(self.timeout, self.call(batch.payload)).await {
            Ok(answer) => answer,
            Err(_) => Err(temporary(format!("no answer within {:?}", self.timeout))),
        }
    }

    async fn call(&self, payload: Bytes) -> Result<Accepted, Failure> {
        let temporary = |reason| Failure::Temporary { reason, retry_after: None };
        let payload = match self.compression {
            Compression::None => payload,
            Compression::Gzip => gzip(&payload).map_err(|error| temporary(format!("compress: {error}")))?,
        };
        let mut request = Request::new(Full::new(payload));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let answer = self.client.request(request).await.map_err(|error| temporary(with_causes(&error)))?;
        let (status, asked) = (answer.status(), retry_after(answer.headers(), SystemTime::now()));
        let body = body(answer).await;
        if status.is_success() {
            return Ok(accepted(&body));
        }
        Err(failure(status, asked, &body))
    }
}

/// Sorts the status codes as the OTLP specification does ("OTLP/HTTP Response", failures).
fn failure(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Failure {
    let text: String = String::from_utf8_lossy(body)
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_REASON_CHARACTERS)
        .collect();
    let reason = format!("{status}: {text}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => Failure::Temporary { reason, retry_after },
        _ => Failure::Permanent { reason },
    }
}

/// Returns the body, or what came before an error in it: the status counts.
async fn body(answer: Response<Incoming>) -> Bytes {
    let collected = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
    collected.map(http_body_util::Collected::to_bytes).unwrap_or_default()
}

fn gzip(payload: &[u8]) -> std::io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(payload.len() / 4), flate2::Compression::fast());
    encoder.write_all(payload)?;
    Ok(encoder.finish()?.into())
}

/// Reads `Retry-After` in either form: seconds, or a date (RFC 9110 section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let then = Duration::from_secs(imf_date(text)?);
    Some(then.saturating_sub(now.duration_since(UNIX_EPOCH).ok()?))
}

/// Reads an IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT` into seconds since the Unix epoch.
fn imf_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.strip_suffix(" GMT")?.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let mut clock =
        words.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
    // Days from the civil calendar, years beginning in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    Some((days.checked_sub(719_468)?) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_four_codes_are_temporary() {
        for code in 300..600 {
            let status = StatusCode::from_u16(code).unwrap();
            let is_temporary = matches!(failure(status, None, b""), Failure::Temporary { .. });
            assert_eq!(is_temporary, matches!(code, 429 | 502 | 503 | 504), "{code}");
        }
    }

    #[test]
    fn retry_after_in_seconds_and_as_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_700);
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            retry_after(&headers, now)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::from_secs(77)));
        assert_eq!(read("Sun, 06 Nov 1983 08:49:37 GMT"), Some(Duration::ZERO));
        for broken in [
            "",
            "soon",
            "-1",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994",
        ] {
            assert_eq!(read(broken), None, "{broken}");
        }
    }

    #[test]
    fn dates_are_the_calendar() {
        assert_eq!(imf_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(imf_date("Tue, 29 Feb 2028 23:59:59 GMT"), Some(1_835_481_599));
    }
}
