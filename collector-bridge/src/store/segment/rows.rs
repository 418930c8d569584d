//! Spans ↔ Arrow batches: the columns of a segment, in one place for both ways.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, FixedSizeBinaryBuilder, Float64Builder, Int64Builder, StringBuilder,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow_schema::ArrowError;
use arrow_schema::{DataType, Field, Schema, SchemaRef};

use super::dictionary::{Column, ColumnKind, Dictionary, Numbers};
use crate::model::{AnyValue, KeyValue, Span, SpanId, SpanKind, Status, StatusCode, TraceId};
use crate::store::codec::{Damaged, Reader, put_events, put_links, put_value, put_varint};

/// Index of each fixed column; attribute columns follow.
pub(super) mod column {
    pub(in crate::store) const TRACE_ID: usize = 0;
    pub(in crate::store) const SPAN_ID: usize = 1;
    pub(in crate::store) const PARENT_SPAN_ID: usize = 2;
    pub(in crate::store) const START: usize = 3;
    pub(in crate::store) const DURATION: usize = 4;
    pub(in crate::store) const NAME: usize = 5;
    pub(in crate::store) const KIND: usize = 6;
    pub(in crate::store) const STATUS: usize = 7;
    pub(in crate::store) const STATUS_MESSAGE: usize = 8;
    pub(in crate::store) const TRACE_STATE: usize = 9;
    pub(in crate::store) const FLAGS: usize = 10;
    pub(in crate::store) const RESOURCE: usize = 11;
    pub(in crate::store) const SCOPE: usize = 12;
    pub(in crate::store) const SHAPE: usize = 13;
    pub(in crate::store) const RESIDUAL: usize = 14;
    pub(in crate::store) const EVENTS: usize = 15;
    pub(in crate::store) const LINKS: usize = 16;
    pub(in crate::store) const DROPPED: usize = 17;
    pub(in crate::store) const FIRST_ATTRIBUTE: usize = 18;
}

/// Returns the schema of a segment with these attribute columns.
pub(super) fn schema(columns: &[Column]) -> SchemaRef {
    let required = |name: &str, kind| Field::new(name, kind, false);
    let optional = |name: &str, kind| Field::new(name, kind, true);
    let mut fields = vec![
        required("trace_id", DataType::FixedSizeBinary(16)),
        required("span_id", DataType::FixedSizeBinary(8)),
        optional("parent_span_id", DataType::FixedSizeBinary(8)),
        required("start_unix_ns", DataType::UInt64),
        required("duration_ns", DataType::Int64),
        required("name", DataType::Utf8),
        required("kind", DataType::Int32),
        required("status", DataType::Int32),
        optional("status_message", DataType::Utf8),
        optional("trace_state", DataType::Utf8),
        required("flags", DataType::UInt32),
        required("resource", DataType::UInt32),
        required("scope", DataType::UInt32),
        required("shape", DataType::UInt32),
        optional("residual", DataType::Binary),
        optional("events", DataType::Binary),
        optional("links", DataType::Binary),
        optional("dropped", DataType::Binary),
    ];
    for column in columns {
        let kind = match column.kind {
            ColumnKind::String => DataType::Utf8,
            ColumnKind::Bool => DataType::Boolean,
            ColumnKind::Int => DataType::Int64,
            ColumnKind::Double => DataType::Float64,
        };
        fields.push(optional(&column.name(), kind));
    }
    Arc::new(Schema::new(fields))
}

