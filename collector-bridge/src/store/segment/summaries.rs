//! The trace summary table of a segment: one line per trace, whole in memory while it is used.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::{ServiceCount, StatusCode, TraceId, TraceSummary};
use crate::store::codec::{Damaged, Reader, put_bytes, put_signed, put_varint};

/// Summaries in the order of their starts, newest first (then by id, largest first).
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SummaryTable {
    texts: Vec<Arc<str>>,
    lines: Vec<Line>,
    services: Vec<(u32, u32, u32)>,
}

#[derive(Clone, Debug, PartialEq)]
struct Line {
    trace_id: TraceId,
    start_unix_ns: u64,
    end_unix_ns: u64,
    root_service: u32,
    root_name: u32,
    root_status: StatusCode,
    has_root: bool,
    /// First index inside and outside of the line's part of `services` in the table.
    services: (u32, u32),
}

/// Collects summaries.
#[derive(Default)]
pub(super) struct Builder {
    table: SummaryTable,
    numbers: HashMap<Arc<str>, u32>,
}

impl Builder {
    pub(super) fn push(&mut self, summary: &TraceSummary) {
        let first = self.table.services.len() as u32;
        for share in &summary.services {
            let service = self.number(&share.service);
            self.table.services.push((service, share.span_count, share.error_count));
        }
        let line = Line {
            trace_id: summary.trace_id,
            start_unix_ns: summary.start_unix_ns,
            end_unix_ns: summary.end_unix_ns,
            root_service: self.number(&summary.root_service),
            root_name: self.number(&summary.root_name),
            root_status: summary.root_status,
            has_root: summary.has_root,
            services: (first, self.table.services.len() as u32),
        };
        self.table.lines.push(line);
    }

    pub(super) fn finish(mut self) -> SummaryTable {
        self.table.lines.sort_unstable_by_key(|line| std::cmp::Reverse((line.start_unix_ns, line.trace_id)));
        self.table
    }

    fn number(&mut self, text: &Arc<str>) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.table.texts.len() as u32;
        self.table.texts.push(Arc::clone(text));
        self.numbers.insert(Arc::clone(text), number);
        number
    }
}

impl SummaryTable {
    pub(crate) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Returns start and id of a line.
    pub(crate) fn key(&self, index: usize) -> Option<(u64, TraceId)> {
        self.lines.get(index).map(|line| (line.start_unix_ns, line.trace_id))
    }

    /// Returns the index of the first line whose (start, id) is below the bound.
    pub(crate) fn first_below(&self, bound: (u64, TraceId)) -> usize {
        self.lines.partition_point(|line| (line.start_unix_ns, line.trace_id) >= bound)
    }

    /// Returns a line as a summary.
    pub(crate) fn summary(&self, index: usize) -> Option<TraceSummary> {
        let line = self.lines.get(index)?;
        let text = |number: u32| self.texts.get(number as usize).cloned().unwrap_or_default();
        let services = self.services.get(line.services.0 as usize..line.services.1 as usize)?;
        let services: Vec<ServiceCount> = services
            .iter()
            .map(|(service, span_count, error_count)| ServiceCount {
                service: text(*service),
                span_count: *span_count,
                error_count: *error_count,
            })
            .collect();
        Some(TraceSummary {
            trace_id: line.trace_id,
            start_unix_ns: line.start_unix_ns,
            end_unix_ns: line.end_unix_ns,
            root_service: text(line.root_service),
            root_name: text(line.root_name),
            root_status: line.root_status,
            span_count: services.iter().map(|share| share.span_count).sum(),
            error_count: services.iter().map(|share| share.error_count).sum(),
            services,
            has_root: line.has_root,
        })
    }

    /// Returns the bytes that [`SummaryTable::decode`] takes: each field of all lines together, which packs best.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.texts.len() as u64);
        self.texts.iter().for_each(|text| put_bytes(&mut out, text.as_bytes()));
        put_varint(&mut out, self.lines.len() as u64);
        self.lines.iter().for_each(|line| out.extend_from_slice(&line.trace_id.0));
        let mut last = 0_u64;
        for line in &self.lines {
            put_signed(&mut out, line.start_unix_ns.wrapping_sub(last) as i64);
            last = line.start_unix_ns;
        }
        for line in &self.lines {
            put_varint(&mut out, line.end_unix_ns.wrapping_sub(line.start_unix_ns));
        }
        self.lines.iter().for_each(|line| put_varint(&mut out, line.root_service.into()));
        self.lines.iter().for_each(|line| put_varint(&mut out, line.root_name.into()));
        self.lines.iter().for_each(|line| put_signed(&mut out, line.root_status.to_otlp().into()));
        self.lines.iter().for_each(|line| out.push(line.has_root.into()));
        for line in &self.lines {
            let services =
                self.services.get(line.services.0 as usize..line.services.1 as usize).unwrap_or_default();
            put_varint(&mut out, services.len() as u64);
            for (service, spans, errors) in services {
                put_varint(&mut out, (*service).into());
                put_varint(&mut out, (*spans).into());
                put_varint(&mut out, (*errors).into());
            }
        }
        out
    }

    /// Returns what [`SummaryTable::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        let mut table = Self::default();
        for _ in 0..reader.count()? {
            table.texts.push(reader.text()?.into());
        }
        for _ in 0..reader.count()? {
            table.lines.push(Line {
                trace_id: TraceId::from_bytes(reader.take(16)?).ok_or(Damaged)?,
                start_unix_ns: 0,
                end_unix_ns: 0,
                root_service: 0,
                root_name: 0,
                root_status: StatusCode::Unset,
                has_root: false,
                services: (0, 0),
            });
        }
        let mut last = 0_u64;
        for line in &mut table.lines {
            last = last.wrapping_add(reader.signed()? as u64);
            line.start_unix_ns = last;
        }
        for line in &mut table.lines {
            line.end_unix_ns = line.start_unix_ns.wrapping_add(reader.varint()?);
        }
        for line in &mut table.lines {
            line.root_service = reader.u32()?;
        }
        for line in &mut table.lines {
            line.root_name = reader.u32()?;
        }
        for line in &mut table.lines {
            line.root_status = StatusCode::from_otlp(reader.signed()?.try_into().map_err(|_| Damaged)?);
        }
        for line in &mut table.lines {
            line.has_root = reader.array::<1>()? == [1];
        }
        for line in &mut table.lines {
            let first = table.services.len() as u32;
            for _ in 0..reader.count()? {
                table.services.push((reader.u32()?, reader.u32()?, reader.u32()?));
            }
            line.services = (first, table.services.len() as u32);
        }
        Ok(table)
    }
}
