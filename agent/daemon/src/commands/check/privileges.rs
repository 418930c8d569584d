//! What this user may do.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Finding;

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
    let held = effective(&status);
    let mut findings: Vec<_> = CAPABILITIES.iter().map(|wanted| capability(held, wanted)).collect();
    findings.extend(memory());
    findings
}

/// Returns the effective capabilities (`CapEff` of proc_pid_status(5)).
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

fn capability(held: u64, wanted: &Capability) -> Finding {
    let &Capability { name, bit, is_needed, meaning } = wanted;
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN stands in for those that were split off it.
    let by_admin = matches!(bit, CAP_BPF | CAP_PERFMON | CAP_CHECKPOINT_RESTORE) && has(CAP_SYS_ADMIN);
    if has(bit) || by_admin {
        return Finding::ok(name, if has(bit) { "held" } else { "held through CAP_SYS_ADMIN" }, meaning);
    }
    let remedy = format!("run as root, or: setcap {}+ep remora", name.to_lowercase());
    if is_needed {
        Finding::missing(name, "not held", meaning, remedy)
    } else {
        Finding::limited(name, "not held", meaning, remedy)
    }
}

fn memory() -> Option<Finding> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let is_old = ["5.8.", "5.9.", "5.10."].iter().any(|prefix| release.starts_with(prefix));
    let meaning = "kernels before 5.11 count maps against the limit of locked memory";
    let limit = getrlimit(Resource::Memlock);
    match limit.maximum {
        _ if !is_old => Some(Finding::ok("locked memory", "not limited on this kernel", meaning)),
        Some(maximum) if maximum < MAP_BYTES => {
            let found = format!("{} KiB at most", maximum / 1024);
            Some(Finding::missing(
                "locked memory",
                found,
                meaning,
                "ulimit -l unlimited, or LimitMEMLOCK=infinity",
            ))
        }
        _ => Some(Finding::ok("locked memory", "enough", meaning)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::State;

    fn state(held: u64, name: &str) -> State {
        capability(held, CAPABILITIES.iter().find(|capability| capability.name == name).unwrap()).state
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
