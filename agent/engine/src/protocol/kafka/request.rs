//! What a request is told as.

use super::api;
use super::findings::Findings;
use super::header::Header;
use super::reader::{self, Field, Reader};
use super::topic::{Topic, TopicId};
use crate::protocol::marks::Search;
use crate::protocol::{Category, Learned, Name, Request, set};
use crate::semconv::{self, Attributes};

/// The system's name in the conventions.
const KAFKA: &str = "kafka";

/// Returns the request that a header begins, named by its kind.
pub(super) fn begin(header: &Header<'_>) -> Request {
    let (name, kind) = operation(header);
    let mut attributes = Attributes::with_capacity(8);
    set(&mut attributes, semconv::MESSAGING_SYSTEM, KAFKA);
    set(&mut attributes, semconv::MESSAGING_OPERATION_NAME, name);
    if let Some(kind) = kind {
        set(&mut attributes, semconv::MESSAGING_OPERATION_TYPE, kind);
    }
    if let Some(client) = header.client.filter(|client| !client.is_empty()) {
        set(&mut attributes, semconv::MESSAGING_CLIENT_ID, reader::text_of(client));
    }
    Request {
        name: Name { verb: name.into(), path: None },
        attributes,
        category: if header.key == api::PRODUCE { Category::Send } else { Category::Receive },
        is_routine: is_routine(header.key),
        ..Request::default()
    }
}

/// Returns the operation's name and its type, where it has one.
fn operation(header: &Header<'_>) -> (&'static str, Option<&'static str>) {
    match header.key {
        api::PRODUCE => ("send", Some("send")),
        api::FETCH | api::SHARE_FETCH => ("poll", Some("receive")),
        api::OFFSET_COMMIT | api::TXN_OFFSET_COMMIT => ("commit", Some("settle")),
        api::SHARE_ACKNOWLEDGE => ("acknowledge", Some("settle")),
        _ => (header.api.name, None),
    }
}

/// Returns whether clients and brokers send it again and again while nothing happens.
pub(super) fn is_routine(key: i16) -> bool {
    matches!(
        key,
        api::FETCH
            | api::SHARE_FETCH
            | api::FETCH_SNAPSHOT
            | api::METADATA
            | api::API_VERSIONS
            | api::HEARTBEAT
            | api::CONSUMER_GROUP_HEARTBEAT
            | api::SHARE_GROUP_HEARTBEAT
            | api::STREAMS_GROUP_HEARTBEAT
            | api::BROKER_HEARTBEAT
            | api::GET_TELEMETRY_SUBSCRIPTIONS
            | api::PUSH_TELEMETRY
    )
}

/// Names the topic, where there is one.
pub(super) fn name_topic(name: &mut Name, attributes: &mut Attributes, topic: &Topic, learned: &Learned) {
    match (topic.name(learned), topic) {
        (Some(topic), _) => {
            name.verb = format!("{} {topic}", name.verb).into();
            set(attributes, semconv::MESSAGING_DESTINATION_NAME, topic.to_string());
        }
        (None, Topic::Id(id)) => set(attributes, semconv::REMORA_KAFKA_TOPIC_ID, id_text(*id)),
        (None, Topic::Named(_)) => {}
    }
}

/// Returns an id as UUIDs are written.
fn id_text(id: TopicId) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(id));
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|range| digits.get(range).unwrap_or_default());
    parts.join("-")
}

/// What stands in a Produce request before the topics: returns the number of acknowledgments that are asked for.
pub(super) fn acknowledgments(header: &Header<'_>, fields: &mut Reader<'_>) -> Field<i16> {
    if header.version >= 3 {
        fields.string()?;
    }
    let acknowledgments = fields.int16()?;
    fields.int32()?;
    Ok(acknowledgments)
}

