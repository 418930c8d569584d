//! Whether bytes are Kafka's.
//!
//! A request says its length, a small key, a small version and who asks; what follows must fit too. Responses say
//! nothing but a number, so that they are claimed by nobody.

use super::api;
use super::header::Header;
use super::reader::{Failure, Field, Reader};
use crate::protocol::{Detection, Side};

/// Longest request that is believed to be one at first sight (`socket.request.max.bytes`).
const MAX_BYTES: u64 = 100 << 20;
/// Longest request that is told by its header alone.
const MAX_OTHER_BYTES: u64 = 1 << 20;
/// Bytes of a Metadata request for all topics or none, without its header.
const MAX_ALL_TOPICS_BYTES: usize = 8;
/// Longest name of a topic (249) or a mechanism, with room to spare.
const MAX_NAME_BYTES: usize = 255;
/// Highest number of a broker that is believed.
const MAX_BROKER: i32 = 1 << 20;
/// Most topics that one request names.
const MAX_TOPICS: u32 = 100_000;

/// Returns whether `bytes` begin with a request.
pub(super) fn detect(bytes: &[u8]) -> Detection {
    if bytes.first_chunk().is_some_and(|length| u64::from(u32::from_be_bytes(*length)) > MAX_BYTES) {
        return Detection::No;
    }
    match Header::read(bytes).and_then(|header| check(&header, bytes)) {
        Ok(()) => Detection::Yes(Side::Client),
        Err(Failure::Short) => Detection::Unsure,
        Err(Failure::Wrong) => Detection::No,
    }
}

fn ensure(is_right: bool) -> Field<()> {
    if is_right { Ok(()) } else { Err(Failure::Wrong) }
}

fn check(header: &Header<'_>, bytes: &[u8]) -> Field<()> {
    // Clients ask for versions in the newest version that they know.
    let is_version = header.is_known() || header.key == api::API_VERSIONS;
    ensure(header.correlation >= 0 && is_version)?;
    let end = usize::try_from(header.frame).unwrap_or(usize::MAX);
    let is_whole = bytes.len() >= end;
    let body = bytes.get(header.length..end.min(bytes.len())).unwrap_or_default();
    let mut reader = Reader::new(body, header.is_flexible());
    match fits(header, &mut reader) {
        // The request ends before it could.
        Err(Failure::Short) if is_whole => Err(Failure::Wrong),
        other => other,
    }
}

/// Checks the beginning of the requests with which connections begin, and of those that are most frequent.
fn fits(header: &Header<'_>, reader: &mut Reader<'_>) -> Field<()> {
    let version = header.version;
    let is_short = header.frame <= (header.length + MAX_ALL_TOPICS_BYTES) as u64;
    match header.key {
        api::PRODUCE => {
            if version >= 3 {
                reader.string()?;
            }
            ensure((-1..=1).contains(&reader.int16()?))?;
            ensure(reader.int32()? >= 0)?;
            ensure((1..=MAX_TOPICS).contains(&reader.count()?))?;
            if version < 13 { topic(reader) } else { Ok(()) }
        }
        api::FETCH => {
            if version < 15 {
                ensure(reader.int32()? >= -2)?;
            }
            ensure(reader.int32()? >= 0 && reader.int32()? >= 0)?;
            if version >= 3 {
                ensure(reader.int32()? >= 0)?;
            }
            if version >= 4 {
                ensure((0..=1).contains(&reader.int8()?))?;
            }
            if version >= 7 {
                ensure(reader.int32()? >= 0 && reader.int32()? >= -1)?;
            }
            let topics = reader.count()?;
            ensure(topics <= MAX_TOPICS && (topics > 0 || version >= 7))?;
            if topics > 0 && version < 13 { topic(reader) } else { Ok(()) }
        }
        api::METADATA => {
            let topics = reader.count()?;
            ensure(topics <= MAX_TOPICS && (topics > 0 || is_short && has_client(header)))?;
            if topics > 0 && version < 10 { topic(reader) } else { Ok(()) }
        }
        api::API_VERSIONS if version >= 3 => {
            let name = reader.string()?.ok_or(Failure::Wrong)?;
            let number = reader.string()?.ok_or(Failure::Wrong)?;
            ensure(is_text(name) && is_text(number))?;
            if !header.is_known() {
                return Ok(());
            }
            reader.tags()?;
            ensure(reader.rest().is_empty())
        }
        api::API_VERSIONS => ensure(header.frame == header.length as u64),
        api::SASL_HANDSHAKE => {
            let mechanism = reader.string()?.ok_or(Failure::Wrong)?;
            ensure(is_text(mechanism) && reader.rest().is_empty())
        }
        api::LIST_OFFSETS => ensure((-2..=MAX_BROKER).contains(&reader.int32()?) && has_client(header)),
        api::LEADER_AND_ISR..=api::CONTROLLED_SHUTDOWN => Err(Failure::Wrong),
        // Nothing more is known of it than who asks.
        _ => ensure(has_client(header) && header.frame <= MAX_OTHER_BYTES),
    }
}

fn has_client(header: &Header<'_>) -> bool {
    header.client.is_some_and(|client| !client.is_empty())
}

fn topic(reader: &mut Reader<'_>) -> Field<()> {
    let name = reader.string()?.ok_or(Failure::Wrong)?;
    let is_legal = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    ensure((1..=MAX_NAME_BYTES).contains(&name.len()) && name.iter().all(is_legal))
}

fn is_text(name: &[u8]) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}
