//! The trial: all checks without the programs, then with them, in a process and a cgroup of their own.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::checks::{self, Round};
use super::{Mechanisms, Outcome, cgroup};
use crate::capture::{
    Capture, CaptureSettings, DatagramPorts, Membership, ProcessMode, Tasks, WriteSettings, other_socket_maps,
};
use crate::causes::with_causes;

/// The command under which the agent runs itself for the trial.
const COMMAND: &str = "try-sockets";
/// Bytes captured by the programs that observe, which are loaded too, but not attached.
const CAPTURE_BYTES: u32 = 256;
/// The programs' count of options that arrived and were understood.
const ARRIVED: &str = "option_same";
/// How long the kernel may take to free the maps of a program that has ended, and how often that is looked at.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Tries these as they are used, together: some two seconds.
#[must_use]
pub fn tried(mechanisms: Mechanisms) -> Outcome {
    tried_with(mechanisms, Membership::Brief)
}

/// Tries headers with sockets that stay in the socket map, which shows what that does to them.
#[must_use]
pub fn headers_with_lasting_membership() -> Outcome {
    tried_with(Mechanisms { headers: true, option: false }, Membership::Lasting)
}

fn tried_with(mechanisms: Mechanisms, membership: Membership) -> Outcome {
    match attempt(mechanisms, membership) {
        Ok(outcome) => outcome,
        Err(reason) => Outcome::Untried { reason },
    }
}

/// Returns the socket maps of others. Those of an agent that has just ended are gone a little later.
fn lasting_socket_maps() -> Vec<String> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        let others = other_socket_maps();
        if others.is_empty() || Instant::now() >= deadline {
            return others;
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn attempt(mechanisms: Mechanisms, membership: Membership) -> Result<Outcome, String> {
    let Mechanisms { headers, option } = mechanisms;
    let others = lasting_socket_maps();
    if headers && !others.is_empty() {
        return Err(format!(
            "another program keeps sockets in socket maps ({}), and a socket can be in one only",
            others.join(", ")
        ));
    }
    let cgroup = cgroup::Temporary::make()?;
    let mut subject = Subject::start(cgroup.path())?;
    let before = subject.round()?;
    if let Some(first) = before.failures.first() {
        return Err(format!("this host fails the check '{}' without the programs too", first.check));
    }
    let mut capture = Capture::load_for_writing(CaptureSettings {
        capture_bytes: CAPTURE_BYTES,
        datagram_ports: DatagramPorts::default(),
        observes_by_default: false,
        exec_resets_verdict: false,
        tells_mappings: false,
    })
    .map_err(|error| with_causes(&error))?;
    let mode = ProcessMode::Observe { tasks: Tasks::None, has_tokens: false, reads_pipes: false };
    capture.set_process(subject.process.id(), mode);
    let settings = WriteSettings { headers, option, membership, to_any_server: true, control: 0 };
    let writing = capture.writing().ok_or("the programs that write are not loaded")?;
    writing.set(settings).map_err(|error| with_causes(&error))?;
    // The programs that observe see to it that who reads before it writes is left alone.
    capture.attach().map_err(|error| with_causes(&error))?;
    capture.write_in(cgroup.path()).map_err(|error| with_causes(&error))?;
    let round = subject.round()?;
    let counts: Vec<_> = capture.writing().map(|writing| writing.counts().collect()).unwrap_or_default();
    tracing::debug!(?counts, "contexts written by the trial");
    for failure in &round.failures {
        tracing::debug!(failure.check, failure.expected, failure.got, "a check failed");
    }
    // On loopback nothing is rewritten.
    let options = counts.iter().find(|(what, _)| *what == ARRIVED).map_or(0, |(_, count)| *count);
    Ok(judge(mechanisms, round, options))
}

fn judge(mechanisms: Mechanisms, round: Round, options: u64) -> Outcome {
    let Round { failures, checks, headers, fields } = round;
    let failed = failures.len();
    let untried = |reason: &str| Outcome::Untried { reason: reason.to_owned() };
    match failures.into_iter().next() {
        Some(first) => Outcome::Harmful { failed, first },
        None if mechanisms.headers && headers == fields => untried("no header was written in the trial"),
        None if mechanisms.headers && fields == 0 => {
            untried("no header was written into HTTP/2 in the trial")
        }
        None if mechanisms.option && options == 0 => untried("no TCP option arrived in the trial"),
        None => Outcome::Harmless { checks, headers: headers.into(), fields: fields.into(), options },
    }
}

/// The process that makes the checks.
struct Subject {
    process: Child,
    asked: ChildStdin,
    told: BufReader<ChildStdout>,
}

impl Subject {
    fn start(cgroup: &Path) -> Result<Self, String> {
        let started = || -> io::Result<Self> {
            let mut process = Command::new(std::env::current_exe()?)
                .arg(COMMAND)
                .arg(cgroup)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let pipes = process.stdin.take().zip(process.stdout.take());
            let (asked, told) = pipes.ok_or_else(|| io::Error::other("its pipes are missing"))?;
            Ok(Self { process, asked, told: BufReader::new(told) })
        };
        started().map_err(|error| format!("start the process that makes the checks: {error}"))
    }

    fn round(&mut self) -> Result<Round, String> {
        let mut answer = String::new();
        let spoken = self.asked.write_all(b"\n").and_then(|()| self.told.read_line(&mut answer));
        match spoken {
            Ok(_) => serde_json::from_str(&answer)
                .map_err(|error| format!("the process that makes the checks said {answer:?}: {error}")),
            Err(error) => Err(format!("the process that makes the checks: {error}")),
        }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the checks, in the process that is there for it: one round for each line of the input.
///
/// # Errors
/// The process cannot be moved into the cgroup, or nobody listens.
pub fn answer(cgroup: &Path) -> io::Result<()> {
    cgroup::enter(cgroup)?;
    for line in io::stdin().lines() {
        line?;
        let round = serde_json::to_string(&checks::round())?;
        writeln!(io::stdout(), "{round}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(round: Round, mechanisms: Mechanisms, options: u64) -> Option<String> {
        match judge(mechanisms, round, options) {
            Outcome::Untried { reason } => Some(reason),
            Outcome::Harmful { first, .. } => Some(first.check),
            Outcome::Harmless { .. } => None,
        }
    }

    #[test]
    fn what_was_not_written_was_not_tried() {
        let round = |headers, fields| Round { checks: 35, headers, fields, failures: Vec::new() };
        let headers = Mechanisms { headers: true, option: false };
        let both = Mechanisms { option: true, ..headers };
        let option = Mechanisms { headers: false, ..both };
        let no = |what: &str| Some(format!("no {what} in the trial"));
        assert_eq!(reason(round(9, 4), headers, 0), None);
        assert_eq!(reason(round(4, 4), headers, 0), no("header was written"), "into HTTP/1");
        assert_eq!(reason(round(9, 0), headers, 0), no("header was written into HTTP/2"));
        assert_eq!(reason(round(9, 4), both, 0), no("TCP option arrived"));
        assert_eq!(reason(round(0, 0), option, 1), None);
    }

    #[test]
    fn a_check_that_fails_is_named() {
        let failure = |check: &str| {
            let [expected, got] = ["one", "other"].map(str::to_owned);
            checks::Failure { check: check.to_owned(), expected, got }
        };
        let failures = vec![failure("first"), failure("second")];
        let round = Round { failures, checks: 35, headers: 0, fields: 0 };
        let headers = Mechanisms { headers: true, option: false };
        assert_eq!(reason(round, headers, 0).as_deref(), Some("first"));
    }
}
