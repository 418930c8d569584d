//! How calls went.

use super::method::Reason;
use super::names::text_of;
use crate::protocol::Outcome;

/// Value of `error.type` where the broker refuses a message.
const REFUSED: &str = "basic.nack";

/// Returns how something went that failed for a reason.
pub(super) fn failed(reason: Reason<'_>) -> Outcome {
    returned(reason.code, &text_of(reason.text))
}

/// Likewise.
pub(super) fn returned(code: u16, text: &str) -> Outcome {
    let error_type = constant(code).map_or_else(|| code.to_string(), str::to_owned);
    Outcome { error_type: Some(error_type), message: Some(text.to_owned()), is_client_fault: false }
}

/// Returns how a message went that the broker did not take.
pub(super) fn refused() -> Outcome {
    Outcome { error_type: Some(REFUSED.to_owned()), message: None, is_client_fault: false }
}

/// Returns the name of a reply code (AMQP 0-9-1 specification, section 1.2); none for others, and where all is well.
fn constant(code: u16) -> Option<&'static str> {
    Some(match code {
        311 => "content-too-large",
        312 => "no-route",
        313 => "no-consumers",
        320 => "connection-forced",
        402 => "invalid-path",
        403 => "access-refused",
        404 => "not-found",
        405 => "resource-locked",
        406 => "precondition-failed",
        501 => "frame-error",
        502 => "syntax-error",
        503 => "command-invalid",
        504 => "channel-error",
        505 => "unexpected-frame",
        506 => "resource-error",
        530 => "not-allowed",
        540 => "not-implemented",
        541 => "internal-error",
        _ => return None,
    })
}
