//! The Node service of `tests/apps/node`.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// The Node service `tests/apps/node`.
#[derive(Debug)]
pub struct NodeService {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl NodeService {
    /// Starts it. Empty URLs mean that it has no such neighbour.
    pub fn start(database_url: &str, upstream_url: &str) -> Result<Self> {
        let scratch = Scratch::new("node")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("node")?);
        command.arg(locate::apps().join("node/server.js")).arg(address.port().to_string());
        command
            .args([database_url, upstream_url])
            .env("NODE_PATH", locate::testenv().join("node/node_modules"));
        let mut running = Running::start("node", &scratch, &mut command)?;
        let health = format!("http://{address}/healthz");
        running.wait_ready(READY_WITHIN, || Ok(tools::curl(&[&health])?.contains("true")))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}
