//! The gRPC programs that were recorded, each of which is a service and its client, as `cargo xtask test` installs them.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{clients, locate, net, tools};

/// What a program is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// grpc-go.
    Go,
    /// grpc-java with the Netty that comes with it.
    Java,
    /// `@grpc/grpc-js`.
    Node,
    /// grpcio, on gRPC's C core.
    Python,
    /// tonic.
    Rust,
}

impl Stack {
    /// Returns the status that a method has which fails by an exception.
    #[must_use]
    pub fn status_of_exception(self) -> &'static str {
        match self {
            Stack::Python => "UNKNOWN",
            Stack::Go | Stack::Java | Stack::Node | Stack::Rust => "INTERNAL",
        }
    }
}

/// The service `golden.Shop`.
#[derive(Debug)]
pub struct GrpcShop {
    stack: Stack,
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl GrpcShop {
    /// Starts it.
    pub fn start(stack: Stack) -> Result<Self> {
        let scratch = Scratch::new("grpc-shop")?;
        let address = net::free_address()?;
        let running = Running::start("shop", &scratch, &mut program(stack, Role::Serve, address)?)?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { stack, address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has a client make all its calls.
    pub fn ask_by(&self, stack: Stack) -> Result<()> {
        let mut client = program(stack, Role::Call, self.address)?;
        tools::printed(client.env("BROKEN", self.stack.status_of_exception())).map(drop)
    }
}

/// What a program does.
#[derive(Clone, Copy)]
enum Role {
    Serve,
    Call,
}

fn program(stack: Stack, role: Role, server: SocketAddr) -> Result<Command> {
    let installed = |path: &str| locate::testenv().join(path);
    let mut command = match stack {
        Stack::Go => {
            return clients::recorded_go(match role {
                Role::Serve => "grpc-serve",
                Role::Call => "grpc",
            })
            .map(|mut command| {
                command.arg(server.port().to_string());
                command
            });
        }
        Stack::Java => {
            let mut command = Command::new(locate::program("java")?);
            command.arg("-cp").arg(installed("grpc/java").join("*"));
            command.arg(clients::recorded("java").join("GrpcShop.java"));
            command
        }
        Stack::Node => {
            let mut command = Command::new(locate::program("node")?);
            command.arg(clients::recorded("node").join("grpc.js"));
            command.env("NODE_PATH", installed("grpc/node/node_modules"));
            command
        }
        Stack::Python => clients::recorded_python("grpc_shop.py")?,
        Stack::Rust => Command::new(installed("tonic/release/tonic-shop")),
    };
    command.arg(match role {
        Role::Serve => "serve",
        Role::Call => "call",
    });
    command.arg(server.port().to_string());
    Ok(command)
}
