//! dnsmasq with names of its own, at the port of DNS on a loopback address of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, tools};

/// Where it answers: nobody else has a server of DNS there.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 83, 12, 53);

/// A DNS server that knows `www.remora.test`, which is this host.
#[derive(Debug)]
pub struct Dnsmasq {
    scratch: Scratch,
    _running: Running,
}

impl Dnsmasq {
    /// The name that it knows.
    pub const NAME: &str = "www.remora.test";

    /// Starts it.
    pub fn start() -> Result<Self> {
        let scratch = Scratch::new("dnsmasq")?;
        scratch.write("resolv.conf", format!("nameserver {ADDRESS}\noptions timeout:5 attempts:1\n"))?;
        let mut command = Command::new(locate::program("dnsmasq")?);
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts"]);
        command.args(["--user=root", "--pid-file=", "--bind-interfaces", "--local=/remora.test/"]);
        command.args([
            format!("--listen-address={ADDRESS}"),
            format!("--host-record={},127.0.0.1,::1", Self::NAME),
        ]);
        let mut running = Running::start("dnsmasq", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(Self::dig(&["+short", Self::NAME])?.trim() == "127.0.0.1"))?;
        Ok(Self { scratch, _running: running })
    }

    /// Returns its address.
    #[must_use]
    pub fn address() -> SocketAddr {
        SocketAddr::new(IpAddr::V4(ADDRESS), 53)
    }

    /// Asks it by `dig`, and returns what that prints.
    pub fn dig(question: &[&str]) -> Result<String> {
        let mut command = Command::new(locate::program("dig")?);
        tools::printed(command.arg(format!("@{ADDRESS}")).args(question))
    }

    /// Returns a command that runs another, which asks this server for names.
    pub fn resolving(&self, command: &Command) -> Result<Command> {
        let mut inside = Command::new(locate::program("unshare")?);
        let script = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        inside.args(["--mount", "sh", "-c", script, "sh"]).arg(self.scratch.path().join("resolv.conf"));
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            inside.env(name, value.unwrap_or_default());
        }
        Ok(inside)
    }
}
