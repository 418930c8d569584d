//! What is looked at in bodies that are otherwise passed over: events, and the beginnings of what may be GraphQL.

use super::field::{Field, value};
use crate::held::Held;
use crate::protocol::event_stream::EventStream;
use crate::protocol::graphql::{self, Operation};
use crate::protocol::{Ending, Name, set};
use crate::semconv::{self, Attributes};

/// A GraphQL request whose response is to be seen.
#[derive(Clone, Debug)]
pub(in crate::protocol) struct Graphql {
    pub(in crate::protocol) operation: Operation,
    /// Path of the URL.
    pub(in crate::protocol) path: Option<String>,
}

impl Graphql {
    /// Adds what was asked to what is told of the answer: the body came behind what the request told.
    pub(in crate::protocol) fn describe(self, attributes: &mut Attributes, name: &mut Option<Name>) {
        self.operation.describe(attributes);
        *name = Some(self.operation.span_name(self.path));
    }
}

/// A body that is looked at.
#[derive(Debug)]
pub(in crate::protocol) enum Content {
    /// A request's, which may be GraphQL.
    Request(Beginning, RequestKind, Option<String>),
    /// The response's to a GraphQL request that went well as far as HTTP knows.
    Errors(Beginning),
    /// Server-sent events.
    Events(EventStream),
}

/// What a request's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum RequestKind {
    /// JSON, sent to where GraphQL is spoken.
    Endpoint,
    /// JSON.
    Json,
    /// The document itself.
    Document,
}

/// The first bytes of a body.
#[derive(Debug, Default)]
pub(in crate::protocol) struct Beginning {
    bytes: Vec<u8>,
    limit: usize,
    /// What follows is not looked at.
    is_over: bool,
}

impl Content {
    /// Returns what is to be looked at in a request's body.
    pub(in crate::protocol) fn of_request(
        method: &[u8],
        fields: &[Field<'_>],
        path: Option<&str>,
    ) -> Option<Self> {
        if method != b"POST" || is_encoded(fields) {
            return None;
        }
        let media_type = media_type(fields)?;
        let is = |known: &str| media_type.eq_ignore_ascii_case(known.as_bytes());
        let kind = if is("application/json") {
            if path.is_some_and(graphql::is_endpoint) { RequestKind::Endpoint } else { RequestKind::Json }
        } else if is("application/graphql+json") {
            RequestKind::Endpoint
        } else if is("application/graphql") {
            RequestKind::Document
        } else {
            return None;
        };
        let beginning = Beginning { limit: graphql::REQUEST_BYTES, ..Beginning::default() };
        Some(Content::Request(beginning, kind, path.map(str::to_owned)))
    }

    /// Returns what is to be looked at in a response's body, which there is; `may_be_graphql` says that its request may
    /// be.
    pub(in crate::protocol) fn of_response(
        fields: &[Field<'_>],
        may_be_graphql: bool,
        has_failed: bool,
    ) -> Option<Self> {
        if is_encoded(fields) {
            return None;
        }
        let media_type = media_type(fields)?;
        let is = |known: &str| media_type.eq_ignore_ascii_case(known.as_bytes());
        if is("text/event-stream") {
            return Some(Content::Events(EventStream::default()));
        }
        let may_tell_errors = may_be_graphql && !has_failed;
        let is_answer = || is("application/json") || is("application/graphql-response+json");
        (may_tell_errors && is_answer())
            .then(|| Content::Errors(Beginning { limit: graphql::RESPONSE_BYTES, ..Beginning::default() }))
    }

    /// Takes in what comes next; returns whether more is wanted.
    pub(in crate::protocol) fn feed(&mut self, bytes: &[u8]) -> bool {
        match self {
            Content::Events(events) => {
                events.feed(bytes);
                true
            }
            Content::Errors(beginning) => beginning.feed(bytes),
            Content::Request(beginning, kind, _) => {
                let is_open = beginning.feed(bytes);
                is_open && (*kind != RequestKind::Json || graphql::may_begin(&beginning.bytes))
            }
        }
    }

    /// Notes that bytes are missing.
    pub(in crate::protocol) fn missed(&mut self) {
        match self {
            Content::Events(events) => events.missed(),
            Content::Errors(beginning) | Content::Request(beginning, ..) => beginning.is_over = true,
        }
    }

    /// Returns whether it lasts as long as its connection, and ends well with it.
    pub(in crate::protocol) fn is_endless(&self) -> bool {
        matches!(self, Content::Events(_))
    }

    /// Returns whether bytes of it are of use.
    pub(in crate::protocol) fn is_open(&self) -> bool {
        match self {
            Content::Events(_) => true,
            Content::Errors(beginning) | Content::Request(beginning, ..) => !beginning.is_over,
        }
    }

    /// Returns the GraphQL request that it was.
    pub(in crate::protocol) fn into_graphql(self) -> Option<Graphql> {
        let Content::Request(Beginning { bytes, .. }, kind, path) = self else { return None };
        // It may have come in one piece, none of which said no before.
        if kind == RequestKind::Json && !graphql::may_begin(&bytes) {
            return None;
        }
        let operation = match kind {
            RequestKind::Document => graphql::of_document(&bytes),
            kind => graphql::of_body(&bytes, kind == RequestKind::Endpoint),
        }?;
        Some(Graphql { operation, path })
    }

    /// Returns what it tells at its end.
    pub(in crate::protocol) fn into_ending(self) -> Option<Box<Ending>> {
        let mut ending = Ending::default();
        match self {
            Content::Events(events) => {
                let count = i64::try_from(events.events()).unwrap_or(i64::MAX);
                set(&mut ending.attributes, semconv::REMORA_SSE_EVENTS, count);
                if events.is_partial() {
                    set(&mut ending.attributes, semconv::REMORA_INCOMPLETE, "events_missing");
                }
            }
            Content::Errors(beginning) => ending.outcome = Some(graphql::failure(&beginning.bytes)?),
            Content::Request(..) => return None,
        }
        Some(Box::new(ending))
    }
}

impl Beginning {
    /// Takes in what comes next; returns whether more is wanted.
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let free = self.limit.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(bytes.get(..free).unwrap_or(bytes));
        self.is_over |= bytes.len() >= free;
        !self.is_over
    }
}

/// Returns the type of a body, in any case and without parameters.
fn media_type<'a>(fields: &'a [Field<'a>]) -> Option<&'a [u8]> {
    let text = value(fields, "content-type")?.split(|&byte| byte == b';').next()?;
    Some(text.trim_ascii())
}

fn is_encoded(fields: &[Field<'_>]) -> bool {
    value(fields, "content-encoding").is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"))
}

/// Returns the GraphQL request that a URL makes.
pub(in crate::protocol) fn of_target(method: &[u8], target: &[u8], path: Option<&str>) -> Option<Graphql> {
    let query = target.splitn(2, |&byte| byte == b'?').nth(1).filter(|_| method == b"GET")?;
    let path = path.filter(|path| graphql::is_endpoint(path))?;
    Some(Graphql { operation: graphql::of_query(query)?, path: Some(path.to_owned()) })
}

impl Held for Graphql {
    fn held_bytes(&self) -> usize {
        self.operation.held_bytes() + self.path.held_bytes()
    }
}

impl Held for Content {
    fn held_bytes(&self) -> usize {
        match self {
            Content::Request(beginning, _, path) => beginning.bytes.held_bytes() + path.held_bytes(),
            Content::Errors(beginning) => beginning.bytes.held_bytes(),
            Content::Events(_) => 0,
        }
    }
}
