//! Bytes of a connection become messages: the contract between the engine and each protocol.
//!
//! A protocol is one folder here, one line in [`REGISTRY`] and its fixtures. It sees ordered bytes of the two
//! sides of one connection and knows nothing of sockets, processes, pairing or spans' parents. Its one hard problem
//! is that bytes may be split anywhere and may be missing.

use std::hash::BuildHasher as _;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::event::Endpoint;
use crate::semconv::{Attributes, Key, Text};
pub(crate) use job_id::job_id;
pub use learned::Learned;
pub use message_key::{KEYED_BYTES, Keys, MAX_KEYS, MIN_KEYED_BYTES, MessageKey};

mod aged;
mod celery;
mod context;
mod event_stream;
mod graphql;
mod http;
mod inflate;
mod job_id;
mod learned;
mod likeness;
mod marks;
mod message_key;
mod protobuf;
mod pubsub;
mod rpc;
mod sql;
mod text;
mod turns;
mod websocket;
mod words;

pub mod amqp;
pub mod dns;
pub mod http1;
pub mod http2;
pub mod kafka;
pub mod mongodb;
pub mod mysql;
pub mod nats;
pub mod postgresql;
pub mod redis;

pub use marks::{Mark, Marks, Weight};

/// All protocols, in the order in which they are asked whether bytes are theirs.
pub static REGISTRY: &[&dyn Protocol] = &[
    &dns::Dns,
    &http1::Http1,
    &http2::Http2,
    &kafka::Kafka,
    &mongodb::Mongodb,
    &mysql::Mysql,
    &postgresql::Postgresql,
    &redis::Redis,
    &amqp::Amqp,
    &nats::Nats,
];

/// Who sent the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The side that sends requests.
    Client,
    /// The side that answers them.
    Server,
}

impl Side {
    /// Returns the other side.
    #[must_use]
    pub fn reverse(self) -> Self {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// Whether bytes at the beginning of a message, in one direction, belong to a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detection {
    /// They do, and this side sent them.
    Yes(Side),
    /// They do not, whatever follows.
    No,
    /// More bytes, or bytes of the other direction, are needed. Being asked again costs little.
    Unsure,
}

/// What a protocol parser may want to know from outside. Each connection's parser has a copy, which is cheap.
#[derive(Clone, Debug)]
pub struct ParserSettings {
    /// Replace literals in statements by `?` (on by default).
    pub redact_statements: bool,
    /// Query parameters (lower case) whose values are replaced by `REDACTED`.
    pub redacted_query_parameters: Arc<Vec<String>>,
    /// Longest statement that is kept, in bytes; the rest is cut.
    pub max_statement_bytes: usize,
    /// Request headers (lower case) that are recorded as `http.request.header.<name>`.
    pub captured_request_headers: Arc<Vec<String>>,
    /// Response headers (lower case) that are recorded as `http.response.header.<name>`.
    pub captured_response_headers: Arc<Vec<String>>,
    /// Keys of W3C Baggage that are recorded as `baggage.<key>`.
    pub recorded_baggage: Arc<Vec<String>>,
    /// Headers (lower case) whose values are replaced by `REDACTED` where they are recorded.
    pub redacted_headers: Arc<Vec<String>>,
    /// Key of the hashes of ids in requests; without one, requests are not searched for ids.
    pub mark_key: Option<u64>,
}

impl Default for ParserSettings {
    fn default() -> Self {
        let owned = |names: &[&str]| Arc::new(names.iter().map(|&name| name.to_owned()).collect());
        Self {
            redact_statements: true,
            // Those that the HTTP conventions name, and what else carries secrets in practice.
            redacted_query_parameters: owned(&[
                "awsaccesskeyid",
                "signature",
                "sig",
                "x-goog-signature",
                "x-amz-signature",
                "x-amz-credential",
                "x-amz-security-token",
                "token",
                "access_token",
                "id_token",
                "refresh_token",
                "api_key",
                "apikey",
                "key",
                "secret",
                "client_secret",
                "password",
                "passwd",
                "pwd",
                "auth",
                "code",
                "session",
                "sid",
            ]),
            max_statement_bytes: 4096,
            captured_request_headers: Arc::default(),
            captured_response_headers: Arc::default(),
            recorded_baggage: Arc::default(),
            redacted_headers: owned(&[
                "authorization",
                "proxy-authorization",
                "cookie",
                "set-cookie",
                "x-api-key",
                "x-auth-token",
                "x-csrf-token",
                "x-amz-security-token",
                "x-forwarded-access-token",
            ]),
            mark_key: None,
        }
    }
}

/// A protocol that the engine understands.
pub trait Protocol: Sync {
    /// The name under which it is counted, lower case.
    fn name(&self) -> &'static str;

