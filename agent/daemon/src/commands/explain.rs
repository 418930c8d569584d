//! `remora explain PID`: what is seen of a process, through what, and what is not.

mod contents;
mod mapped;
mod sockets;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use self::mapped::Tls;
use self::sockets::Sockets;
use crate::attach;
use crate::discover::{self, Decision, Process, Runtime, Selection};

/// Everything that is known.
#[derive(Debug, Serialize)]
struct Report {
    pid: u32,
    service_name: String,
    service_name_source: &'static str,
    executable: Option<String>,
    /// The first word only: arguments carry secrets.
    command: Option<String>,
    container_id: Option<String>,
    cgroup: Option<String>,
    runtime: &'static str,
    runtime_version: Option<String>,
    is_observed: bool,
    reason: String,
    sockets: Sockets,
    tls: Vec<Tls>,
    uses_io_uring: bool,
    seen: Vec<String>,
    not_seen: Vec<String>,
}

/// Prints what is known of the process.
pub(super) fn explain(pid: u32, selection: &Selection, is_json: bool) -> anyhow::Result<ExitCode> {
    let Some((process, decision)) = discover::look_at(pid, selection) else {
        bail!("process {pid}: there is no such process, or it is a kernel thread")
    };
    let report = report(&process, decision);
    let text = if is_json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn report(process: &Process, decision: Decision) -> Report {
    let sockets = Sockets::of(process.tgid);
    let tls = mapped::tls(process);
    let uses_io_uring = sockets.rings > 0;
    let (seen, not_seen) = if decision.observe {
        (seen(process, &tls), not_seen(process, &tls, &sockets))
    } else {
        (Vec::new(), vec![format!("anything: {}", decision.reason)])
    };
    Report {
        pid: process.tgid,
        service_name: process.service_name.clone(),
        service_name_source: process.service_name_source.label(),
        executable: process.executable.as_ref().map(|path| path.display().to_string()),
        command: process.arguments.first().cloned(),
        container_id: process.container_id.clone(),
        cgroup: process.cgroup.clone(),
        runtime: process.runtime.label(),
        runtime_version: match &process.runtime {
            Runtime::Go { version, .. } => Some(version.clone()),
            _ => None,
        },
        is_observed: decision.observe,
        reason: decision.reason,
        sockets,
        tls,
        uses_io_uring,
        seen,
        not_seen,
    }
}

fn seen(process: &Process, tls: &[Tls]) -> Vec<String> {
    let key = match &process.runtime {
        Runtime::Go { offsets: Some(offsets), .. } if offsets.parent_goid != 0 => {
            "parents by goroutine, and by the goroutine that started it".to_owned()
        }
        Runtime::Go { offsets: Some(_), .. } => "parents by goroutine".to_owned(),
        Runtime::Go { offsets: None, .. } => "requests, without parents of the calls in them".to_owned(),
        Runtime::Proxy => "parents by what is asked for: of the request that asks for the same, if it is the only one"
            .to_owned(),
        Runtime::Nginx => "parents by turn of the event loop, which in nginx never mixes requests".to_owned(),
        Runtime::Node => {
            "parents by turn of the event loop: of calls that follow what was read, on connections nobody waited for"
                .to_owned()
        }
        Runtime::Python { .. } => {
            "parents by asyncio task, or by thread as long as a thread serves one request at a time".to_owned()
        }
        Runtime::Tokio { .. } => {
            "parents by task of tokio, and by the task that made it or has it send".to_owned()
        }
        Runtime::Ruby => {
            "parents by thread, as long as a thread serves one request at a time".to_owned()
        }
        _ => {
            "parents by thread, once its threads have shown that they serve one request at a time".to_owned()
        }
    };
    let mut seen = vec![
        "requests in clear text on TCP and Unix sockets, at the system calls that read and write".to_owned(),
        "trace contexts in requests (W3C traceparent and tracestate, B3, uber-trace-id)".to_owned(),
        key,
    ];
    let visible = tls.iter().filter(|tls| tls.is_seen);
    seen.extend(visible.map(|tls| format!("requests inside TLS: {}", tls.what())));
    seen
}

fn not_seen(process: &Process, tls: &[Tls], sockets: &Sockets) -> Vec<String> {
    let unseen = tls.iter().filter(|tls| !tls.is_seen);
    let mut gaps: Vec<String> = unseen.map(|tls| format!("requests inside TLS: {}", tls.what())).collect();
    if !gaps.is_empty() {
        gaps.push(
            "of TLS that is not seen: anything but the server's name, version, protocols and bytes \
             (remora_agent_tls_unseen_connections, and a span for each with 'remora run --unknown-connections')"
                .to_owned(),
        );
    }
    if sockets.rings > 0 {
        let rings = sockets.rings;
        gaps.push(format!("what passes through its {rings} io_uring instances: no system call carries the bytes; they show up as gaps"));
    }
    match &process.runtime {
        Runtime::Unknown => {
            let pid = process.tgid;
            gaps.push(format!(
                "its runtime, environment and sockets: /proc/{pid} is not readable for this user (run as root)"
            ));
        }
        Runtime::Go { version, offsets: None } => {
            gaps.push(format!("goroutines: where {version} keeps their ids is not in this version's table"));
        }
        Runtime::Go { offsets: Some(offsets), version } if offsets.parent_goid == 0 => {
            gaps.push(format!("which goroutine started another: {version} does not keep it (Go 1.21 does)"));
        }
        Runtime::Node => gaps.push(format!(
            "parents across timers, queues and pools of Node: they are left out, not guessed; {}",
            with_part(process.tgid)
        )),
        Runtime::Python { .. } => gaps.push(
            "parents across thread pools that do not copy the context: they are left out, not guessed"
                .to_owned(),
        ),
        Runtime::Tokio { .. } => gaps.push(
            "parents of calls that are sent for several requests at once and answered to nobody who waits, and of \
             tasks of a LocalSet: they are left out, not guessed"
                .to_owned(),
        ),
        Runtime::Java => gaps.push(
            "parents across executors, event loops and virtual threads: they are left out, not guessed; a part inside \
             would tell many of them ('remora run --attach jvm': a library that is loaded as a tool, and changes methods \
             of the JDK, Tomcat, Netty and Reactor until it leaves; JDK 21 and later print a warning)"
                .to_owned(),
        ),
        _ => {}
    }
    gaps.push("HTTP/3, and protocols that docs/protocols.md does not name".to_owned());
    gaps
}

/// Says what a part inside Node would add, or why there can be none.
fn with_part(tgid: u32) -> String {
    match attach::obstacle_in_node(tgid) {
        None => "a part inside would tell them ('remora run --attach node': it opens the inspector by SIGUSR1, puts a \
                 few functions of net, http and database clients in place of their own, and closes it again; Node \
                 says so on its standard error); worker threads get none, and their calls have no parent"
            .to_owned(),
        Some(obstacle) => format!("no part can be put inside ('remora run --attach node'): {obstacle}"),
    }
}

fn text(report: &Report) -> String {
    let mut lines = vec![
        format!("process {}: {} (by {})", report.pid, report.service_name, report.service_name_source),
        format!("  executable  {}", report.executable.as_deref().unwrap_or("not readable")),
        format!("  runtime     {} {}", report.runtime, report.runtime_version.as_deref().unwrap_or_default())
            .trim_end()
            .to_owned(),
    ];
    lines.extend(report.container_id.as_ref().map(|id| format!("  container   {id}")));
    lines.extend(report.cgroup.as_ref().map(|path| format!("  cgroup      {path}")));
    lines.push(format!("  sockets     {}", report.sockets));
    let verdict = if report.is_observed { "observed" } else { "not observed" };
    lines.push(format!("  {verdict}: {}", report.reason));
    if !report.seen.is_empty() {
        lines.push("seen:".to_owned());
        lines.extend(report.seen.iter().map(|line| format!("  + {line}")));
    }
    lines.push("not seen:".to_owned());
    lines.extend(report.not_seen.iter().map(|line| format!("  - {line}")));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_not_observed_by_itself() {
        let (process, decision) = discover::look_at(std::process::id(), &Selection::default()).unwrap();
        let report = report(&process, decision);
        assert!(!report.is_observed);
        assert_eq!(report.not_seen, ["anything: it is this agent"]);
        assert!(text(&report).contains("not observed: it is this agent"));
    }

    #[test]
    fn an_unknown_go_version_is_told() {
        let runtime = Runtime::Go { version: "go1.99".to_owned(), offsets: None };
        let process = Process { runtime, ..Process::default() };
        let gaps = not_seen(&process, &[], &Sockets::default());
        assert!(gaps.iter().any(|gap| gap.contains("go1.99")), "{gaps:?}");
    }
}
