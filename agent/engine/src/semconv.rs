//! The one table of attribute names: OpenTelemetry semantic conventions, stable names, version 1.43.
//!
//! Names that are not in the conventions begin with `remora.`.

mod text;

use std::borrow::Cow;

pub use text::Text;

/// The schema that the names below follow.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.43.0";

/// An attribute's name.
pub type Key = Cow<'static, str>;
/// Attributes of a span, in the order in which they were found; each key at most once.
pub type Attributes = Vec<(Key, Value)>;

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Text),
    /// A whole number.
    Int(i64),
    /// A fraction.
    Double(f64),
    /// Yes or no.
    Bool(bool),
    /// Several texts.
    Texts(Vec<String>),
}

impl From<Text> for Value {
    fn from(text: Text) -> Self {
        Value::Text(text)
    }
}
impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Text(text.into())
    }
}
impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Value::Text(text.into())
    }
}
impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Value::Int(number)
    }
}
impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: Key = Cow::Borrowed($text);)*
    };
}

keys! {
    /// `GET`, or `_OTHER` for methods that RFC 9110 and RFC 5789 do not know.
    HTTP_REQUEST_METHOD = "http.request.method";
    /// The method as it was sent, where it is not known.
    HTTP_REQUEST_METHOD_ORIGINAL = "http.request.method_original";
    /// Status code of the response.
    HTTP_RESPONSE_STATUS_CODE = "http.response.status_code";
    /// Template of the path.
    HTTP_ROUTE = "http.route";
    /// Bytes of the request's body.
    HTTP_REQUEST_BODY_SIZE = "http.request.body.size";
    /// Bytes of the response's body.
    HTTP_RESPONSE_BODY_SIZE = "http.response.body.size";
    /// Path of the URL.
    URL_PATH = "url.path";
    /// Query of the URL, redacted.
    URL_QUERY = "url.query";
    /// `http` or `https`.
    URL_SCHEME = "url.scheme";
    /// The whole URL (client), redacted.
    URL_FULL = "url.full";
    /// `User-Agent`.
    USER_AGENT_ORIGINAL = "user_agent.original";
    /// Address that the client of a server span has, behind proxies if they say so.
    CLIENT_ADDRESS = "client.address";
    /// Port of that client.
    CLIENT_PORT = "client.port";
    /// Name or address of the server.
    SERVER_ADDRESS = "server.address";
    /// Port of the server.
    SERVER_PORT = "server.port";
    /// Address of the other end of the socket.
    NETWORK_PEER_ADDRESS = "network.peer.address";
    /// Port of the other end of the socket.
    NETWORK_PEER_PORT = "network.peer.port";
    /// `http`.
    NETWORK_PROTOCOL_NAME = "network.protocol.name";
    /// `1.1`.
    NETWORK_PROTOCOL_VERSION = "network.protocol.version";
    /// `unix` or `udp`; TCP where it is not there.
    NETWORK_TRANSPORT = "network.transport";
    /// `tls`.
    TLS_PROTOCOL_NAME = "tls.protocol.name";
    /// `1.3`.
    TLS_PROTOCOL_VERSION = "tls.protocol.version";
    /// Cipher suite that the server chose, as IANA names it.
    TLS_CIPHER = "tls.cipher";
    /// Protocol that the server chose by ALPN, where it says so in the clear.
    TLS_NEXT_PROTOCOL = "tls.next_protocol";
    /// Server that the client asked for (SNI).
    TLS_CLIENT_SERVER_NAME = "tls.client.server_name";
    /// Whether the handshake has succeeded.
    TLS_ESTABLISHED = "tls.established";
    /// Kind of error.
    ERROR_TYPE = "error.type";
    /// `mysql`, `postgresql`, `redis`.
    DB_SYSTEM_NAME = "db.system.name";
    /// Database name (PostgreSQL: `database`; Redis: index).
    DB_NAMESPACE = "db.namespace";
    /// Statement, without literals.
    DB_QUERY_TEXT = "db.query.text";
    /// Short form of the statement: operation and targets.
    DB_QUERY_SUMMARY = "db.query.summary";
    /// Operation.
    DB_OPERATION_NAME = "db.operation.name";
    /// Number of operations in a batch; only where it is not 1.
    DB_OPERATION_BATCH_SIZE = "db.operation.batch.size";
    /// Table.
    DB_COLLECTION_NAME = "db.collection.name";
    /// Stored procedure.
    DB_STORED_PROCEDURE_NAME = "db.stored_procedure.name";
    /// Error code of the database (SQLSTATE, number of a MySQL error, or prefix of a Redis error).
    DB_RESPONSE_STATUS_CODE = "db.response.status_code";
    /// Rows that came back.
    DB_RESPONSE_RETURNED_ROWS = "db.response.returned_rows";
    /// SQLSTATE of an error whose code is another.
    REMORA_DB_SQLSTATE = "remora.db.sqlstate";
    /// User of the connection.
    DB_USER = "remora.db.user";
    /// `grpc`: the system of remote procedure calls.
    RPC_SYSTEM_NAME = "rpc.system.name";
    /// Package, service and method that are called (`pkg.Service/Method`).
    RPC_METHOD = "rpc.method";
    /// The method that was asked for, where the server does not know it and `rpc.method` says `_OTHER`.
    RPC_METHOD_ORIGINAL = "rpc.method_original";
    /// Name of the status (`OK`, `DEADLINE_EXCEEDED`).
    RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code";
    /// Seconds after which the caller gives up.
    REMORA_RPC_TIMEOUT = "remora.rpc.timeout";
    /// Messages that the client sent in one call.
    REMORA_RPC_REQUEST_MESSAGES = "remora.rpc.request.messages";
    /// Messages that the server sent in one call.
    REMORA_RPC_RESPONSE_MESSAGES = "remora.rpc.response.messages";
    /// Bytes that this end of a connection sent; the end of the stream may count as one.
    REMORA_CONNECTION_BYTES_SENT = "remora.connection.bytes_sent";
    /// Bytes that this end of a connection received.
    REMORA_CONNECTION_BYTES_RECEIVED = "remora.connection.bytes_received";
    /// Why parts of the exchange are missing.
    REMORA_INCOMPLETE = "remora.incomplete";
    /// The trace that a context which the agent wrote into the request names: the receiver may have spans of that trace,
    /// which are of this one. 32 hexadecimal digits.
    REMORA_TRACE_ALIAS = "remora.trace.alias";
    /// Which kind of evidence the parent rests on.
    REMORA_PARENT_EVIDENCE = "remora.parent.evidence";
    /// Messages that the client of a WebSocket sent.
    REMORA_WEBSOCKET_CLIENT_MESSAGES = "remora.websocket.client_messages";
    /// Messages that the server of a WebSocket sent.
    REMORA_WEBSOCKET_SERVER_MESSAGES = "remora.websocket.server_messages";
    /// Code of the frame by which a WebSocket was closed first.
    REMORA_WEBSOCKET_CLOSE_CODE = "remora.websocket.close_code";
    /// Server-sent events of a response.
    REMORA_SSE_EVENTS = "remora.sse.events";
    /// `query`, `mutation` or `subscription`.
    GRAPHQL_OPERATION_TYPE = "graphql.operation.type";
    /// The name that the client gave the operation.
    GRAPHQL_OPERATION_NAME = "graphql.operation.name";
    /// The name that was asked for, lower case, without a dot at its end.
    DNS_QUESTION_NAME = "dns.question.name";
    /// The addresses that were answered.
    DNS_ANSWERS = "dns.answers";
    /// The type of the records that were asked for: `A`, or `TYPE65280` where it has no name.
    REMORA_DNS_QUESTION_TYPE = "remora.dns.question.type";
    /// The code of the answer (`NOERROR`, `NXDOMAIN`), or `RCODE17` where it has no name.
    REMORA_DNS_RESPONSE_CODE = "remora.dns.response.code";
    /// The answer was cut to fit a datagram, so that the client asks again by TCP.
    REMORA_DNS_RESPONSE_TRUNCATED = "remora.dns.response.truncated";
    /// Id that the caller's span has if its host is traced too: the aggregator joins the two.
    REMORA_PARENT_EXPECTED = "remora.parent.expected";
    /// `redis`: the system that passes messages on.
    MESSAGING_SYSTEM = "messaging.system";
    /// What is done with a message, in the system's words.
    MESSAGING_OPERATION_NAME = "messaging.operation.name";
    /// What is done with a message: `process`.
    MESSAGING_OPERATION_TYPE = "messaging.operation.type";
    /// The client's own name, in Kafka.
    MESSAGING_CLIENT_ID = "messaging.client.id";
    /// The group of consumers.
    MESSAGING_CONSUMER_GROUP_NAME = "messaging.consumer.group.name";
    /// The partition of the queue.
    MESSAGING_DESTINATION_PARTITION_ID = "messaging.destination.partition.id";
    /// Number of messages; only where it is not 1.
    MESSAGING_BATCH_MESSAGE_COUNT = "messaging.batch.message_count";
    /// Offset of the only message in its partition.
    MESSAGING_KAFKA_OFFSET = "messaging.kafka.offset";
    /// Key of the only message, where literals are told.
    MESSAGING_KAFKA_MESSAGE_KEY = "messaging.kafka.message.key";
    /// Whether the only message says that what its key names is no more.
    MESSAGING_KAFKA_MESSAGE_TOMBSTONE = "messaging.kafka.message.tombstone";
    /// Id of the topic, where its name is not known.
    REMORA_KAFKA_TOPIC_ID = "remora.kafka.topic.id";
    /// The queue.
    MESSAGING_DESTINATION_NAME = "messaging.destination.name";
    /// The queue, with `*` for the parts of its name that are values.
    MESSAGING_DESTINATION_TEMPLATE = "messaging.destination.template";
    /// The server has made up the queue's name.
    MESSAGING_DESTINATION_ANONYMOUS = "messaging.destination.anonymous";
    /// The queue goes with who uses it.
    MESSAGING_DESTINATION_TEMPORARY = "messaging.destination.temporary";
    /// The consumer that a stream or topic knows by name (NATS JetStream).
    MESSAGING_DESTINATION_SUBSCRIPTION_NAME = "messaging.destination.subscription.name";
    /// What the producer calls the message.
    MESSAGING_MESSAGE_ID = "messaging.message.id";
    /// What brings a message and its answer together.
    MESSAGING_MESSAGE_CONVERSATION_ID = "messaging.message.conversation_id";
    /// Bytes of the message's body.
    MESSAGING_MESSAGE_BODY_SIZE = "messaging.message.body.size";
    /// Routing key of a message in RabbitMQ.
    MESSAGING_RABBITMQ_ROUTING_KEY = "messaging.rabbitmq.destination.routing_key";
    /// Number of a message on its channel.
    MESSAGING_RABBITMQ_DELIVERY_TAG = "messaging.rabbitmq.message.delivery_tag";
    /// Messages with the same key are delivered in order in Google Pub/Sub. Of the only message, where literals are told.
    MESSAGING_GCP_PUBSUB_MESSAGE_ORDERING_KEY = "messaging.gcp_pubsub.message.ordering_key";
    /// What acknowledges the only message.
    MESSAGING_GCP_PUBSUB_MESSAGE_ACK_ID = "messaging.gcp_pubsub.message.ack_id";
    /// Seconds within which messages must be acknowledged from then on.
    MESSAGING_GCP_PUBSUB_MESSAGE_ACK_DEADLINE = "messaging.gcp_pubsub.message.ack_deadline";
    /// How often the only message was delivered.
    MESSAGING_GCP_PUBSUB_MESSAGE_DELIVERY_ATTEMPT = "messaging.gcp_pubsub.message.delivery_attempt";
    /// Project of Google Cloud that a topic or subscription belongs to.
    REMORA_GCP_PROJECT_ID = "remora.gcp.project_id";
    /// Hashes that name the messages which were handed over: the aggregator links them to their receipts.
    REMORA_MESSAGE_SENT = "remora.message.sent";
    /// Seconds that the message which waited longest was on its way, where its sending was seen.
    REMORA_MESSAGE_QUEUE_TIME = "remora.message.queue_time";
    /// Hashes that name the messages which were received.
    REMORA_MESSAGE_RECEIVED = "remora.message.received";
    /// What is linked: `message`, the span that sent the message; `cause`, what the span was probably made for.
    REMORA_LINK_REASON = "remora.link.reason";
    /// Confidence of an inferred link, 0 to 1.
    REMORA_LINK_CONFIDENCE = "remora.link.confidence";
    /// Which kind of evidence a link rests on.
    REMORA_LINK_EVIDENCE = "remora.link.evidence";
}
