//! What this user may do.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::capture::locked_memory;
use crate::kubernetes::is_inside_cluster;

const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;
const CAP_CHECKPOINT_RESTORE: u32 = 40;

/// What this user needs to be allowed (capabilities(7)).
struct Capability {
    name: &'static str,
    bit: u32,
    /// Whether nothing works without it.
    is_needed: bool,
    /// What it is for, and what it costs not to have it.
    meaning: &'static str,
}

const CAPABILITIES: [Capability; 5] = [
    Capability { name: "CAP_BPF", bit: CAP_BPF, is_needed: true, meaning: "loads programs and makes maps" },
    Capability {
        name: "CAP_PERFMON",
        bit: CAP_PERFMON,
        is_needed: true,
        meaning: "attaches programs to tracepoints and lets them read memory",
    },
    Capability {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        is_needed: false,
        meaning: "reads executables and environments of other users' processes; without it their services are named by command line",
    },
    Capability {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        is_needed: false,
        meaning: "opens the files of other users, such as package.json; without it some services are named less well",
    },
    Capability {
        name: "CAP_CHECKPOINT_RESTORE",
        bit: CAP_CHECKPOINT_RESTORE,
        is_needed: false,
        meaning: "opens the libraries that processes have mapped (/proc/PID/map_files); without it most requests inside TLS are not seen",
    },
];

/// Locked memory that the maps take on kernels before 5.11, which count it against the limit.
const MAP_BYTES: u64 = 64 << 20;

/// Returns the names of the capabilities with which `remora run` observes everything that it can.
pub fn capabilities() -> impl Iterator<Item = &'static str> {
    CAPABILITIES.iter().map(|capability| capability.name)
}

pub(super) fn findings() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let (held, is_pod) = (effective(&status), is_inside_cluster());
    let mut findings: Vec<_> = CAPABILITIES.iter().map(|wanted| capability(held, wanted, is_pod)).collect();
    findings.push(memory());
    findings
}

/// Returns the effective capabilities (`CapEff` of proc_pid_status(5)).
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

fn capability(held: u64, wanted: &Capability, is_pod: bool) -> Finding {
    let &Capability { name, bit, is_needed, meaning } = wanted;
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN stands in for those that were split off it.
    let by_admin = matches!(bit, CAP_BPF | CAP_PERFMON | CAP_CHECKPOINT_RESTORE) && has(CAP_SYS_ADMIN);
    if has(bit) || by_admin {
        return Finding::ok(name, if has(bit) { "held" } else { "held through CAP_SYS_ADMIN" }, meaning);
    }
    let remedy = if is_pod {
        let name = name.trim_start_matches("CAP_");
        format!("add {name} to securityContext.capabilities.add of the container, which must run as user 0")
    } else {
        format!("run as root, or: setcap {}+ep remora", name.to_lowercase())
    };
    if is_needed {
        Finding::missing(name, "not held", meaning, remedy)
    } else {
        Finding::limited(name, "not held", meaning, remedy)
    }
}

fn memory() -> Finding {
    let meaning = "kernels before 5.11 count maps against the limit of locked memory";
    if !locked_memory::is_counted() {
        return Finding::ok("locked memory", "not limited on this kernel", meaning);
    }
    locked_memory::lift();
    match getrlimit(Resource::Memlock).current {
        Some(most) if most < MAP_BYTES => {
            let found = format!("{} KiB at most", most / 1024);
            let remedy = "ulimit -l unlimited, LimitMEMLOCK=infinity, or CAP_SYS_RESOURCE";
            Finding::missing("locked memory", found, meaning, remedy)
        }
        _ => Finding::ok("locked memory", "enough", meaning),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::State;

    fn state(held: u64, name: &str) -> State {
        capability(held, of(name), false).state
    }

    fn of(name: &str) -> &'static Capability {
        CAPABILITIES.iter().find(|capability| capability.name == name).unwrap()
    }

    #[test]
    fn a_pod_is_told_what_its_manifest_lacks() {
        let finding = capability(0, of("CAP_BPF"), true);
        assert!(finding.remedy.starts_with("add BPF to securityContext.capabilities.add"), "{finding:?}");
    }

    #[test]
    fn capabilities_are_read_from_the_status() {
        let held = effective("Name:\tx\nCapEff:\t000000c000000000\nCapBnd:\t0\n");
        assert_eq!(held, 1 << CAP_BPF | 1 << CAP_PERFMON);
        assert_eq!(state(held, "CAP_BPF"), State::Ok);
        assert_eq!(state(0, "CAP_BPF"), State::Missing);
        assert_eq!(state(1 << CAP_SYS_ADMIN, "CAP_BPF"), State::Ok);
        assert_eq!(state(1 << CAP_SYS_ADMIN, "CAP_CHECKPOINT_RESTORE"), State::Ok);
        assert_eq!(state(1 << CAP_SYS_ADMIN, "CAP_SYS_PTRACE"), State::Limited);
        assert_eq!(effective("garbage"), 0);
    }
}
