//! The thread that turns generations into segments, removes old segments and merges small ones.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::aliases::Aliases;
use super::counters::StoreCounters;
use super::error::StoreError;
use super::live::{LiveBatch, spans_of};
use super::manifest::{Edit, Manifest, SegmentMeta};
use super::segment::{self, Segment, SortedSpans};
use super::settings::StoreSettings;
use super::view::View;
use super::wal;
use super::writer::{SealCommand, SealJob};
use crate::model::{Span, TraceId};

/// How often age limits are looked at.
const TICK: Duration = Duration::from_millis(500);

/// How long a failed segment waits for its next attempt.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Sealer {
    pub(crate) settings: StoreSettings,
    pub(crate) wal_dir: PathBuf,
    pub(crate) segments_dir: PathBuf,
    pub(crate) manifest: Arc<Mutex<Manifest>>,
    pub(crate) view: Arc<View>,
    pub(crate) aliases: Arc<Aliases>,
    pub(crate) counters: Arc<StoreCounters>,
    /// Gives the memory of sealed spans back.
    pub(crate) release: Arc<dyn Fn(usize) + Send + Sync>,
    /// Asks the writer for a cut.
    pub(crate) ask_for_cut: Box<dyn Fn() + Send>,
    pub(crate) is_closing: Arc<AtomicBool>,
}

impl Sealer {
    /// Works until the writer is gone and all that it handed over is sealed, or cannot be sealed while closing.
    pub(crate) fn run(self, jobs: Receiver<SealCommand>) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            match jobs.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(SealCommand::Seal(job)) => {
                    if !self.seal_until_done(&job) {
                        return;
                    }
                }
                Ok(SealCommand::Answer(done)) => {
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.tick();
                    next_tick = Instant::now() + TICK;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tick(&self) {
        let current = self.view.current();
        if current.span_count() > 0 && current.age() >= self.settings.seal_age {
            (self.ask_for_cut)();
        }
        let now_unix_ns = super::unix_now_ns();
        let age_ns = u64::try_from(self.settings.retention_age.as_nanos()).unwrap_or(u64::MAX);
        self.aliases.tidy(now_unix_ns.saturating_sub(age_ns));
        if let Err(error) = self.retire(now_unix_ns) {
            tracing::warn!(%error, "old segments were not removed");
        }
        match self.compact() {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "small segments were not merged"),
        }
    }

    /// Returns false if it gave up because the store is closing; the log still has the spans.
    fn seal_until_done(&self, job: &SealJob) -> bool {
        loop {
            match self.seal(job) {
                Ok(()) => return true,
                Err(error) => {
                    StoreCounters::add(&self.counters.seal_failures, 1);
                    tracing::warn!(%error, "segment was not written, its spans stay live and in the log");
                }
            }
            if self.is_closing.load(Ordering::Acquire) {
                return false;
            }
            // Space may come back by itself, or by removing what is old.
            if let Err(error) = self.retire(super::unix_now_ns()) {
                tracing::warn!(%error, "old segments were not removed");
            }
            std::thread::sleep(RETRY_AFTER);
        }
    }

