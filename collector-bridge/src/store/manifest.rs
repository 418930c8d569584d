//! Which segments exist, and how far the log is covered by them: a file of frames, one JSON edit each.
//!
//! A segment counts from the moment in which its edit is on the disk. The file is rewritten as a snapshot (temporary
//! file, fsync, rename) at each start and when it grows; a torn last frame is an edit that never happened.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::frame::{self, Frames};
use super::wal::sync_dir;
use crate::model::TimeRange;

/// Edits after which a snapshot is written.
const EDITS_PER_SNAPSHOT: usize = 4096;

/// Spans wait for their segment less than this.
const HOUR_NS: u64 = 3_600_000_000_000;

/// What the manifest knows of a segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SegmentMeta {
    /// Name of its directory; grows.
    pub(crate) id: u64,
    /// When its first span was sealed; retention counts from here, so wrong clocks of senders do no harm.
    pub(crate) sealed_unix_ns: u64,
    /// Start of its earliest span.
    pub(crate) first_start_unix_ns: u64,
    /// Start of its latest span.
    pub(crate) last_start_unix_ns: u64,
    /// Its spans.
    pub(crate) spans: u64,
    /// Its traces.
    pub(crate) traces: u64,
    /// Bytes of all its files.
    pub(crate) disk_bytes: u64,
}

/// One change, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edit {
    /// Segments that exist from now on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) add: Vec<SegmentMeta>,
    /// Segments that no longer count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) remove: Vec<u64>,
    /// Log files up to this number are covered by segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) wal_through: Option<u64>,
    /// Ids below this one were given away; in snapshots, where the segments that had them may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_id: Option<u64>,
}

/// The open manifest.
#[derive(Debug)]
pub(crate) struct Manifest {
    path: PathBuf,
    file: File,
    bytes: u64,
    edits: usize,
    segments: BTreeMap<u64, SegmentMeta>,
    wal_through: u64,
    next_id: u64,
}

impl Manifest {
    /// Returns the manifest in a directory, made if missing.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("manifest");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let mut segments = BTreeMap::new();
        let mut state = (0, 1);
        let mut frames = Frames::new(&bytes, 0);
        for payload in frames.by_ref() {
            let edit: Edit =
                serde_json::from_slice(payload).map_err(|error| StoreError::damaged(&path, error))?;
            apply(&edit, &mut segments, &mut state);
        }
        if frames.is_torn() {
            tracing::warn!(path = %path.display(), offset = frames.end, "torn tail of the manifest was cut off");
        }
        let file = write_snapshot(&path, &segments, state)?;
        let bytes = file.metadata().map_err(StoreError::io("stat", &path))?.len();
        Ok(Self { path, file, bytes, edits: 0, segments, wal_through: state.0, next_id: state.1 })
    }

    /// Returns the segments, oldest first.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &SegmentMeta> {
        self.segments.values()
    }

    /// Returns the number of the newest log file that segments cover.
    pub(crate) fn wal_through(&self) -> u64 {
        self.wal_through
    }

    /// Returns the id for the next segment.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id
    }

    /// Makes a change; it holds when this returns. After an error it did not happen.
    pub(crate) fn commit(&mut self, edit: &Edit) -> Result<(), StoreError> {
        if self.edits >= EDITS_PER_SNAPSHOT {
            self.file = write_snapshot(&self.path, &self.segments, (self.wal_through, self.next_id))?;
            self.bytes = self.file.metadata().map_err(StoreError::io("stat", &self.path))?.len();
            self.edits = 0;
        }
        let frame = encode(edit, &self.path)?;
        if let Err(error) = self.file.write_all(&frame).and_then(|()| self.file.sync_data()) {
            // The next attempt rewrites the file, whatever this one left in it.
            self.edits = EDITS_PER_SNAPSHOT;
            let _ = self.file.set_len(self.bytes);
            return Err(StoreError::io("append to", &self.path)(error));
        }
        self.bytes += frame.len() as u64;
        self.edits += 1;
        let mut state = (self.wal_through, self.next_id);
        apply(edit, &mut self.segments, &mut state);
        (self.wal_through, self.next_id) = state;
        Ok(())
    }
}

