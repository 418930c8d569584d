//! Whether a process does nothing at all at present: a signal would be heard later, when nobody waits for what it does.

use std::fs;
use std::path::{Path, PathBuf};

use crate::discover::cgroup2_mount;

/// Returns whether a process is stopped, by a signal or a debugger, or frozen with its control group.
pub(super) fn is_stopped(tgid: u32) -> bool {
    let read = |file: &str| fs::read_to_string(format!("/proc/{tgid}/{file}")).unwrap_or_default();
    if has_stopped_state(&read("stat")) {
        return true;
    }
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    state_files(&read("cgroup"), &mountinfo)
        .iter()
        .any(|file| fs::read_to_string(file).is_ok_and(|state| is_frozen(&state)))
}

/// Returns whether the state in `/proc/PID/stat` is that of a stopped process (proc_pid_stat(5)).
fn has_stopped_state(stat: &str) -> bool {
    // A name may hold brackets itself.
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't'))
}

/// Returns the files that say whether the control groups in `/proc/PID/cgroup` are frozen, where they are mounted.
fn state_files(groups: &str, mountinfo: &str) -> Vec<PathBuf> {
    let file = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (mount, name) = match controllers {
            "" => (cgroup2_mount(mountinfo)?, "cgroup.events"),
            controllers if has(controllers, "freezer") => (freezer_mount(mountinfo)?, "freezer.state"),
            _ => return None,
        };
        Some(mount.join(path.trim_start_matches('/')).join(name))
    };
    groups.lines().filter_map(file).collect()
}

/// Returns where the freezer of version 1 is mounted.
fn freezer_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (fields, tail) = line.split_once(" - cgroup ")?;
        let options = tail.rsplit(' ').next()?;
        has(options, "freezer").then(|| fields.split(' ').nth(4).map(|path| Path::new(path).to_owned()))?
    })
}

fn has(list: &str, word: &str) -> bool {
    list.split(',').any(|other| other == word)
}

/// `cgroup.events` of version 2, `freezer.state` of version 1.
fn is_frozen(state: &str) -> bool {
    state.lines().any(|line| matches!(line, "frozen 1" | "FROZEN" | "FREEZING"))
}

#[cfg(test)]
mod tests {
    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    #[test]
    fn a_process_is_stopped_until_it_goes_on() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(!is_stopped(child.id()));
        kill_process(pid, Signal::STOP).unwrap();
        // The state changes before the parent is told, which this waits for.
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::UNTRACED).unwrap();
        assert!(is_stopped(child.id()));
        kill_process(pid, Signal::CONT).unwrap();
        rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::CONTINUED).unwrap();
        assert!(!is_stopped(child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_stopped(u32::MAX));
    }

    #[test]
    fn names_do_not_hide_states() {
        assert!(has_stopped_state("7 (node) T 1 7 7"));
        assert!(has_stopped_state("7 (a) S (b) t 1 7 7"));
        assert!(!has_stopped_state("7 (a) T (b) S 1 7 7"));
        assert!(!has_stopped_state(""));
    }

    #[test]
    fn both_versions_of_control_groups_tell() {
        let mountinfo = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                         33 31 0:30 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let groups = "9:cpu:/other\n4:freezer:/docker/5f3a\n0::/a:b/c\n";
        let files = [
            "/sys/fs/cgroup/freezer/docker/5f3a/freezer.state",
            "/sys/fs/cgroup/unified/a:b/c/cgroup.events",
        ];
        assert_eq!(state_files(groups, mountinfo), files.map(PathBuf::from));
        assert_eq!(state_files(groups, ""), Vec::<PathBuf>::new());
        for frozen in ["populated 1\nfrozen 1\n", "FROZEN\n", "FREEZING\n"] {
            assert!(is_frozen(frozen), "{frozen}");
        }
        assert!(!is_frozen("populated 1\nfrozen 0\n") && !is_frozen("THAWED\n") && !is_frozen(""));
    }
}