    /// Returns whether `bytes`, the first of a message in one direction, are of this protocol.
    ///
    /// Must say `No` as soon as it can, and must not say `Yes` on less than what no other protocol in the registry
    /// could have sent. Looks at no more than [`DETECTION_BUDGET_BYTES`].
    fn detect(&self, bytes: &[u8]) -> Detection;

    /// Returns whether a connection began with these bytes of its client and these of its server, where
    /// [`detect`](Self::detect) is unsure of each alone.
    fn detect_exchange(&self, _asked: &[u8], _answered: &[u8]) -> bool {
        false
    }

    /// Returns the bytes of each call that its parser wants to see at least; 0 where the usual capture will do.
    fn capture_bytes(&self) -> u32 {
        0
    }

    /// Returns the token by which an HTTP/1.1 client asks to go on by this protocol (RFC 9110 section 7.8).
    fn upgrade_token(&self) -> Option<&'static str> {
        None
    }

    /// Returns a parser for a connection that goes on by this protocol, and answers first what was asked before.
    fn upgraded_parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser> {
        self.parser(conversation)
    }

    /// Returns a parser for one connection.
    fn parser(&self, conversation: &Conversation<'_>) -> Box<dyn Parser>;
}

/// What a parser is told of the connection it is made for.
#[derive(Clone, Debug)]
pub struct Conversation<'a> {
    /// What users chose.
    pub settings: &'a ParserSettings,
    /// The parser will see the connection's first bytes.
    pub is_start: bool,
    /// The server's end, where it is known.
    pub server: Option<&'a Endpoint>,
    /// What other connections have shown.
    pub learned: Learned,
}

impl<'a> Conversation<'a> {
    /// Returns a connection of which nothing else is known.
    #[must_use]
    pub fn new(settings: &'a ParserSettings, is_start: bool) -> Self {
        Self { settings, is_start, server: None, learned: Learned::default() }
    }
}

/// Requests of one connection that may be without a response. One more is not followed.
pub(crate) const MAX_OUTSTANDING: usize = 4096;

/// Bytes of one direction after which a connection that no protocol has claimed is given up.
pub const DETECTION_BUDGET_BYTES: usize = 256;

/// The state of one protocol on one connection: both sides.
pub trait Parser: Send {
    /// Looks at the beginning of `bytes`, the unread bytes of `side`, and says what they are.
    ///
    /// `bytes` is empty only where the next bytes are known to be missing: the answer then matters only if it is
    /// [`Answer::Skip`]. It is called again with what follows until it asks for more than there is. Any split
    /// of the same bytes must give the same messages. Allocation is bounded before a wire length is believed.
    fn parse(&mut self, side: Side, bytes: &[u8]) -> Answer;

    /// Tells which client the next bytes are exchanged with, where one socket of the server has many of them.
    fn meet(&mut self, _client: Option<SocketAddr>) {}

    /// Returns an exchange that was told and that the parser does not follow any more, since too much is outstanding or
    /// another took its place: its response will not be told. It is called after each answer, until there is none.
    fn given_up(&mut self) -> Option<Pairing> {
        None
    }

