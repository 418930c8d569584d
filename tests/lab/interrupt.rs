//! Ctrl-C: the lab stops between two requests, and what it started ends with its owners.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Signal, set_parent_process_death_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static IS_INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to watch for signals, and for the end of the process that started this one.
pub(crate) fn watch() -> Result<()> {
    let flag = IS_INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("watch for signals")?;
    }
    set_parent_process_death_signal(Some(Signal::TERM)).context("watch for the parent's end")
}

/// Fails once a signal came.
pub(crate) fn check() -> Result<()> {
    if IS_INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
        bail!("interrupted");
    }
    Ok(())
}
