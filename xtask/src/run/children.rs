//! The bridge and the agent as child processes: started in order, stopped in reverse, watched in between.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::shell::step;

/// How long a child may take to end by itself: the agent sends what it still holds, the bridge seals it.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How often readiness is asked for.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Longest answer that is read: readiness takes some hundred bytes, with reasons.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// What the children and the user do.
pub(crate) enum Happening {
    /// The user wants an end.
    Signal,
    /// A child ended.
    Ended(&'static str, ExitStatus),
}

/// The running children, in the order of their start.
pub(crate) struct Children {
    running: Vec<(&'static str, Pid)>,
    happenings: Receiver<Happening>,
    sender: Sender<Happening>,
}

impl Children {
    /// Begins to watch for signals, which from here on end the children first.
    pub(crate) fn new() -> Result<Self> {
        let (sender, happenings) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("watch for signals")?;
        let for_signals = sender.clone();
        thread::spawn(move || {
            for _ in signals.forever() {
                // The receiver is gone only when this process ends anyway.
                let _ = for_signals.send(Happening::Signal);
            }
        });
        Ok(Self { running: Vec::new(), happenings, sender })
    }

    /// Starts a child in a process group of its own, so that the terminal's Ctrl-C reaches only this process.
    pub(crate) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        step(&format!("start the {name}"));
        let mut child =
            command.process_group(0).spawn().with_context(|| format!("start the {name}: {command:?}"))?;
        self.running.push((name, Pid::from_child(&child)));
        let sender = self.sender.clone();
        thread::spawn(move || {
            if let Ok(status) = child.wait() {
                let _ = sender.send(Happening::Ended(name, status));
            }
        });
        Ok(())
    }

    /// Waits until `GET /readyz` at `address` is answered with 200. Returns the signal that came first, if one did.
    pub(crate) fn wait_ready(
        &mut self,
        name: &str,
        address: SocketAddr,
        within: Duration,
    ) -> Result<Option<Happening>> {
        let deadline = Instant::now() + within;
        while !is_ready(address) {
            match self.next(Instant::now() + ASK_EVERY)? {
                None if Instant::now() > deadline => {
                    bail!("the {name} is not ready after {within:?}: http://{address}/readyz says why")
                }
                None => {}
                signal => return Ok(signal),
            }
        }
        Ok(None)
    }

    /// Waits for a signal or for `deadline`. The end of a child is an error.
    pub(crate) fn wait_end(&mut self, deadline: Option<Instant>) -> Result<()> {
        /// Far enough to be never.
        const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
        self.next(deadline.unwrap_or_else(|| Instant::now() + YEAR)).map(drop)
    }

    /// Ends all children, the last one started first, and waits for each.
    pub(crate) fn stop(&mut self) -> Result<()> {
        let mut first_error = None;
        while let Some(&(name, pid)) = self.running.last() {
            step(&format!("stop the {name}"));
            if let Err(error) = self.stop_one(name, pid) {
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn stop_one(&mut self, name: &'static str, pid: Pid) -> Result<()> {
        let status = match self.signal_and_wait(name, pid, Signal::TERM) {
            Some(status) => status,
            None => {
                step(&format!("the {name} did not end within {STOP_WITHIN:?}: killing it"));
                let killed = self.signal_and_wait(name, pid, Signal::KILL);
                self.running.retain(|&(other, _)| other != name);
                bail!("the {name} (pid {pid:?}) had to be killed: {killed:?}");
            }
        };
        if !status.success() {
            bail!("the {name} ended with {status} when it was asked to stop");
        }
        Ok(())
    }

    fn signal_and_wait(&mut self, name: &str, pid: Pid, signal: Signal) -> Option<ExitStatus> {
        // It may have ended in this moment; then its end is in the channel.
        let _ = kill_process(pid, signal);
        let deadline = Instant::now() + STOP_WITHIN;
        loop {
            match self.happenings.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Happening::Ended(ended, status)) => {
                    self.running.retain(|&(other, _)| other != ended);
                    if ended == name {
                        return Some(status);
                    }
                }
                Ok(Happening::Signal) => {}
                Err(_) => return None,
            }
        }
    }

    fn next(&mut self, until: Instant) -> Result<Option<Happening>> {
        match self.happenings.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(Happening::Ended(name, status)) => {
                self.running.retain(|&(other, _)| other != name);
                bail!("the {name} ended by itself with {status}; its last messages are above");
            }
            Ok(signal) => Ok(Some(signal)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Ok(None),
        }
    }
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&address, ASK_EVERY)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        // All of it is read: who closes a connection with bytes unread resets it, which the agent tells as an error.
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
        Ok(answer.starts_with(b"HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
