//! The part as a file that the JVM can read, for as long as it takes to load it.

use std::io::Write as _;

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, fchown, openat2, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::error::Error;
use super::suitable::Process;

/// What the part is told when it is to begin, and when it is to end.
pub(super) const ON: &str = "on";
pub(super) const ON_WITH_TLS: &str = "on,tls";
pub(super) const OFF: &str = "off";

/// The library, which `cargo xtask build` makes.
const LIBRARY: &[u8] = include_bytes!(env!("REMORA_JVM_PART"));

/// A file in a process's folder for temporary files. It is gone when this is dropped.
#[derive(Debug)]
pub(super) struct File<'a> {
    process: &'a Process,
    path: String,
}

impl<'a> File<'a> {
    /// Writes the library where the process can read it.
    pub(super) fn place(process: &'a Process) -> Result<Self, Error> {
        let path = format!("/tmp/.remora-jvm-{}.so", process.own_pid);
        Self::write(process, path, LIBRARY, Mode::RUSR | Mode::XUSR)
    }

    /// Writes a file that belongs to the process's user.
    pub(super) fn write(process: &'a Process, path: String, bytes: &[u8], mode: Mode) -> Result<Self, Error> {
        let refused = |error: Errno| Error::NoFile(error.into());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let file = Self { process, path };
        // One that was left behind by an agent that was killed.
        file.remove();
        let opened = openat2(&process.root, file.path.as_str(), flags, mode, resolve).map_err(refused)?;
        let owner = (Uid::from_raw(process.user), Gid::from_raw(process.group));
        fchown(&opened, Some(owner.0), Some(owner.1)).map_err(refused)?;
        std::fs::File::from(opened).write_all(bytes).map_err(Error::NoFile)?;
        Ok(file)
    }

    /// Returns where the process finds it.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn remove(&self) {
        let (folder, name) = self.path.rsplit_once('/').unwrap_or(("/", &self.path));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if let Ok(folder) = openat2(&self.process.root, folder, flags, Mode::empty(), resolve) {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

impl Drop for File<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}
