//! The kernel itself and the file systems that it offers.

use std::fs;

use super::Finding;
use crate::discover::host_cgroup2_mount;

/// Oldest kernel that has the ring buffer and everything else that is used.
const OLDEST: (u32, u32) = (5, 10);

pub(super) fn findings() -> Vec<Finding> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    vec![
        version(),
        types(),
        lockdown(),
        compiler(),
        cgroup2(),
        unused(&mountinfo, "tracefs", "tracefs", "not needed: the programs are attached to raw tracepoints"),
        unused(&mountinfo, "bpffs", "bpf", "not needed: this version keeps nothing across restarts"),
    ]
}

fn version() -> Finding {
    let names = rustix::system::uname();
    let release = names.release().to_string_lossy().into_owned();
    let meaning = "BPF ring buffers and the helpers that read user memory came with 5.8; 5.10 is the oldest that is tested";
    match parse_release(&release) {
        Some(version) if version >= OLDEST => Finding::ok("kernel", release, meaning),
        Some(_) => Finding::missing("kernel", release, meaning, "use Linux 5.10 or newer"),
        None => Finding::limited(
            "kernel",
            release,
            meaning,
            "the release is not understood; use Linux 5.10 or newer",
        ),
    }
}

fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn types() -> Finding {
    let path = "/sys/kernel/btf/vmlinux";
    let meaning = "offsets of kernel structures are read from BTF; without them no socket can be found";
    match fs::metadata(path) {
        Ok(metadata) => Finding::ok("BTF", format!("{path}, {} KiB", metadata.len() / 1024), meaning),
        Err(error) => Finding::missing(
            "BTF",
            format!("{path}: {error}"),
            meaning,
            "use a kernel with CONFIG_DEBUG_INFO_BTF=y",
        ),
    }
}

/// Returns whether a file system of the kernel is mounted, for those that this version does without.
fn unused(mountinfo: &str, name: &str, kind: &str, meaning: &'static str) -> Finding {
    let path = mount_of(mountinfo, kind).unwrap_or("not mounted");
    Finding::ok(name, format!("{path}; {meaning}"), meaning)
}

fn cgroup2() -> Finding {
    let meaning = "containers of processes that end within moments are known by their cgroup v2 id only";
    match host_cgroup2_mount() {
        Some(path) => Finding::ok("cgroup v2", path.display().to_string(), meaning),
        None => Finding::limited(
            "cgroup v2",
            "not mounted",
            meaning,
            "mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified",
        ),
    }
}

fn lockdown() -> Finding {
    let meaning = "in the mode 'confidentiality' the kernel lets no program read its memory";
    let text = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    match text.split_once('[').and_then(|(_, rest)| rest.split(']').next()) {
        Some("confidentiality") => {
            Finding::missing("lockdown", "confidentiality", meaning, "boot with lockdown=integrity or less")
        }
        Some(mode) => Finding::ok("lockdown", mode, meaning),
        None => Finding::ok("lockdown", "not in this kernel, or not readable", meaning),
    }
}

fn compiler() -> Finding {
    let meaning = "interpreted programs cost several times as much time in every socket call";
    match fs::read_to_string("/proc/sys/net/core/bpf_jit_enable").map(|text| text.trim().to_owned()) {
        Ok(value) if value == "0" => {
            Finding::limited("BPF compiler", "off", meaning, "sysctl net.core.bpf_jit_enable=1")
        }
        Ok(_) => Finding::ok("BPF compiler", "on", meaning),
        // Kernels that always compile have no such switch in every network namespace.
        Err(_) => Finding::ok("BPF compiler", "no switch", meaning),
    }
}

/// Returns where a file system of this type is mounted (proc_pid_mountinfo(5)).
fn mount_of<'a>(mountinfo: &'a str, kind: &str) -> Option<&'a str> {
    mountinfo.lines().find_map(|line| {
        let (fields, tail) = line.split_once(" - ")?;
        (tail.split(' ').next() == Some(kind)).then(|| fields.split(' ').nth(4)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_as_distributions_write_them() {
        assert_eq!(parse_release("6.18.44-fc-v595"), Some((6, 18)));
        assert_eq!(parse_release("5.10.0-46-amd64"), Some((5, 10)));
        assert_eq!(parse_release("6.1-rc3+"), Some((6, 1)));
        assert_eq!(parse_release("next"), None);
        assert!(parse_release("5.9.16") < Some(OLDEST));
    }

    #[test]
    fn mounts_are_found_by_type() {
        let text = "23 28 0:22 / /proc rw - proc proc rw\n40 25 0:12 / /sys/kernel/tracing rw,nosuid shared:7 - tracefs tracefs rw\n";
        assert_eq!(mount_of(text, "tracefs"), Some("/sys/kernel/tracing"));
        assert_eq!(mount_of(text, "bpf"), None);
    }
}