    /// Returns whether it [tells](MessageKind::Missed) of what is among the missing bytes of a side by itself, one by one.
    fn counts_missing(&self, _side: Side) -> bool {
        false
    }

    /// Returns whether nothing is asked, so that what the server moves before it has seen any of the next request answers
    /// nothing: it is dropped where it [waits](Answer::Wait) for that request.
    fn is_unasked(&self) -> bool {
        false
    }

    /// Tells that the bytes last [skipped](Answer::Skip) on `side` have all gone by; may complete a message that only
    /// its length delimits (a body). Called once for each skip, as soon as its last byte has gone by, also where
    /// nothing follows yet. A parser that was not told completes the message when it is next shown bytes of `side`.
    fn passed(&mut self, side: Side) -> Option<Message> {
        let _ = side;
        None
    }

    /// Tells that `missing` bytes after `bytes` were not captured although [`parse`](Self::parse) needs them, and asks
    /// whether the parser can do without. Where it cannot (`None`) they are lost and [`lost`](Self::lost) follows.
    /// `bytes` is empty where nothing is unread; what was to be [skipped](Answer::Skip) may lie among the missing.
    fn cut(&mut self, side: Side, bytes: &[u8], missing: u64) -> Option<Cut> {
        let _ = (side, bytes, missing);
        None
    }

    /// Tells that the connection, which was met midway, was met between two exchanges: requests and responses match
    /// from the first on, and both sides are at the beginning of a message.
    fn trust(&mut self) {}

    /// Returns, where the connection was met midway and it is not known yet which response answers which request,
    /// whether as many responses as requests have been seen so far; none where nothing is in doubt.
    fn doubt(&self) -> Option<bool> {
        None
    }

    /// Tells that `side` will send no more; may complete messages that only the end delimits. It is called until there
    /// are no more.
    fn end(&mut self, side: Side) -> Option<Message>;

    /// Tells that bytes of `side` are missing, outside what was [skipped](Answer::Skip). The parser forgets what it
    /// had begun or expected on both sides and will next be called at an offset that [`resync`](Self::resync) chose.
    fn lost(&mut self, side: Side);

    /// Returns the bytes that its state holds on the heap, as far as peers decide how many. It is asked now and then:
    /// of a connection that holds too much, the state is dropped with its parser.
    fn held_bytes(&self) -> usize;

    /// Returns the offset in `bytes` at which a message of `side` plausibly begins, after bytes were lost.
    fn resync(&self, side: Side, bytes: &[u8]) -> Option<usize>;

    /// Returns whether answers are found only where pieces begin. What is left of an answer to a request that was sent before
    /// the connection was met is then not to stand before the next one.
    fn answers_begin_with_pieces(&self) -> bool {
        false
    }
}

