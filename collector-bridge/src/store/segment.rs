//! A segment: spans that do not change any more, in one directory of files.
//!
//! | file | holds |
//! |---|---|
//! | `spans.parquet` | a row per span; attributes in typed columns |
//! | `dictionary` | resources, scopes and attribute shapes that the rows name by number |
//! | `summaries` | a line per trace, newest first |
//! | `filter`, `ids` | from a trace id to its first row |
//! | `rollups` | what `analyze` counted |

mod dictionary;
mod ids;
mod read;
mod rows;
mod summaries;
mod write;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

pub(crate) use read::{Condition, Row};
pub(crate) use summaries::SummaryTable;
pub(crate) use write::{SortedSpans, write};

use super::error::StoreError;
use super::frame::Frames;
use super::manifest::SegmentMeta;
use crate::analyze::Rollups;
use crate::model::TraceId;
use dictionary::Dictionary;
use ids::Filter;

const SPANS_FILE: &str = "spans.parquet";
const DICTIONARY_FILE: &str = "dictionary";
const SUMMARIES_FILE: &str = "summaries";
const FILTER_FILE: &str = "filter";
const IDS_FILE: &str = "ids";
const ROLLUPS_FILE: &str = "rollups";

/// Unpacked side files are never longer.
const MAX_SIDE_BYTES: u64 = 1 << 30;

/// An open segment. Its files are removed when it was dropped from the manifest and the last reader is done.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    dir: PathBuf,
    filter: Filter,
    dictionary: OnceLock<Dictionary>,
    parquet: OnceLock<ArrowReaderMetadata>,
    is_doomed: AtomicBool,
}

/// Returns the directory of a segment.
pub(crate) fn path(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016}"))
}

/// Removes what is no segment of the manifest: left behind by a crash.
pub(crate) fn remove_strangers(dir: &Path, is_known: impl Fn(u64) -> bool) -> Result<(), StoreError> {
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let path = entry.map_err(StoreError::io("list", dir))?.path();
        let id = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if !id.is_some_and(&is_known) {
            tracing::info!(path = %path.display(), "unfinished segment was removed");
            fs::remove_dir_all(&path).map_err(StoreError::io("remove", &path))?;
        }
    }
    Ok(())
}

impl Segment {
    /// Returns the segment of a line in the manifest.
    pub(crate) fn open(dir: &Path, meta: SegmentMeta) -> Result<Self, StoreError> {
        let dir = path(dir, meta.id);
        let filter_path = dir.join(FILTER_FILE);
        let filter = Filter::from_bytes(&read_framed(&filter_path)?);
        let filter = filter.ok_or_else(|| StoreError::damaged(&filter_path, "the filter is empty"))?;
        Ok(Self {
            meta,
            dir,
            filter,
            dictionary: OnceLock::new(),
            parquet: OnceLock::new(),
            is_doomed: AtomicBool::new(false),
        })
    }

    /// Returns false if the trace is surely not in here.
    fn may_contain(&self, trace_id: TraceId) -> bool {
        self.filter.may_contain(ids::hash(trace_id))
    }

    /// Returns whether the trace is in here. The filter alone is not enough for that: among a hundred segments one
    /// lets almost every trace pass.
    pub(crate) fn contains(&self, trace_id: TraceId) -> Result<bool, StoreError> {
        Ok(self.may_contain(trace_id) && !self.first_rows(trace_id)?.is_empty())
    }

    /// Returns the summaries of its traces.
    pub(crate) fn summaries(&self) -> Result<SummaryTable, StoreError> {
        let path = self.dir.join(SUMMARIES_FILE);
        SummaryTable::decode(&read_packed(&path)?).map_err(|error| StoreError::damaged(&path, error))
    }

    /// Returns what was counted over its spans.
    pub(crate) fn rollups(&self) -> Result<Rollups, StoreError> {
        let path = self.dir.join(ROLLUPS_FILE);
        Rollups::decode(&read_packed(&path)?).map_err(|error| StoreError::damaged(&path, error))
    }

    /// Lets the files go with the last reader.
    pub(crate) fn doom(&self) {
        self.is_doomed.store(true, Ordering::Release);
    }

    fn dictionary(&self) -> Result<&Dictionary, StoreError> {
        if let Some(dictionary) = self.dictionary.get() {
            return Ok(dictionary);
        }
        let path = self.dir.join(DICTIONARY_FILE);
        let dictionary =
            Dictionary::decode(&read_packed(&path)?).map_err(|error| StoreError::damaged(&path, error))?;
        Ok(self.dictionary.get_or_init(|| dictionary))
    }

    fn first_rows(&self, trace_id: TraceId) -> Result<Vec<u32>, StoreError> {
        let path = self.dir.join(IDS_FILE);
        let table = File::open(&path).map_err(StoreError::io("open", &path))?;
        ids::look_up(&table, ids::hash(trace_id)).map_err(StoreError::io("read", &path))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if !self.is_doomed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.dir) {
            tracing::warn!(path = %self.dir.display(), %error, "segment was not removed; the next start removes it");
        }
    }
}

fn read_packed(path: &Path) -> Result<Vec<u8>, StoreError> {
    let packed = read_framed(path)?;
    let mut bytes = Vec::new();
    let unpacked = zstd::Decoder::new(packed.as_slice())
        .and_then(|decoder| decoder.take(MAX_SIDE_BYTES).read_to_end(&mut bytes));
    unpacked.map_err(StoreError::io("unpack", path))?;
    Ok(bytes)
}

fn read_framed(path: &Path) -> Result<Vec<u8>, StoreError> {
    let bytes = fs::read(path).map_err(StoreError::io("read", path))?;
    let payload = Frames::new(&bytes, 0).next().map(<[u8]>::to_owned);
    payload.ok_or_else(|| StoreError::damaged(path, "the checksum does not match"))
}

/// Segments, oldest first.
pub(crate) type Segments = Arc<[Arc<Segment>]>;
