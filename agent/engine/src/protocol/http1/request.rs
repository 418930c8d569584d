//! The head of a request becomes a [`Request`].

use super::framing::{self, Framing};
use super::head::Head as Lines;
use crate::protocol::http::content::{self, Content, Graphql};
use crate::protocol::http::field::{lists, value};
use crate::protocol::http::request::{Body, Head};
use crate::protocol::http::url;
use crate::protocol::{ParserSettings, Request};
use crate::semconv::Text;

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
pub(super) fn read(head: &Lines<'_>, settings: &ParserSettings) -> Result<Read, &'static str> {
    let (method, target, version) = request_line(head.start_line).ok_or("not a request line")?;
    let framing = match framing::framing(&head.fields, Framing::None)? {
        Framing::UntilEnd => return Err("request body without an end"),
        framing => framing,
    };
    let asked = Asked {
        is_head: method == b"HEAD",
        is_connect: method == b"CONNECT",
        may_switch: method == b"CONNECT" || value(&head.fields, "upgrade").is_some(),
        expects_continue: lists(&head.fields, "expect", "100-continue"),
    };
    let body = match framing {
        Framing::None => Body::None,
        Framing::Length(length) => Body::Length(length),
        Framing::Chunked | Framing::UntilEnd => Body::Open,
    };
    let mut parsed = url::parse(target, &settings.redacted_query_parameters);
    parsed.scheme.get_or_insert(Text::Static("http"));
    let authority = match asked.is_connect {
        true => url::authority(target),
        false => parsed.authority.clone().or_else(|| value(&head.fields, "host").and_then(url::authority)),
    };
    let path = parsed.path.as_deref();
    let content = Content::of_request(method, &head.fields, path).filter(|_| framing != Framing::None);
    let graphql = content::of_target(method, target, path);
    let version = match version {
        0 => "1.0".into(),
        1 => "1.1".into(),
        other => format!("1.{other}").into(),
    };
    let request = Head { method: Some(method), target: parsed, version, body, fields: &head.fields };
    let request = Request { authority, ..request.describe(settings) };
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
