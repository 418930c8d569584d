//! What a response is told as.

use super::api::{self, Api, ErrorPlace};
use super::errors;
use super::findings::{Batch, Findings};
use super::outstanding::Outstanding;
use super::reader::{Field, Reader};
use super::request;
use super::topic::Topic;
use crate::protocol::{Keys, Learned, Name, Outcome, Received, Response, set};
use crate::semconv;

/// Errors of one response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Errors {
    /// The first one; 0 where there is none.
    first: i16,
    failed: u32,
    all: u32,
}

impl Errors {
    fn add(&mut self, error: i16) {
        self.all = self.all.saturating_add(1);
        if error != errors::NONE {
            self.failed = self.failed.saturating_add(1);
            self.first = if self.first == errors::NONE { error } else { self.first };
        }
    }

    fn outcome(self) -> Outcome {
        if self.first == errors::NONE {
            return Outcome::default();
        }
        Outcome {
            error_type: Some(errors::name(self.first).into_owned()),
            message: (self.all > 1).then(|| format!("{} of {} partitions failed", self.failed, self.all)),
            is_client_fault: false,
        }
    }
}

/// Returns the response to a request of which nothing but the error matters, and whether all of it that matters was
/// there.
pub(super) fn plain(asked: &Outstanding, body: &[u8]) -> (Response, bool) {
    let mut fields = Reader::new(body, asked.is_flexible());
    let mut found = Errors::default();
    let is_read =
        asked.version > asked.api.newest || find(asked.api, asked.version, &mut fields, &mut found).is_ok();
    if is_step(asked.key, found.first) {
        found = Errors::default();
    }
    let outcome = found.outcome();
    let is_known = asked.version <= asked.api.newest;
    let is_idle = is_known && outcome.error_type.is_none() && request::is_routine(asked.key);
    (Response { is_idle, outcome, ..Response::default() }, is_read)
}

/// Returns whether an error only tells what to do next.
fn is_step(key: i16, error: i16) -> bool {
    matches!(
        (key, error),
        (api::API_VERSIONS, errors::UNSUPPORTED_VERSION)
            | (api::JOIN_GROUP, errors::MEMBER_ID_REQUIRED)
            | (api::HEARTBEAT, errors::REBALANCE_IN_PROGRESS)
    )
}

fn find(api: &Api, version: i16, fields: &mut Reader<'_>, found: &mut Errors) -> Field<()> {
    let throttle = |fields: &mut Reader<'_>, since: i16| {
        if version >= since { fields.int32().map(drop) } else { Ok(()) }
    };
    match api.error {
        ErrorPlace::Unknown => {}
        ErrorPlace::First => found.add(fields.int16()?),
        ErrorPlace::Throttled(since) => {
            throttle(fields, since)?;
            found.add(fields.int16()?);
        }
        ErrorPlace::Named { throttle: since, id } => {
            throttle(fields, since)?;
            if fields.count()? > 0 {
                fields.string()?;
                if version >= id {
                    fields.uuid()?;
                }
                found.add(fields.int16()?);
            }
        }
        ErrorPlace::Elements(since) => {
            throttle(fields, since)?;
            if fields.count()? > 0 {
                found.add(fields.int16()?);
            }
        }
        ErrorPlace::Partitions { throttle: since, id } => {
            throttle(fields, since)?;
            partitions(fields, version >= id, 0, found)?;
        }
        ErrorPlace::PartitionsOrThrottled(since) => {
            throttle(fields, 0)?;
            match version >= since {
                true => found.add(fields.int16()?),
                false => partitions(fields, false, 0, found)?,
            }
        }
        ErrorPlace::Offsets if version >= 1 => {
            throttle(fields, 2)?;
            partitions(fields, false, if version >= 4 { 20 } else { 16 }, found)?;
        }
        ErrorPlace::Offsets => {}
        ErrorPlace::Coordinators => {
            throttle(fields, 1)?;
            coordinators(version, fields, found)?;
        }
    }
    Ok(())
}

/// Reads an error for each partition, and `tail` bytes behind each.
fn partitions(fields: &mut Reader<'_>, has_id: bool, tail: usize, found: &mut Errors) -> Field<()> {
    for _ in 0..fields.count()? {
        Topic::skip(fields, has_id)?;
        for _ in 0..fields.count()? {
            fields.int32()?;
            found.add(fields.int16()?);
            fields.bytes(tail)?;
            fields.tags()?;
        }
        fields.tags()?;
    }
    Ok(())
}

fn coordinators(version: i16, fields: &mut Reader<'_>, found: &mut Errors) -> Field<()> {
    if version < 4 {
        found.add(fields.int16()?);
        return Ok(());
    }
    for _ in 0..fields.count()? {
        fields.string()?;
        fields.int32()?;
        fields.string()?;
        fields.int32()?;
        found.add(fields.int16()?);
        fields.string()?;
        fields.tags()?;
    }
    Ok(())
}

/// Returns the response to a Produce request, and whether all of it was there.
pub(super) fn produced(asked: &Outstanding, body: &[u8], learned: &Learned) -> (Response, bool) {
    let mut fields = Reader::new(body, asked.is_flexible());
    let mut response = Response::default();
    let mut found = Errors::default();
    let is_read = asked.version > asked.api.newest
        || read_written(asked, &mut fields, &mut response, &mut found, learned).is_ok();
    response.outcome = found.outcome();
    request::add_count(&mut response.attributes, &asked.sent);
    (response, is_read)
}

