//! The write-ahead log: requests as they came, one frame each, in numbered files.
//!
//! A frame's payload is the arrival time (u64, nanoseconds since 1970) and the request's protobuf bytes in zstd.
//! Invariant: what lies before `synced_bytes` in the newest file, and everything in older ones, is on the disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::frame::{self, Frames, MAX_REQUEST_BYTES};

/// First bytes of each file: name and version of the format.
const MAGIC: &[u8; 8] = b"RMRWAL01";

/// A file that is longer is followed by a new one.
const FILE_BYTES: u64 = 64 << 20;

const COMPRESSION_LEVEL: i32 = 1;

/// The open log.
#[derive(Debug)]
pub(crate) struct Wal {
    dir: PathBuf,
    /// Number of the newest file, open or still to be made.
    sequence: u64,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    file: File,
    synced_bytes: u64,
}

/// Returns a request as a frame of the log.
///
/// # Errors
/// If it cannot be compressed, or is too large to be read back.
pub(crate) fn encode(arrived_unix_ns: u64, request: &[u8]) -> io::Result<Vec<u8>> {
    if request.len() > MAX_REQUEST_BYTES {
        return Err(too_large());
    }
    let compressed = zstd::bulk::compress(request, COMPRESSION_LEVEL)?;
    let mut bytes = Vec::with_capacity(frame::HEADER_BYTES + 8 + compressed.len());
    frame::put(&mut bytes, |out| {
        out.extend_from_slice(&arrived_unix_ns.to_le_bytes());
        out.extend_from_slice(&compressed);
    })?;
    Ok(bytes)
}

fn too_large() -> io::Error {
    let reason = format!("the request is longer than {MAX_REQUEST_BYTES} bytes");
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn decode(payload: &[u8]) -> io::Result<(u64, Vec<u8>)> {
    let (arrived, compressed) = payload.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut request = Vec::new();
    zstd::Decoder::new(compressed)?.take(MAX_REQUEST_BYTES as u64 + 1).read_to_end(&mut request)?;
    if request.len() > MAX_REQUEST_BYTES {
        return Err(too_large());
    }
    Ok((u64::from_le_bytes(*arrived), request))
}

impl Wal {
    /// Returns a log that continues behind the file with number `last`.
    pub(crate) fn after(dir: &Path, last: u64) -> Self {
        Self { dir: dir.to_owned(), sequence: last + 1, open: None }
    }

    /// Writes frames and waits until they are on the disk. After an error none of them count, and the file is cut
    /// back (or left for good) so that a later call starts clean.
    pub(crate) fn append(&mut self, frames: &[u8]) -> Result<(), StoreError> {
        if self.open.as_ref().is_some_and(|open| open.synced_bytes >= FILE_BYTES) {
            self.rotate();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let written = open.file.write_all(frames).and_then(|()| open.file.sync_data());
        match written {
            Ok(()) => {
                open.synced_bytes += frames.len() as u64;
                self.open = Some(open);
                Ok(())
            }
            Err(source) => {
                // After a failed write or fsync the kernel's view of this file's tail is not to be trusted.
                self.sequence += 1;
                open.abandon();
                Err(StoreError::Io { action: "append to", path: open.path, source })
            }
        }
    }

    /// Ends the newest file; returns its number. Everything appended so far is in files up to that number.
    pub(crate) fn rotate(&mut self) -> u64 {
        if self.open.take().is_some() {
            self.sequence += 1;
        }
        self.sequence - 1
    }

    fn create(&mut self) -> Result<OpenFile, StoreError> {
        let path = file_path(&self.dir, self.sequence);
        let created = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
        let mut file = created.map_err(StoreError::io("create", &path))?;
        let written = file.write_all(MAGIC).and_then(|()| file.sync_all()).and_then(|()| sync_dir(&self.dir));
        written.map_err(StoreError::io("write", &path))?;
        Ok(OpenFile { path, file, synced_bytes: MAGIC.len() as u64 })
    }
}

impl OpenFile {
    /// Cuts the file back to what is acknowledged. If that fails too, the rest stays and is replayed: spans that
    /// were refused may then show up twice in the log, and `store` removes duplicates.
    fn abandon(&mut self) {
        let cut = self.file.set_len(self.synced_bytes).and_then(|()| self.file.sync_all());
        if let Err(error) = cut {
            tracing::warn!(path = %self.path.display(), offset = self.synced_bytes, %error, "log file was not cut back");
        }
    }
}

/// Fsyncs a directory, so that names in it survive a crash.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn file_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016}.wal"))
}

/// Returns the numbers of the log's files, oldest first.
pub(crate) fn files(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let mut sequences = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        let sequence: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(".wal")).and_then(|stem| stem.parse().ok());
        sequences.extend(sequence);
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// Returns the bytes of all files of the log.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let sequences = files(dir).unwrap_or_default();
    sequences
        .iter()
        .filter_map(|sequence| fs::metadata(file_path(dir, *sequence)).ok())
        .map(|meta| meta.len())
        .sum()
}

