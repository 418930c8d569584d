//! Files of a process, as it sees them.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// The root folder of a process. Symbolic links cannot lead out of it.
#[derive(Debug)]
pub(super) struct Root(OwnedFd);

impl Root {
    /// Returns the root of a process, or none if it is gone or not ours to look at.
    pub(super) fn of(tgid: u32) -> Option<Self> {
        Self::at(Path::new(&format!("/proc/{tgid}/root")))
    }

    /// Returns a folder as root.
    pub(super) fn at(folder: &Path) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        open(folder, flags, Mode::empty()).ok().map(Self)
    }

    /// Returns the text of a regular file of at most `limit` bytes; none if it is anything else.
    pub(super) fn read(&self, path: &Path, limit: u64) -> Option<String> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        // Not blocking: a pipe in place of the file must not hold us up.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = openat2(&self.0, relative, flags, Mode::empty(), resolve).ok()?;
        let status = fstat(&file).ok()?;
        let is_small = u64::try_from(status.st_size).is_ok_and(|size| size <= limit);
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile || !is_small {
            return None;
        }
        let mut text = String::new();
        File::from(file).take(limit).read_to_string(&mut text).ok()?;
        Some(text)
    }
}

/// Returns the beginning of a file of `/proc`, at most `limit` bytes; none if the process is gone.
pub(super) fn read_proc(path: &str, limit: u64) -> Option<Vec<u8>> {
    let file = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    File::from(file).take(limit).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_inside_and_only_small_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let inside = |name: &str| folder.path().join(name);
        std::fs::write(inside("a.json"), "{}").unwrap();
        symlink("/a.json", inside("absolute")).unwrap();
        symlink("../../../../../../../../etc/hostname", inside("escape")).unwrap();
        symlink("/etc/hostname", inside("escape2")).unwrap();
        rustix::fs::mkfifoat(CWD, inside("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        let root = Root::at(folder.path()).unwrap();
        let read = |path: &str| root.read(Path::new(path), 10);
        assert_eq!(read("/a.json").as_deref(), Some("{}"));
        assert_eq!(read("/absolute").as_deref(), Some("{}"));
        for path in ["/escape", "/escape2", "/pipe", "/missing", "/"] {
            assert_eq!(read(path), None, "{path}");
        }
        std::fs::write(inside("a.json"), "x".repeat(11)).unwrap();
        assert_eq!(read("/a.json"), None);
    }
}
