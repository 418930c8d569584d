//! Calls of gRPC, as they stand in fields ("gRPC over HTTP2", and the names of its status codes).
//!
//! What a service's own messages say is not looked at here: a request is known by its method, and [`rpc`] knows those
//! whose messages are read.

use super::messages::Messages;
use crate::protocol::http::field::{self, Field, MAX_VALUE_BYTES, value, values};
use crate::protocol::http::request::{request_ids, set_client};
use crate::protocol::http::url;
use crate::protocol::marks::Search;
use crate::protocol::rpc::{self, Around, Call};
use crate::protocol::sql;
use crate::protocol::{Ending, Name, Outcome, ParserSettings, Request, Response, context, set, text};
use crate::semconv::{self, Attributes, Key, Text, Value};

/// What the media type of all gRPC calls begins with. What runs in browsers has another framing.
const MEDIA_TYPE: &[u8] = b"application/grpc";
/// Value of `rpc.system.name`.
const SYSTEM: &str = "grpc";
/// Value of `rpc.method` where the server knows no such method.
const OTHER: &str = "_OTHER";
/// Longest method that is recorded, in bytes.
const MAX_METHOD_BYTES: usize = 255;
/// Libraries of clients in which whoever holds the connection writes for all.
const RELAYING: [&[u8]; 2] = [b"grpc-go", b"grpc-c"];
/// Names of the status codes, by number.
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 6;
/// Those that the conventions count as errors of servers.
const SERVER_FAULTS: [&str; 6] =
    ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];