/// What a parser says of the bytes it was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The first `eaten` bytes make a message. `eaten` may be 0 only for a message without bytes of its own.
    Message {
        /// Bytes consumed.
        eaten: usize,
        /// The message.
        message: Message,
    },
    /// The first `eaten` bytes are understood and make no message of their own. Never 0.
    Nothing {
        /// Bytes consumed.
        eaten: usize,
    },
    /// With the first `eaten` bytes the client signs in. That is part of the connection, and told only where the server
    /// [refuses](Answer::Refused). Never 0.
    SignsIn {
        /// Bytes consumed.
        eaten: usize,
    },
    /// With the first `eaten` bytes the server refuses the client, who [signed in](Answer::SignsIn) or was not even asked.
    /// Never 0.
    Refused {
        /// Bytes consumed.
        eaten: usize,
        /// What is told of it.
        refusal: Box<Refusal>,
    },
    /// The next `length` bytes (including those shown, and maybe many not yet seen) carry nothing of interest and
    /// need not be captured. Never 0.
    Skip {
        /// Bytes to pass over.
        length: u64,
    },
    /// More bytes are needed: at least `at_least` in all, counted from the beginning of `bytes`.
    Need {
        /// Length of `bytes` that makes another call worthwhile; more than the length that was shown.
        at_least: usize,
    },
    /// The bytes make sense only after more of the other side has been seen (a response before its request).
    Wait,
    /// What was open can no longer be completed, and the parser has started over on both sides. The bytes are shown
    /// again; those of the other side that are unread are dropped.
    Lost,
    /// From here on the connection carries the protocol with this [token](Protocol::upgrade_token), in both directions:
    /// the bytes are shown to its parser.
    Upgraded {
        /// The token.
        token: &'static str,
        /// What was asked last is answered there. Otherwise nobody has told what was asked.
        is_answering: bool,
    },
    /// Both sides have agreed to encrypt: the first `eaten` bytes are the last in the clear, in either direction. The parser
    /// goes on with what is decrypted.
    Encrypted {
        /// Bytes consumed.
        eaten: usize,
    },
    /// From here on the connection carries something else (after an upgrade, a tunnel): ignore the rest.
    Opaque,
    /// The bytes break the protocol; `reason` is a fixed text for counting.
    Broken {
        /// Which rule was broken.
        reason: &'static str,
    },
}

impl Answer {
    /// Passes over all but the last `tail` bytes, which may begin what is looked for.
    pub(crate) fn pass_over(bytes: &[u8], tail: usize) -> Self {
        match bytes.len().saturating_sub(tail) {
            0 => Answer::Need { at_least: bytes.len() + 1 },
            eaten => Answer::Nothing { eaten },
        }
    }
}

/// A sign-in that the server has refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Who wanted to sign in, and to what.
    pub request: Request,
    /// Why not.
    pub response: Response,
}

/// What a parser makes of the beginning of a message whose rest is missing.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// The message, made of its beginning; none where it makes no message of its own.
    pub message: Option<Message>,
    /// Bytes of the message in all, counted from the beginning of what was shown: the missing ones are not lost as
    /// far as they are within, and what is left after them is skipped, without a call of [`Parser::passed`].
    pub length: u64,
}

/// One step of an exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Which exchange of the connection it belongs to.
    pub pairing: Pairing,
    /// What it is.
    pub kind: MessageKind,
}

impl Message {
    /// Returns a message of a protocol whose responses come in the order of the requests.
    pub(crate) fn in_order(kind: MessageKind) -> Self {
        Self { pairing: Pairing::InOrder, kind }
    }
}

/// How a response finds its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Responses come in the order of the requests.
    InOrder,
    /// The protocol numbers them.
    Id(u64),
}

impl Pairing {
    /// Returns the number of a message, where the protocol numbers them.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            Pairing::InOrder => None,
            Pairing::Id(number) => Some(number),
        }
    }
}

/// What a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum MessageKind {
    /// A request begins, and ends too unless `Request::is_open`.
    Request(Box<Request>),
    /// The open request has ended.
    RequestEnd,
    /// A response that is not the final one (HTTP 1xx).
    Interim,
    /// The final response begins, and ends too unless `Response::is_open`.
    Response(Box<Response>),
    /// The open response has ended, and with it the exchange, even if the request has not. What only the end tells
    /// comes with it.
    ResponseEnd(Option<Box<Ending>>),
    /// The exchange can no longer be told: bytes are missing.
    Lost,
    /// Likewise, one of which nothing has been told: its request is among the missing bytes, or it is not known which
    /// response is its own.
    Missed,
    /// A message that asks for no answer and answers nothing (a push, a notification).
    OneWay,
    /// Likewise, with messages of a queue.
    Delivered(Box<Delivery>),
    /// Messages that the server brought unasked are among missing bytes: at least one.
    MissedDelivery,
    /// The client has said what became of messages that were delivered.
    Settled(Box<Settled>),
}

