//! `remora trace -- CMD`: trace one command and what it starts.

mod forest;

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

use self::forest::Forest;
use super::output::Lines;
use super::{pipeline_settings, shared};
use crate::config::{Settings, TraceArguments};
use crate::enrich::ResourceSpan;
use crate::export::Format;
use crate::health;
use crate::pipeline::{self, Shared};
use crate::stop::Stop;

/// How long the programs may take to be loaded.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How often finished traces and the command are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Spans between the pipeline and the printer; a full queue makes the pipeline wait, which is right for one command.
const QUEUE_SPANS: usize = 4096;

/// Runs the command. Returns its exit code; 128 and the signal's number if a signal ended it.
pub(super) fn trace(mut settings: Settings, arguments: &TraceArguments) -> anyhow::Result<ExitCode> {
    settings.selection.descendants_of = Some(std::process::id());
    let (shared, stop) = (shared(), Stop::default());
    let signals = Stop::on_signals()?;
    let (sender, spans) = mpsc::sync_channel(QUEUE_SPANS);
    let expected = arguments.command.first().and_then(|program| found(program));
    let pipeline = pipeline::Settings { expected, ..pipeline_settings(&settings) };
    let status = std::thread::scope(|scope| {
        let tracing = scope.spawn(|| {
            let mut take = |span: ResourceSpan| {
                let _printer_is_gone = sender.send(span);
            };
            let ended = pipeline::run(pipeline, &shared, stop.flag(), &mut take);
            // The printer ends when there is no sender left.
            drop(sender);
            ended
        });
        let status = wait_until_ready(&shared, &signals, || tracing.is_finished())
            .and_then(|is_ready| if is_ready { start(arguments).map(Some) } else { Ok(None) })
            .and_then(|child| {
                child.map(|child| follow(child, arguments, &spans, &signals, &stop)).transpose()
            });
        stop.set();
        // Whoever waits for room in the queue must not wait for ever after a mistake.
        while spans.recv().is_ok() {}
        match tracing.join() {
            Ok(traced) => traced.map_err(anyhow::Error::from).and(status),
            Err(_) => bail!("the pipeline has panicked"),
        }
    })?;
    let Some(status) = status else { bail!("interrupted before the command was started") };
    tracing::debug!("{}", health::summary(&shared.ledger));
    Ok(exit_code(status))
}

/// Returns whether all is ready; false if the user gave up or the pipeline has failed.
fn wait_until_ready(shared: &Shared, signals: &Stop, has_failed: impl Fn() -> bool) -> anyhow::Result<bool> {
    let start = Instant::now();
    while shared.readiness.check().is_err() || !shared.processes.is_complete() {
        if signals.wait(TICK) || has_failed() {
            return Ok(false);
        }
        if start.elapsed() > START_PATIENCE {
            let why = shared.readiness.check().err();
            let why = why.unwrap_or_else(|| "processes are still being looked at".to_owned());
            bail!("not ready after {START_PATIENCE:?}: {}", why.trim_end());
        }
    }
    Ok(true)
}

/// Returns the file of a program, which is looked for where the shell would look.
fn found(program: &OsStr) -> Option<PathBuf> {
    let path = Path::new(program);
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(path.to_owned());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(path)).find(|path| path.is_file())
}

fn start(arguments: &TraceArguments) -> anyhow::Result<Child> {
    let (program, rest) = arguments.command.split_first().context("no command given")?;
    Command::new(program).args(rest).spawn().with_context(|| format!("run {}", program.display()))
}

/// Prints what the command asks for while it runs, and the rest when it has ended.
fn follow(
    mut child: Child,
    arguments: &TraceArguments,
    spans: &Receiver<ResourceSpan>,
    signals: &Stop,
    stop: &Stop,
) -> anyhow::Result<ExitStatus> {
    let mut printer = Printer::new(arguments.json);
    let mut status = None;
    let mut is_told = false;
    loop {
        match spans.recv_timeout(TICK) {
            Ok(span) => printer.take(span),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        printer.print_settled();
        if status.is_none() {
            status = child.try_wait().context("wait for the command")?;
            if status.is_some() {
                // The pipeline hands over what it still has, then drops its sender.
                stop.set();
            } else if signals.is_set() && !is_told {
                // Ctrl-C reaches the command by the terminal; SIGTERM does not.
                is_told = true;
                terminate(&child);
            }
        }
    }
    printer.print_all();
    match status {
        Some(status) => Ok(status),
        None => child.wait().context("wait for the command"),
    }
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself.
        let _gone = kill_process(pid, Signal::TERM);
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

/// Where spans go: lines at once, or trees when they are whole.
enum Printer {
    Lines(Lines<io::Stderr>),
    Trees(Forest),
}

impl Printer {
    fn new(is_json: bool) -> Self {
        if is_json {
            Self::Lines(Lines::new(io::stderr(), Format::Json))
        } else {
            Self::Trees(Forest::default())
        }
    }

    fn take(&mut self, span: ResourceSpan) {
        match self {
            Self::Lines(lines) => {
                lines.write(&span);
            }
            Self::Trees(forest) => forest.insert(span, Instant::now()),
        }
    }

    fn print_settled(&mut self) {
        if let Self::Trees(forest) = self {
            print(&forest.take_settled(Instant::now()));
        }
    }

    fn print_all(&mut self) {
        if let Self::Trees(forest) = self {
            print(&forest.take_all());
        }
    }
}

fn print(text: &str) {
    // A reader that has gone away is no reason to fail the command.
    let _gone = io::stderr().write_all(text.as_bytes());
}
