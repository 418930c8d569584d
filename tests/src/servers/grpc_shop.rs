//! The gRPC programs that were recorded, each of which is a service and its client, as `cargo xtask test` installs them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// What a program is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// `@grpc/grpc-js`.
    Node,
    /// tonic.
    Rust,
}

/// The service `golden.Shop`.
#[derive(Debug)]
pub struct GrpcShop {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl GrpcShop {
    /// Starts it.
    pub fn start(stack: Stack) -> Result<Self> {
        let scratch = Scratch::new("grpc-shop")?;
        let address = net::free_address()?;
        let mut command = program(stack)?;
        let running = Running::start("shop", &scratch, command.args(["serve", &address.port().to_string()]))?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has a client make all its calls.
    pub fn ask_by(&self, stack: Stack) -> Result<()> {
        tools::printed(program(stack)?.args(["call", &self.address.port().to_string()])).map(drop)
    }
}

fn program(stack: Stack) -> Result<Command> {
    let installed = |path: &str| locate::testenv().join(path);
    let source = |path: &str| -> PathBuf { locate::root().join("agent/engine/fixtures/clients").join(path) };
    Ok(match stack {
        Stack::Node => {
            let mut command = Command::new(locate::program("node")?);
            command.arg(source("node/grpc.js")).env("NODE_PATH", installed("grpc/node/node_modules"));
            command
        }
        Stack::Rust => Command::new(installed("tonic/release/tonic-shop")),
    })
}