    /// Writes a generation as a segment and puts it in its place.
    pub(crate) fn seal(&self, job: &SealJob) -> Result<(), StoreError> {
        let batches = job.generation.batches();
        // What the log could make again must be on the disk before the log goes.
        self.aliases.sync()?;
        let canonical = self.aliases.renamed(spans_of(&batches).map(|(span, _)| span.trace_id));
        let renamed: Vec<(Span, u64)> = renamed(&batches, &canonical).collect();
        let others = spans_of(&batches).filter(|(span, _)| !canonical.contains_key(&span.trace_id));
        let all = others.chain(renamed.iter().map(|(span, arrived_unix_ns)| (span, *arrived_unix_ns)));
        let sorted = SortedSpans::new(all);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        let meta = segment::write(&self.segments_dir, manifest.next_id(), super::unix_now_ns(), &sorted)?;
        let opened = Arc::new(Segment::open(&self.segments_dir, meta.clone())?);
        let rollup_counters = opened.rollups()?.counters();
        let edit = Edit { add: vec![meta.clone()], wal_through: Some(job.wal_through), ..Edit::default() };
        manifest.commit(&edit)?;
        drop(manifest);
        self.view.replace(Some(&job.generation), &[], vec![opened]);
        (self.release)(job.generation.memory_bytes());
        StoreCounters::add(&self.counters.sealed_spans, meta.spans);
        StoreCounters::add(&self.counters.duplicate_spans, sorted.duplicates);
        self.counters.record_rollups(rollup_counters);
        tracing::debug!(
            segment = meta.id,
            spans = meta.spans,
            bytes = meta.disk_bytes,
            "segment was written"
        );
        wal::remove_through(&self.wal_dir, job.wal_through).unwrap_or_else(
            |error| tracing::warn!(%error, "covered log file was not removed; the next start removes it"),
        );
        Ok(())
    }

    /// Removes segments that are too old, then the oldest ones while all together are too large.
    pub(crate) fn retire(&self, now_unix_ns: u64) -> Result<(), StoreError> {
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        let by_age = too_old(manifest.segments(), now_unix_ns, self.settings.retention_age);
        let by_size = too_much(manifest.segments(), &by_age, self.settings.retention_bytes);
        if by_age.is_empty() && by_size.is_empty() {
            return Ok(());
        }
        let retired: Vec<u64> = by_age.iter().chain(&by_size).copied().collect();
        let spans: u64 =
            manifest.segments().filter(|meta| retired.contains(&meta.id)).map(|meta| meta.spans).sum();
        manifest.commit(&Edit { remove: retired.clone(), ..Edit::default() })?;
        drop(manifest);
        let picture = self.view.picture();
        picture
            .segments
            .iter()
            .filter(|segment| retired.contains(&segment.meta.id))
            .for_each(|segment| segment.doom());
        self.view.replace(None, &retired, Vec::new());
        StoreCounters::add(&self.counters.retired_by_age, by_age.len() as u64);
        StoreCounters::add(&self.counters.retired_by_size, by_size.len() as u64);
        StoreCounters::add(&self.counters.retired_spans, spans);
        tracing::info!(by_age = by_age.len(), by_size = by_size.len(), spans, "old segments were removed");
        Ok(())
    }
}

/// Returns the spans of joined traces, with the ids under which they are known.
fn renamed(
    batches: &[Arc<LiveBatch>],
    canonical: &HashMap<TraceId, TraceId>,
) -> impl Iterator<Item = (Span, u64)> {
    spans_of(batches).filter_map(|(span, arrived_unix_ns)| {
        let trace_id = *canonical.get(&span.trace_id)?;
        Some((Span { trace_id, ..span.clone() }, arrived_unix_ns))
    })
}

fn too_old<'a>(segments: impl Iterator<Item = &'a SegmentMeta>, now_unix_ns: u64, age: Duration) -> Vec<u64> {
    let age_ns = u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    let oldest = now_unix_ns.saturating_sub(age_ns);
    segments.filter(|meta| meta.sealed_unix_ns < oldest).map(|meta| meta.id).collect()
}

/// The newest segment is never removed for its size: what was just taken in can be looked at.
fn too_much<'a>(segments: impl Iterator<Item = &'a SegmentMeta>, gone: &[u64], limit_bytes: u64) -> Vec<u64> {
    let mut kept: Vec<&SegmentMeta> = segments.filter(|meta| !gone.contains(&meta.id)).collect();
    kept.sort_by_key(|meta| std::cmp::Reverse((meta.sealed_unix_ns, meta.id)));
    let mut bytes = 0_u64;
    let mut removed = Vec::new();
    for (index, meta) in kept.into_iter().enumerate() {
        bytes = bytes.saturating_add(meta.disk_bytes);
        if bytes > limit_bytes && index > 0 {
            removed.push(meta.id);
        }
    }
    removed
}
