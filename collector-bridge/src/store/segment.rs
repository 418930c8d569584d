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
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

pub(crate) use read::{Condition, Row};
pub(crate) use summaries::SummaryTable;
pub(crate) use write::{SortedSpans, write};

use super::error::StoreError;
use super::frame::Frames;
use super::manifest::{Manifest, SegmentMeta};
use super::wal::sync_dir;
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

/// Returns the ids of all directories with the name of a segment.
pub(crate) fn ids(dir: &Path) -> Result<Vec<u64>, StoreError> {
    Ok(names(dir)?.iter().filter_map(|name| id_of(name)).collect())
}

/// Removes what a crash left behind.
///
/// An id is used again until the edit of its segment is on the disk, and a segment's files are removed only behind the
/// edit that retires it. So what is unknown below the manifest's next id was retired, and the next id is a segment
/// whose edit never came; if the manifest's end was torn, that may be the damaged edit, and the segment is set aside.
/// Nothing writes ids above: those belong to a newer manifest, and nothing is removed. Other names are not ours.
pub(crate) fn remove_strangers(dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let ids = ids(dir)?;
    let next_id = manifest.next_id();
    if let Some(newer) = ids.iter().find(|id| **id > next_id) {
        let what = format!("the manifest is older than this segment: its next one would be {next_id}");
        return Err(StoreError::damaged(&path(dir, *newer), what));
    }
    for id in ids.into_iter().filter(|id| manifest.segments().all(|meta| meta.id != *id)) {
        if id == next_id && manifest.is_torn() {
            set_aside(dir, id)?;
        } else {
            remove(&path(dir, id))?;
        }
    }
    let unfinished =
        names(dir)?.into_iter().filter(|name| name.strip_suffix(".tmp").and_then(id_of).is_some());
    unfinished.map(|name| dir.join(name)).try_for_each(|path| remove(&path))
}

fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = fs::read_dir(dir).map_err(StoreError::io("list", dir))?;
    let names: io::Result<Vec<_>> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let names = names.map_err(StoreError::io("list", dir))?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

fn id_of(name: &str) -> Option<u64> {
    name.parse().ok().filter(|id| format!("{id:016}") == name)
}

fn remove(path: &Path) -> Result<(), StoreError> {
    tracing::info!(path = %path.display(), "unfinished or retired segment was removed");
    fs::remove_dir_all(path).map_err(StoreError::io("remove", path))
}

fn set_aside(dir: &Path, id: u64) -> Result<(), StoreError> {
    let path = path(dir, id);
    let names = (1_u32..).map(|number| path.with_extension(format!("damaged-{number}")));
    let Some(aside) = names.into_iter().find(|aside| !aside.exists()) else { return Ok(()) };
    tracing::warn!(path = %aside.display(), "segment is not in the manifest, whose end was torn: it was set aside");
    fs::rename(&path, &aside).and_then(|()| sync_dir(dir)).map_err(StoreError::io("rename", &path))
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