/// Returns whether the fields of a head say that it is of gRPC; none where they do not tell.
pub(super) fn is_grpc(fields: &[Field<'_>]) -> Option<bool> {
    let rest = value(fields, "content-type")?.strip_prefix(MEDIA_TYPE);
    Some(rest.is_some_and(|rest| matches!(rest, [] | [b'+' | b';', ..])))
}

/// Returns what reads the messages of a call, where anybody does.
pub(super) fn call(fields: &[Field<'_>], around: Around<'_>) -> Option<Box<dyn Call>> {
    rpc::call(value(fields, ":path")?.strip_prefix(b"/")?, around)
}

/// Returns what a call asks.
pub(super) fn request(fields: &[Field<'_>], is_open: bool, settings: &ParserSettings) -> Request {
    let method = value(fields, ":path").map(method);
    let mut search = Search::new(settings.mark_key);
    request_ids(&mut search, fields);
    if is_open {
        search.skip();
    }
    let agent = value(fields, "user-agent").unwrap_or_default();
    Request {
        is_open,
        is_relayed: is_relayed(agent),
        name: Name { verb: method.clone().map_or(Text::Static(SYSTEM), Text::from), path: None },
        attributes: attributes(method, fields, settings),
        context: context::of_fields(|name| values(fields, name)),
        marks: search.finish(),
        authority: value(fields, ":authority").or_else(|| value(fields, "host")).and_then(url::authority),
        ..Request::default()
    }
}

/// Returns whether one of the products that a user agent names, each with a slash and its version, has a task that
/// writes for all.
fn is_relayed(agent: &[u8]) -> bool {
    let mut products = memchr::memchr_iter(b'/', agent).filter_map(|slash| agent.get(..slash));
    products.any(|product| RELAYING.iter().any(|name| product.ends_with(name)))
}

fn attributes(method: Option<String>, fields: &[Field<'_>], settings: &ParserSettings) -> Attributes {
    let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
    set(&mut attributes, semconv::RPC_SYSTEM_NAME, SYSTEM);
    if let Some(method) = method {
        set(&mut attributes, semconv::RPC_METHOD, method);
    }
    set(&mut attributes, semconv::NETWORK_PROTOCOL_VERSION, "2");
    if let Some(seconds) = value(fields, "grpc-timeout").and_then(timeout) {
        set(&mut attributes, semconv::REMORA_RPC_TIMEOUT, Value::Double(seconds));
    }
    set_client(&mut attributes, fields);
    let (captured, redacted) = (&settings.captured_request_headers, &settings.redacted_headers);
    field::record(&mut attributes, fields, "rpc.request.metadata", captured, redacted);
    context::record_baggage(&mut attributes, values(fields, "baggage"), &settings.recorded_baggage);
    attributes
}

/// Returns package, service and method (`pkg.Service/Method`).
fn method(path: &[u8]) -> String {
    text::lossy(path.strip_prefix(b"/").unwrap_or(path), MAX_METHOD_BYTES)
}

/// Returns the seconds of a `grpc-timeout`: up to eight digits and a unit.
fn timeout(value: &[u8]) -> Option<f64> {
    let (unit, digits) = value.split_last()?;
    let per_second = match unit {
        b'H' => 1.0 / 3600.0,
        b'M' => 1.0 / 60.0,
        b'S' => 1.0,
        b'm' => 1e3,
        b'u' => 1e6,
        b'n' => 1e9,
        _ => return None,
    };
    let number = text::decimal(digits).filter(|_| digits.len() <= 8)?;
    Some(number as f64 / per_second)
}

/// Returns a message without what may be a value: what is quoted, and words with digits or signs that no sentence has. Of
/// an exception that a program has not handled, which gRPC's C core passes on, nothing is shown.
fn without_values(message: &str) -> String {
    const NAMED: &[&str] = &["method", "service", "subscription", "topic"];
    const UNHANDLED: &str = "Exception calling application:";
    let shown = message.split_inclusive(UNHANDLED).next().unwrap_or_default();
    let shown = sql::message::redacted(shown, sql::message::Quotes::Double, NAMED);
    let is_value = |word: &&str| word.contains(|sign: char| sign.is_ascii_digit() || "@=\\$&".contains(sign));
    let words = shown.split(' ').map(|word| if is_value(&word) { "?" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// How a call went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    name: &'static str,
    message: Option<String>,
}

impl Status {
    /// Returns what the fields at the end of a call say; none where they name no status.
    pub(super) fn of_fields(fields: &[Field<'_>], redact: bool) -> Option<Self> {
        let code = text::decimal(value(fields, "grpc-status")?);
        let name = code.and_then(|code| STATUSES.get(usize::try_from(code).ok()?)).copied();
        let message = value(fields, "grpc-message").map(text::percent_decoded);
        let message = message.map(|message| text::lossy(&message, MAX_VALUE_BYTES));
        Some(Self {
            name: name.unwrap_or("UNKNOWN"),
            message: message.map(|message| if redact { without_values(&message) } else { message }),
        })
    }

    /// Returns whether the server knows no such method.
    pub(super) fn is_unimplemented(&self) -> bool {
        self.name == "UNIMPLEMENTED"
    }

    /// Returns what a call without a status of its own is taken for ("HTTP to gRPC Status Code Mapping").
    pub(super) fn of_http(status: Option<u16>) -> Self {
        let name = match status {
            Some(400) => "INTERNAL",
            Some(401) => "UNAUTHENTICATED",
            Some(403) => "PERMISSION_DENIED",
            Some(404) => "UNIMPLEMENTED",
            Some(429 | 502 | 503 | 504) => "UNAVAILABLE",
            _ => "UNKNOWN",
        };
        Self { name, message: None }
    }

    /// Returns what a stream that was reset is taken for ("Errors" of gRPC over HTTP/2).
    pub(super) fn of_reset(code: u32) -> Self {
        let name = match code {
            0x7 => "UNAVAILABLE",
            0x8 => "CANCELLED",
            0xb => "RESOURCE_EXHAUSTED",
            0xc => "PERMISSION_DENIED",
            _ => "INTERNAL",
        };
        Self { name, message: None }
    }

    fn outcome(self) -> Outcome {
        if self.name == "OK" {
            return Outcome::default();
        }
        Outcome {
            error_type: Some(self.name.to_owned()),
            message: self.message.filter(|message| !message.is_empty()),
            is_client_fault: !SERVER_FAULTS.contains(&self.name),
        }
    }
}

/// Returns what the head of a response says, before the call's status is known.
pub(super) fn response(status: Option<u16>, fields: &[Field<'_>], settings: &ParserSettings) -> Response {
    let mut attributes = Attributes::new();
    // A proxy has answered, or something else that knows no gRPC.
    if let Some(status) = status.filter(|&status| status != 200) {
        set(&mut attributes, semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
    }
    let (captured, redacted) = (&settings.captured_response_headers, &settings.redacted_headers);
    field::record(&mut attributes, fields, "rpc.response.metadata", captured, redacted);
    Response { attributes, ..Response::default() }
}

/// Returns what the end of a call tells.
pub(super) fn ending(status: Status, asked: &Messages, answered: &Messages) -> Ending {
    let mut attributes = Attributes::new();
    set(&mut attributes, semconv::RPC_RESPONSE_STATUS_CODE, status.name);
    for (key, messages) in
        [(semconv::REMORA_RPC_REQUEST_MESSAGES, asked), (semconv::REMORA_RPC_RESPONSE_MESSAGES, answered)]
    {
        if let Some(count) = messages.count() {
            set(&mut attributes, key, i64::from(count));
        }
    }
    Ending { attributes, outcome: Some(status.outcome()), ..Ending::default() }
}

/// Returns the method that a request may be a call of.
pub(super) fn method_of(fields: &[Field<'_>]) -> Option<String> {
    value(fields, ":path").map(method)
}

/// Takes a method that the server does not know out of what calls are told apart by: anybody may ask for anything.
pub(super) fn hide_method(ending: &mut Ending, method: String) {
    set(&mut ending.attributes, semconv::RPC_METHOD, OTHER);
    set(&mut ending.attributes, semconv::RPC_METHOD_ORIGINAL, method);
    ending.name = Some(Name { verb: Text::Static(OTHER), path: None });
}

/// Says of a call that turns out to be of gRPC what its beginning did not tell, and takes back what it told as a request
/// of HTTP: an empty text is none.
pub(super) fn recognise(attributes: &mut Attributes, name: &mut Option<Name>, method: Option<String>) {
    const OF_HTTP: [Key; 6] = [
        semconv::HTTP_REQUEST_METHOD,
        semconv::HTTP_REQUEST_BODY_SIZE,
        semconv::URL_SCHEME,
        semconv::URL_PATH,
        semconv::URL_QUERY,
        semconv::URL_FULL,
    ];
    OF_HTTP.into_iter().for_each(|key| set(attributes, key, ""));
    set(attributes, semconv::RPC_SYSTEM_NAME, SYSTEM);
    let verb = method.clone().map_or(Text::Static(SYSTEM), Text::from);
    if let Some(method) = method {
        set(attributes, semconv::RPC_METHOD, method);
    }
    *name = Some(Name { verb, path: None });
}

/// Takes back that a request is a call of gRPC.
pub(super) fn disown(attributes: &mut Attributes, name: &mut Option<Name>) {
    for key in [semconv::RPC_SYSTEM_NAME, semconv::RPC_METHOD, semconv::REMORA_RPC_TIMEOUT] {
        set(attributes, key, "");
    }
    *name = Some(Name { verb: "HTTP".into(), path: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(fields: &'a [(&'a str, &'a str)]) -> Vec<Field<'a>> {
        let field =
            |&(name, value): &(&'a str, &'a str)| Field { name: name.as_bytes(), value: value.as_bytes() };
        fields.iter().map(field).collect()
    }

    #[test]
    fn media_types_tell() {
        for (media_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_grpc(&fields(&[("content-type", media_type)])), Some(expected), "{media_type}");
        }
        assert_eq!(is_grpc(&[]), None);
    }

    #[test]
    fn timeouts_are_seconds() {
        for (text, expected) in [
            ("1H", Some(3600.0)),
            ("2M", Some(120.0)),
            ("3S", Some(3.0)),
            ("250m", Some(0.25)),
            ("500u", Some(0.0005)),
            ("1n", Some(1e-9)),
            ("99999999S", Some(99_999_999.0)),
            ("100000000S", None),
            ("S", None),
            ("-1S", None),
            ("1s", None),
            ("", None),
        ] {
            assert_eq!(timeout(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn statuses_have_names_and_faults() {
        let of = |code: &str, message: &str| {
            let fields = [("grpc-status", code), ("grpc-message", message)];
            Status::of_fields(&self::fields(&fields), true).unwrap().outcome()
        };
        assert_eq!(of("0", ""), Outcome::default());
        let not_found = of("5", "no%20such%20thing%E2%9C%93");
        assert_eq!(not_found.error_type.as_deref(), Some("NOT_FOUND"));
        assert_eq!(not_found.message.as_deref(), Some("no such thing✓"));
        assert!(not_found.is_client_fault && !of("13", "").is_client_fault && of("16", "").is_client_fault);
        assert_eq!(of("17", "").error_type.as_deref(), Some("UNKNOWN"));
        assert_eq!(of("x", "").error_type.as_deref(), Some("UNKNOWN"));
        assert_eq!(Status::of_fields(&[], true), None);
    }

    #[test]
    fn messages_are_shown_without_values() {
        for (message, shown) in [
            ("no such thing", "no such thing"),
            ("user 17 can't see 'a b' of x@y.z, token=s3", "user ? can't see ? of ? ?"),
            ("Exception calling application: secret", "Exception calling application:"),
        ] {
            assert_eq!(without_values(message), shown);
        }
        let fields = [("grpc-status", "5"), ("grpc-message", "no 17")];
        let told = Status::of_fields(&self::fields(&fields), false).unwrap().outcome();
        assert_eq!(told.message.as_deref(), Some("no 17"));
    }
}
