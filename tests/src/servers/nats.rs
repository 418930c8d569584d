//! NATS with JetStream.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// A NATS server that keeps its streams until it ends.
#[derive(Debug)]
pub struct Nats {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl Nats {
    /// Starts a server on loopback.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("nats")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::messages("nats-server")?);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-js", "-sd"]);
        command.arg(scratch.path().join("streams"));
        let mut running = Running::start("nats-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL that clients take.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}
