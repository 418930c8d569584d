//! Spans → the files of a segment.
//!
//! Order of the rows: start bucket of the trace, trace id, start, span id. A trace's rows are together, so reading a
//! trace touches one place; buckets keep time ranges together, so a search touches few row groups.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::dictionary;
use super::ids::{self, Filter};
use super::{
    DICTIONARY_FILE, FILTER_FILE, IDS_FILE, ROLLUPS_FILE, SPANS_FILE, SUMMARIES_FILE, rows, summaries,
};
use crate::analyze::{MAX_AHEAD_NS, Rollups};
use crate::assemble::settled;
use crate::model::{Span, SpanId, TraceId, TraceSummary};
use crate::store::error::StoreError;
use crate::store::frame;
use crate::store::manifest::SegmentMeta;
use crate::store::wal::sync_dir;

/// Traces that start within this time lie together.
const BUCKET_NS: u64 = 10_000_000_000;

/// Rows that are pruned or read together.
pub(super) const ROW_GROUP_ROWS: usize = 65_536;

/// Rows that are turned into columns at once.
const BATCH_ROWS: usize = 8_192;

/// Rows of a page: what is unpacked at least to read one trace.
const PAGE_ROWS: usize = 4_096;

const COMPRESSION_LEVEL: i32 = 1;

/// Spans in the order of a segment, without duplicates.
pub(crate) struct SortedSpans<'a> {
    spans: Vec<&'a Span>,
    /// First row of each trace.
    traces: Vec<usize>,
    /// When the spans arrived that are far ahead of that.
    ahead: HashMap<(TraceId, SpanId, u64), u64>,
    /// Spans that were left out because they came before with the same content.
    pub(crate) duplicates: u64,
}

