//! Python's own HTTP server.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// Python's `http.server`: HTTP/1.0, a thread for each connection.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl HttpServer {
    /// Starts a server of these files on `ip`.
    pub fn files(ip: IpAddr, files: &[(&str, &[u8])]) -> Result<Self> {
        let scratch = Scratch::new("http-server")?;
        std::fs::create_dir(scratch.path().join("files"))?;
        for (name, contents) in files {
            scratch.write(&format!("files/{name}"), contents)?;
        }
        let address = net::free_address_on(ip)?;
        let mut command = Command::new(locate::program("python3")?);
        command.args([
            "-m",
            "http.server",
            "--protocol",
            "HTTP/1.0",
            "--bind",
            &ip.to_string(),
            "--directory",
        ]);
        command.arg(scratch.path().join("files")).arg(address.port().to_string());
        let mut running = Running::start("http.server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
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