fn apply(edit: &Edit, segments: &mut BTreeMap<u64, SegmentMeta>, (wal_through, next_id): &mut (u64, u64)) {
    for id in &edit.remove {
        segments.remove(id);
    }
    for meta in &edit.add {
        *next_id = (*next_id).max(meta.id + 1);
        segments.insert(meta.id, meta.clone());
    }
    *next_id = (*next_id).max(edit.next_id.unwrap_or(0));
    *wal_through = (*wal_through).max(edit.wal_through.unwrap_or(0));
}

fn encode(edit: &Edit, path: &Path) -> Result<Vec<u8>, StoreError> {
    let json = serde_json::to_vec(edit).map_err(|error| StoreError::damaged(path, error))?;
    let mut bytes = Vec::new();
    frame::put(&mut bytes, |out| out.extend_from_slice(&json)).map_err(StoreError::io("write", path))?;
    Ok(bytes)
}

fn write_snapshot(
    path: &Path,
    segments: &BTreeMap<u64, SegmentMeta>,
    (wal_through, next_id): (u64, u64),
) -> Result<File, StoreError> {
    let edit = Edit {
        add: segments.values().cloned().collect(),
        remove: Vec::new(),
        wal_through: Some(wal_through),
        next_id: Some(next_id),
    };
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(&encode(&edit, path).map_err(std::io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_dir(path.parent().unwrap_or(Path::new(".")))?;
        OpenOptions::new().append(true).open(path)
    };
    write().map_err(StoreError::io("write", path))
}

impl SegmentMeta {
    /// Returns whether a span may be counted in the range: when it starts, or when it arrived if that is far ahead.
    pub(crate) fn overlaps_counted(&self, range: TimeRange) -> bool {
        let (first, last) = (self.first_start_unix_ns, self.last_start_unix_ns);
        let is_ahead = last > self.sealed_unix_ns;
        range.overlaps(first, last)
            || (is_ahead && range.overlaps(self.sealed_unix_ns.saturating_sub(HOUR_NS), self.sealed_unix_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(id: u64) -> SegmentMeta {
        SegmentMeta {
            id,
            sealed_unix_ns: 5,
            first_start_unix_ns: 1,
            last_start_unix_ns: 2,
            spans: 3,
            traces: 1,
            disk_bytes: 100,
        }
    }

    fn ids(manifest: &Manifest) -> Vec<u64> {
        manifest.segments().map(|meta| meta.id).collect()
    }

    #[test]
    fn edits_hold_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = Manifest::open(dir.path()).unwrap();
        manifest
            .commit(&Edit { add: vec![meta(1), meta(2)], wal_through: Some(7), ..Edit::default() })
            .unwrap();
        manifest.commit(&Edit { remove: vec![1], ..Edit::default() }).unwrap();
        for _ in 0..2 {
            let manifest = Manifest::open(dir.path()).unwrap();
            assert_eq!((ids(&manifest), manifest.wal_through(), manifest.next_id()), (vec![2], 7, 3));
        }
    }

    #[test]
    fn an_edit_torn_at_any_byte_never_happened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest");
        let mut manifest = Manifest::open(dir.path()).unwrap();
        manifest.commit(&Edit { add: vec![meta(1)], ..Edit::default() }).unwrap();
        let before = fs::read(&path).unwrap();
        manifest.commit(&Edit { add: vec![meta(2)], remove: vec![1], ..Edit::default() }).unwrap();
        let after = fs::read(&path).unwrap();
        for cut in before.len()..after.len() {
            fs::write(&path, &after[..cut]).unwrap();
            assert_eq!(ids(&Manifest::open(dir.path()).unwrap()), [1], "cut at {cut}");
        }
    }
}
