//! The write-ahead log: requests as they came, one frame each, in numbered files.
//!
//! A frame's payload is the arrival time (u64, nanoseconds since 1970) and the request's protobuf bytes in zstd.
//! Invariant: what lies before `synced_bytes` in the newest file, and everything in older ones, is on the disk. So an
//! interrupted write can only have torn the newest file's tail; whatever else is no whole frame is damage, which is
//! stepped over, counted, and kept beside the log under the name `NAME.wal.damaged`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::error::StoreError;
use super::frame::{self, Frames, MAX_REQUEST_BYTES};
use super::repeats::RequestKey;

/// First bytes of each file: name and version of the format.
const MAGIC: &[u8; 8] = b"RMRWAL01";

/// A file that is longer is followed by a new one.
const FILE_BYTES: u64 = 64 << 20;

/// First bytes of zstd's frames (RFC 8878, section 3.1.1).
const ZSTD_MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

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

/// A request that was read back.
pub(crate) struct Logged {
    pub(crate) arrived_unix_ns: u64,
    pub(crate) key: RequestKey,
    pub(crate) request: Vec<u8>,
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

/// Returns the key of the request in a frame.
pub(crate) fn key_of(frame: &[u8]) -> RequestKey {
    RequestKey::of(frame.get(frame::HEADER_BYTES + 8..).unwrap_or_default())
}

fn too_large() -> io::Error {
    let reason = format!("the request is longer than {MAX_REQUEST_BYTES} bytes");
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn decode(payload: &[u8]) -> io::Result<Logged> {
    let (arrived, compressed) = payload.split_first_chunk().ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut request = Vec::new();
    zstd::Decoder::new(compressed)?.take(MAX_REQUEST_BYTES as u64 + 1).read_to_end(&mut request)?;
    if request.len() > MAX_REQUEST_BYTES {
        return Err(too_large());
    }
    Ok(Logged { arrived_unix_ns: u64::from_le_bytes(*arrived), key: RequestKey::of(compressed), request })
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
    numbered(dir, ".wal")
}

/// Returns the number of the newest file that was kept because of damage, which is not given to another file; zero
/// without one.
pub(crate) fn newest_damaged(dir: &Path) -> Result<u64, StoreError> {
    numbered(dir, ".wal.damaged").map(|sequences| sequences.last().copied().unwrap_or(0))
}

fn numbered(dir: &Path, suffix: &str) -> Result<Vec<u64>, StoreError> {
    let mut sequences = Vec::new();
    for entry in fs::read_dir(dir).map_err(StoreError::io("list", dir))? {
        let name = entry.map_err(StoreError::io("list", dir))?.file_name();
        let sequence: Option<u64> =
            name.to_str().and_then(|name| name.strip_suffix(suffix)).and_then(|stem| stem.parse().ok());
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

/// What a file of the log held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replayed {
    /// Requests that were taken.
    pub(crate) requests: u64,
    /// Requests in whole frames that could not be unpacked or were not understood.
    pub(crate) unreadable_requests: u64,
    /// Bytes that are no whole frames, without a torn tail.
    pub(crate) damaged_bytes: u64,
}

/// Gives each request of a file to `visit`, also those behind damage. Cuts the torn tail of the
/// newest file off, with a warning, keeps a damaged file under another name, and removes a file that holds no request.
pub(crate) fn replay(
    dir: &Path,
    sequence: u64,
    is_newest: bool,
    mut visit: impl FnMut(Logged) -> Result<(), String>,
) -> Result<Replayed, StoreError> {
    let path = file_path(dir, sequence);
    let bytes = fs::read(&path).map_err(StoreError::io("read", &path))?;
    if !bytes.starts_with(MAGIC) {
        if bytes.len() >= MAGIC.len() {
            return Err(StoreError::damaged_log(&path, "does not begin like a log of this version"));
        }
        // The process ended between making the file and writing its first bytes: nothing was acknowledged in it.
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
        return Ok(Replayed::default());
    }
    let mut found = Replayed::default();
    let mut frames = Frames::new(&bytes, MAGIC.len());
    loop {
        for payload in frames.by_ref() {
            let taken = decode(payload).map_err(|error| error.to_string());
            match taken.and_then(&mut visit) {
                Ok(()) => found.requests += 1,
                Err(error) => {
                    found.unreadable_requests += 1;
                    tracing::error!(path = %path.display(), %error, "request in the log cannot be read");
                }
            }
        }
        let (offset, rest) = (frames.end, bytes.len() - frames.end);
        if rest == 0 {
            break;
        }
        let skipped = frames.resume(is_request);
        if skipped.is_none() && is_newest && frames.is_cut() {
            tracing::warn!(path = %path.display(), offset, bytes = rest, "torn tail of the log was cut off");
            cut(&path, offset as u64)?;
            break;
        }
        let lost = skipped.unwrap_or(rest);
        found.damaged_bytes += lost as u64;
        tracing::error!(path = %path.display(), offset, bytes = lost, "the log is damaged, acknowledged requests are lost");
        if skipped.is_none() {
            break;
        }
    }
    let is_damaged = found.damaged_bytes > 0 || found.unreadable_requests > 0;
    let is_kept = is_damaged && keep_damaged(&path);
    let is_empty = found.requests == 0 && found.unreadable_requests == 0;
    if is_empty && (is_kept || !is_damaged) {
        // No segment would ever cover it, and so nothing else would remove it.
        fs::remove_file(&path).map_err(StoreError::io("remove", &path))?;
    }
    Ok(found)
}

fn is_request(payload: &[u8]) -> bool {
    payload.get(8..).is_some_and(|compressed| compressed.starts_with(&ZSTD_MAGIC))
}

fn cut(path: &Path, bytes: u64) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).open(path).map_err(StoreError::io("open", path))?;
    file.set_len(bytes).and_then(|()| file.sync_all()).map_err(StoreError::io("truncate", path))
}

/// Gives a file a second name under which nothing reads or removes it; returns whether it has it.
fn keep_damaged(path: &Path) -> bool {
    let copy = path.with_extension("wal.damaged");
    // A link takes no space, and nothing writes to the file any more.
    let kept = match fs::hard_link(path, &copy) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(_) => fs::copy(path, &copy).map(|_| ()),
        Ok(()) => Ok(()),
    };
    let kept = kept.and_then(|()| sync_dir(path.parent().unwrap_or(Path::new("."))));
    match &kept {
        Ok(()) => tracing::error!(path = %copy.display(), "the damaged log file is kept"),
        Err(error) => {
            tracing::error!(path = %copy.display(), %error, "the damaged log file could not be kept")
        }
    }
    kept.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(dir: &Path) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let files = files(dir).unwrap();
        for sequence in &files {
            let visit = |logged: Logged| {
                found.push(logged.request);
                Ok(())
            };
            let replayed = replay(dir, *sequence, Some(sequence) == files.last(), visit).unwrap();
            assert_eq!((replayed.damaged_bytes, replayed.unreadable_requests), (0, 0));
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
