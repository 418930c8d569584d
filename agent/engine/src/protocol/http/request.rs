//! The head of a request becomes a [`Request`].

use super::client_address::client_address;
use super::field::{self, Field, MAX_VALUE_BYTES, value, values};
use super::url::Target;
use crate::protocol::marks::{Marks, Search};
use crate::protocol::{Name, ParserSettings, Request, context, set, text};
use crate::semconv::{self, Attributes, Text};

/// Methods of RFC 9110, RFC 5789 and the draft for `QUERY`: the conventions' own list.
const CONVENTIONAL_METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
/// Fields that name a request and are passed on with what is asked for it (W3C contexts and their like apart).
const REQUEST_IDS: &[&str] =
    &["x-request-id", "request-id", "x-correlation-id", "x-amzn-trace-id", "idempotency-key"];
/// Attributes for which there is room from the start.
const TYPICAL_ATTRIBUTES: usize = 8;
/// Longest unknown method that is recorded, in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// What follows the head of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum Body {
    /// Nothing.
    None,
    /// As many bytes.
    Length(u64),
    /// What has no length that the head names.
    Open,
}

/// The head of a request, whatever the version.
#[derive(Debug)]
pub(in crate::protocol) struct Head<'a> {
    /// None where it is not known.
    pub(in crate::protocol) method: Option<&'a [u8]>,
    pub(in crate::protocol) target: Target,
    /// Version of HTTP, as `network.protocol.version` has it.
    pub(in crate::protocol) version: Text,
    pub(in crate::protocol) body: Body,
    pub(in crate::protocol) fields: &'a [Field<'a>],
}

impl Head<'_> {
    /// Returns what the request says, without its authority.
    pub(in crate::protocol) fn describe(self, settings: &ParserSettings) -> Request {
        let name = Name { verb: verb(self.method), path: self.target.path.clone() };
        let (fields, marks) = (self.fields, self.marks(settings));
        Request {
            is_open: self.body != Body::None,
            name,
            context: context::of_fields(|name| values(fields, name)),
            marks,
            attributes: self.attributes(settings),
            ..Request::default()
        }
    }

    /// Returns what a request is about. Redacted parameters are not looked at.
    fn marks(&self, settings: &ParserSettings) -> Marks {
        let mut search = Search::new(settings.mark_key);
        request_ids(&mut search, self.fields);
        for part in [&self.target.path, &self.target.query].into_iter().flatten() {
            match part.contains('%') {
                true => search.text(&text::percent_decoded(part.as_bytes())),
                false => search.text(part.as_bytes()),
            }
        }
        if self.body != Body::None {
            search.skip();
        }
        search.finish()
    }

    fn attributes(self, settings: &ParserSettings) -> Attributes {
        let mut attributes = Attributes::with_capacity(TYPICAL_ATTRIBUTES);
        set_method(&mut attributes, self.method);
        if let Some(path) = self.target.path {
            set(&mut attributes, semconv::URL_PATH, path);
        }
        if let Some(query) = self.target.query {
            set(&mut attributes, semconv::URL_QUERY, query);
        }
        if let Some(scheme) = self.target.scheme {
            set(&mut attributes, semconv::URL_SCHEME, scheme);
        }
        set(&mut attributes, semconv::NETWORK_PROTOCOL_VERSION, self.version);
        set_client(&mut attributes, self.fields);
        if let Body::Length(length) = self.body {
            set(&mut attributes, semconv::HTTP_REQUEST_BODY_SIZE, i64::try_from(length).unwrap_or(i64::MAX));
        }
        let (captured, redacted) = (&settings.captured_request_headers, &settings.redacted_headers);
        field::record(&mut attributes, self.fields, "http.request.header", captured, redacted);
        context::record_baggage(&mut attributes, values(self.fields, "baggage"), &settings.recorded_baggage);
        attributes
    }
}

/// Searches the fields that name a request.
pub(in crate::protocol) fn request_ids(search: &mut Search, fields: &[Field<'_>]) {
    for name in REQUEST_IDS {
        values(fields, name).for_each(|value| search.request_id(value));
    }
}

fn verb(method: Option<&[u8]>) -> Text {
    method.and_then(conventional).unwrap_or("HTTP").into()
}

fn conventional(method: &[u8]) -> Option<&'static str> {
    CONVENTIONAL_METHODS.iter().copied().find(|known| known.as_bytes() == method)
}

fn set_method(attributes: &mut Attributes, method: Option<&[u8]>) {
    let Some(method) = method else { return };
    match conventional(method) {
        Some(method) => set(attributes, semconv::HTTP_REQUEST_METHOD, method),
        None => {
            set(attributes, semconv::HTTP_REQUEST_METHOD, "_OTHER");
            set(attributes, semconv::HTTP_REQUEST_METHOD_ORIGINAL, text::lossy(method, MAX_METHOD_BYTES));
        }
    }
}

/// Adds what the fields say of who asks.
pub(in crate::protocol) fn set_client(attributes: &mut Attributes, fields: &[Field<'_>]) {
    if let Some(agent) = value(fields, "user-agent") {
        set(attributes, semconv::USER_AGENT_ORIGINAL, text::lossy(agent, MAX_VALUE_BYTES));
    }
    if let Some((address, port)) = client_address(fields) {
        set(attributes, semconv::CLIENT_ADDRESS, address.to_string());
        if let Some(port) = port {
            set(attributes, semconv::CLIENT_PORT, i64::from(port));
        }
    }
}
