//! Values ↔ bytes for what is not a column: residual attributes, events, links, resources, scopes.
//!
//! Numbers are LEB128 varints, texts and lists are prefixed by their length, a value begins with its [`Tag`].

use std::sync::Arc;

use crate::model::{AnyValue, Event, KeyValue, Link, Resource, Scope};

/// Nested values, at most; `receive` refuses deeper ones, so more is damage.
const MAX_DEPTH: usize = 64;

/// The bytes are not what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("values are damaged")]
pub(crate) struct Damaged;

/// Type of a value, in its first byte and in shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Tag {
    Empty,
    String,
    False,
    True,
    Int,
    Double,
    Bytes,
    Array,
    Map,
}

impl Tag {
    fn from_byte(byte: u8) -> Result<Self, Damaged> {
        const TAGS: [Tag; 9] = [
            Tag::Empty,
            Tag::String,
            Tag::False,
            Tag::True,
            Tag::Int,
            Tag::Double,
            Tag::Bytes,
            Tag::Array,
            Tag::Map,
        ];
        TAGS.get(usize::from(byte)).copied().ok_or(Damaged)
    }
}

/// Appends a number.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a number that may be negative, small ones short.
pub(crate) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Appends bytes and their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a value.
pub(crate) fn put_value(out: &mut Vec<u8>, value: &AnyValue) {
    match value {
        AnyValue::Empty => out.push(Tag::Empty as u8),
        AnyValue::String(text) => {
            out.push(Tag::String as u8);
            put_bytes(out, text.as_bytes());
        }
        AnyValue::Bool(false) => out.push(Tag::False as u8),
        AnyValue::Bool(true) => out.push(Tag::True as u8),
        AnyValue::Int(number) => {
            out.push(Tag::Int as u8);
            put_signed(out, *number);
        }
        AnyValue::Double(number) => {
            out.push(Tag::Double as u8);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        AnyValue::Bytes(bytes) => {
            out.push(Tag::Bytes as u8);
            put_bytes(out, bytes);
        }
        AnyValue::Array(values) => {
            out.push(Tag::Array as u8);
            put_varint(out, values.len() as u64);
            values.iter().for_each(|value| put_value(out, value));
        }
        AnyValue::Map(pairs) => {
            out.push(Tag::Map as u8);
            put_attributes(out, pairs);
        }
    }
}

/// Appends attributes.
pub(crate) fn put_attributes(out: &mut Vec<u8>, attributes: &[KeyValue]) {
    put_varint(out, attributes.len() as u64);
    for attribute in attributes {
        put_bytes(out, attribute.key.as_bytes());
        put_value(out, &attribute.value);
    }
}

/// Appends a span's events.
pub(crate) fn put_events(out: &mut Vec<u8>, events: &[Event]) {
    put_varint(out, events.len() as u64);
    for event in events {
        put_varint(out, event.time_unix_ns);
        put_bytes(out, event.name.as_bytes());
        put_attributes(out, &event.attributes);
        put_varint(out, event.dropped_attributes_count.into());
    }
}

/// Appends a span's links.
pub(crate) fn put_links(out: &mut Vec<u8>, links: &[Link]) {
    put_varint(out, links.len() as u64);
    for link in links {
        put_bytes(out, &link.trace_id);
        put_bytes(out, &link.span_id);
        put_bytes(out, link.trace_state.as_bytes());
        put_attributes(out, &link.attributes);
        put_varint(out, link.dropped_attributes_count.into());
        put_varint(out, link.flags.into());
    }
}

/// Appends a resource.
pub(crate) fn put_resource(out: &mut Vec<u8>, resource: &Resource) {
    put_attributes(out, &resource.attributes);
    put_varint(out, resource.dropped_attributes_count.into());
    put_bytes(out, resource.schema_url.as_bytes());
}

/// Appends a scope.
pub(crate) fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    put_bytes(out, scope.name.as_bytes());
    put_bytes(out, scope.version.as_bytes());
    put_attributes(out, &scope.attributes);
    put_varint(out, scope.dropped_attributes_count.into());
    put_bytes(out, scope.schema_url.as_bytes());
}

