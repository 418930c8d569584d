//! Hosts that are network namespaces: three in a row, with address translation between them.
//!
//! ```text
//! client 10.77.1.2 ── 10.77.1.1 router 10.77.2.1 ── 10.77.2.2 proxy 10.77.3.1 ── 10.77.3.2 service
//! ```
//!
//! The router gives what comes to its own ports 80 and 443 to the proxy's, in its own name: neither end sees the other's
//! address or port. IPv6 (`fd77::/16`, numbered alike) goes the same way, without translation.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, id};

use anyhow::{Context as _, Result};

use crate::scratch::Scratch;
use crate::{locate, tools};

/// The router's rules.
const TRANSLATION: &str = "table ip nat {
    chain pre {
        type nat hook prerouting priority -100;
        ip daddr 10.77.1.1 tcp dport 80 dnat to 10.77.2.2:8080;
        ip daddr 10.77.1.1 tcp dport 443 dnat to 10.77.2.2:8443;
    }
    chain post { type nat hook postrouting priority 100; ip daddr 10.77.2.2 masquerade; }
}
";

/// One of the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Asks.
    Client,
    /// Translates.
    Router,
    /// Is asked, and asks the service.
    Proxy,
    /// Is asked.
    Service,
}

impl Host {
    const ALL: [Host; 4] = [Host::Client, Host::Router, Host::Proxy, Host::Service];

    fn label(self) -> &'static str {
        match self {
            Host::Client => "client",
            Host::Router => "router",
            Host::Proxy => "proxy",
            Host::Service => "service",
        }
    }
}

/// The hosts. They are gone when it is dropped.
#[derive(Debug)]
pub struct Hosts {
    prefix: String,
}

impl Hosts {
    /// Where the client finds the proxy: an address of the router.
    #[must_use]
    pub fn translated() -> SocketAddr {
        SocketAddr::new(IpAddr::from([10, 77, 1, 1]), 80)
    }

    /// Likewise, for TLS.
    #[must_use]
    pub fn translated_tls() -> SocketAddr {
        SocketAddr::new(IpAddr::from([10, 77, 1, 1]), 443)
    }

    /// Where the proxy listens for TLS.
    #[must_use]
    pub fn proxy_tls() -> SocketAddr {
        SocketAddr::new(IpAddr::from([10, 77, 2, 2]), 8443)
    }

    /// Where the proxy listens, by IPv4 and IPv6.
    #[must_use]
    pub fn proxy() -> [SocketAddr; 2] {
        let [ipv4, ipv6] = [IpAddr::from([10, 77, 2, 2]), IpAddr::from([0xfd77, 0, 0, 2, 0, 0, 0, 2])];
        [SocketAddr::new(ipv4, 8080), SocketAddr::new(ipv6, 8080)]
    }

    /// Where the service listens.
    #[must_use]
    pub fn service() -> SocketAddr {
        SocketAddr::new(IpAddr::from([10, 77, 3, 2]), 8080)
    }

    /// Makes the hosts and the links between them.
    pub fn make() -> Result<Self> {
        let hosts = Self { prefix: format!("remora{}", id()) };
        for host in Host::ALL {
            ip(&["netns", "add", &hosts.name(host)])?;
            ip(&["-n", &hosts.name(host), "link", "set", "lo", "up"])?;
        }
        hosts.link(1, Host::Router, Host::Client)?;
        hosts.link(2, Host::Router, Host::Proxy)?;
        hosts.link(3, Host::Proxy, Host::Service)?;
        for name in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            tools::printed(hosts.command(Host::Router, "sysctl")?.args(["-qw", name]))?;
        }
        hosts.route("-4", Host::Client, "10.77.0.0/16", "10.77.1.1")?;
        hosts.route("-6", Host::Client, "fd77::/16", "fd77:0:0:1::1")?;
        hosts.route("-4", Host::Proxy, "10.77.1.0/24", "10.77.2.1")?;
        hosts.route("-6", Host::Proxy, "fd77:0:0:1::/64", "fd77:0:0:2::1")?;
        let scratch = Scratch::new("nat")?;
        let rules = scratch.write("rules", TRANSLATION)?;
        tools::printed(hosts.command(Host::Router, "nft")?.arg("-f").arg(rules))?;
        Ok(hosts)
    }

    /// Connects two hosts by the network of this number, in which they have the addresses 1 and 2.
    fn link(&self, network: u32, first: Host, second: Host) -> Result<()> {
        let ends = [(first, 1), (second, 2)].map(|(host, number)| (self.name(host), number));
        let [(first, _), (second, _)] = &ends;
        let device = format!("net{network}");
        ip(&["link", "add", &device, "netns", first, "type", "veth", "peer", &device, "netns", second])?;
        for (name, number) in &ends {
            let ipv4 = format!("10.77.{network}.{number}/24");
            ip(&["-n", name, "addr", "add", &ipv4, "dev", &device])?;
            let ipv6 = format!("fd77:0:0:{network}::{number}/64");
            ip(&["-n", name, "addr", "add", &ipv6, "dev", &device, "nodad"])?;
            ip(&["-n", name, "link", "set", &device, "up"])?;
        }
        Ok(())
    }

    fn route(&self, family: &str, host: Host, to: &str, via: &str) -> Result<()> {
        ip(&[family, "-n", &self.name(host), "route", "add", to, "via", via])
    }

    fn name(&self, host: Host) -> String {
        format!("{}-{}", self.prefix, host.label())
    }

    /// Returns a command that runs a program on a host.
    pub fn command(&self, host: Host, program: &str) -> Result<Command> {
        let mut command = Command::new(locate::program("nsenter")?);
        let namespace = PathBuf::from("/run/netns").join(self.name(host));
        command.arg(format!("--net={}", namespace.display())).arg(locate::program(program)?);
        Ok(command)
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for host in Host::ALL {
            let _gone = ip(&["netns", "del", &self.name(host)]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    tools::printed(Command::new(locate::program("ip")?).args(arguments)).map(drop).context("make a host")
}
