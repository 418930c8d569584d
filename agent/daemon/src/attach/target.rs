//! A process that a part is put into: always the same one, whoever gets its number later.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::refusal::Refusal;

/// A living process, held by a descriptor.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) tgid: u32,
    process: OwnedFd,
    started_at_ticks: u64,
}

impl Target {
    /// Returns the process that has this number at present.
    pub(super) fn open(tgid: u32) -> Result<Self, Refusal> {
        let pid = i32::try_from(tgid).ok().and_then(Pid::from_raw).ok_or(Refusal::Gone)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|_| Refusal::Gone)?;
        let started_at_ticks = stat(tgid)?.starttime;
        Ok(Self { tgid, process, started_at_ticks })
    }

    /// Returns how long ago the process was made.
    pub(super) fn age(&self) -> Duration {
        let ticks_per_second = procfs::ticks_per_second().max(1);
        let uptime = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let uptime = Duration::from_secs(u64::try_from(uptime.tv_sec).unwrap_or_default());
        let ticks = self.started_at_ticks;
        uptime.saturating_sub(Duration::from_secs(ticks / ticks_per_second))
    }

    /// Sends a signal to this process, and no other.
    pub(super) fn signal(&self, signal: Signal) -> Result<(), Refusal> {
        pidfd_send_signal(&self.process, signal).map_err(|error| match error {
            Errno::SRCH => Refusal::Gone,
            error => Refusal::Signal(error.into()),
        })
    }

    /// Returns whether the number still means this process.
    pub(super) fn is_alive(&self) -> bool {
        stat(self.tgid).is_ok_and(|stat| stat.starttime == self.started_at_ticks && stat.state != 'Z')
    }
}

fn stat(tgid: u32) -> Result<procfs::process::Stat, Refusal> {
    let pid = i32::try_from(tgid).map_err(|_| Refusal::Gone)?;
    let process = procfs::process::Process::new(pid).map_err(|_| Refusal::Gone)?;
    process.stat().map_err(|_| Refusal::Gone)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_held_until_it_ends() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let target = Target::open(child.id()).unwrap();
        assert!(target.is_alive());
        assert!(target.age() < Duration::from_secs(60));
        target.signal(Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(!target.is_alive());
        assert!(matches!(target.signal(Signal::KILL), Err(Refusal::Gone)));
        assert!(matches!(Target::open(u32::MAX), Err(Refusal::Gone)));
    }
}