/// What was asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// More of the request follows, to be ended by [`MessageKind::RequestEnd`].
    pub is_open: bool,
    /// No response will come.
    pub is_one_way: bool,
    /// Programs repeat it while nothing happens (a poll, a heartbeat): it becomes a span only where the response is not
    /// [idle](Response::is_idle).
    pub is_routine: bool,
    /// How the span is named.
    pub name: Name,
    /// Attributes of the client's and the server's span.
    pub attributes: Attributes,
    /// Trace context found in the request.
    pub context: Option<WireContext>,
    /// Programs that ask so have a task write that writes for all: who writes it says nothing of who asks.
    pub is_relayed: bool,
    /// Contexts of the single messages that it hands over, where there are several.
    pub carried: Vec<WireContext>,
    /// What the request is about.
    pub marks: Marks,
    /// Host and port that the request itself names (`Host` header), for `server.address` and `server.port`.
    pub authority: Option<(String, Option<u16>)>,
    /// Whether the server's side is a span of its own kind (HTTP), or the server is a data store whose own span
    /// repeats the client's (databases and caches); both are emitted, the latter as `SERVER` spans too.
    pub category: Category,
    /// Messages of queues that it hands over.
    pub sent: Keys,
    /// The queues that it asks for messages.
    pub source: Option<Source>,
}

/// Queues that a request asks for messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Equal where the queues are.
    pub hash: u64,
    /// The name of the queue where it is one, as far as it may be told.
    pub name: Option<String>,
    /// Whether it waits for a message where there is none.
    pub may_wait: bool,
}

/// Messages that came with a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Those that can be told from others.
    pub keys: Keys,
    /// The request asked for messages. Otherwise what came may be something else.
    pub is_certain: bool,
    /// The id by which a library knows the only one that came: a hash.
    pub job: Option<u64>,
    /// The queue that they came from, where the request named several and the response says which.
    pub queue: Option<String>,
    /// Trace contexts that came with them, each once.
    pub contexts: Vec<WireContext>,
    /// Who sent them learns their names from the server's answer, which may come later than the messages themselves.
    pub may_be_early: bool,
}

/// Messages that the server brought unasked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delivery {
    /// The messages.
    pub received: Received,
    /// The queue that they are from.
    pub source: Option<Source>,
    /// Attributes of the consumer's span.
    pub attributes: Attributes,
    /// Name of the consumer's span; none for the operation alone.
    pub name: Option<String>,
    /// Number under which the client will settle it; none where it says nothing of it.
    pub number: Option<u64>,
    /// As in [`Request::is_routine`]: nothing comes of it.
    pub is_routine: bool,
}

/// What became of messages that were delivered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settled {
    /// The number of the delivery.
    pub number: u64,
    /// How the work went that they asked for, as far as the consumer says.
    pub outcome: Outcome,
}

impl Request {
    /// Returns a hash of what a proxy passes on as it got it; none where the name of the request says nothing rare.
    ///
    /// A proxy's own health check may ask for what a client asks for, but hardly for the same host.
    pub(crate) fn content(&self) -> Option<u64> {
        let path = self.name.path.as_ref()?;
        let host = self.authority.as_ref().map(|(host, _)| host.to_ascii_lowercase());
        Some(foldhash::quality::FixedState::default().hash_one((&self.name.verb, path, host)))
    }
}

/// What kind of exchange it is, for span kinds and for the service map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Category {
    /// A call of a service.
    #[default]
    Call,
    /// A statement or command to a database or cache.
    Database,
    /// Messages are handed to a broker: the client's side is a `PRODUCER` span.
    Send,
    /// A broker is asked for messages, or told what became of them.
    Receive,
}

