//! NATS with JetStream.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// A NATS server that keeps its streams until it ends.
#[derive(Debug)]
pub struct Nats {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl Nats {
    /// Starts a server on loopback.
    pub fn start() -> Result<Self> {
        Self::start_with([] as [&str; 0])
    }

    /// Starts one that wants TLS.
    pub fn start_encrypted(certificates: &Certificates) -> Result<Self> {
        let (key, certificate) = (certificates.key().into(), certificates.certificate().into());
        Self::start_with([OsString::from("--tls"), "--tlskey".into(), key, "--tlscert".into(), certificate])
    }

    /// Starts one that lets in only who names this user with this password.
    pub fn start_for(user: &str, password: &str) -> Result<Self> {
        Self::start_with(["--user", user, "--pass", password])
    }

    fn start_with(flags: impl IntoIterator<Item: AsRef<OsStr>>) -> Result<Self> {
        let scratch = Scratch::new("nats")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::messages("nats-server")?);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string(), "-js", "-sd"]);
        command.arg(scratch.path().join("streams")).args(flags);
        let mut running = Running::start("nats-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Returns the URL that clients take.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }
}
