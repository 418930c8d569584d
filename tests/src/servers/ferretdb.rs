//! FerretDB, which speaks MongoDB's protocol, with SQLite.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// A FerretDB server with an empty database.
#[derive(Debug)]
pub struct FerretDb {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl FerretDb {
    /// Starts a server on IPv4.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts a server that speaks TLS only.
    pub fn start_encrypted(certificates: &Certificates) -> Result<Self> {
        Self::start_with(Some(certificates))
    }

    fn start_with(certificates: Option<&Certificates>) -> Result<Self> {
        let scratch = Scratch::new("ferretdb")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("ferretdb")?);
        command.arg(address.to_string()).arg(scratch.path());
        if let Some(certificates) = certificates {
            command.arg(certificates.key()).arg(certificates.certificate());
        }
        let mut running = Running::start("ferretdb", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(address).is_ok()))?;
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
