//! The gRPC services of `tests/apps`, in Go and Python, and a client in Go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// What a service is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// grpc-go, `tests/apps/grpc`.
    Go,
    /// grpcio, `tests/apps/python/items_grpc.py`.
    Python,
}

/// A gRPC service that has items.
#[derive(Debug)]
pub struct GrpcService {
    address: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl GrpcService {
    /// Starts a service.
    pub fn start(language: Language) -> Result<Self> {
        Self::with_flags(language, &[])
    }

    /// Starts a service in Go that asks another one for each item.
    pub fn relay(upstream: &GrpcService) -> Result<Self> {
        Self::with_flags(Language::Go, &["-upstream".to_owned(), upstream.address.to_string()])
    }

    fn with_flags(language: Language, flags: &[String]) -> Result<Self> {
        let scratch = Scratch::new("grpc")?;
        let address = net::free_address()?;
        let mut command = match language {
            Language::Go => {
                let mut command = Command::new(binary()?);
                command.args(["-listen", &address.to_string()]);
                command
            }
            Language::Python => {
                let mut command = python("items_grpc.py");
                command.arg(address.to_string());
                command
            }
        };
        let running = Running::start("items", &scratch, command.args(flags))?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { address, _running: running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Asks for as many items at once on one connection, by their numbers from 100001 on.
    pub fn ask(&self, count: u32) -> Result<()> {
        self.ask_by_go(&["-count", &count.to_string()])
    }

    /// Asks for an item of 5 MB, for 20 short ones and one that is missing, for a stream of 6 MB, and for the short ones
    /// again, in Python on one connection.
    pub fn ask_for_much(&self) -> Result<()> {
        tools::printed(python("items_large.py").arg(self.address.to_string())).map(drop)
    }

    /// Returns what asks by the method in each line of its input, in Python on one connection, and prints an answer.
    #[must_use]
    pub fn asked(&self) -> Command {
        let mut command = python("items_asked.py");
        command.arg(self.address.to_string());
        command
    }

    /// Asks with these flags of the Go client.
    pub fn ask_by_go(&self, flags: &[&str]) -> Result<()> {
        let mut command = Command::new(binary()?);
        tools::printed(command.args(["-ask", &self.address.to_string()]).args(flags)).map(drop)
    }
}

fn python(program: &str) -> Command {
    let mut command = Command::new(locate::testenv().join("python/bin/python"));
    command.arg(locate::apps().join("python").join(program)).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Builds the program, which costs little when nothing changed, and returns its path.
fn binary() -> Result<PathBuf> {
    let binary = locate::testenv().join("bin/items-grpc");
    let mut command = Command::new(locate::program("go")?);
    command.current_dir(locate::apps().join("grpc")).args(["build", "-o"]).arg(&binary).arg(".");
    tools::printed(&mut command).context("build the gRPC service")?;
    Ok(binary)
}
