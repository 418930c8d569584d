//! The head of a response becomes a [`Response`].

use super::field::{self, Field};
use crate::protocol::{Outcome, ParserSettings, Response, set};
use crate::semconv::{self, Attributes};

/// Returns what a response says: its status where it is known, the length of its body where its head names one, and
/// the fields that were asked for.
pub(in crate::protocol) fn describe(
    status: Option<u16>,
    length: Option<u64>,
    fields: &[Field<'_>],
    settings: &ParserSettings,
) -> Response {
    let mut attributes = Attributes::new();
    if let Some(status) = status {
        set(&mut attributes, semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
    }
    if let Some(length) = length {
        set(&mut attributes, semconv::HTTP_RESPONSE_BODY_SIZE, i64::try_from(length).unwrap_or(i64::MAX));
    }
    let (captured, redacted) = (&settings.captured_response_headers, &settings.redacted_headers);
    field::record(&mut attributes, fields, "http.response.header", captured, redacted);
    Response { attributes, outcome: status.map(outcome).unwrap_or_default(), ..Response::default() }
}

/// The conventions leave the description out where the status code says it all.
fn outcome(status: u16) -> Outcome {
    let error_type = (status >= 400).then(|| status.to_string());
    Outcome { error_type, message: None, is_client_fault: (400..500).contains(&status) }
}
