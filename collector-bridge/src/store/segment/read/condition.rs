//! A predicate on columns: decides on rows before all of their columns are read. It may let a row pass that does not
//! match (the caller looks again at the span), never the other way.

use std::sync::Arc;

use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, StringArray, UInt32Array};

use crate::model::{AnyValue, AttributeMatch, AttributeOperator, KeyValue, SpanPredicate};
use crate::store::codec::Damaged;
use crate::store::segment::dictionary::{ColumnKind, Dictionary};
use crate::store::segment::rows::{Values, column, typed};

/// What is known of a shape and one wanted attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum InShape {
    /// Look at this column (index in the batch of the condition).
    Column(usize, ColumnKind),
    /// It is in the residual bytes: look at the span.
    Residual,
    /// The span has none, so the resource decides.
    Absent,
}

pub(super) struct AttributeCondition {
    pub(super) wanted: AttributeMatch,
    pub(super) by_shape: Vec<InShape>,
    pub(super) by_resource: Vec<bool>,
}

/// A predicate, prepared for one segment.
pub(crate) struct Condition {
    pub(super) predicate: SpanPredicate,
    by_resource: Vec<bool>,
    pub(super) attributes: Vec<AttributeCondition>,
    /// Columns of the file that are looked at.
    columns: Vec<usize>,
}

impl Condition {
    pub(super) fn new(predicate: &SpanPredicate, dictionary: &Dictionary) -> Self {
        let has_duration = predicate.min_duration_ns.is_some() || predicate.max_duration_ns.is_some();
        let has_attributes = !predicate.attributes.is_empty();
        let mut columns: Vec<usize> = [
            (column::PARENT_SPAN_ID, predicate.without_parent),
            (column::DURATION, has_duration),
            (column::NAME, predicate.name.is_some()),
            (column::KIND, predicate.kind.is_some()),
            (column::STATUS, predicate.status.is_some()),
            // Also where nothing is asked for: how many rows there are.
            (column::RESOURCE, true),
            (column::SHAPE, has_attributes),
        ]
        .into_iter()
        .filter_map(|(column, is_wanted)| is_wanted.then_some(column))
        .collect();
        let by_resource = dictionary.resources.iter().map(|resource| {
            predicate.service.as_ref().is_none_or(|service| service == resource.service_name())
        });
        let by_resource = by_resource.collect();
        let mut attributes = Vec::new();
        for wanted in &predicate.attributes {
            attributes.push(attribute_condition(wanted, dictionary, &mut columns));
        }
        Self { predicate: predicate.clone(), by_resource, attributes, columns }
    }

    /// Returns whether no row can match.
    pub(super) fn is_never(&self) -> bool {
        !self.by_resource.contains(&true)
    }

    /// Returns the columns that [`Condition::passes`] wants.
    pub(super) fn columns(&self) -> Vec<usize> {
        self.columns.clone()
    }

    /// Returns for each row whether it may match.
    pub(super) fn passes(&self, batch: &RecordBatch) -> Result<Vec<bool>, Damaged> {
        let wanted = &self.predicate;
        let resource: &UInt32Array = self.array(batch, column::RESOURCE)?;
        let mut passes: Vec<bool> = (0..batch.num_rows())
            .map(|row| self.by_resource.get(resource.value(row) as usize) != Some(&false))
            .collect();
        if wanted.without_parent {
            let parent = batch.columns().get(self.position(column::PARENT_SPAN_ID)?).ok_or(Damaged)?;
            retain(&mut passes, |row| parent.is_null(row));
        }
        if wanted.min_duration_ns.is_some() || wanted.max_duration_ns.is_some() {
            let duration: &Int64Array = self.array(batch, column::DURATION)?;
            let least = wanted.min_duration_ns.unwrap_or(0);
            let most = wanted.max_duration_ns.unwrap_or(u64::MAX);
            retain(&mut passes, |row| {
                // A difference that does not fit is far beyond any limit; the span itself decides.
                u64::try_from(duration.value(row)).map_or(true, |took| (least..=most).contains(&took))
            });
        }
        if let Some(wanted) = &wanted.name {
            let name: &StringArray = self.array(batch, column::NAME)?;
            retain(&mut passes, |row| name.value(row) == wanted);
        }
        if let Some(wanted) = wanted.kind.map(crate::model::SpanKind::to_otlp) {
            let kind: &Int32Array = self.array(batch, column::KIND)?;
            retain(&mut passes, |row| kind.value(row) == wanted);
        }
        if let Some(wanted) = wanted.status.map(crate::model::StatusCode::to_otlp) {
            let status: &Int32Array = self.array(batch, column::STATUS)?;
            retain(&mut passes, |row| status.value(row) == wanted);
        }
        for attribute in &self.attributes {
            self.narrow(batch, attribute, resource, &mut passes)?;
        }
        Ok(passes)
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
                    accepts(&attribute.wanted, values, row)?
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

fn retain(passes: &mut [bool], is_kept: impl Fn(usize) -> bool) {
    for (row, passes) in passes.iter_mut().enumerate() {
        *passes = *passes && is_kept(row);
    }
}

/// Compares texts where they lie; everything else as a value.
fn accepts(wanted: &AttributeMatch, values: &Values<'_>, row: usize) -> Result<bool, Damaged> {
    match (wanted.operator, &wanted.value, values.text(row)?) {
        (AttributeOperator::Equal, AnyValue::String(wanted), Some(found)) => Ok(found == wanted),
        _ => Ok(wanted.accepts(Some(&values.value(row)?))),
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
