//! FerretDB, which speaks MongoDB's protocol, with SQLite.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// A FerretDB server with an empty database.
#[derive(Debug)]
pub struct FerretDb {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl FerretDb {
    /// Starts a server on IPv4.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("ferretdb")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("ferretdb")?);
        command.arg(address.to_string()).arg(scratch.path());
        let mut running = Running::start("ferretdb", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
