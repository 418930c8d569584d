//! RabbitMQ with everything it writes in a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::geteuid;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net};

/// What the package's own wrapper runs as the user that it made.
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A RabbitMQ node that ends with its owner.
#[derive(Debug)]
pub struct Rabbitmq {
    address: SocketAddr,
    names: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl Rabbitmq {
    /// Starts a node that speaks AMQP on loopback.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts a node that speaks AMQP on loopback over TLS only.
    pub fn start_encrypted(certificates: &Certificates) -> Result<Self> {
        Self::start_with(Some(certificates))
    }

    fn start_with(certificates: Option<&Certificates>) -> Result<Self> {
        let scratch = Scratch::new("rabbitmq")?;
        let (address, names) = (net::free_address()?, net::free_address()?);
        let folder = scratch.path();
        let listeners = match certificates {
            None => format!("listeners.tcp.1 = {address}\n"),
            Some(certificates) => {
                let (certificate, key) = certificates.give_to(folder, account()?)?;
                format!(
                    "listeners.tcp = none\nlisteners.ssl.1 = {address}\n\
                     ssl_options.certfile = {}\nssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
                    certificate.display(),
                    key.display()
                )
            }
        };
        fs::write(folder.join("rabbitmq.conf"), listeners)?;
        fs::write(folder.join("enabled_plugins"), "[].\n")?;
        let mut command = Command::new(SCRIPT);
        command.current_dir(folder).env("HOME", folder);
        command.env("RABBITMQ_NODENAME", format!("remora{}@localhost", address.port()));
        command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"));
        command
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOGS", folder.join("node.log"));
        command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"));
        command.env("RABBITMQ_DIST_PORT", net::free_address()?.port().to_string());
        command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", names.port().to_string());
        give(&mut command, folder)?;
        let mut running = Running::start("rabbitmq-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, names, _running: running, _scratch: scratch })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL that clients take.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/", self.address)
    }
}

impl Drop for Rabbitmq {
    /// Ends Erlang's name server, which the node has started and which would outlive it.
    fn drop(&mut self) {
        let Ok(epmd) = locate::program("epmd") else { return };
        let port = self.names.port().to_string();
        let _ = Command::new(epmd).args(["-relaxed_command_check", "-port", &port, "-kill"]).output();
    }
}

/// Erlang insists on owning its files: where this process is root, the node runs as the user that its package made.
fn give(command: &mut Command, folder: &Path) -> Result<()> {
    let Some((user, group)) = account()? else { return Ok(()) };
    command.uid(user).gid(group);
    chown(folder, Some(user), Some(group))
        .with_context(|| format!("change the owner of {}", folder.display()))
}

fn account() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd")?;
    let user = users.lines().find_map(|line| line.strip_prefix("rabbitmq:"));
    let mut fields = user.context("there is no user rabbitmq: install RabbitMQ")?.split(':').skip(1);
    let mut number =
        || -> Result<u32> { Ok(fields.next().context("a broken line in /etc/passwd")?.parse()?) };
    Ok(Some((number()?, number()?)))
}
