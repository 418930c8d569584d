//! Which segments exist, and how far the log is covered by them: a file of frames, one JSON edit each.
//!
//! A segment counts from the moment in which its edit is on the disk. The file is rewritten as a snapshot (temporary
//! file, fsync, rename) at each start and when it grows, if the disk has room for that. A torn last frame is an edit that
//! never happened; any other damage stops the start, since without its edits all segments look superfluous.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
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
    torn_bytes: u64,
    edits: usize,
    /// The file is not to be trusted with another edit.
    must_rewrite: bool,
    segments: BTreeMap<u64, SegmentMeta>,
    wal_through: u64,
    next_id: u64,
}

impl Manifest {
    /// Returns the path of the manifest in a directory.
    pub(crate) fn path(dir: &Path) -> PathBuf {
        dir.join("manifest")
    }

    /// Returns the manifest in a directory, made if missing. One that is there is not changed before
    /// [`Manifest::begin`].
    ///
    /// # Errors
    /// If the file cannot be read, or is damaged in another way than an interrupted edit leaves it.
    pub(crate) fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = Self::path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Self::create(path),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let mut segments = BTreeMap::new();
        let mut state = (0, 1);
        let mut edits = 0;
        let mut frames = Frames::new(&bytes, 0);
        for payload in frames.by_ref() {
            let edit: Edit =
                serde_json::from_slice(payload).map_err(|error| StoreError::damaged(&path, error))?;
            apply(&edit, &mut segments, &mut state);
            edits += 1;
        }
        let end = frames.end;
        let torn_bytes = (bytes.len() - end) as u64;
        if edits == 0 || (frames.is_torn() && frames.resume(is_edit).is_some()) {
            return Err(StoreError::damaged(&path, format!("the edit at offset {end} is damaged")));
        }
        if torn_bytes > 0 {
            tracing::warn!(path = %path.display(), offset = end, bytes = torn_bytes, "torn tail of the manifest is cut off");
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(StoreError::io("open", &path))?;
        let (wal_through, next_id) = state;
        let bytes = end as u64;
        Ok(Self { path, file, bytes, torn_bytes, edits, must_rewrite: false, segments, wal_through, next_id })
    }

    fn create(path: PathBuf) -> Result<Self, StoreError> {
        let snapshot = Edit { wal_through: Some(0), next_id: Some(1), ..Edit::default() };
        let (file, bytes) = write_temporary(&path, &snapshot)?;
        let named = fs::rename(temporary(&path), &path).and_then(|()| sync_parent(&path));
        named.map_err(StoreError::io("write", &path))?;
        Ok(Self {
            path,
            file,
            bytes,
            torn_bytes: 0,
            edits: 0,
            must_rewrite: false,
            segments: BTreeMap::new(),
            wal_through: 0,
            next_id: 1,
        })
    }

    /// Returns whether the end of the file was torn: an edit that never happened, or one that was damaged.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn_bytes > 0
    }

    /// Makes the file ready for edits: a snapshot if the disk has room for one, otherwise the old file without its torn
    /// tail.
    pub(crate) fn begin(&mut self) -> Result<(), StoreError> {
        let Err(error) = self.rewrite() else { return Ok(()) };
        tracing::warn!(%error, "the manifest was not rewritten, edits go behind the old ones");
        if self.torn_bytes > 0 {
            let cut = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all());
            cut.map_err(StoreError::io("truncate", &self.path))?;
            self.torn_bytes = 0;
        }
        Ok(())
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
        if self.must_rewrite {
            self.rewrite()?;
        } else if self.edits >= EDITS_PER_SNAPSHOT {
            // A full disk may still have room for an edit, which may be the one that frees space.
            self.edits = 0;
            self.rewrite().or_else(|error| if self.must_rewrite { Err(error) } else { Ok(()) })?;
        }
        let frame = encode(edit, &self.path)?;
        let mut is_written = false;
        let kept = self.file.write_all(&frame).and_then(|()| {
            is_written = true;
            self.file.sync_data()
        });
        if let Err(error) = kept {
            let cut = self.file.set_len(self.bytes).and_then(|()| self.file.sync_all());
            // After a failed fsync the kernel's view of the file is not to be trusted.
            self.must_rewrite = is_written || cut.is_err();
            return Err(StoreError::io("append to", &self.path)(error));
        }
        self.bytes += frame.len() as u64;
        self.edits += 1;
        let mut state = (self.wal_through, self.next_id);
        apply(edit, &mut self.segments, &mut state);
        (self.wal_through, self.next_id) = state;
        Ok(())
    }

    /// Writes all edits as one. After an error the old file goes on, unless `must_rewrite` says otherwise.
    fn rewrite(&mut self) -> Result<(), StoreError> {
        let snapshot = Edit {
            add: self.segments.values().cloned().collect(),
            remove: Vec::new(),
            wal_through: Some(self.wal_through),
            next_id: Some(self.next_id),
        };
        let (file, bytes) = write_temporary(&self.path, &snapshot)?;
        fs::rename(temporary(&self.path), &self.path).map_err(StoreError::io("write", &self.path))?;
        (self.file, self.bytes, self.torn_bytes, self.edits) = (file, bytes, 0, 0);
        // An edit in the new file holds only when its name is on the disk.
        self.must_rewrite = true;
        sync_parent(&self.path).map_err(StoreError::io("write", &self.path))?;
        self.must_rewrite = false;
        Ok(())
    }
}

