//! The files of a segment → spans.

use std::collections::HashSet;
use std::fs::File;
use std::ops::ControlFlow;

use arrow_array::{Array, FixedSizeBinaryArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::file::metadata::PageIndexPolicy;

use super::rows::{Rows, column, typed};
use super::{SPANS_FILE, Segment};
use crate::model::{Span, SpanId, SpanPredicate, TimeRange, TraceId};
use crate::store::codec::Damaged;
use crate::store::error::StoreError;

mod condition;
mod statistics;

pub(crate) use condition::Condition;

/// Rows that are read at first for a trace; four times as many while all of them belong to it.
const FIRST_TRACE_ROWS: usize = 64;

/// Rows that are turned into spans at once.
const BATCH_ROWS: usize = 4_096;

impl Segment {
    /// Returns the spans of a trace, by start; empty if it is not in here.
    pub(crate) fn trace(&self, trace_id: TraceId) -> Result<Vec<Span>, StoreError> {
        if !self.may_contain(trace_id) {
            return Ok(Vec::new());
        }
        for row in self.first_rows(trace_id)? {
            let spans = self.trace_at(trace_id, row as usize)?;
            if !spans.is_empty() {
                return Ok(spans);
            }
        }
        Ok(Vec::new())
    }

    fn trace_at(&self, trace_id: TraceId, first_row: usize) -> Result<Vec<Span>, StoreError> {
        let total = self.meta.spans as usize;
        let mut spans = Vec::new();
        let mut wanted = FIRST_TRACE_ROWS;
        loop {
            let start = first_row + spans.len();
            let end = (start + wanted).min(total);
            let before = spans.len();
            for batch in self.rows_between(start, end)? {
                let batch = batch.map_err(|error| self.damaged(error))?;
                self.push_while_same(&batch, trace_id, &mut spans)?;
            }
            let is_whole = spans.len() - before < end.saturating_sub(start) || end >= total;
            if is_whole {
                return Ok(spans);
            }
            wanted = (wanted * 4).min(super::write::ROW_GROUP_ROWS);
        }
    }

    fn push_while_same(
        &self,
        batch: &RecordBatch,
        trace_id: TraceId,
        spans: &mut Vec<Span>,
    ) -> Result<(), StoreError> {
        let mut rows = Rows::new(batch, self.dictionary()?).map_err(|error| self.damaged(error))?;
        for row in 0..batch.num_rows() {
            if rows.trace_id(row).map_err(|error| self.damaged(error))? != trace_id {
                break;
            }
            spans.push(rows.span(row).map_err(|error| self.damaged(error))?);
        }
        Ok(())
    }

    fn rows_between(&self, start: usize, end: usize) -> Result<ParquetRecordBatchReader, StoreError> {
        let selection = RowSelection::from(vec![
            RowSelector::skip(start),
            RowSelector::select(end.saturating_sub(start)),
        ]);
        let reader = self.reader()?.with_batch_size(BATCH_ROWS).with_row_selection(selection);
        reader.build().map_err(|error| self.damaged(error))
    }

    /// Returns all spans, in the order of the rows.
    pub(crate) fn spans(&self) -> Result<Vec<Span>, StoreError> {
        let mut spans = Vec::with_capacity(self.meta.spans as usize);
        let reader = self.reader()?.with_batch_size(BATCH_ROWS).build();
        for batch in reader.map_err(|error| self.damaged(error))? {
            let batch = batch.map_err(|error| self.damaged(error))?;
            let mut rows = Rows::new(&batch, self.dictionary()?).map_err(|error| self.damaged(error))?;
            for row in 0..batch.num_rows() {
                spans.push(rows.span(row).map_err(|error| self.damaged(error))?);
            }
        }
        Ok(spans)
    }

    /// Returns the predicate, prepared for this segment.
    pub(crate) fn condition(&self, predicate: &SpanPredicate) -> Result<Condition, StoreError> {
        Ok(Condition::new(predicate, self.dictionary()?))
    }

    /// Returns the row groups in which spans that start in the range may match.
    pub(crate) fn groups(&self, range: TimeRange, condition: &Condition) -> Result<Vec<usize>, StoreError> {
        if condition.is_never() {
            return Ok(Vec::new());
        }
        let reader = self.reader()?;
        let groups = reader.metadata().row_groups().iter().enumerate();
        let may_match = groups.filter(|(_, group)| statistics::may_match(group, range, condition));
        Ok(may_match.map(|(index, _)| index).collect())
    }

    /// Returns the rows of a row group that may match, in their order. Reads the columns of the condition, and the
    /// trace ids of the rows that pass.
    pub(crate) fn rows(&self, group: usize, condition: &Condition) -> Result<Vec<Row>, StoreError> {
        let mut passed: Vec<u32> = Vec::new();
        let mut first_row = 0_u32;
        for batch in self.group_reader(group, &condition.columns(), None)? {
            let batch = batch.map_err(|error| self.damaged(error))?;
            let passes = condition.passes(&batch).map_err(|error| self.damaged(error))?;
            let rows = (first_row..).zip(passes).filter(|(_, passes)| *passes).map(|(row, _)| row);
            passed.extend(rows);
            first_row = first_row.saturating_add(batch.num_rows() as u32);
        }
        let mut rows = Vec::with_capacity(passed.len());
        if passed.is_empty() {
            return Ok(rows);
        }
        let mut numbers = passed.iter();
        for batch in self.group_reader(group, &[column::TRACE_ID], Some(&passed))? {
            let batch = batch.map_err(|error| self.damaged(error))?;
            let trace_ids = trace_ids(&batch).map_err(|error| self.damaged(error))?;
            rows.extend(
                trace_ids
                    .into_iter()
                    .zip(numbers.by_ref())
                    .map(|(trace_id, row)| Row { trace_id, row: *row }),
            );
        }
        Ok(rows)
    }

    /// Gives the spans with these ids to `visit`. Reads that column, and the rows that are wanted.
    pub(crate) fn visit_spans(
        &self,
        wanted: &HashSet<SpanId>,
        visit: &mut dyn FnMut(&Span),
    ) -> Result<(), StoreError> {
        for group in 0..self.reader()?.metadata().num_row_groups() {
            let mut rows: Vec<u32> = Vec::new();
            let mut first_row = 0_u32;
            for batch in self.group_reader(group, &[column::SPAN_ID], None)? {
                let batch = batch.map_err(|error| self.damaged(error))?;
                let ids = span_ids(&batch).map_err(|error| self.damaged(error))?;
                let found =
                    (first_row..).zip(ids).filter(|(_, id)| id.is_some_and(|id| wanted.contains(&id)));
                rows.extend(found.map(|(row, _)| row));
                first_row = first_row.saturating_add(batch.num_rows() as u32);
            }
            if rows.is_empty() {
                continue;
            }
            let _ = self.visit(group, &rows, &mut |span| {
                visit(span);
                ControlFlow::Continue(())
            })?;
        }
        Ok(())
    }

    /// Gives the spans of some rows of a row group (ascending) to `visit`, until it breaks.
    pub(crate) fn visit(
        &self,
        group: usize,
        rows: &[u32],
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        for batch in self.group_reader(group, &[], Some(rows))? {
            let batch = batch.map_err(|error| self.damaged(error))?;
            let mut rows = Rows::new(&batch, self.dictionary()?).map_err(|error| self.damaged(error))?;
            for row in 0..batch.num_rows() {
                let span = rows.span(row).map_err(|error| self.damaged(error))?;
                if visit(&span).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Reads some rows, or all, of a row group: some columns, or all where none is named.
    fn group_reader(
        &self,
        group: usize,
        columns: &[usize],
        rows: Option<&[u32]>,
    ) -> Result<ParquetRecordBatchReader, StoreError> {
        let mut reader = self.reader()?.with_batch_size(BATCH_ROWS).with_row_groups(vec![group]);
        if !columns.is_empty() {
            let projection = ProjectionMask::leaves(reader.parquet_schema(), columns.iter().copied());
            reader = reader.with_projection(projection);
        }
        if let Some(rows) = rows {
            let total = reader.metadata().row_groups().get(group).map_or(0, |group| group.num_rows());
            reader = reader.with_row_selection(selection(rows, total as usize));
        }
        reader.build().map_err(|error| self.damaged(error))
    }

    fn reader(&self) -> Result<ParquetRecordBatchReaderBuilder<File>, StoreError> {
        let path = self.dir.join(SPANS_FILE);
        let file = File::open(&path).map_err(StoreError::io("open", &path))?;
        let metadata = match self.parquet.get() {
            Some(metadata) => metadata.clone(),
            None => {
                let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
                let metadata =
                    ArrowReaderMetadata::load(&file, options).map_err(|error| self.damaged(error))?;
                self.parquet.get_or_init(|| metadata).clone()
            }
        };
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata))
    }

    fn damaged(&self, what: impl ToString) -> StoreError {
        StoreError::damaged(&self.dir.join(SPANS_FILE), what)
    }
}

/// A row of a row group, and the trace of its span.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) trace_id: TraceId,
    pub(crate) row: u32,
}

fn trace_ids(batch: &RecordBatch) -> Result<Vec<TraceId>, Damaged> {
    let array: &FixedSizeBinaryArray = typed(batch.columns().first().ok_or(Damaged)?)?;
    (0..array.len()).map(|row| TraceId::from_bytes(array.value(row)).ok_or(Damaged)).collect()
}

/// None is no valid id, which nobody wants.
fn span_ids(batch: &RecordBatch) -> Result<Vec<Option<SpanId>>, Damaged> {
    let array: &FixedSizeBinaryArray = typed(batch.columns().first().ok_or(Damaged)?)?;
    Ok((0..array.len()).map(|row| SpanId::from_bytes(array.value(row))).collect())
}

/// Returns ascending rows as a selection of `total` ones.
fn selection(rows: &[u32], total: usize) -> RowSelection {
    let runs = rows.chunk_by(|row, next| row.checked_add(1) == Some(*next));
    let ranges = runs.filter_map(|run| Some(*run.first()? as usize..*run.last()? as usize + 1));
    RowSelection::from_consecutive_ranges(ranges, total)
}
