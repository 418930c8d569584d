//! Servers of the recordings, as they stand in `agent/engine/fixtures/clients`, and others in their environment.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{clients, net};

/// A server whose program stands among those of clients.
#[derive(Debug)]
pub struct RecordedServer {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl RecordedServer {
    /// Starts Node's server of WebSocket (`ws`), server-sent events and GraphQL (`graphql-http`).
    pub fn node() -> Result<Self> {
        let mut command = clients::recorded_node("live.js")?;
        command.arg("serve");
        Self::start("live", command)
    }

    /// Starts Node's server of the same without WebSocket, for clients that know that it speaks HTTP/2.
    pub fn node_http2() -> Result<Self> {
        let mut command = clients::recorded_node("live.js")?;
        command.arg("serve-http2");
        Self::start("live", command)
    }

    /// Starts hypercorn with what uvicorn serves, for clients that know that it speaks HTTP/2.
    pub fn hypercorn() -> Result<Self> {
        let address = net::free_address()?;
        let mut command = clients::python_module("hypercorn")?;
        command.current_dir(clients::recorded("python")).args(["live_app:app", "--bind"]);
        command.arg(address.to_string());
        Self::start_at("hypercorn", command, address)
    }

    /// Starts uvicorn with WebSocket (`websockets`), server-sent events and GraphQL (Strawberry).
    pub fn uvicorn() -> Result<Self> {
        let mut command = clients::python_module("uvicorn")?;
        command.current_dir(clients::recorded("python")).args(["live_app:app", "--port"]);
        Self::start("uvicorn", command)
    }

    /// Starts Go's `net/http`, which goes on by HTTP/2 where a client asks for it.
    pub fn go_h2c() -> Result<Self> {
        Self::start("golden", clients::recorded_go("h2c-serve")?)
    }

    /// Starts a chat by Python's `websockets`.
    pub fn chat() -> Result<Self> {
        Self::start("chat_server", clients::python("chat_server.py")?)
    }

    /// Starts a server that takes its port as the last argument, and listens on 127.0.0.1.
    pub fn start(name: &str, mut command: Command) -> Result<Self> {
        let address = net::free_address()?;
        command.arg(address.port().to_string());
        Self::start_at(name, command, address)
    }

    fn start_at(name: &str, mut command: Command, address: SocketAddr) -> Result<Self> {
        let scratch = Scratch::new(name)?;
        let running = Running::start(name, &scratch, &mut command)?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
