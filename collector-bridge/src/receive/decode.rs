//! OTLP `ExportTraceServiceRequest` (opentelemetry-proto 1.x, `trace.proto`) → spans, straight from the bytes.
//!
//! Texts that repeat (names, attribute keys) are shared within a request: owned copies of everything would cost
//! more than all the rest of the way to the disk.

use std::collections::HashMap;
use std::sync::Arc;

use super::wire::{Message, WireError};
use crate::model::{
    AnyValue, Event, KeyValue, Link, Resource, Scope, Span, SpanId, SpanKind, Status, StatusCode, TraceId,
};

/// Arrays and maps inside of values inside of values, at most; deeper requests are refused.
const MAX_DEPTH: usize = 32;

/// What a request holds.
#[derive(Debug, Default, PartialEq)]
pub struct Decoded {
    /// Its valid spans.
    pub spans: Vec<Span>,
    /// Spans with ids that the specification forbids.
    pub rejected_spans: u64,
    /// Why the first of them was rejected.
    pub first_rejection: Option<&'static str>,
}

/// Returns the spans of an OTLP protobuf request.
///
/// # Errors
/// If the bytes are no such message; a span with invalid ids is no error but counted.
pub fn decode(request: &[u8]) -> Result<Decoded, WireError> {
    let mut decoder = Decoder::default();
    let mut message = Message::new(request);
    while let Some(field) = message.next_field()? {
        if field.number == 1 {
            decoder.resource_spans(field.bytes()?)?;
        }
    }
    Ok(decoder.decoded)
}

#[derive(Default)]
struct Decoder<'a> {
    decoded: Decoded,
    texts: HashMap<&'a str, Arc<str>>,
}

