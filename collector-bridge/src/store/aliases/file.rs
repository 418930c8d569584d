//! Aliases ↔ the file `aliases`: frames of entries, 40 bytes each (alias, canonical id, time as u64).
//!
//! Aliases are no acknowledged data: a damaged frame costs the joins in it, and is stepped over with a warning.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::groups::Entry;
use crate::model::TraceId;
use crate::store::error::StoreError;
use crate::store::frame::{self, Frames};
use crate::store::wal::sync_dir;

const NAME: &str = "aliases";

const ENTRY_BYTES: usize = 40;

/// Entries of a frame, at most.
const FRAME_ENTRIES: usize = 65_536;

/// A file with fewer entries than this is not worth a rewrite.
const MIN_LONG: usize = 16_384;

/// The open file.
pub(super) struct AliasFile {
    path: PathBuf,
    /// None after an error, until a rewrite.
    file: Option<Arc<File>>,
    /// Entries in the file, also those that are not needed.
    entries: usize,
    is_synced: bool,
}

impl AliasFile {
    /// Returns the file in a directory, made if missing, after its entries were given to `visit`, oldest first.
    pub(super) fn open(dir: &Path, mut visit: impl FnMut(Entry)) -> Result<Self, StoreError> {
        let path = dir.join(NAME);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(StoreError::io("read", &path)(error)),
        };
        let mut entries = 0;
        let mut is_whole = true;
        let mut frames = Frames::new(&bytes, 0);
        loop {
            for payload in frames.by_ref() {
                for entry in payload.as_chunks::<ENTRY_BYTES>().0.iter().filter_map(decode) {
                    entries += 1;
                    visit(entry);
                }
            }
            let rest = bytes.len() - frames.end;
            is_whole &= rest == 0;
            if rest == 0 || frames.resume(is_entries).is_none() {
                break;
            }
        }
        let file = OpenOptions::new().create(true).append(true).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        sync_dir(dir).map_err(StoreError::io("sync", dir))?;
        if !is_whole {
            tracing::warn!(path = %path.display(), entries, "the file of joined traces was torn or damaged");
        }
        // Nothing may be written behind half a frame.
        let file = is_whole.then(|| Arc::new(file));
        Ok(Self { path, file, entries, is_synced: true })
    }

    /// Writes entries. After an error they are written with all others by the next rewrite.
    pub(super) fn append(&mut self, entries: &[Entry]) {
        let Some(file) = &self.file else { return };
        let written = encode(entries).and_then(|bytes| file.as_ref().write_all(&bytes));
        match written {
            Ok(()) => {
                self.entries += entries.len();
                self.is_synced = false;
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "joined traces were not written, and will be tried again");
                self.file = None;
            }
        }
    }

    /// Returns the file if it holds what is not known to be on the disk; it is taken to be from then on.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        let file = self.file.clone().filter(|_| !self.is_synced);
        self.is_synced = true;
        file
    }

    /// Gives the file up after a failed fsync: the kernel's view of it is not to be trusted.
    pub(super) fn distrust(&mut self, error: io::Error) -> StoreError {
        self.file = None;
        StoreError::io("fsync", &self.path)(error)
    }

    /// Returns whether a rewrite with so many entries is due.
    pub(super) fn is_long(&self, needed: usize) -> bool {
        self.file.is_none() || self.entries > needed.saturating_mul(2).max(MIN_LONG)
    }

    /// Replaces the file by one with these entries.
    pub(super) fn rewrite(&mut self, entries: &[Entry]) -> Result<(), StoreError> {
        let temporary = self.path.with_extension("tmp");
        let write = || {
            let bytes = encode(entries)?;
            File::create(&temporary)?;
            let mut file = OpenOptions::new().append(true).open(&temporary)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &self.path)?;
            sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
            Ok(file)
        };
        let written = write().inspect_err(|_| {
            // It would only take the space that is missing.
            let _ = fs::remove_file(&temporary);
        });
        self.file = Some(Arc::new(written.map_err(StoreError::io("write", &temporary))?));
        (self.entries, self.is_synced) = (entries.len(), true);
        Ok(())
    }
}

fn is_entries(payload: &[u8]) -> bool {
    !payload.is_empty() && payload.len().is_multiple_of(ENTRY_BYTES)
}

fn encode(entries: &[Entry]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entries in entries.chunks(FRAME_ENTRIES) {
        frame::put(&mut bytes, |out| {
            for entry in entries {
                out.extend_from_slice(&entry.alias.0);
                out.extend_from_slice(&entry.canonical.0);
                out.extend_from_slice(&entry.joined_unix_ns.to_le_bytes());
            }
        })?;
    }
    Ok(bytes)
}

fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    let (alias, rest) = bytes.split_first_chunk::<16>()?;
    let (canonical, time) = rest.split_first_chunk::<16>()?;
    Some(Entry {
        alias: TraceId::from_bytes(alias)?,
        canonical: TraceId::from_bytes(canonical)?,
        joined_unix_ns: u64::from_le_bytes(time.try_into().ok()?),
    })
}
