//! The files of a segment → spans.

use std::fs::File;
use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter, RowSelection, RowSelector,
};
use parquet::file::metadata::{PageIndexPolicy, RowGroupMetaData};

use super::rows::{Rows, column};
use super::{SPANS_FILE, Segment};
use crate::model::{Span, SpanPredicate, TimeRange, TraceId};
use crate::store::error::StoreError;

mod condition;
use condition::Condition;

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

    /// Gives each span that starts in the range and matches to `visit`, until it breaks.
    pub(crate) fn scan(
        &self,
        range: TimeRange,
        predicate: &SpanPredicate,
        visit: &mut dyn FnMut(&Span) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, StoreError> {
        let dictionary = self.dictionary()?;
        let condition = Condition::new(range, predicate, dictionary);
        if condition.is_never() {
            return Ok(ControlFlow::Continue(()));
        }
        let reader = self.reader()?;
        let groups = reader.metadata().row_groups().iter().enumerate();
        let groups =
            groups.filter(|(_, group)| may_match(group, range, predicate)).map(|(index, _)| index).collect();
        let projection = ProjectionMask::leaves(reader.parquet_schema(), condition.columns());
        let filter = ArrowPredicateFn::new(projection, move |batch| condition.evaluate(&batch));
        let reader = reader
            .with_batch_size(BATCH_ROWS)
            .with_row_groups(groups)
            .with_row_filter(RowFilter::new(vec![Box::new(filter)]))
            .build()
            .map_err(|error| self.damaged(error))?;
        for batch in reader {
            let batch = batch.map_err(|error| self.damaged(error))?;
            let mut rows = Rows::new(&batch, dictionary).map_err(|error| self.damaged(error))?;
            for row in 0..batch.num_rows() {
                let span = rows.span(row).map_err(|error| self.damaged(error))?;
                let is_wanted = range.contains(span.start_unix_ns) && predicate.matches(&span);
                if is_wanted && visit(&span).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        Ok(ControlFlow::Continue(()))
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

/// Returns false if the statistics of a row group say that no row of it matches.
fn may_match(group: &RowGroupMetaData, range: TimeRange, predicate: &SpanPredicate) -> bool {
    let bounds = |index: usize| {
        let statistics = group.columns().get(index)?.statistics()?;
        Some((statistics.min_bytes_opt()?, statistics.max_bytes_opt()?))
    };
    let starts = bounds(column::START).and_then(|(min, max)| Some((number(min)?, number(max)?)));
    if starts.is_some_and(|(min, max)| !range.overlaps(min, max)) {
        return false;
    }
    let durations = bounds(column::DURATION).and_then(|(min, max)| Some((number(min)?, number(max)?)));
    // A negative number is an end before the start, or a difference above 292 years: then the spans decide.
    let durations = durations.filter(|(min, _)| min.cast_signed() >= 0);
    let longest = durations.map(|(_, max)| max);
    if longest.zip(predicate.min_duration_ns).is_some_and(|(longest, min)| longest < min) {
        return false;
    }
    let outside =
        |index: usize, wanted: &[u8]| bounds(index).is_some_and(|(min, max)| wanted < min || max < wanted);
    !predicate.name.as_ref().is_some_and(|name| {
        // Statistics of long texts are cut: a prefix as minimum, and a larger text as maximum, both still bounds.
        outside(column::NAME, name.as_bytes())
    })
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}
