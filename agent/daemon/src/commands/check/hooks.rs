//! The places in the kernel where programs are attached, and whether the kernel takes the programs.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::capture::{self, Capture, CaptureSettings, DatagramPorts};
use crate::causes::with_causes;

/// The raw tracepoints, what each is for, and whether nothing works without it. BTF names each as `btf_trace_NAME`.
const TRACEPOINTS: &[(&str, &str)] = &[
    ("sys_enter", "the bytes that a call writes are read here; calls of other processes cost one look-up"),
    ("sys_exit", "the bytes that a call has read are read here"),
    ("sched_process_exec", "a process is named and selected when it begins a program"),
    ("sched_process_fork", "a new process is selected as its parent is"),
    ("sched_process_exit", "what is remembered of a process ends with it"),
    ("inet_sock_set_state", "connections begin and end here"),
];

/// Bytes captured by the trial, which sees nothing.
const TRIAL_CAPTURE_BYTES: u32 = 256;

pub(super) fn findings() -> Vec<Finding> {
    let types = fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
    let mut findings: Vec<Finding> =
        TRACEPOINTS.iter().map(|(name, meaning)| tracepoint(&types, name, meaning)).collect();
    findings.push(trial());
    findings.push(rings());
    findings.push(unused(
        "kprobes",
        "/sys/bus/event_source/devices/kprobe",
        "not used by this version, which needs neither kprobes nor trampolines",
    ));
    findings.push(unused(
        "uprobes",
        "/sys/bus/event_source/devices/uprobe",
        "needed for plaintext inside TLS libraries, and for parents in net/http of Go, asyncio, Python's thread pools, \
         Node and tokio",
    ));
    findings.push(links());
    findings
}

fn tracepoint(types: &[u8], name: &str, meaning: &'static str) -> Finding {
    let title = format!("tracepoint {name}");
    let wanted = format!("\0btf_trace_{name}\0");
    if types.windows(wanted.len()).any(|window| window == wanted.as_bytes()) {
        return Finding::ok(title, "there", meaning);
    }
    let found = if types.is_empty() { "not known without BTF" } else { "not in this kernel" };
    Finding::missing(
        title,
        found,
        meaning,
        "use a kernel with CONFIG_FTRACE_SYSCALLS=y, CONFIG_BPF_EVENTS=y and BTF",
    )
}

/// Loads and attaches the very programs that `remora run` uses, and detaches them at once.
fn trial() -> Finding {
    let meaning = "the programs pass the kernel's verifier and are attached, for a moment, as a trial";
    let settings = CaptureSettings {
        capture_bytes: TRIAL_CAPTURE_BYTES,
        datagram_ports: DatagramPorts::default(),
        observes_by_default: false,
        exec_resets_verdict: false,
        tells_mappings: false,
    };
    let tried = Capture::load(settings).and_then(|mut capture| capture.attach().map(|()| capture));
    match tried {
        Ok(capture) => loaded(capture.fewer_segments(), capture.refused(), meaning),
        Err(error) => Finding::missing("programs", with_causes(&error), meaning, "see the findings above"),
    }
}

fn loaded(fewer_segments: Option<u32>, refused: &[&'static str], meaning: &'static str) -> Finding {
    let remedy = "a newer kernel, whose verifier can follow more";
    if !refused.is_empty() {
        let found = format!("loaded and attached, but refused: {}", refused.join(", "));
        return Finding::limited("programs", found, meaning, remedy);
    }
    if let Some(segments) = fewer_segments {
        let found = format!(
            "loaded and attached; of a call that names its bytes in pieces (writev) the first {segments} are read"
        );
        return Finding::limited("programs", found, meaning, remedy);
    }
    Finding::ok("programs", "loaded and attached", meaning)
}

/// io_uring moves bytes without system calls.
fn rings() -> Finding {
    let meaning = "what programs send through io_uring is seen only as gaps: the bytes pass no system call";
    let remedy = "see 'remora explain PID' for who uses it";
    match fs::read_to_string("/proc/sys/kernel/io_uring_disabled").map(|text| text.trim().to_owned()) {
        Ok(value) if value == "2" => Finding::ok("io_uring", "disabled: nothing can pass by it", meaning),
        Err(_) if !is_in_kernel("io_uring_setup") => Finding::ok("io_uring", "not in this kernel", meaning),
        Ok(_) | Err(_) => Finding::limited("io_uring", "enabled", meaning, remedy),
    }
}

/// Returns whether the kernel has a symbol with this in its name; true where it does not say.
fn is_in_kernel(part: &str) -> bool {
    fs::read_to_string("/proc/kallsyms").map_or(true, |text| text.is_empty() || text.contains(part))
}

fn unused(name: &str, path: &str, meaning: &'static str) -> Finding {
    let found = if Path::new(path).exists() { "there" } else { "not in this kernel" };
    Finding::ok(name, format!("{found}; {meaning}"), meaning)
}

/// Whether a link can hold many probes, or there is one for each: then their end takes its time.
fn links() -> Finding {
    let meaning = "one link holds all places of a library (Linux 6.6); else the agent ends later, by some 40 ms for each";
    let found =
        if capture::links_hold_many() { "there" } else { "not in this kernel: a link for each probe" };
    Finding::ok("uprobe_multi", found, meaning)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::State;

    #[test]
    fn a_tracepoint_is_known_by_its_whole_name() {
        let types = b"\0int\0btf_trace_sys_enter\0btf_trace_sched_process_exec_now\0";
        assert_eq!(tracepoint(types, "sys_enter", "m").state, State::Ok);
        assert_eq!(tracepoint(types, "sched_process_exec", "m").state, State::Missing);
        assert_eq!(tracepoint(b"", "sys_enter", "m").found, "not known without BTF");
    }
}
