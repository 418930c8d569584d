//! The service on tokio of `tests/apps/tokio`, which `cargo xtask test` builds.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// The service `tests/apps/tokio`.
#[derive(Debug)]
pub struct TokioService {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl TokioService {
    /// Starts it with these further arguments: its upstream, and the kind of its runtime.
    pub fn start(arguments: &[&str]) -> Result<Self> {
        Self::start_as("tokio-service", arguments, |_| Ok(()))
    }

    /// Starts a copy of it without symbols.
    pub fn start_stripped(arguments: &[&str]) -> Result<Self> {
        Self::start_as("tokio-stripped", arguments, |binary| {
            tools::printed(binary).map(drop).context("strip the service on tokio")
        })
    }

    fn start_as(
        name: &str,
        arguments: &[&str],
        prepare: impl FnOnce(&mut Command) -> Result<()>,
    ) -> Result<Self> {
        let scratch = Scratch::new("tokio")?;
        let binary = scratch.path().join(name);
        let built = locate::testenv().join("tokio/release/tokio-service");
        std::fs::copy(&built, &binary)
            .with_context(|| format!("copy {}: `cargo xtask test` builds it", built.display()))?;
        prepare(Command::new("strip").arg(&binary))?;
        let address = net::free_address()?;
        let mut command = Command::new(&binary);
        command.arg(address.to_string()).args(arguments);
        let mut running = Running::start(name, &scratch, &mut command)?;
        let health = format!("http://{address}/leaf/0");
        running.wait_ready(READY_WITHIN, || Ok(tools::curl(&[&health])? == "ok"))?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