impl<'a> Decoder<'a> {
    fn resource_spans(&mut self, bytes: &'a [u8]) -> Result<(), WireError> {
        let mut resource = Resource::default();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => self.resource(field.bytes()?, &mut resource)?,
                3 => resource.schema_url = field.text()?.to_owned(),
                _ => {}
            }
        }
        let resource = Arc::new(resource);
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            if field.number == 2 {
                self.scope_spans(field.bytes()?, &resource)?;
            }
        }
        Ok(())
    }

    fn resource(&mut self, bytes: &'a [u8], resource: &mut Resource) -> Result<(), WireError> {
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => resource.attributes.push(self.attribute(field.bytes()?, 0)?),
                2 => resource.dropped_attributes_count = field.uint32()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, bytes: &'a [u8], resource: &Arc<Resource>) -> Result<(), WireError> {
        let mut scope = Scope::default();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => self.scope(field.bytes()?, &mut scope)?,
                3 => scope.schema_url = field.text()?.to_owned(),
                _ => {}
            }
        }
        let scope = Arc::new(scope);
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            if field.number != 2 {
                continue;
            }
            match self.span(field.bytes()?, resource, &scope)? {
                Ok(span) => self.decoded.spans.push(span),
                Err(reason) => {
                    self.decoded.rejected_spans += 1;
                    self.decoded.first_rejection.get_or_insert(reason);
                }
            }
        }
        Ok(())
    }

    fn scope(&mut self, bytes: &'a [u8], scope: &mut Scope) -> Result<(), WireError> {
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => scope.name = field.text()?.to_owned(),
                2 => scope.version = field.text()?.to_owned(),
                3 => scope.attributes.push(self.attribute(field.bytes()?, 0)?),
                4 => scope.dropped_attributes_count = field.uint32()?,
                _ => {}
            }
        }
        Ok(())
    }

    fn span(
        &mut self,
        bytes: &'a [u8],
        resource: &Arc<Resource>,
        scope: &Arc<Scope>,
    ) -> Result<Result<Span, &'static str>, WireError> {
        let (mut trace_id, mut span_id, mut parent_id, mut name): (&[u8], &[u8], &[u8], &str) =
            Default::default();
        let mut span = Span {
            trace_id: TraceId([0; 16]),
            span_id: SpanId([0; 8]),
            parent_span_id: None,
            trace_state: String::new(),
            flags: 0,
            name: Arc::default(),
            kind: SpanKind::Unspecified,
            start_unix_ns: 0,
            end_unix_ns: 0,
            attributes: Vec::new(),
            status: Status::default(),
            events: Vec::new(),
            links: Vec::new(),
            resource: Arc::clone(resource),
            scope: Arc::clone(scope),
            dropped_attributes_count: 0,
            dropped_events_count: 0,
            dropped_links_count: 0,
        };
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => trace_id = field.bytes()?,
                2 => span_id = field.bytes()?,
                3 => span.trace_state = field.text()?.to_owned(),
                4 => parent_id = field.bytes()?,
                5 => name = field.text()?,
                6 => span.kind = SpanKind::from_otlp(field.int32()?),
                7 => span.start_unix_ns = field.fixed64()?,
                8 => span.end_unix_ns = field.fixed64()?,
                9 => {
                    if span.attributes.is_empty() {
                        span.attributes.reserve_exact(8);
                    }
                    span.attributes.push(self.attribute(field.bytes()?, 0)?);
                }
                10 => span.dropped_attributes_count = field.uint32()?,
                11 => span.events.push(self.event(field.bytes()?)?),
                12 => span.dropped_events_count = field.uint32()?,
                13 => span.links.push(self.link(field.bytes()?)?),
                14 => span.dropped_links_count = field.uint32()?,
                15 => span.status = status(field.bytes()?)?,
                16 => span.flags = field.fixed32()?,
                _ => {}
            }
        }
        span.name = self.shared(name);
        Ok(with_ids(span, trace_id, span_id, parent_id))
    }

    fn event(&mut self, bytes: &'a [u8]) -> Result<Event, WireError> {
        let mut event = Event {
            time_unix_ns: 0,
            name: String::new(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
        };
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => event.time_unix_ns = field.fixed64()?,
                2 => event.name = field.text()?.to_owned(),
                3 => event.attributes.push(self.attribute(field.bytes()?, 0)?),
                4 => event.dropped_attributes_count = field.uint32()?,
                _ => {}
            }
        }
        Ok(event)
    }

    fn link(&mut self, bytes: &'a [u8]) -> Result<Link, WireError> {
        let mut link = Link {
            trace_id: Vec::new(),
            span_id: Vec::new(),
            trace_state: String::new(),
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            flags: 0,
        };
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => link.trace_id = field.bytes()?.to_owned(),
                2 => link.span_id = field.bytes()?.to_owned(),
                3 => link.trace_state = field.text()?.to_owned(),
                4 => link.attributes.push(self.attribute(field.bytes()?, 0)?),
                5 => link.dropped_attributes_count = field.uint32()?,
                6 => link.flags = field.fixed32()?,
                _ => {}
            }
        }
        Ok(link)
    }

    fn attribute(&mut self, bytes: &'a [u8], depth: usize) -> Result<KeyValue, WireError> {
        let mut key = "";
        let mut value = AnyValue::Empty;
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            match field.number {
                1 => key = field.text()?,
                2 => value = self.value(field.bytes()?, depth)?,
                _ => {}
            }
        }
        Ok(KeyValue { key: self.shared(key), value })
    }

    fn value(&mut self, bytes: &'a [u8], depth: usize) -> Result<AnyValue, WireError> {
        if depth >= MAX_DEPTH {
            return Err(WireError::Depth(MAX_DEPTH));
        }
        let mut value = AnyValue::Empty;
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            value = match field.number {
                1 => AnyValue::String(field.text()?.to_owned()),
                2 => AnyValue::Bool(field.varint()? != 0),
                3 => AnyValue::Int(field.varint()? as i64),
                4 => AnyValue::Double(f64::from_bits(field.fixed64()?)),
                5 => AnyValue::Array(self.array(field.bytes()?, depth + 1)?),
                6 => AnyValue::Map(self.map(field.bytes()?, depth + 1)?),
                7 => AnyValue::Bytes(field.bytes()?.to_owned()),
                _ => continue,
            };
        }
        Ok(value)
    }

    fn array(&mut self, bytes: &'a [u8], depth: usize) -> Result<Vec<AnyValue>, WireError> {
        let mut values = Vec::new();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            if field.number == 1 {
                values.push(self.value(field.bytes()?, depth)?);
            }
        }
        Ok(values)
    }

    fn map(&mut self, bytes: &'a [u8], depth: usize) -> Result<Vec<KeyValue>, WireError> {
        let mut pairs = Vec::new();
        let mut message = Message::new(bytes);
        while let Some(field) = message.next_field()? {
            if field.number == 1 {
                pairs.push(self.attribute(field.bytes()?, depth)?);
            }
        }
        Ok(pairs)
    }

    fn shared(&mut self, text: &'a str) -> Arc<str> {
        Arc::clone(self.texts.entry(text).or_insert_with(|| text.into()))
    }
}

fn status(bytes: &[u8]) -> Result<Status, WireError> {
    let mut status = Status::default();
    let mut message = Message::new(bytes);
    while let Some(field) = message.next_field()? {
        match field.number {
            2 => status.message = field.text()?.to_owned(),
            3 => status.code = StatusCode::from_otlp(field.int32()?),
            _ => {}
        }
    }
    Ok(status)
}

fn with_ids(mut span: Span, trace_id: &[u8], span_id: &[u8], parent_id: &[u8]) -> Result<Span, &'static str> {
    span.trace_id = TraceId::from_bytes(trace_id).ok_or("trace_id is not 16 bytes, or all zero")?;
    span.span_id = SpanId::from_bytes(span_id).ok_or("span_id is not 8 bytes, or all zero")?;
    if !matches!(parent_id.len(), 0 | 8) {
        return Err("parent_span_id is not 8 bytes");
    }
    span.parent_span_id = SpanId::from_bytes(parent_id);
    Ok(span)
}

#[cfg(test)]
mod tests;
