//! What this user may do.

use std::fs;

use rustix::process::{Resource, getrlimit};

use super::Finding;

const CAP_SYS_PTRACE: u32 = 19;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Locked memory that the maps take on kernels before 5.11, which count it against the limit.
const MAP_BYTES: u64 = 64 << 20;

pub(super) fn findings() -> Vec<Finding> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = effective(&status);
    let mut findings = vec![
        capability(held, CAP_BPF, "CAP_BPF", true, "loads programs and makes maps"),
        capability(
            held,
            CAP_PERFMON,
            "CAP_PERFMON",
            true,
            "attaches programs to tracepoints and lets them read memory",
        ),
        capability(
            held,
            CAP_SYS_PTRACE,
            "CAP_SYS_PTRACE",
            false,
            "reads executables and environments of other users' processes; without it their services are named by command line",
        ),
        capability(
            held,
            CAP_DAC_READ_SEARCH,
            "CAP_DAC_READ_SEARCH",
            false,
            "opens the files of other users, such as package.json; without it some services are named less well",
        ),
    ];
    findings.extend(memory());
    findings
}

/// Returns the effective capabilities (`CapEff` of proc_pid_status(5)).
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or_default()
}

fn capability(held: u64, bit: u32, name: &'static str, is_needed: bool, meaning: &'static str) -> Finding {
    let has = |bit: u32| held & (1 << bit) != 0;
    // CAP_SYS_ADMIN stands in for the two that were split off it.
    let by_admin = matches!(bit, CAP_BPF | CAP_PERFMON) && has(CAP_SYS_ADMIN);
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

    #[test]
    fn capabilities_are_read_from_the_status() {
        let held = effective("Name:\tx\nCapEff:\t000000c000000000\nCapBnd:\t0\n");
        assert_eq!(held, 1 << CAP_BPF | 1 << CAP_PERFMON);
        assert_eq!(capability(held, CAP_BPF, "CAP_BPF", true, "m").state, State::Ok);
        assert_eq!(capability(0, CAP_BPF, "CAP_BPF", true, "m").state, State::Missing);
        assert_eq!(capability(1 << CAP_SYS_ADMIN, CAP_BPF, "CAP_BPF", true, "m").state, State::Ok);
        assert_eq!(
            capability(1 << CAP_SYS_ADMIN, CAP_SYS_PTRACE, "CAP_SYS_PTRACE", false, "m").state,
            State::Limited
        );
        assert_eq!(effective("garbage"), 0);
    }
}
