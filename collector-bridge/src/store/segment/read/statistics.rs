//! What the statistics of a row group tell about a condition, before anything of it is read.

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::condition::{AttributeCondition, Condition, InShape};
use crate::model::{AnyValue, AttributeOperator, TimeRange};
use crate::store::segment::dictionary::ColumnKind;
use crate::store::segment::rows::column;

/// Returns false if no span of the row group starts in the range, or surely none fulfils the condition.
pub(super) fn may_match(group: &RowGroupMetaData, range: TimeRange, condition: &Condition) -> bool {
    let predicate = &condition.predicate;
    let numbers = |index: usize| {
        let (min, max) = bounds(group.columns().get(index)?)?;
        Some((number(min)?, number(max)?))
    };
    if numbers(column::START).is_some_and(|(min, max)| !range.overlaps(min, max)) {
        return false;
    }
    // A negative number is an end before the start, or a difference above 292 years: then the spans decide.
    let durations = numbers(column::DURATION).filter(|(min, _)| min.cast_signed() >= 0);
    if durations.is_some_and(|(_, longest)| predicate.min_duration_ns.is_some_and(|min| longest < min)) {
        return false;
    }
    if let (Some(name), Some(names)) = (&predicate.name, group.columns().get(column::NAME))
        && is_outside(names, name.as_bytes())
    {
        return false;
    }
    condition.attributes.iter().all(|attribute| may_have(group, attribute))
}

/// Returns false if the row group has no span with the wanted attribute.
fn may_have(group: &RowGroupMetaData, attribute: &AttributeCondition) -> bool {
    attribute.by_shape.iter().any(|in_shape| match in_shape {
        InShape::Residual => true,
        InShape::Absent => attribute.by_resource.contains(&true),
        InShape::Column(index, kind) => {
            group.columns().get(*index).is_none_or(|column| may_hold(column, *kind, attribute))
        }
    })
}

fn may_hold(column: &ColumnChunkMetaData, kind: ColumnKind, attribute: &AttributeCondition) -> bool {
    let nulls = column.statistics().and_then(|statistics| statistics.null_count_opt());
    if nulls.is_some_and(|nulls| nulls == column.num_values().cast_unsigned()) {
        return false;
    }
    match (attribute.wanted.operator, &attribute.wanted.value, kind) {
        (AttributeOperator::Equal, AnyValue::String(text), ColumnKind::String) => {
            !is_outside(column, text.as_bytes())
        }
        (AttributeOperator::Equal, AnyValue::Int(wanted), ColumnKind::Int) => {
            let bounds = bounds(column)
                .and_then(|(min, max)| Some((number(min)?.cast_signed(), number(max)?.cast_signed())));
            bounds.is_none_or(|(min, max)| (min..=max).contains(wanted))
        }
        _ => true,
    }
}

/// Statistics of long texts are cut: a prefix as minimum, and a larger text as maximum, both still bounds.
fn is_outside(column: &ColumnChunkMetaData, wanted: &[u8]) -> bool {
    bounds(column).is_some_and(|(min, max)| wanted < min || max < wanted)
}

fn bounds(column: &ColumnChunkMetaData) -> Option<(&[u8], &[u8])> {
    let statistics = column.statistics()?;
    Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}
