//! Cgroups of version 2: where they are, and one for the trial.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::discover::cgroup2_mount;

/// A cgroup that lasts as long as the value.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Makes a cgroup right below the root.
    pub(super) fn make() -> Result<Self, String> {
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let root = cgroup2_mount(&mountinfo)
            .ok_or("cgroup v2 is not mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")?;
        let path = root.join(format!("remora-trial-{}", std::process::id()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(format!("make cgroup {}: {error}", path.display()))
            }
            _ => Ok(Self(path)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // A process that has just ended is still counted for a moment.
        for _ in 0..100 {
            match fs::remove_dir(&self.0) {
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                _ => return,
            }
        }
        tracing::warn!(cgroup = %self.0.display(), "the cgroup of the trial cannot be removed");
    }
}

/// Moves this process into a cgroup.
pub(super) fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}