/// Removes the files up to a number (inside).
pub(crate) fn remove_through(dir: &Path, through: u64) -> Result<(), StoreError> {
    for sequence in files(dir)?.into_iter().filter(|sequence| *sequence <= through) {
        let path = file_path(dir, sequence);
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(())
}

/// Gives arrival and bytes of each request of a file to `visit`; cuts a torn tail off, with a warning, and removes a file
/// that holds no whole frame. Returns the requests it found.
pub(crate) fn replay(
    dir: &Path,
    sequence: u64,
    mut visit: impl FnMut(u64, Vec<u8>),
) -> Result<u64, StoreError> {
    let path = file_path(dir, sequence);
    let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
    let mut requests = 0;
    if !bytes.starts_with(MAGIC) {
        if bytes.len() >= MAGIC.len() {
            return Err(StoreError::damaged_log(&path, "does not begin like a log of this version"));
        }
        // The process ended between making the file and writing its first bytes: nothing was acknowledged in it.
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        return Ok(0);
    }
    let mut frames = Frames::new(&bytes, MAGIC.len());
    for payload in frames.by_ref() {
        match decode(payload) {
            Ok((arrived_unix_ns, request)) => {
                requests += 1;
                visit(arrived_unix_ns, request);
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "request in the log cannot be unpacked")
            }
        }
    }
    if frames.is_torn() {
        let lost = bytes.len() - frames.end;
        tracing::warn!(path = %path.display(), offset = frames.end, bytes = lost, "torn tail of the log was cut off");
        let file = OpenOptions::new().write(true).open(&path).map_err(StoreError::io("open", &path))?;
        let cut = file.set_len(frames.end as u64).and_then(|()| file.sync_all());
        cut.map_err(StoreError::io("truncate", &path))?;
    }
    if frames.end == MAGIC.len() {
        // No segment would ever cover it, and so nothing else would remove it.
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(dir: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        for sequence in files(dir).unwrap() {
            replay(dir, sequence, |_, request| found.push(request)).unwrap();
        }
        found
    }

    #[test]
    fn the_largest_request_fits_into_a_frame_however_badly_it_compresses() {
        let longest = zstd::zstd_safe::compress_bound(MAX_REQUEST_BYTES) + 8;
        assert!(longest <= frame::MAX_PAYLOAD_BYTES, "{longest}");
    }

    #[test]
    fn requests_come_back_in_order_over_rotations() {
        let dir = tempfile::tempdir().unwrap();
        let mut wal = Wal::after(dir.path(), 0);
        wal.append(&encode(1, b"one").unwrap()).unwrap();
        assert_eq!(wal.rotate(), 1);
        assert_eq!(wal.rotate(), 1);
        wal.append(&encode(2, b"two").unwrap()).unwrap();
        assert_eq!(requests(dir.path()), [b"one".to_vec(), b"two".to_vec()]);
        remove_through(dir.path(), 1).unwrap();
        assert_eq!(requests(dir.path()), [b"two".to_vec()]);
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_and_the_rest_kept() {
        let one = encode(1, b"one").unwrap();
        let two = encode(2, b"two").unwrap();
        for cut in 0..two.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = file_path(dir.path(), 1);
            let whole = [MAGIC.as_slice(), &one].concat();
            fs::write(&path, [whole.as_slice(), &two[..cut]].concat()).unwrap();
            assert_eq!(requests(dir.path()), [b"one".to_vec()], "cut at {cut}");
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_file_without_a_whole_frame_is_removed() {
        let one = encode(1, b"one").unwrap();
        let whole = [MAGIC.as_slice(), &one].concat();
        for cut in 0..whole.len() {
            let dir = tempfile::tempdir().unwrap();
            fs::write(file_path(dir.path(), 1), &whole[..cut]).unwrap();
            assert_eq!(requests(dir.path()), Vec::<Vec<u8>>::new(), "cut at {cut}");
            assert_eq!(files(dir.path()).unwrap(), Vec::<u64>::new(), "cut at {cut}");
        }
    }
}
