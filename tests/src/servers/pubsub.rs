//! Google Pub/Sub's fake server and clients of `tests/apps/pubsub`, which `cargo xtask test` installs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// How long a client may take for its messages.
const WITHIN: Duration = Duration::from_secs(60);

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// `cloud.google.com/go/pubsub`, over grpc-go.
    Go,
    /// `google-cloud-pubsub`, over gRPC's C core.
    Python,
}

/// The fake server, with the topic `orders` and its subscription `packing` once a client has made them.
#[derive(Debug)]
pub struct PubSub {
    address: SocketAddr,
    _running: Running,
    scratch: Scratch,
}

impl PubSub {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("pubsub")?;
        let address = net::free_address()?;
        let mut command = program();
        let running =
            Running::start("pubsub", &scratch, command.args(["serve", &address.port().to_string()]))?;
        net::wait_listening(address, READY_WITHIN)?;
        Ok(Self { address, _running: running, scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has one client wait for so many messages in this role (`receive` or `pull`), and another publish them.
    pub fn pass_on(&self, count: u32, from: Client, to: Client, role: &str) -> Result<()> {
        let name = format!("{to:?}-{role}").to_lowercase();
        let mut receiver = Running::start(&name, &self.scratch, &mut self.client(to, role, count))?;
        let log = self.scratch.path().join(format!("{name}.log"));
        receiver.wait_ready(WITHIN, || Ok(std::fs::read_to_string(&log)?.contains("ready")))?;
        tools::printed(&mut self.client(from, "publish", count))?;
        let status = receiver.wait(WITHIN)?;
        anyhow::ensure!(status.success(), "{name}: {status}: {}", receiver.printed());
        Ok(())
    }

    fn client(&self, client: Client, role: &str, count: u32) -> Command {
        let mut command = match client {
            Client::Go => program(),
            Client::Python => {
                let mut command = Command::new(installed().join("python/bin/python"));
                command.arg(locate::apps().join("pubsub/client.py"));
                command
            }
        };
        command.args([role, &self.address.port().to_string(), &count.to_string()]);
        command
    }
}

fn installed() -> PathBuf {
    locate::testenv().join("pubsub")
}

fn program() -> Command {
    Command::new(installed().join("pubsub"))
}
