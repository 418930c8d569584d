//! What the agent needs of the host: root, tracefs and bpffs.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use rustix::fs::{CWD, Mode, mkdirat, statfs};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::geteuid;

use crate::shell::step;

/// `TRACEFS_MAGIC` and `BPF_FS_MAGIC` of `include/uapi/linux/magic.h`.
const FILE_SYSTEMS: [(&str, &str, u32); 2] =
    [("tracefs", "/sys/kernel/tracing", 0x7472_6163), ("bpf", "/sys/fs/bpf", 0xcafe_4a11)];

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Starts this very command again through sudo, without building again. Returns only when that cannot be done.
pub(crate) fn become_root() -> Result<()> {
    step("the agent needs root: asking sudo");
    let this = env::current_exe().context("find the running program")?;
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let (command, rest) = arguments.split_first().context("no command to repeat")?;
    let error = Command::new("sudo").arg("--").arg(this).arg(command).arg("--no-build").args(rest).exec();
    bail!("cannot run sudo ({error}): start `cargo xtask run` as root")
}

/// Mounts the file systems through which the agent attaches, where the host has not.
pub(crate) fn mount_missing() -> Result<()> {
    for (kind, path, magic) in FILE_SYSTEMS {
        match statfs(path) {
            // The field's type differs between machines; the magic fits in 32 bits on all.
            Ok(found) if found.f_type as u32 == magic => continue,
            Ok(_) => {}
            Err(Errno::NOENT) => mkdirat(CWD, path, Mode::from_raw_mode(0o700))
                .with_context(|| format!("create {path}: the kernel lacks {kind}"))?,
            Err(error) => return Err(error).with_context(|| format!("look at {path}")),
        }
        step(&format!("mount {kind} at {path}"));
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount(kind, path, kind, flags, None).with_context(|| {
            format!("mount {kind} at {path}: in a container, let the host mount it and pass it through")
        })?;
    }
    Ok(())
}