/// Reads what the `put_*` functions wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Damaged)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        self.take(N)?.try_into().map_err(|_| Damaged)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Damaged> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damaged> {
        self.varint()?.try_into().map_err(|_| Damaged)
    }

    pub(crate) fn signed(&mut self) -> Result<i64, Damaged> {
        let number = self.varint()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// Returns the number of items in a list: never more than the bytes that are left, since each takes one.
    pub(crate) fn count(&mut self) -> Result<usize, Damaged> {
        let count = usize::try_from(self.varint()?).map_err(|_| Damaged)?;
        if count > self.rest.len() { Err(Damaged) } else { Ok(count) }
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.count()?;
        self.take(length)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damaged)
    }

    pub(crate) fn value(&mut self) -> Result<AnyValue, Damaged> {
        self.value_at(0)
    }

    pub(crate) fn attributes(&mut self) -> Result<Vec<KeyValue>, Damaged> {
        self.attributes_at(0)
    }

    pub(crate) fn events(&mut self) -> Result<Vec<Event>, Damaged> {
        let count = self.count()?;
        (0..count)
            .map(|_| {
                Ok(Event {
                    time_unix_ns: self.varint()?,
                    name: self.text()?.to_owned(),
                    attributes: self.attributes()?,
                    dropped_attributes_count: self.u32()?,
                })
            })
            .collect()
    }

    pub(crate) fn links(&mut self) -> Result<Vec<Link>, Damaged> {
        let count = self.count()?;
        (0..count)
            .map(|_| {
                Ok(Link {
                    trace_id: self.bytes()?.to_owned(),
                    span_id: self.bytes()?.to_owned(),
                    trace_state: self.text()?.to_owned(),
                    attributes: self.attributes()?,
                    dropped_attributes_count: self.u32()?,
                    flags: self.u32()?,
                })
            })
            .collect()
    }

    pub(crate) fn resource(&mut self) -> Result<Resource, Damaged> {
        Ok(Resource {
            attributes: self.attributes()?,
            dropped_attributes_count: self.u32()?,
            schema_url: self.text()?.to_owned(),
        })
    }

    pub(crate) fn scope(&mut self) -> Result<Scope, Damaged> {
        Ok(Scope {
            name: self.text()?.to_owned(),
            version: self.text()?.to_owned(),
            attributes: self.attributes()?,
            dropped_attributes_count: self.u32()?,
            schema_url: self.text()?.to_owned(),
        })
    }

    fn attributes_at(&mut self, depth: usize) -> Result<Vec<KeyValue>, Damaged> {
        let count = self.count()?;
        (0..count)
            .map(|_| {
                let key: Arc<str> = self.text()?.into();
                Ok(KeyValue { key, value: self.value_at(depth)? })
            })
            .collect()
    }

    fn value_at(&mut self, depth: usize) -> Result<AnyValue, Damaged> {
        if depth > MAX_DEPTH {
            return Err(Damaged);
        }
        let [tag] = self.array()?;
        Ok(match Tag::from_byte(tag)? {
            Tag::Empty => AnyValue::Empty,
            Tag::String => AnyValue::String(self.text()?.to_owned()),
            Tag::False => AnyValue::Bool(false),
            Tag::True => AnyValue::Bool(true),
            Tag::Int => AnyValue::Int(self.signed()?),
            Tag::Double => AnyValue::Double(f64::from_bits(u64::from_le_bytes(self.array()?))),
            Tag::Bytes => AnyValue::Bytes(self.bytes()?.to_owned()),
            Tag::Array => {
                let count = self.count()?;
                AnyValue::Array((0..count).map(|_| self.value_at(depth + 1)).collect::<Result<_, _>>()?)
            }
            Tag::Map => AnyValue::Map(self.attributes_at(depth + 1)?),
        })
    }
}