/// The low-cardinality name of a span.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Name {
    /// The verb or the whole name (`GET`, `SELECT orders`).
    pub verb: Text,
    /// The path that the server's side templates to a route and appends (`/users/42` becomes `GET /users/{id}`).
    pub path: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response {
    /// More of the response follows, to be ended by [`MessageKind::ResponseEnd`].
    pub is_open: bool,
    /// Nothing came of the request. Of interest only where that [is routine](Request::is_routine).
    pub is_idle: bool,
    /// Attributes that the response adds.
    pub attributes: Attributes,
    /// How it went.
    pub outcome: Outcome,
    /// A side of a call has ended it without an answer, be it that the deadline has passed.
    pub is_given_up: bool,
    /// A better name, known only when the exchange ends.
    pub name: Option<Name>,
    /// Messages that the request handed over, where only the response tells how they are called.
    pub sent: Keys,
    /// Contexts of the single messages that the request hands over, where they stand behind its head.
    pub carried: Vec<WireContext>,
    /// Messages that came with it.
    pub received: Option<Box<Received>>,
}

/// What only the end of a response tells.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ending {
    /// Attributes that it adds, or whose values it replaces.
    pub attributes: Attributes,
    /// How it went after all; none where the response's beginning has said so.
    pub outcome: Option<Outcome>,
    /// A side of a call has ended it without an answer, be it that the deadline has passed.
    pub is_given_up: bool,
    /// A better name.
    pub name: Option<Name>,
    /// Nothing came of the request. Of interest only where that [is routine](Request::is_routine).
    pub is_idle: bool,
    /// Messages that the request handed over.
    pub sent: Keys,
    /// Contexts of those messages.
    pub carried: Vec<WireContext>,
    /// Messages that came with the response.
    pub received: Option<Box<Received>>,
}

impl Response {
    /// Adds what the end has told.
    pub(crate) fn end(&mut self, ending: Ending) {
        let Ending { attributes, outcome, is_given_up, name, is_idle, sent, carried, received } = ending;
        self.attributes.retain(|(known, _)| attributes.iter().all(|(key, _)| key != known));
        self.attributes.extend(attributes);
        if let Some(outcome) = outcome {
            self.outcome = outcome;
        }
        self.name = name.or(self.name.take());
        self.is_given_up |= is_given_up;
        self.is_idle |= is_idle;
        self.sent.extend(sent);
        self.carried.extend(carried);
        self.received = received.or(self.received.take());
    }
}

/// How an exchange went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Value of `error.type`; none where all went well.
    pub error_type: Option<String>,
    /// Description for the span status. Never the text of a value that was redacted.
    pub message: Option<String>,
    /// The error is the client's fault and does not fail the server's span (HTTP 4xx).
    pub is_client_fault: bool,
}

/// Trace context as it stood in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireContext {
    /// `trace-id` of `traceparent`, or what other formats have in its place.
    pub trace_id: [u8; 16],
    /// `parent-id` of `traceparent`.
    pub span_id: [u8; 8],
    /// `trace-flags` of `traceparent`.
    pub flags: u8,
    /// `tracestate`, verbatim, empty where absent.
    pub state: String,
}

/// Adds an attribute to a list: sugar for parsers.
pub fn set(attributes: &mut Attributes, key: Key, value: impl Into<crate::semconv::Value>) {
    attributes.push((key, value.into()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_passes_on_is_told_by_verb_path_and_host() {
        let of = |verb: &str, path: Option<&str>, host: Option<&str>| {
            let name = Name { verb: verb.to_owned().into(), path: path.map(str::to_owned) };
            let authority = host.map(|host| (host.to_owned(), None));
            Request { name, authority, ..Request::default() }.content()
        };
        let asked = of("GET", Some("/healthz"), Some("shop"));
        assert_eq!(of("GET", Some("/healthz"), Some("Shop")), asked);
        for other in [
            of("HEAD", Some("/healthz"), Some("shop")),
            of("GET", Some("/health"), Some("shop")),
            of("GET", Some("/healthz"), None),
            of("GET", None, Some("shop")),
        ] {
            assert_ne!(other, asked);
        }
    }
}
