//! Merges small segments of the same hour: few files to open, few rollups to add, whole traces in one place.

use std::sync::{Arc, PoisonError};

use super::counters::StoreCounters;
use super::error::StoreError;
use super::manifest::{Edit, SegmentMeta};
use super::sealer::Sealer;
use super::segment::{self, Segment, SortedSpans};
use crate::model::Span;

/// Segments with more spans are left alone.
const SMALL_SPANS: u64 = 32_768;

/// Spans that are merged at once: all of them are in memory then (about 100 MiB).
const MERGED_SPANS: u64 = 131_072;

/// Fewer small segments are not worth the work: each span is rewritten at most about log8 times.
const MIN_SEGMENTS: usize = 8;

const HOUR_NS: u64 = 3_600_000_000_000;

impl Sealer {
    /// Merges one group of small segments, if there is one.
    pub(super) fn compact(&self) -> Result<(), StoreError> {
        let picture = self.view.picture();
        let group = small_group(picture.segments.iter().map(|segment| &segment.meta));
        if group.is_empty() {
            return Ok(());
        }
        let merged: Vec<&Arc<Segment>> =
            picture.segments.iter().filter(|segment| group.contains(&segment.meta.id)).collect();
        let mut spans = spans_of(&merged)?;
        self.aliases.sync()?;
        for (span, _) in &mut spans {
            span.trace_id = self.aliases.canonical(span.trace_id);
        }
        let sorted = SortedSpans::new(spans.iter().map(|(span, arrived)| (span, *arrived)));
        // Retention counts from the newest part, so that nothing goes too early.
        let sealed_unix_ns = merged.iter().map(|segment| segment.meta.sealed_unix_ns).max().unwrap_or(0);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = segment::write(&self.segments_dir, manifest.next_id(), sealed_unix_ns, &sorted)?;
        let opened = Arc::new(Segment::open(&self.segments_dir, meta.clone())?);
        manifest.commit(&Edit { add: vec![meta.clone()], remove: group.clone(), ..Edit::default() })?;
        drop(manifest);
        merged.iter().for_each(|segment| segment.doom());
        self.view.replace(None, &group, vec![opened]);
        StoreCounters::add(&self.counters.compacted_segments, group.len() as u64);
        tracing::debug!(segment = meta.id, merged = group.len(), spans = meta.spans, "segments were merged");
        Ok(())
    }
}

/// Returns all spans and, for the time of their arrival, when they came into a segment.
fn spans_of(segments: &[&Arc<Segment>]) -> Result<Vec<(Span, u64)>, StoreError> {
    let mut spans = Vec::new();
    for segment in segments {
        let arrived_unix_ns = segment.meta.sealed_unix_ns;
        spans.extend(segment.spans()?.into_iter().map(|span| (span, arrived_unix_ns)));
    }
    Ok(spans)
}

/// Returns the ids of neighbouring small segments of one hour that are worth a merge; none if there are too few.
fn small_group<'a>(oldest_first: impl Iterator<Item = &'a SegmentMeta>) -> Vec<u64> {
    let mut group: Vec<u64> = Vec::new();
    let (mut hour, mut spans) = (0, 0);
    for meta in oldest_first {
        let is_other_hour = meta.sealed_unix_ns / HOUR_NS != hour;
        let is_too_much = spans + meta.spans > MERGED_SPANS || meta.spans > SMALL_SPANS;
        if is_other_hour || is_too_much {
            if group.len() >= MIN_SEGMENTS {
                return group;
            }
            group.clear();
            (hour, spans) = (meta.sealed_unix_ns / HOUR_NS, 0);
        }
        if meta.spans <= SMALL_SPANS {
            group.push(meta.id);
            spans += meta.spans;
        }
    }
    if group.len() >= MIN_SEGMENTS { group } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(segments: &[(u64, u64)], expected: std::ops::Range<u64>) {
        let metas = segments.iter().enumerate().map(|(id, (hour, spans))| SegmentMeta {
            id: id as u64,
            sealed_unix_ns: hour * HOUR_NS + id as u64,
            first_start_unix_ns: 0,
            last_start_unix_ns: 0,
            spans: *spans,
            traces: 1,
            disk_bytes: 1,
        });
        let metas: Vec<_> = metas.collect();
        assert_eq!(small_group(metas.iter()), expected.collect::<Vec<_>>(), "{segments:?}");
    }

    #[test]
    fn neighbours_of_one_hour_are_merged_when_there_are_enough() {
        check(&[(1, 10); 7], 0..0);
        check(&[(1, 10); 8], 0..8);
        check(&[&[(1, 10); 7][..], &[(2, 10); 9]].concat(), 7..16);
        check(&[&[(1, 10); 4][..], &[(1, SMALL_SPANS + 1)], &[(1, 10); 8]].concat(), 5..13);
        check(&[(1, 16_384); 20], 0..8);
    }
}
