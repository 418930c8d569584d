//! `remora check`: what this host allows, what is missing, why, and what that costs.

mod hooks;
mod kernel;
mod pod;
mod privileges;
mod propagation;

use std::io::Write as _;
use std::process::ExitCode;

use serde::Serialize;

pub use privileges::capabilities;

/// How a finding bears on `remora run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// There.
    Ok,
    /// Not there, and something works less well.
    Limited,
    /// Not there, and `remora run` cannot work.
    Missing,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// What.
    name: String,
    state: State,
    /// What was found.
    found: String,
    /// What it is for, and what it costs not to have it.
    meaning: &'static str,
    /// What to do about it; empty where nothing needs to be done.
    remedy: String,
}

impl Finding {
    fn ok(name: impl Into<String>, found: impl Into<String>, meaning: &'static str) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), meaning, remedy: String::new() }
    }

    fn limited(
        name: impl Into<String>,
        found: impl Into<String>,
        meaning: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), state: State::Limited, found: found.into(), meaning, remedy: remedy.into() }
    }

    fn missing(
        name: impl Into<String>,
        found: impl Into<String>,
        meaning: &'static str,
        remedy: impl Into<String>,
    ) -> Self {
        Self { name: name.into(), state: State::Missing, found: found.into(), meaning, remedy: remedy.into() }
    }
}

/// Prints all findings. The exit code is 1 if something that is needed is missing.
pub(super) fn check(is_json: bool) -> anyhow::Result<ExitCode> {
    let mut findings = kernel::findings();
    findings.extend(privileges::findings());
    findings.extend(pod::findings());
    findings.extend(hooks::findings());
    findings.extend(propagation::findings());
    let can_run = findings.iter().all(|finding| finding.state != State::Missing);
    let text = if is_json { json(&findings, can_run)? } else { text(&findings, can_run) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if can_run { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(findings: &[Finding], can_run: bool) -> serde_json::Result<String> {
    let report = serde_json::json!({ "can_run": can_run, "findings": findings });
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}

fn text(findings: &[Finding], can_run: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.state {
            State::Ok => "ok      ",
            State::Limited => "limited ",
            State::Missing => "MISSING ",
        };
        text.push_str(&format!("{mark}{:<24} {}\n", finding.name, finding.found));
        if finding.state != State::Ok {
            text.push_str(&format!("        {:<24} {}\n", "", finding.meaning));
            text.push_str(&format!("        {:<24} -> {}\n", "", finding.remedy));
        }
    }
    let end =
        if can_run { "remora run can work here" } else { "remora run cannot work here: see what is MISSING" };
    text + "\n" + end + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_there_is_explained() {
        let findings = [
            Finding::ok("BTF", "/sys/kernel/btf/vmlinux", "offsets"),
            Finding::missing("tracefs", "not mounted", "hooks", "mount it"),
        ];
        let text = text(&findings, false);
        assert!(!text.contains("offsets"));
        assert!(text.contains("hooks") && text.contains("-> mount it"));
        assert!(text.ends_with("remora run cannot work here: see what is MISSING\n"));
    }

    #[test]
    fn every_finding_of_this_host_says_what_it_means() {
        let mut findings = kernel::findings();
        findings.extend(privileges::findings());
        findings.extend(pod::findings());
        findings.extend(hooks::findings());
        assert!(findings.len() > 10);
        for finding in findings {
            assert!(!finding.found.is_empty() && !finding.meaning.is_empty(), "{finding:?}");
            assert_eq!(finding.remedy.is_empty(), finding.state == State::Ok, "{finding:?}");
        }
    }
}