fn read_written(
    asked: &Outstanding,
    fields: &mut Reader<'_>,
    response: &mut Response,
    found: &mut Errors,
    learned: &Learned,
) -> Field<()> {
    for _ in 0..fields.count()? {
        let topic = Topic::read(fields, asked.version >= 13)?;
        for _ in 0..fields.count()? {
            let written = written(asked.version, fields)?;
            found.add(written.error);
            if written.error == errors::NONE && written.base_offset >= 0 {
                note_written(asked, &topic, &written, response, learned);
            }
        }
        fields.tags()?;
    }
    Ok(())
}

fn note_written(
    asked: &Outstanding,
    topic: &Topic,
    written: &Written,
    response: &mut Response,
    learned: &Learned,
) {
    let is_it = |batch: &&Batch| batch.partition == written.partition && batch.topic == *topic;
    let batch = asked.sent.batches.iter().find(is_it);
    if let Some(key) = batch.and_then(|batch| batch.message_key(written.base_offset, learned)) {
        response.sent.add(key);
    }
    if asked.sent.count() == Some(1) {
        set(&mut response.attributes, semconv::MESSAGING_KAFKA_OFFSET, written.base_offset);
    }
}

/// Where a batch was written.
struct Written {
    partition: i32,
    error: i16,
    base_offset: i64,
}

fn written(version: i16, fields: &mut Reader<'_>) -> Field<Written> {
    let written =
        Written { partition: fields.int32()?, error: fields.int16()?, base_offset: fields.int64()? };
    if version >= 2 {
        fields.int64()?;
    }
    if version >= 5 {
        fields.int64()?;
    }
    if version >= 8 {
        for _ in 0..fields.count()? {
            fields.int32()?;
            fields.string()?;
            fields.tags()?;
        }
        fields.string()?;
    }
    fields.tags()?;
    Ok(written)
}

/// Returns the response that brought these messages.
pub(super) fn fetched(found: &mut Findings, is_replica: bool, learned: &Learned) -> Response {
    let errors = Errors { first: found.error, failed: found.failed_partitions, all: found.partitions.max(1) };
    let outcome = errors.outcome();
    let mut response = Response { outcome, ..Response::default() };
    response.is_idle = response.outcome.error_type.is_none() && (!found.is_filled() || is_replica);
    if !found.is_filled() {
        return response;
    }
    let mut keys = Keys::default();
    for batch in &found.batches {
        // Without a name nobody can tell whom it is from.
        batch.message_key(batch.base_offset, learned).into_iter().for_each(|key| keys.add(key));
    }
    keys.leave_out(found.batches_left_out);
    if let Some(topic) = found.filled_topic.one() {
        let mut name = Name { verb: "poll".into(), path: None };
        request::name_topic(&mut name, &mut response.attributes, topic, learned);
        response.name = Some(name);
        if let Some(partition) = found.filled_partition.one() {
            set(&mut response.attributes, semconv::MESSAGING_DESTINATION_PARTITION_ID, partition.to_string());
        }
    }
    if let (Some(1), Some(batch)) = (found.count(), found.batches.first()) {
        set(&mut response.attributes, semconv::MESSAGING_KAFKA_OFFSET, batch.base_offset);
    }
    request::add_count(&mut response.attributes, found);
    let contexts = std::mem::take(&mut found.contexts);
    response.received = Some(Box::new(Received { keys, is_certain: true, contexts, ..Received::default() }));
    response
}

/// Learns the names of topics from a Metadata response, as far as it was seen.
pub(super) fn learn_topics(asked: &Outstanding, body: &[u8], learned: &Learned) {
    let mut fields = Reader::new(body, asked.is_flexible());
    let _ = match (asked.key, asked.version) {
        (api::METADATA, 10..=13) => described(&mut fields, learned),
        (api::CREATE_TOPICS, 7) => created(&mut fields, learned),
        _ => Ok(()),
    };
}

fn described(fields: &mut Reader<'_>, learned: &Learned) -> Field<()> {
    fields.int32()?;
    for _ in 0..fields.count()? {
        fields.int32()?;
        fields.string()?;
        fields.int32()?;
        fields.string()?;
        fields.tags()?;
    }
    fields.string()?;
    fields.int32()?;
    for _ in 0..fields.count()? {
        fields.int16()?;
        let name = fields.string()?;
        let id = fields.uuid()?;
        if let Some(name) = name {
            learned.lock().kafka_topics.learn(id, name);
        }
        fields.int8()?;
        for _ in 0..fields.count()? {
            fields.bytes(2 + 4 + 4 + 4)?;
            for _ in 0..3 {
                let nodes = usize::try_from(fields.count()?).unwrap_or(usize::MAX);
                fields.bytes(nodes.saturating_mul(4))?;
            }
            fields.tags()?;
        }
        fields.int32()?;
        fields.tags()?;
    }
    Ok(())
}

fn created(fields: &mut Reader<'_>, learned: &Learned) -> Field<()> {
    fields.int32()?;
    if fields.count()? > 0 {
        let name = fields.string()?;
        let id = fields.uuid()?;
        if let Some(name) = name {
            learned.lock().kafka_topics.learn(id, name);
        }
    }
    Ok(())
}
