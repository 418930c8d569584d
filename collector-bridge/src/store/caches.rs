//! Unpacked side files of segments, the last used ones.

use std::sync::{Arc, Mutex, PoisonError};

use super::error::StoreError;
use super::segment::{Segment, SummaryTable};
use crate::analyze::Rollups;

/// Lines of summary tables that stay in memory (about 80 bytes each).
const SUMMARY_LINES: usize = 1_000_000;

/// Rollups of that many segments stay in memory.
const ROLLUPS: usize = 256;

/// The caches of a store.
#[derive(Default)]
pub(crate) struct Caches {
    summaries: Mutex<Recent<SummaryTable>>,
    rollups: Mutex<Recent<Rollups>>,
}

impl Caches {
    pub(crate) fn summaries(&self, segment: &Segment) -> Result<Arc<SummaryTable>, StoreError> {
        recent(&self.summaries, segment, SUMMARY_LINES, SummaryTable::len, Segment::summaries)
    }

    pub(crate) fn rollups(&self, segment: &Segment) -> Result<Arc<Rollups>, StoreError> {
        recent(&self.rollups, segment, ROLLUPS, |_| 1, Segment::rollups)
    }
}

/// Items by segment, the last used one at the end.
struct Recent<T> {
    items: Vec<(u64, Arc<T>)>,
    weight: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { items: Vec::new(), weight: 0 }
    }
}

fn recent<T>(
    cache: &Mutex<Recent<T>>,
    segment: &Segment,
    limit: usize,
    weigh: impl Fn(&T) -> usize,
    read: impl FnOnce(&Segment) -> Result<T, StoreError>,
) -> Result<Arc<T>, StoreError> {
    let lock = || cache.lock().unwrap_or_else(PoisonError::into_inner);
    let mut found = lock();
    if let Some(index) = found.items.iter().position(|(id, _)| *id == segment.meta.id) {
        let item = found.items.remove(index);
        let value = Arc::clone(&item.1);
        found.items.push(item);
        return Ok(value);
    }
    drop(found);
    let value = Arc::new(read(segment)?);
    let mut cache = lock();
    cache.weight += weigh(&value);
    cache.items.push((segment.meta.id, Arc::clone(&value)));
    while cache.weight > limit && cache.items.len() > 1 {
        let (_, oldest) = cache.items.remove(0);
        cache.weight -= weigh(&oldest);
    }
    Ok(value)
}
