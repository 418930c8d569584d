//! Which BPF programs the kernel holds, to show that none stays behind.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use aya::programs::loaded_programs;

use crate::shell::step;

/// How long the kernel may take to free programs after the agent's end: it waits for those that are running.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// Programs by the kernel's id, with their names. The kernel does not use an id twice.
#[derive(Default)]
pub(crate) struct Programs(BTreeMap<u32, String>);

impl Programs {
    /// Returns all programs that are loaded.
    pub(crate) fn loaded() -> Result<Self> {
        let mut programs = BTreeMap::new();
        for program in loaded_programs() {
            // A program may end between being listed and being looked at.
            let Ok(program) = program else { continue };
            programs.insert(program.id(), String::from_utf8_lossy(program.name()).into_owned());
        }
        Ok(Self(programs))
    }

    /// Returns those that are not in `others`.
    pub(crate) fn without(mut self, others: &Self) -> Self {
        self.0.retain(|id, _| !others.0.contains_key(id));
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits until the kernel holds none of them any more; fails when it still does after a while.
    pub(crate) fn wait_until_gone(self) -> Result<()> {
        let deadline = Instant::now() + GONE_WITHIN;
        loop {
            let loaded = Self::loaded().context("list the loaded BPF programs")?;
            let left: Vec<_> = self.0.iter().filter(|(id, _)| loaded.0.contains_key(id)).collect();
            if left.is_empty() {
                step("nothing stays attached");
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "BPF programs are still loaded after the agent ended: {left:?}: \
                     a pin under /sys/fs/bpf holds them, or another process took them over"
                );
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}
