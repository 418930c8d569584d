//! CPU time, memory, children and descriptors of a process.

use std::fs;

use anyhow::{Context as _, Result};

/// Clock ticks a second in `/proc`: `USER_HZ`, 100 on every machine that Remora supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the CPU time in seconds that a process has used.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid}"))?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("a broken stat")?;
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0)).sum();
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Returns the resident memory of a process in MiB.
pub fn resident_mib(pid: u32) -> Result<f64> {
    let status =
        fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}

/// Returns the only child of a process; fails where it has none, or several.
pub fn only_child(pid: u32) -> Result<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    children.trim().parse().with_context(|| format!("children of process {pid}: {children:?}"))
}

/// Returns how many descriptors a process has whose links name this.
pub fn descriptors(pid: u32, name: &str) -> Result<usize> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    let links = entries.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(links.filter(|link| link.to_string_lossy().contains(name)).count())
}
