//! Servers of the recordings, as they stand in `agent/engine/fixtures/clients`, and others in their environment.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{clients, locate, net};

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

    /// Starts nghttp2's own server, which pads its frames.
    pub fn nghttpd() -> Result<Self> {
        let (address, scratch) = (net::free_address()?, Scratch::new("nghttpd")?);
        scratch.write("a.txt", "twelve bytes")?;
        scratch.write("pushed.txt", "not told")?;
        let mut command = Command::new(locate::program("nghttpd")?);
        command.args(["--no-tls", "--address=127.0.0.1", "--padding=20", "--header-table-size=512"]);
        command.args(["--trailer=checksum: 7", "--push=/a.txt=/pushed.txt", "--htdocs"]).arg(scratch.path());
        command.arg(address.port().to_string());
        Self::start_in(scratch, "nghttpd", command, address)
    }

    /// Starts a front before FerretDB that compresses, and lets cursors go on by themselves.
    pub fn mongodb_front(behind: SocketAddr) -> Result<Self> {
        let address = net::free_address()?;
        let mut command = clients::recorded_python("mongo_front.py")?;
        command.args([address.port().to_string(), behind.port().to_string()]);
        Self::start_at("mongo_front", command, address)
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

    fn start_at(name: &str, command: Command, address: SocketAddr) -> Result<Self> {
        Self::start_in(Scratch::new(name)?, name, command, address)
    }

    fn start_in(scratch: Scratch, name: &str, mut command: Command, address: SocketAddr) -> Result<Self> {
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
