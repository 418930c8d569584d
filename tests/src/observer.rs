//! The agent's capture in the test's own process, without engine or export.

use std::path::Path;
use std::process;
use std::time::Duration;

use anyhow::{Context as _, Result};
use remora::capture::{Attachment, Capture, CaptureSettings, DatagramPorts, Observation, ProcessMode, Tasks};
use remora_engine::event::Event;

use crate::exclusive::Exclusive;
use crate::wait;

/// Bytes that are copied of each call.
pub const CAPTURE_BYTES: u32 = 4096;

/// Attached BPF programs and what they told.
pub struct Observer {
    capture: Capture,
    probes: Vec<Attachment>,
    _exclusive: Exclusive,
}

impl Observer {
    /// Observes only this process.
    pub fn of_this_process() -> Result<Self> {
        Self::of_this(false)
    }

    /// Observes only this process, whose threads take units of work.
    pub fn of_this_process_with_tokens() -> Result<Self> {
        Self::of_this(true)
    }

    fn of_this(has_tokens: bool) -> Result<Self> {
        let mut observer = Self::load(false)?;
        let mode = ProcessMode::Observe { tasks: Tasks::None, has_tokens, reads_pipes: false };
        observer.capture.set_process(process::id(), mode);
        observer.capture.attach()?;
        Ok(observer)
    }

    /// Observes every process of the host but this one.
    pub fn of_other_processes() -> Result<Self> {
        let mut observer = Self::load(true)?;
        observer.capture.set_process(process::id(), ProcessMode::Ignore);
        observer.capture.attach()?;
        Ok(observer)
    }

    fn load(observes_by_default: bool) -> Result<Self> {
        let exclusive = Exclusive::wait();
        let settings = CaptureSettings {
            capture_bytes: CAPTURE_BYTES,
            datagram_ports: DatagramPorts::default(),
            observes_by_default,
            // A child is not what its parent is.
            exec_resets_verdict: true,
            tells_mappings: true,
        };
        Ok(Self { capture: Capture::load(settings)?, probes: Vec::new(), _exclusive: exclusive })
    }

    /// Attaches one of the agent's probes to the function at this address of this process's own program.
    pub fn probe(&mut self, program: &'static str, function: usize) -> Result<()> {
        let maps = procfs::process::Process::myself()?.maps()?;
        let address = u64::try_from(function)?;
        let map = maps.iter().find(|map| (map.address.0..map.address.1).contains(&address));
        let map = map.context("the function is in no file")?;
        let offset = address - map.address.0 + map.offset;
        self.probes.push(self.capture.prober().attach(program, Path::new("/proc/self/exe"), &[offset])?);
        Ok(())
    }

    /// Returns what was told since the last call.
    pub fn drain(&mut self) -> Vec<Observation> {
        let mut observations = Vec::new();
        self.capture.drain(usize::MAX, |observation| observations.push(observation));
        observations
    }

    /// Returns what process `tgid` did with sockets, once it has ended. What others did is dropped.
    pub fn events_until_exit(&mut self, tgid: u32) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        wait::until(&format!("the end of process {tgid} is told"), Duration::from_secs(10), || {
            let mut has_ended = None;
            for observation in self.drain() {
                match observation {
                    Observation::Socket { event, tgid: actor } if actor == tgid => events.push(event),
                    Observation::Exit { tgid: ended, .. } if ended == tgid => has_ended = Some(()),
                    _ => {}
                }
            }
            Ok(has_ended)
        })?;
        Ok(events)
    }

    /// Returns how many records found no room in the ring.
    #[must_use]
    pub fn ring_full(&self) -> u64 {
        self.capture.losses().find(|(reason, _)| *reason == "ring_full").map_or(0, |(_, lost)| lost)
    }

    /// Returns all losses by reason.
    #[must_use]
    pub fn losses(&self) -> Vec<(&'static str, u64)> {
        self.capture.losses().collect()
    }
}