/// Adds what the batches of a Produce request have shown; `is_all` says that there are no others.
pub(super) fn add_batches(
    request: &mut Request,
    found: &mut Findings,
    is_all: bool,
    mark_key: Option<u64>,
    learned: &Learned,
) {
    if found.topics == 1
        && let Some(topic) = found.filled_topic.one()
    {
        name_topic(&mut request.name, &mut request.attributes, topic, learned);
        if let (Some(partition), 1, true) = (found.filled_partition.one(), found.partitions, is_all) {
            set(&mut request.attributes, semconv::MESSAGING_DESTINATION_PARTITION_ID, partition.to_string());
        }
    }
    if is_all && found.is_tombstone && found.count() == Some(1) {
        set(&mut request.attributes, semconv::MESSAGING_KAFKA_MESSAGE_TOMBSTONE, true);
    }
    (request.context, request.carried) = found.take_contexts(is_all);
    let mut search = Search::new(mark_key);
    search.skip();
    found.record_keys.drain(..).for_each(|key| search.text(&key));
    request.marks = search.finish();
}

/// Adds the key of the only message, if it is text.
pub(super) fn add_key(request: &mut Request, found: &Findings) {
    if let ([key], Some(1)) = (&found.record_keys[..], found.count())
        && let Ok(text) = str::from_utf8(key)
    {
        set(&mut request.attributes, semconv::MESSAGING_KAFKA_MESSAGE_KEY, text.to_owned());
    }
}

/// Adds how many messages there are, unless it is one.
pub(super) fn add_count(attributes: &mut Attributes, found: &Findings) {
    if let Some(count) = found.count().filter(|&count| count != 1) {
        set(attributes, semconv::MESSAGING_BATCH_MESSAGE_COUNT, count.cast_signed());
    }
}

/// Returns whether a Fetch request comes from another broker, which copies what it gets.
pub(super) fn is_replica(header: &Header<'_>, body: &[u8]) -> bool {
    if header.key != api::FETCH {
        return false;
    }
    if header.version < 15 {
        return Reader::new(body, header.is_flexible()).int32().is_ok_and(|replica| replica >= 0);
    }
    // The broker's number is a tagged field at the end, behind what may be long; its client id tells it too.
    let client = header.client.unwrap_or_default();
    let is_fetcher = client.starts_with(b"broker-") && memchr::memmem::find(client, b"-fetcher-").is_some();
    is_fetcher || client.starts_with(b"raft-client-")
}

/// Adds the group, and the topic where the request is about one.
pub(super) fn add_group(request: &mut Request, header: &Header<'_>, body: &[u8], learned: &Learned) {
    let mut fields = Reader::new(body, header.is_flexible());
    let group = match header.key {
        api::TXN_OFFSET_COMMIT => fields.string().and_then(|_| fields.string()),
        api::OFFSET_FETCH if header.version >= 8 => fields.count().and_then(|_| fields.string()),
        api::OFFSET_COMMIT
        | api::OFFSET_FETCH
        | api::JOIN_GROUP
        | api::SYNC_GROUP
        | api::LEAVE_GROUP
        | api::HEARTBEAT
        | api::CONSUMER_GROUP_HEARTBEAT
        | api::SHARE_GROUP_HEARTBEAT
        | api::STREAMS_GROUP_HEARTBEAT
        | api::SHARE_FETCH
        | api::SHARE_ACKNOWLEDGE => fields.string(),
        _ => return,
    };
    if let Ok(Some(group)) = group {
        set(&mut request.attributes, semconv::MESSAGING_CONSUMER_GROUP_NAME, reader::text_of(group));
    }
    if let Ok(Some(topic)) = committed_topic(header, &mut fields) {
        name_topic(&mut request.name, &mut request.attributes, &topic, learned);
    }
}

/// Reads what follows the group in a commit. Returns the topic, where it is one.
fn committed_topic(header: &Header<'_>, fields: &mut Reader<'_>) -> Field<Option<Topic>> {
    let version = header.version;
    match header.key {
        api::OFFSET_COMMIT => {
            if version >= 1 {
                fields.int32()?;
                fields.string()?;
            }
            if version >= 7 {
                fields.string()?;
            }
            if (2..=4).contains(&version) {
                fields.int64()?;
            }
        }
        api::TXN_OFFSET_COMMIT => {
            fields.bytes(8 + 2)?;
            if version >= 3 {
                fields.int32()?;
                fields.string()?;
                fields.string()?;
            }
        }
        _ => return Ok(None),
    }
    match fields.count()? {
        1 => Topic::read(fields, header.key == api::OFFSET_COMMIT && version >= 10).map(Some),
        _ => Ok(None),
    }
}