fn is_edit(payload: &[u8]) -> bool {
    payload.starts_with(b"{") && payload.ends_with(b"}")
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

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("tmp")
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// Writes a manifest of one edit beside the real one; returns it, open for more, and its bytes.
fn write_temporary(path: &Path, edit: &Edit) -> Result<(File, u64), StoreError> {
    let frame = encode(edit, path)?;
    let temporary = temporary(path);
    let write = || {
        File::create(&temporary)?;
        let mut file = OpenOptions::new().append(true).open(&temporary)?;
        file.write_all(&frame)?;
        file.sync_all()?;
        Ok(file)
    };
    let file = write().inspect_err(|_| {
        // It would only take the space that is missing.
        let _ = fs::remove_file(&temporary);
    });
    Ok((file.map_err(StoreError::io("write", &temporary))?, frame.len() as u64))
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

    fn open(dir: &Path) -> Manifest {
        let mut manifest = Manifest::open(dir).unwrap();
        manifest.begin().unwrap();
        manifest
    }

    fn ids(manifest: &Manifest) -> Vec<u64> {
        manifest.segments().map(|meta| meta.id).collect()
    }

    #[test]
    fn edits_hold_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let mut manifest = open(dir.path());
        manifest
            .commit(&Edit { add: vec![meta(1), meta(2)], wal_through: Some(7), ..Edit::default() })
            .unwrap();
        manifest.commit(&Edit { remove: vec![1], ..Edit::default() }).unwrap();
        for _ in 0..2 {
            let manifest = open(dir.path());
            assert_eq!((ids(&manifest), manifest.wal_through(), manifest.next_id()), (vec![2], 7, 3));
        }
    }

    #[test]
    fn an_edit_torn_at_any_byte_never_happened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest");
        let mut manifest = open(dir.path());
        manifest.commit(&Edit { add: vec![meta(1)], ..Edit::default() }).unwrap();
        let before = fs::read(&path).unwrap();
        manifest.commit(&Edit { add: vec![meta(2)], remove: vec![1], ..Edit::default() }).unwrap();
        let after = fs::read(&path).unwrap();
        for cut in before.len()..after.len() {
            fs::write(&path, &after[..cut]).unwrap();
            assert_eq!(ids(&open(dir.path())), [1], "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_front_of_a_whole_edit_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = Manifest::path(dir.path());
        let mut manifest = open(dir.path());
        for id in 1..=2 {
            manifest.commit(&Edit { add: vec![meta(id)], ..Edit::default() }).unwrap();
        }
        let last = encode(&Edit { add: vec![meta(3)], ..Edit::default() }, &path).unwrap();
        let before = fs::read(&path).unwrap();
        manifest.commit(&Edit { add: vec![meta(3)], ..Edit::default() }).unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole, [before.as_slice(), &last].concat());
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &damaged).unwrap();
            let opened = Manifest::open(dir.path());
            if bit / 8 < before.len() {
                assert!(matches!(opened, Err(StoreError::Damaged { .. })), "bit {bit}: {opened:?}");
            } else {
                assert_eq!(ids(&opened.unwrap()), [1, 2], "bit {bit}");
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "bit {bit}");
        }
    }

    #[test]
    fn without_room_for_a_snapshot_edits_go_behind_the_old_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = Manifest::path(dir.path());
        open(dir.path()).commit(&Edit { add: vec![meta(1)], ..Edit::default() }).unwrap();
        let before = fs::read(&path).unwrap();
        fs::write(&path, [before.as_slice(), b"torn"].concat()).unwrap();
        // A directory in the way of the temporary file stands for a disk without room.
        fs::create_dir(temporary(&path)).unwrap();
        let mut manifest = open(dir.path());
        assert_eq!(fs::read(&path).unwrap(), before);
        manifest.edits = EDITS_PER_SNAPSHOT;
        manifest.commit(&Edit { add: vec![meta(2)], ..Edit::default() }).unwrap();
        assert!(fs::read(&path).unwrap().starts_with(&before));
        fs::remove_dir(temporary(&path)).unwrap();
        assert_eq!(ids(&open(dir.path())), [1, 2]);
    }
}
