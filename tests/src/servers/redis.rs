//! Redis without persistence.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// A Redis server that keeps nothing on disk.
#[derive(Debug)]
pub struct Redis {
    address: SocketAddr,
    running: Running,
    scratch: Scratch,
}

impl Redis {
    /// Starts a server on IPv4, IPv6 and a Unix socket.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("redis")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("redis-server")?);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "::1", "--save", ""]);
        command.args(["--appendonly", "no", "--dir"]).arg(scratch.path());
        command.arg("--unixsocket").arg(scratch.path().join("redis.sock"));
        let mut running = Running::start("redis-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(tools::redis_cli(address, &["PING"])?.trim() == "PONG"))?;
        Ok(Self { address, running, scratch })
    }

    /// Starts a server that speaks TLS only.
    pub fn start_encrypted(certificates: &Certificates) -> Result<Self> {
        let scratch = Scratch::new("redis")?;
        let address = net::free_address()?;
        let mut command = Command::new(locate::program("redis-server")?);
        command.args(["--port", "0", "--tls-port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--tls-auth-clients", "no", "--dir"]);
        command.arg(scratch.path()).arg("--tls-cert-file").arg(certificates.certificate());
        command.arg("--tls-key-file").arg(certificates.key()).arg("--tls-ca-cert-file");
        command.arg(certificates.authority());
        let mut running = Running::start("redis-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || {
            Ok(Self::ask_encrypted(address, certificates, &["PING"])?.trim() == "PONG")
        })?;
        Ok(Self { address, running, scratch })
    }

    /// Runs a command over TLS.
    pub fn ask_encrypted(address: SocketAddr, certificates: &Certificates, words: &[&str]) -> Result<String> {
        let mut command = Command::new(locate::program("redis-cli")?);
        command.args(["-h", "localhost", "-p", &address.port().to_string(), "--tls", "--cacert"]);
        tools::printed(command.arg(certificates.authority()).args(words))
    }

    /// Returns its IPv4 address. The same port serves on `::1`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the path of its Unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("redis.sock")
    }

    /// Returns the URL that drivers take.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.address)
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}
