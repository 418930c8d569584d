//! A child process that ends with its owner and whose output can be read while it runs.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::scratch::Scratch;
use crate::wait;

/// How long a child may take to end after its signal before it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// A running program. Dropping it stops it.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
    log: PathBuf,
    stop_signal: Signal,
}

impl Running {
    /// Starts `command`; what it prints goes to the file `NAME.log` in `scratch`.
    pub fn start(name: &str, scratch: &Scratch, command: &mut Command) -> Result<Self> {
        let log = scratch.path().join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        command.stdout(file.try_clone()?).stderr(file);
        Self::spawn(name, log, command)
    }

    /// Starts `command`; what it prints goes to the file `output`, its messages to the file `NAME.log` in `scratch`.
    pub fn start_printing_to(
        name: &str,
        scratch: &Scratch,
        output: File,
        command: &mut Command,
    ) -> Result<Self> {
        let log = scratch.path().join(format!("{name}.log"));
        command
            .stdout(output)
            .stderr(File::create(&log).with_context(|| format!("create {}", log.display()))?);
        Self::spawn(name, log, command)
    }

    fn spawn(name: &str, log: PathBuf, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null());
        let child = command.spawn().with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log, stop_signal: Signal::TERM })
    }

    /// Says which signal makes it end in an orderly way; `SIGTERM` unless told.
    #[must_use]
    pub fn stopping_by(mut self, signal: Signal) -> Self {
        self.stop_signal = signal;
        self
    }

    /// Waits until `ready` holds. Fails early, with what the program printed, when it ends before.
    pub fn wait_ready(&mut self, within: Duration, mut ready: impl FnMut() -> Result<bool>) -> Result<()> {
        let what = format!("{} is ready", self.name);
        let mut ended = None;
        let waited = wait::until(&what, within, || {
            ended = self.child.try_wait()?;
            if ended.is_some() { Ok(Some(())) } else { ready().map(|is_ready| is_ready.then_some(())) }
        });
        if let Some(status) = ended {
            bail!("{} ended with {status} before it was ready; it printed:\n{}", self.name, self.printed());
        }
        waited.with_context(|| format!("{} printed:\n{}", self.name, self.printed()))
    }

    /// Returns what it was called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what it printed so far.
    #[must_use]
    pub fn printed(&self) -> String {
        fs::read(&self.log)
            .map_or_else(|error| error.to_string(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns how it ended, waiting at most `within` for that.
    pub fn wait(&mut self, within: Duration) -> Result<ExitStatus> {
        let what = format!("{} ends", self.name);
        wait::until(&what, within, || Ok(self.child.try_wait()?))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).with_context(|| format!("signal {}", self.name))
    }

    /// Asks it to end and returns how it ended; kills it, which is an error, when it does not.
    pub fn stop(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        self.signal(self.stop_signal)?;
        match self.wait(STOP_WITHIN) {
            Ok(status) => Ok(status),
            Err(_) => {
                self.child.kill()?;
                self.child.wait()?;
                bail!(
                    "{} did not end within {STOP_WITHIN:?} and was killed; it printed:\n{}",
                    self.name,
                    self.printed()
                )
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
    }
}
