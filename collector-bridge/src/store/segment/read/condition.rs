//! A predicate on columns: decides on rows before all of their columns are read. It may let a row pass that does not
//! match (the caller looks again at the span), never the other way.

use std::sync::Arc;

use arrow::array::{
    Array, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array, UInt64Array,
};
use arrow::error::ArrowError;

use crate::model::{AnyValue, AttributeMatch, KeyValue, SpanPredicate, TimeRange};
use crate::store::codec::Damaged;
use crate::store::segment::dictionary::{ColumnKind, Dictionary};
use crate::store::segment::rows::{Values, column, typed};

/// What is known of a shape and one wanted attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
enum InShape {
    /// Look at this column (index in the batch of the condition).
    Column(usize, ColumnKind),
    /// It is in the residual bytes: look at the span.
    Residual,
    /// The span has none, so the resource decides.
    Absent,
}

struct AttributeCondition {
    wanted: AttributeMatch,
    by_shape: Vec<InShape>,
    by_resource: Vec<bool>,
}

/// A predicate, prepared for one segment.
pub(super) struct Condition {
    range: TimeRange,
    predicate: SpanPredicate,
    by_resource: Vec<bool>,
    attributes: Vec<AttributeCondition>,
    /// Columns of the file, in their order, which is also their order in the batches.
    columns: Vec<usize>,
}

impl Condition {
    pub(super) fn new(range: TimeRange, predicate: &SpanPredicate, dictionary: &Dictionary) -> Self {
        let mut columns = vec![
            column::START,
            column::DURATION,
            column::NAME,
            column::KIND,
            column::STATUS,
            column::RESOURCE,
            column::SHAPE,
        ];
        let by_resource = dictionary.resources.iter().map(|resource| {
            predicate.service.as_ref().is_none_or(|service| service == resource.service_name())
        });
        let by_resource = by_resource.collect();
        let mut attributes = Vec::new();
        for wanted in &predicate.attributes {
            attributes.push(attribute_condition(wanted, dictionary, &mut columns));
        }
        Self { range, predicate: predicate.clone(), by_resource, attributes, columns }
    }

    /// Returns whether no row can match.
    pub(super) fn is_never(&self) -> bool {
        !self.by_resource.contains(&true)
    }

    /// Returns the columns that [`Condition::evaluate`] wants.
    pub(super) fn columns(&self) -> Vec<usize> {
        self.columns.clone()
    }

    /// Returns which rows may match.
    pub(super) fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        self.passes(batch).map_err(|error| ArrowError::ExternalError(Box::new(error)))
    }

    fn passes(&self, batch: &RecordBatch) -> Result<BooleanArray, Damaged> {
        let start: &UInt64Array = self.array(batch, column::START)?;
        let duration: &Int64Array = self.array(batch, column::DURATION)?;
        let name: &StringArray = self.array(batch, column::NAME)?;
        let kind: &Int32Array = self.array(batch, column::KIND)?;
        let status: &Int32Array = self.array(batch, column::STATUS)?;
        let resource: &UInt32Array = self.array(batch, column::RESOURCE)?;
        let wanted_kind = self.predicate.kind.map(crate::model::SpanKind::to_otlp);
        let wanted_status = self.predicate.status.map(crate::model::StatusCode::to_otlp);
        let min = self.predicate.min_duration_ns.unwrap_or(0);
        let max = self.predicate.max_duration_ns.unwrap_or(u64::MAX);
        let wanted_name = self.predicate.name.as_deref();
        let mut passes: Vec<bool> = (0..batch.num_rows())
            .map(|row| {
                // A difference that does not fit is far beyond any limit; the span itself decides.
                let duration_ns = duration.value(row);
                let took = duration_ns.max(0) as u64;
                self.range.contains(start.value(row))
                    && self.by_resource.get(resource.value(row) as usize) != Some(&false)
                    && (duration_ns < 0 || (took >= min && took <= max))
                    && wanted_kind.is_none_or(|wanted| wanted == kind.value(row))
                    && wanted_status.is_none_or(|wanted| wanted == status.value(row))
                    && wanted_name.is_none_or(|wanted| wanted == name.value(row))
            })
            .collect();
        for attribute in &self.attributes {
            self.narrow(batch, attribute, resource, &mut passes)?;
        }
        Ok(BooleanArray::from(passes))
    }

    fn narrow(
        &self,
        batch: &RecordBatch,
        attribute: &AttributeCondition,
        resource: &UInt32Array,
        passes: &mut [bool],
    ) -> Result<(), Damaged> {
        let shape: &UInt32Array = self.array(batch, column::SHAPE)?;
        let mut values: Vec<(usize, Values<'_>)> = Vec::new();
        for in_shape in &attribute.by_shape {
            if let InShape::Column(index, kind) = in_shape
                && !values.iter().any(|(known, _)| known == index)
            {
                let array = batch.columns().get(self.position(*index)?).ok_or(Damaged)?;
                values.push((*index, Values::new(array, *kind)?));
            }
        }
        for (row, passes) in passes.iter_mut().enumerate().filter(|(_, passes)| **passes) {
            let in_shape = attribute.by_shape.get(shape.value(row) as usize).ok_or(Damaged)?;
            *passes = match in_shape {
                InShape::Residual => true,
                InShape::Absent => attribute.by_resource.get(resource.value(row) as usize) != Some(&false),
                InShape::Column(index, _) => {
                    let (_, values) = values.iter().find(|(known, _)| known == index).ok_or(Damaged)?;
                    attribute.wanted.accepts(Some(&values.value(row)?))
                }
            };
        }
        Ok(())
    }

    /// Returns the place of a file's column in the batches: they hold the wanted columns in the file's order.
    fn position(&self, file_column: usize) -> Result<usize, Damaged> {
        if !self.columns.contains(&file_column) {
            return Err(Damaged);
        }
        Ok(self.columns.iter().filter(|column| **column < file_column).count())
    }

    fn array<'a, T: 'static>(&self, batch: &'a RecordBatch, file_column: usize) -> Result<&'a T, Damaged> {
        let array: &Arc<dyn Array> = batch.columns().get(self.position(file_column)?).ok_or(Damaged)?;
        typed(array)
    }
}

fn attribute_condition(
    wanted: &AttributeMatch,
    dictionary: &Dictionary,
    columns: &mut Vec<usize>,
) -> AttributeCondition {
    let mut by_shape = Vec::with_capacity(dictionary.shapes.len());
    for shape in &dictionary.shapes {
        let item = shape.iter().find(|item| *item.key == *wanted.key);
        let in_shape = match item.map(|item| item.column) {
            None => InShape::Absent,
            Some(None) => InShape::Residual,
            Some(Some(index)) => match dictionary.columns.get(index) {
                Some(found) => InShape::Column(column::FIRST_ATTRIBUTE + index, found.kind),
                None => InShape::Residual,
            },
        };
        if let InShape::Column(index, _) = in_shape
            && !columns.contains(&index)
        {
            columns.push(index);
        }
        by_shape.push(in_shape);
    }
    let in_resource = |attributes: &[KeyValue]| -> bool {
        let found: Option<&AnyValue> = crate::model::find(attributes, &wanted.key);
        wanted.accepts(found)
    };
    let by_resource = dictionary.resources.iter().map(|resource| in_resource(&resource.attributes)).collect();
    AttributeCondition { wanted: wanted.clone(), by_shape, by_resource }
}
