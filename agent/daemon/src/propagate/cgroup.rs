//! Cgroups of version 2: where they are, and one for the trial.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::discover::cgroup2_mount;

/// Returns the folder of a cgroup that is named by its path, as a folder or from the root of all cgroups.
///
/// # Errors
/// There is none of that name, in words for the operator.
pub fn resolve(cgroup: &Path) -> Result<PathBuf, String> {
    let root = root()?;
    let inside = cgroup.strip_prefix(&root).or_else(|_| cgroup.strip_prefix("/")).unwrap_or(cgroup);
    let path = root.join(inside);
    if path.join("cgroup.procs").exists() {
        Ok(path)
    } else {
        Err(format!("there is no cgroup {}", path.display()))
    }
}

fn root() -> Result<PathBuf, String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    cgroup2_mount(&mountinfo)
        .ok_or_else(|| "cgroup v2 is not mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified".to_owned())
}

/// What the cgroup of a trial is called, before the number of its process.
const TRIAL: &str = "remora-trial-";

/// A cgroup that lasts as long as the value.
#[derive(Debug)]
pub(super) struct Temporary(PathBuf);

impl Temporary {
    /// Makes a cgroup right below the root.
    pub(super) fn make() -> Result<Self, String> {
        let root = root()?;
        remove_leftovers(&root);
        let path = root.join(format!("{TRIAL}{}", std::process::id()));
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

/// Removes the cgroups of trials whose processes were killed. The kernel removes only those that nobody is in.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(TRIAL)) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Moves this process into a cgroup.
pub(super) fn enter(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.procs"), std::process::id().to_string())
}
