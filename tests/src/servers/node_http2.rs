//! The service by Node's `http2` in `tests/apps/node`.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// The service `tests/apps/node/http2.js`, which speaks HTTP/2 in clear text only.
#[derive(Debug)]
pub struct NodeHttp2 {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl NodeHttp2 {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("http2")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("node")?);
        command.arg(locate::apps().join("node/http2.js")).arg(address.port().to_string());
        let running = Running::start("http2", &scratch, &mut command)?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