/// Returns spans as a batch.
pub(super) fn encode(
    schema: &SchemaRef,
    dictionary: &Dictionary,
    spans: &[&Span],
    numbers: &[Numbers],
) -> Result<RecordBatch, ArrowError> {
    let each = spans.iter();
    let mut arrays: Vec<ArrayRef> = vec![
        fixed(16, each.clone().map(|span| Some(span.trace_id.0)))?,
        fixed(8, each.clone().map(|span| Some(span.span_id.0)))?,
        fixed(8, each.clone().map(|span| span.parent_span_id.map(|parent| parent.0)))?,
        Arc::new(UInt64Array::from_iter_values(each.clone().map(|span| span.start_unix_ns))),
        Arc::new(Int64Array::from_iter_values(each.clone().map(|span| wrapped_duration(span)))),
        Arc::new(StringArray::from_iter_values(each.clone().map(|span| &*span.name))),
        Arc::new(Int32Array::from_iter_values(each.clone().map(|span| span.kind.to_otlp()))),
        Arc::new(Int32Array::from_iter_values(each.clone().map(|span| span.status.code.to_otlp()))),
        Arc::new(each.clone().map(|span| unless_empty(&span.status.message)).collect::<StringArray>()),
        Arc::new(each.clone().map(|span| unless_empty(&span.trace_state)).collect::<StringArray>()),
        Arc::new(UInt32Array::from_iter_values(each.clone().map(|span| span.flags))),
        Arc::new(UInt32Array::from_iter_values(numbers.iter().map(|numbers| numbers.resource))),
        Arc::new(UInt32Array::from_iter_values(numbers.iter().map(|numbers| numbers.scope))),
        Arc::new(UInt32Array::from_iter_values(numbers.iter().map(|numbers| numbers.shape))),
        residuals(dictionary, spans, numbers),
        blobs(each.clone().map(|span| !span.events.is_empty()), spans, |span, out| {
            put_events(out, &span.events)
        }),
        blobs(each.clone().map(|span| !span.links.is_empty()), spans, |span, out| {
            put_links(out, &span.links)
        }),
        blobs(each.map(|span| dropped(span) != [0; 3]), spans, |span, out| {
            dropped(span).into_iter().for_each(|count| put_varint(out, count.into()));
        }),
    ];
    for (index, column) in dictionary.columns.iter().enumerate() {
        arrays.push(attribute_column(index, column.kind, dictionary, spans, numbers));
    }
    RecordBatch::try_new(Arc::clone(schema), arrays)
}

/// Returns the difference of end and start so that adding it to the start, wrapping, gives the end: also for ends
/// before starts.
fn wrapped_duration(span: &Span) -> i64 {
    span.end_unix_ns.wrapping_sub(span.start_unix_ns) as i64
}

fn unless_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn dropped(span: &Span) -> [u32; 3] {
    [span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count]
}