impl<'a> SortedSpans<'a> {
    /// Returns them from spans and the times of their arrival.
    pub(crate) fn new(arrived: impl Iterator<Item = (&'a Span, u64)>) -> Self {
        let mut ahead = HashMap::new();
        let spans = arrived.inspect(|(span, arrived_unix_ns)| {
            let latest = arrived_unix_ns.saturating_add(MAX_AHEAD_NS);
            if span.start_unix_ns.max(span.end_unix_ns) > latest {
                ahead.entry(key_of(span)).or_insert(*arrived_unix_ns);
            }
        });
        let mut keyed: Vec<_> =
            spans.map(|(span, _)| (span.trace_id, span.start_unix_ns, span.span_id, span)).collect();
        keyed.sort_by_key(|(trace_id, start_unix_ns, span_id, _)| (*trace_id, *start_unix_ns, *span_id));
        let mut groups: Vec<(u64, usize, usize)> = Vec::new();
        let mut unique: Vec<&Span> = Vec::with_capacity(keyed.len());
        let mut duplicates = 0;
        for (trace_id, start_unix_ns, _, span) in keyed {
            let is_same_trace = unique.last().is_some_and(|last| last.trace_id == trace_id);
            if is_same_trace && is_duplicate(&unique, span) {
                duplicates += 1;
                continue;
            }
            if !is_same_trace {
                groups.push((start_unix_ns / BUCKET_NS, unique.len(), unique.len()));
            }
            unique.push(span);
            if let Some((.., end)) = groups.last_mut() {
                *end = unique.len();
            }
        }
        // Groups are in the order of trace ids, and a stable sort keeps that inside each bucket.
        groups.sort_by_key(|(bucket, ..)| *bucket);
        let mut sorted = Vec::with_capacity(unique.len());
        let mut traces = Vec::with_capacity(groups.len());
        for (_, start, end) in groups {
            traces.push(sorted.len());
            sorted.extend_from_slice(unique.get(start..end).unwrap_or_default());
        }
        Self { spans: sorted, traces, ahead, duplicates }
    }

    fn record(&self, rollups: &mut Rollups, span: &Span) {
        match self.ahead.get(&key_of(span)) {
            Some(arrived_unix_ns) => rollups.record_arrived(span, *arrived_unix_ns),
            None => rollups.record_span(span),
        }
    }

    fn traces(&self) -> impl Iterator<Item = &[&'a Span]> {
        let ends = self.traces.iter().skip(1).copied().chain([self.spans.len()]);
        self.traces.iter().zip(ends).filter_map(|(start, end)| self.spans.get(*start..end))
    }
}

fn key_of(span: &Span) -> (TraceId, SpanId, u64) {
    (span.trace_id, span.span_id, span.start_unix_ns)
}

/// Equal spans have equal sort keys, so they are neighbours.
fn is_duplicate(before: &[&Span], span: &Span) -> bool {
    let same_key =
        |other: &&&Span| other.start_unix_ns == span.start_unix_ns && other.span_id == span.span_id;
    before.iter().rev().take_while(same_key).any(|other| *other == span)
}

/// Writes a segment with that id below `dir`; returns what the manifest shall say of it. All files are on the disk
/// then, under their final name. A directory of that name, left behind by a crash, is replaced.
pub(crate) fn write(
    dir: &Path,
    id: u64,
    sealed_unix_ns: u64,
    sorted: &SortedSpans<'_>,
) -> Result<SegmentMeta, StoreError> {
    let path = super::path(dir, id);
    let temporary = path.with_extension("tmp");
    for stale in [&temporary, &path] {
        if stale.exists() {
            fs::remove_dir_all(stale).map_err(StoreError::io("remove", stale))?;
        }
    }
    fs::create_dir(&temporary).map_err(StoreError::io("create", &temporary))?;
    let written = write_files(&temporary, sorted);
    let renamed = written.and_then(|bytes| {
        let rename =
            || sync_dir(&temporary).and_then(|()| fs::rename(&temporary, &path)).and_then(|()| sync_dir(dir));
        rename().map(|()| bytes).map_err(StoreError::io("rename", &temporary))
    });
    let disk_bytes = renamed.inspect_err(|_| {
        // Half a segment would only take the space that the next attempt needs.
        let _ = fs::remove_dir_all(&temporary);
    })?;
    let starts = || sorted.spans.iter().map(|span| span.start_unix_ns);
    Ok(SegmentMeta {
        id,
        sealed_unix_ns,
        first_start_unix_ns: starts().min().unwrap_or(0),
        last_start_unix_ns: starts().max().unwrap_or(0),
        spans: sorted.spans.len() as u64,
        traces: sorted.traces.len() as u64,
        disk_bytes,
    })
}

fn write_files(dir: &Path, sorted: &SortedSpans<'_>) -> Result<u64, StoreError> {
    let (dictionary, numbers) = dictionary::build(&sorted.spans);
    let mut bytes = write_spans(&dir.join(SPANS_FILE), &dictionary, &sorted.spans, &numbers)?;
    let mut table = Vec::with_capacity(sorted.traces.len());
    let mut summary_builder = summaries::Builder::default();
    let mut rollups = Rollups::default();
    for (trace, row) in sorted.traces().zip(&sorted.traces) {
        // Sums and lists tell of a trace as it is meant; the rows keep it as it was sent.
        let settled = settled(trace);
        let meant: Option<Vec<&Span>> = settled.as_ref().map(|settled| settled.spans.iter().collect());
        let trace = meant.as_deref().unwrap_or(trace);
        let Some(summary) = TraceSummary::of(trace) else {
            continue;
        };
        table.push((ids::hash(summary.trace_id), *row as u32));
        summary_builder.push(&summary);
        trace.iter().for_each(|span| sorted.record(&mut rollups, span));
    }
    let filter = Filter::new(table.iter().map(|(hash, _)| *hash));
    bytes += write_packed(&dir.join(DICTIONARY_FILE), &dictionary.encode())?;
    bytes += write_packed(&dir.join(SUMMARIES_FILE), &summary_builder.finish().encode())?;
    bytes += write_packed(&dir.join(ROLLUPS_FILE), &rollups.encode())?;
    bytes += write_framed(&dir.join(FILTER_FILE), filter.as_bytes())?;
    bytes += write_plain(&dir.join(IDS_FILE), &ids::encode_table(table))?;
    Ok(bytes)
}

fn write_spans(
    path: &Path,
    dictionary: &dictionary::Dictionary,
    spans: &[&Span],
    numbers: &[dictionary::Numbers],
) -> Result<u64, StoreError> {
    let schema = rows::schema(&dictionary.columns);
    let file = File::create(path).map_err(StoreError::io("create", path))?;
    let failed =
        |error: &dyn std::fmt::Display| StoreError::io("write", path)(io::Error::other(error.to_string()));
    let buffered = io::BufWriter::with_capacity(1 << 20, file);
    let mut writer = ArrowWriter::try_new(buffered, Arc::clone(&schema), Some(properties()))
        .map_err(|error| failed(&error))?;
    for (spans, numbers) in spans.chunks(BATCH_ROWS).zip(numbers.chunks(BATCH_ROWS)) {
        let batch = rows::encode(&schema, dictionary, spans, numbers).map_err(|error| failed(&error))?;
        writer.write(&batch).map_err(|error| failed(&error))?;
    }
    let buffered = writer.into_inner().map_err(|error| failed(&error))?;
    let file = buffered.into_inner().map_err(|error| failed(&error))?;
    file.sync_all().map_err(StoreError::io("fsync", path))?;
    Ok(file.metadata().map_err(StoreError::io("stat", path))?.len())
}

fn properties() -> WriterProperties {
    let level = ZstdLevel::try_new(COMPRESSION_LEVEL).unwrap_or_default();
    let column = |name: &str| ColumnPath::from(name);
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_write_batch_size(1024)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("remora-bridge".to_owned());
    for id in ["trace_id", "span_id", "parent_span_id"] {
        builder = builder
            .set_column_dictionary_enabled(column(id), false)
            .set_column_statistics_enabled(column(id), EnabledStatistics::None);
    }
    for number in ["start_unix_ns", "duration_ns"] {
        builder = builder
            .set_column_dictionary_enabled(column(number), false)
            .set_column_encoding(column(number), Encoding::DELTA_BINARY_PACKED);
    }
    for blob in ["residual", "events", "links"] {
        builder = builder
            .set_column_dictionary_enabled(column(blob), false)
            .set_column_statistics_enabled(column(blob), EnabledStatistics::None);
    }
    builder.build()
}

fn write_packed(path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
    let packed = zstd::bulk::compress(bytes, 3).map_err(StoreError::io("compress", path))?;
    write_framed(path, &packed)
}

fn write_framed(path: &Path, payload: &[u8]) -> Result<u64, StoreError> {
    let mut bytes = Vec::with_capacity(payload.len() + frame::HEADER_BYTES);
    frame::put(&mut bytes, |out| out.extend_from_slice(payload)).map_err(StoreError::io("write", path))?;
    write_plain(path, &bytes)
}

fn write_plain(path: &Path, bytes: &[u8]) -> Result<u64, StoreError> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(StoreError::io("write", path))?;
    Ok(bytes.len() as u64)
}
