//! The head of a request becomes a [`Request`].

use super::client_address::client_address;
use super::content::{self, Content, Graphql};
use super::field::{self, Field, Framing, MAX_VALUE_BYTES, lists, value, values};
use super::head::Head;
use super::url::{self, Target};
use crate::protocol::marks::{Marks, Search};
use crate::protocol::{Name, ParserSettings, Request, context, set, text};
use crate::semconv::{self, Attributes};

/// Methods of RFC 9110, RFC 5789 and the draft for `QUERY`: the conventions' own list.
const CONVENTIONAL_METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
/// Fields that name a request and are passed on with what is asked for it (W3C contexts and their like apart).
const REQUEST_IDS: &[&str] =
    &["x-request-id", "request-id", "x-correlation-id", "x-amzn-trace-id", "idempotency-key"];
/// Longest unknown method that is recorded, in bytes.
const MAX_METHOD_BYTES: usize = 32;

/// What the response to a request depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The response has no body.
    pub(super) is_head: bool,
    /// A successful response opens a tunnel.
    pub(super) is_connect: bool,
    /// The client waits for the response before it goes on, since the protocol may change.
    pub(super) may_switch: bool,
    /// The client may leave out the body.
    pub(super) expects_continue: bool,
}

/// A request and what follows it.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) request: Request,
    pub(super) framing: Framing,
    pub(super) asked: Asked,
    /// What is looked at in the body.
    pub(super) content: Option<Content>,
    /// The GraphQL request that the URL makes.
    pub(super) graphql: Option<Graphql>,
}

/// Returns what a request's head says. An error names the rule that was broken.
pub(super) fn read(head: &Head<'_>, settings: &ParserSettings) -> Result<Read, &'static str> {
    let (method, target, version) = request_line(head.start_line).ok_or("not a request line")?;
    let framing = match field::framing(&head.fields, Framing::None)? {
        Framing::UntilEnd => return Err("request body without an end"),
        framing => framing,
    };
    let asked = Asked {
        is_head: method == b"HEAD",
        is_connect: method == b"CONNECT",
        may_switch: method == b"CONNECT" || value(&head.fields, "upgrade").is_some(),
        expects_continue: lists(&head.fields, "expect", "100-continue"),
    };
    let parsed = url::parse(target, &settings.redacted_query_parameters);
    let authority = match asked.is_connect {
        true => url::authority(target),
        false => parsed.authority.clone().or_else(|| value(&head.fields, "host").and_then(url::authority)),
    };
    let path = parsed.path.as_deref();
    let content = Content::of_request(method, &head.fields, path).filter(|_| framing != Framing::None);
    let graphql = content::of_target(method, target, path);
    let name = Name { verb: verb(method), path: parsed.path.clone() };
    let marks = marks(&parsed, &head.fields, framing, settings);
    let request = Request {
        is_open: framing != Framing::None,
        name,
        attributes: attributes(method, parsed, version, &head.fields, framing, settings),
        context: context::of_fields(|name| values(&head.fields, name)),
        marks,
        authority,
        ..Request::default()
    };
    Ok(Read { request, framing, asked, content, graphql })
}

/// Returns method, target and minor version. Targets with spaces in them are let through: the server's answer to
/// them is worth seeing.
fn request_line(line: &[u8]) -> Option<(&[u8], &[u8], u8)> {
    let first = memchr::memchr(b' ', line)?;
    let (method, rest) = line.split_at_checked(first)?;
    let last = memchr::memrchr(b' ', rest)?;
    let (target, version) = rest.split_at_checked(last)?;
    let minor = version.strip_prefix(b" HTTP/1.")?;
    match minor {
        &[digit @ b'0'..=b'9'] if !method.is_empty() => Some((method, target.trim_ascii(), digit - b'0')),
        _ => None,
    }
}

/// Returns what a request is about. Redacted parameters are not looked at.
fn marks(target: &Target, fields: &[Field<'_>], framing: Framing, settings: &ParserSettings) -> Marks {
    let mut search = Search::new(settings.mark_key);
    for name in REQUEST_IDS {
        values(fields, name).for_each(|value| search.request_id(value));
    }
    for part in [&target.path, &target.query].into_iter().flatten() {
        match part.contains('%') {
            true => search.text(&text::percent_decoded(part.as_bytes())),
            false => search.text(part.as_bytes()),
        }
    }
    if framing != Framing::None {
        search.skip();
    }
    search.finish()
}

fn verb(method: &[u8]) -> String {
    match conventional(method) {
        Some(method) => method.to_owned(),
        None => "HTTP".to_owned(),
    }
}

fn conventional(method: &[u8]) -> Option<&'static str> {
    CONVENTIONAL_METHODS.iter().copied().find(|known| known.as_bytes() == method)
}

fn attributes(
    method: &[u8],
    target: Target,
    minor_version: u8,
    fields: &[Field<'_>],
    framing: Framing,
    settings: &ParserSettings,
) -> Attributes {
    let mut attributes = Attributes::new();
    match conventional(method) {
        Some(method) => set(&mut attributes, semconv::HTTP_REQUEST_METHOD, method),
        None => {
            set(&mut attributes, semconv::HTTP_REQUEST_METHOD, "_OTHER");
            set(
                &mut attributes,
                semconv::HTTP_REQUEST_METHOD_ORIGINAL,
                text::lossy(method, MAX_METHOD_BYTES),
            );
        }
    }
    if let Some(path) = target.path {
        set(&mut attributes, semconv::URL_PATH, path);
    }
    if let Some(query) = target.query {
        set(&mut attributes, semconv::URL_QUERY, query);
    }
    set(&mut attributes, semconv::URL_SCHEME, target.scheme.unwrap_or_else(|| "http".to_owned()));
    set(&mut attributes, semconv::NETWORK_PROTOCOL_VERSION, format!("1.{minor_version}"));
    if let Some(agent) = value(fields, "user-agent") {
        set(&mut attributes, semconv::USER_AGENT_ORIGINAL, text::lossy(agent, MAX_VALUE_BYTES));
    }
    if let Some((address, port)) = client_address(fields) {
        set(&mut attributes, semconv::CLIENT_ADDRESS, address.to_string());
        if let Some(port) = port {
            set(&mut attributes, semconv::CLIENT_PORT, i64::from(port));
        }
    }
    if let Framing::Length(length) = framing {
        set(&mut attributes, semconv::HTTP_REQUEST_BODY_SIZE, i64::try_from(length).unwrap_or(i64::MAX));
    }
    let (captured, redacted) = (&settings.captured_request_headers, &settings.redacted_headers);
    field::record(&mut attributes, fields, "http.request.header", captured, redacted);
    context::record_baggage(&mut attributes, values(fields, "baggage"), &settings.recorded_baggage);
    attributes
}