fn fixed<const N: usize>(
    size: i32,
    values: impl Iterator<Item = Option<[u8; N]>>,
) -> Result<ArrayRef, ArrowError> {
    let mut builder = FixedSizeBinaryBuilder::with_capacity(values.size_hint().0, size);
    for value in values {
        match value {
            Some(value) => builder.append_value(value)?,
            None => builder.append_null(),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn blobs(
    is_there: impl Iterator<Item = bool>,
    spans: &[&Span],
    put: impl Fn(&Span, &mut Vec<u8>),
) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for (is_there, span) in is_there.zip(spans) {
        bytes.clear();
        if is_there {
            put(span, &mut bytes);
        }
        builder.append_option(is_there.then_some(&bytes));
    }
    Arc::new(builder.finish())
}

fn residuals(dictionary: &Dictionary, spans: &[&Span], numbers: &[Numbers]) -> ArrayRef {
    let mut builder = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for (span, numbers) in spans.iter().zip(numbers) {
        bytes.clear();
        let shape = dictionary.shapes.get(numbers.shape as usize).map_or(&[][..], Vec::as_slice);
        for (item, attribute) in shape.iter().zip(&span.attributes) {
            if item.column.is_none() {
                put_value(&mut bytes, &attribute.value);
            }
        }
        builder.append_option((!bytes.is_empty()).then_some(&bytes));
    }
    Arc::new(builder.finish())
}

fn attribute_column(
    index: usize,
    kind: ColumnKind,
    dictionary: &Dictionary,
    spans: &[&Span],
    numbers: &[Numbers],
) -> ArrayRef {
    let position_in =
        |shape: &Vec<super::dictionary::ShapeItem>| shape.iter().position(|item| item.column == Some(index));
    let positions: Vec<Option<usize>> = dictionary.shapes.iter().map(position_in).collect();
    let values = spans.iter().zip(numbers).map(|(span, numbers)| {
        let position = positions.get(numbers.shape as usize).copied().flatten()?;
        span.attributes.get(position).map(|attribute| &attribute.value)
    });
    match kind {
        ColumnKind::String => {
            let mut builder = StringBuilder::new();
            values.for_each(|value| builder.append_option(value.and_then(AnyValue::as_str)));
            Arc::new(builder.finish())
        }
        ColumnKind::Bool => {
            let mut builder = BooleanBuilder::new();
            values.for_each(|value| match value {
                Some(AnyValue::Bool(truth)) => builder.append_value(*truth),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
        ColumnKind::Int => {
            let mut builder = Int64Builder::new();
            values.for_each(|value| builder.append_option(value.and_then(AnyValue::as_int)));
            Arc::new(builder.finish())
        }
        ColumnKind::Double => {
            let mut builder = Float64Builder::new();
            values.for_each(|value| match value {
                Some(AnyValue::Double(number)) => builder.append_value(*number),
                _ => builder.append_null(),
            });
            Arc::new(builder.finish())
        }
    }
}

/// The columns of a batch, by type.
pub(super) struct Rows<'a> {
    dictionary: &'a Dictionary,
    trace_id: &'a FixedSizeBinaryArray,
    span_id: &'a FixedSizeBinaryArray,
    parent_span_id: &'a FixedSizeBinaryArray,
    start: &'a UInt64Array,
    duration: &'a Int64Array,
    name: &'a StringArray,
    kind: &'a Int32Array,
    status: &'a Int32Array,
    status_message: &'a StringArray,
    trace_state: &'a StringArray,
    flags: &'a UInt32Array,
    resource: &'a UInt32Array,
    scope: &'a UInt32Array,
    shape: &'a UInt32Array,
    residual: &'a BinaryArray,
    events: &'a BinaryArray,
    links: &'a BinaryArray,
    dropped: &'a BinaryArray,
    attributes: Vec<Values<'a>>,
    last_name: Option<Arc<str>>,
}

/// An attribute column of a batch.
pub(super) enum Values<'a> {
    String(&'a StringArray),
    Bool(&'a BooleanArray),
    Int(&'a Int64Array),
    Double(&'a Float64Array),
}

impl<'a> Values<'a> {
    pub(super) fn new(array: &'a dyn Array, kind: ColumnKind) -> Result<Self, Damaged> {
        Ok(match kind {
            ColumnKind::String => Self::String(typed(array)?),
            ColumnKind::Bool => Self::Bool(typed(array)?),
            ColumnKind::Int => Self::Int(typed(array)?),
            ColumnKind::Double => Self::Double(typed(array)?),
        })
    }

    /// Returns the text in a row; none where the column holds something else.
    pub(super) fn text(&self, row: usize) -> Result<Option<&'a str>, Damaged> {
        match self {
            Self::String(array) => Ok(Some(array.value(present(array, row)?))),
            _ => Ok(None),
        }
    }

    /// Returns the value in a row.
    pub(super) fn value(&self, row: usize) -> Result<AnyValue, Damaged> {
        Ok(match self {
            Self::String(array) => AnyValue::String(array.value(present(array, row)?).to_owned()),
            Self::Bool(array) => AnyValue::Bool(array.value(present(array, row)?)),
            Self::Int(array) => AnyValue::Int(array.value(present(array, row)?)),
            Self::Double(array) => AnyValue::Double(array.value(present(array, row)?)),
        })
    }
}

fn present(array: &dyn Array, row: usize) -> Result<usize, Damaged> {
    if row < array.len() && array.is_valid(row) { Ok(row) } else { Err(Damaged) }
}

/// Returns an array as its type.
pub(super) fn typed<T: 'static>(array: &dyn Array) -> Result<&T, Damaged> {
    array.as_any().downcast_ref().ok_or(Damaged)
}

impl<'a> Rows<'a> {
    /// Returns the rows of a batch with all columns.
    pub(super) fn new(batch: &'a RecordBatch, dictionary: &'a Dictionary) -> Result<Self, Damaged> {
        fn at<T: 'static>(batch: &RecordBatch, index: usize) -> Result<&T, Damaged> {
            typed(batch.columns().get(index).ok_or(Damaged)?)
        }
        let attributes = batch.columns().get(column::FIRST_ATTRIBUTE..).ok_or(Damaged)?;
        let attributes = attributes.iter().zip(&dictionary.columns);
        Ok(Self {
            dictionary,
            trace_id: at(batch, column::TRACE_ID)?,
            span_id: at(batch, column::SPAN_ID)?,
            parent_span_id: at(batch, column::PARENT_SPAN_ID)?,
            start: at(batch, column::START)?,
            duration: at(batch, column::DURATION)?,
            name: at(batch, column::NAME)?,
            kind: at(batch, column::KIND)?,
            status: at(batch, column::STATUS)?,
            status_message: at(batch, column::STATUS_MESSAGE)?,
            trace_state: at(batch, column::TRACE_STATE)?,
            flags: at(batch, column::FLAGS)?,
            resource: at(batch, column::RESOURCE)?,
            scope: at(batch, column::SCOPE)?,
            shape: at(batch, column::SHAPE)?,
            residual: at(batch, column::RESIDUAL)?,
            events: at(batch, column::EVENTS)?,
            links: at(batch, column::LINKS)?,
            dropped: at(batch, column::DROPPED)?,
            attributes: attributes
                .map(|(array, column)| Values::new(array, column.kind))
                .collect::<Result<_, _>>()?,
            last_name: None,
        })
    }

    pub(super) fn trace_id(&self, row: usize) -> Result<TraceId, Damaged> {
        TraceId::from_bytes(self.trace_id.value(row)).ok_or(Damaged)
    }

    /// Returns the span in a row, which must be in the batch.
    pub(super) fn span(&mut self, row: usize) -> Result<Span, Damaged> {
        let start_unix_ns = self.start.value(row);
        let mut dropped = Reader::new(optional_bytes(self.dropped, row).unwrap_or(&[0; 3]));
        let parent_span_id = self.parent_span_id.is_valid(row).then(|| self.parent_span_id.value(row));
        Ok(Span {
            trace_id: self.trace_id(row)?,
            span_id: SpanId::from_bytes(self.span_id.value(row)).ok_or(Damaged)?,
            parent_span_id: parent_span_id.and_then(SpanId::from_bytes),
            trace_state: optional_text(self.trace_state, row),
            flags: self.flags.value(row),
            name: self.name(row),
            kind: SpanKind::from_otlp(self.kind.value(row)),
            start_unix_ns,
            end_unix_ns: start_unix_ns.wrapping_add(self.duration.value(row) as u64),
            attributes: self.attributes(row)?,
            status: Status {
                code: StatusCode::from_otlp(self.status.value(row)),
                message: optional_text(self.status_message, row),
            },
            events: optional_bytes(self.events, row)
                .map_or(Ok(Vec::new()), |bytes| Reader::new(bytes).events())?,
            links: optional_bytes(self.links, row)
                .map_or(Ok(Vec::new()), |bytes| Reader::new(bytes).links())?,
            resource: shared(&self.dictionary.resources, self.resource.value(row))?,
            scope: shared(&self.dictionary.scopes, self.scope.value(row))?,
            dropped_attributes_count: dropped.u32()?,
            dropped_events_count: dropped.u32()?,
            dropped_links_count: dropped.u32()?,
        })
    }

    fn name(&mut self, row: usize) -> Arc<str> {
        let name = self.name.value(row);
        match &self.last_name {
            Some(last) if **last == *name => Arc::clone(last),
            _ => Arc::clone(self.last_name.insert(name.into())),
        }
    }

    fn attributes(&self, row: usize) -> Result<Vec<KeyValue>, Damaged> {
        let shape = self.dictionary.shapes.get(self.shape.value(row) as usize).ok_or(Damaged)?;
        let mut residual = Reader::new(optional_bytes(self.residual, row).unwrap_or_default());
        let mut attributes = Vec::with_capacity(shape.len());
        for item in shape {
            let value = match item.column {
                Some(column) => self.attributes.get(column).ok_or(Damaged)?.value(row)?,
                None => residual.value()?,
            };
            attributes.push(KeyValue { key: Arc::clone(&item.key), value });
        }
        Ok(attributes)
    }
}

fn shared<T>(items: &[Arc<T>], number: u32) -> Result<Arc<T>, Damaged> {
    items.get(number as usize).cloned().ok_or(Damaged)
}

fn optional_text(array: &StringArray, row: usize) -> String {
    if array.is_valid(row) { array.value(row).to_owned() } else { String::new() }
}

fn optional_bytes(array: &BinaryArray, row: usize) -> Option<&[u8]> {
    array.is_valid(row).then(|| array.value(row))
}
