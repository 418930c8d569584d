//! Which bytes a file has, however it was reached.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

/// `OVERLAYFS_SUPER_MAGIC`
const OVERLAY: i64 = 0x794c_7630;
/// No file system has this device.
const ANY_OVERLAY: u64 = 0;

/// Which bytes a file has: file system, inode, its birth where the file system tells it, size and time of change. A number of
/// an inode is given again when its file is gone.
///
/// The containers of one image see the same file through an overlay each, which has a device of its own but gives the
/// inode's number below it. They count as one: a probe belongs to the file below, and would run once for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_s: i64,
    changed_ns: i64,
    born: Option<SystemTime>,
}

impl FileIdentity {
    /// Returns the identity of an open file; none if the system does not tell.
    #[must_use]
    pub fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        Some(Self::from(&metadata, rustix::fs::fstatfs(file).ok()?.f_type))
    }

    /// Returns the identity of the file at a path.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self::from(&metadata, rustix::fs::statfs(path).ok()?.f_type))
    }

    fn from(metadata: &Metadata, file_system: i64) -> Self {
        Self {
            device: if file_system == OVERLAY { ANY_OVERLAY } else { metadata.dev() },
            inode: metadata.ino(),
            bytes: metadata.len(),
            changed_s: metadata.mtime(),
            changed_ns: metadata.mtime_nsec(),
            born: metadata.created().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_same_by_path_and_open_and_another_when_its_inode_was_given_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let identity = FileIdentity::of(file.as_file()).unwrap();
        assert_eq!(FileIdentity::at(file.path()), Some(identity));
        assert_ne!(FileIdentity { born: Some(SystemTime::UNIX_EPOCH), ..identity }, identity);
    }
}
