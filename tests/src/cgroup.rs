//! A cgroup of a test's own, and programs that run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use remora::discover::cgroup2_mount;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup (v2) that is removed with the value.
#[derive(Debug)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one right below the root.
    pub fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let root = cgroup2_mount(&mounts).context("cgroup v2 is not mounted")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("remora-test-{}-{number}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("make cgroup {}", path.display()))?;
        Ok(Self(path))
    }

    /// Returns its folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns a command that does in it what another one does.
    #[must_use]
    pub fn enclose(&self, inner: &Command) -> Command {
        let mut command = self.command(Path::new(inner.get_program()));
        command.args(inner.get_args());
        command
    }

    /// Returns a command that runs `program` in it.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        let script = "echo $$ > \"$0\" && exec \"$@\"";
        command.args(["-c", script]).arg(self.0.join("cgroup.procs")).arg(program);
        command
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        eprintln!("cgroup {} cannot be removed", self.0.display());
    }
}
