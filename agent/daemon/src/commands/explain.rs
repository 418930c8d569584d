//! `remora explain PID`: what is seen of a process, through what, and what is not.
//!
//! The agent that runs is asked, and the process is looked at. Where no agent answers, that is all, and is said.

mod agent;
mod contents;
mod coverage;
mod mapped;
mod sockets;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use serde::Serialize;

use self::agent::Asked;
use self::coverage::View;
use self::mapped::Tls;
use self::sockets::Sockets;
use crate::config::Metrics;
use crate::discover::{self, Decision, Process, Runtime, Selection};
use crate::health::{Known, ProbedFile};

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
    /// What the agent that runs was asked, if it was.
    agent: Option<Asked>,
    seen: Vec<String>,
    not_seen: Vec<String>,
}

/// Prints what is known of the process.
pub(super) fn explain(
    pid: u32,
    selection: &Selection,
    agent: Option<&Metrics>,
    is_json: bool,
) -> anyhow::Result<ExitCode> {
    let Some((process, decision)) = discover::look_at(pid, selection) else {
        bail!("process {pid}: there is no such process, or it is a kernel thread")
    };
    let asked = agent.map(|agent| agent::ask(agent, &process));
    let report = report(&process, decision, asked);
    let text = if is_json { serde_json::to_string_pretty(&report)? + "\n" } else { text(&report) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn report(process: &Process, decided: Decision, agent: Option<Asked>) -> Report {
    let sockets = Sockets::of(process.tgid);
    let mut tls = mapped::tls(process);
    let known = agent.as_ref().and_then(|asked| asked.known.as_ref());
    let decision = known.map_or(decided, |known| Decision {
        observe: known.is_observed,
        reason: known.reason.clone(),
        awaits_pod: false,
    });
    if let Some(known) = known {
        coverage::judge(&mut tls, known);
    }
    let uses_io_uring = sockets.rings > 0;
    let (seen, not_seen) = if decision.observe {
        let view = View { process, tls: &tls, sockets: &sockets, known };
        (view.seen(), view.not_seen())
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
        agent,
        seen,
        not_seen,
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
    lines.extend(report.agent.as_ref().map(|asked| format!("  agent       {}", told_by(asked))));
    let probes = report.agent.iter().filter_map(|asked| asked.known.as_ref()).flat_map(|known| &known.probes);
    lines.extend(probes.map(|probed| {
        let ProbedFile { path, plaintext_places, parent_places } = probed;
        format!(
            "  probed      {path}: at {plaintext_places} places for plaintext, at {parent_places} for parents"
        )
    }));
    let verdict = if report.is_observed { "observed" } else { "not observed" };
    lines.push(format!("  {verdict}: {}", report.reason));
    if !report.seen.is_empty() {
        lines.push("seen:".to_owned());
        lines.extend(report.seen.iter().map(|line| format!("  + {line}")));
    }
    lines.push("not seen:".to_owned());
    lines.extend(report.not_seen.iter().map(|line| format!("  - {line}")));
    lines.iter().map(|line| printable(line) + "\n").collect()
}

/// Says who was asked, and what the rest rests on.
fn told_by(asked: &Asked) -> String {
    let address = asked.address;
    match (&asked.known, &asked.error) {
        (Some(Known { agent_version, agent_pid, .. }), _) => {
            format!("{agent_version} at {address}, process {agent_pid}: what follows is what it does")
        }
        (None, error) => {
            let why = error.as_deref().unwrap_or_default();
            format!("not asked at {address}: {why}; what follows is from looking at the process alone")
        }
    }
}

/// Returns a line without characters that steer terminals: servers are named by whoever asks for them.
fn printable(line: &str) -> String {
    let is_steering = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut printable = String::with_capacity(line.len());
    for character in line.chars() {
        match is_steering(character) {
            true => printable.extend(character.escape_default()),
            false => printable.push(character),
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_not_observed_by_itself() {
        let (process, decision) = discover::look_at(std::process::id(), &Selection::default()).unwrap();
        let report = report(&process, decision, None);
        assert!(!report.is_observed);
        assert_eq!(report.not_seen, ["anything: it is this agent"]);
        assert!(text(&report).contains("not observed: it is this agent"));
    }

    #[test]
    fn what_others_have_named_cannot_steer_a_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\\u{1b}[2Jb\\n\\u{202e}c");
        assert_eq!(printable("größer \"/a'\\"), "größer \"/a'\\");
    }
}
