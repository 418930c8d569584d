//! `record`: what real clients and real servers say to each other, as files that the tests of the parsers replay.
//!
//! Each connection goes through a relay on loopback that writes down every piece as it passes. The files lie in
//! `agent/engine/fixtures/PROTOCOL/NAME.session`; their format is described in [`session`].

mod datagrams;
mod environment;
mod proxy;
mod scenario;
mod server;
mod session;
mod speaker;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::shell::step;
use crate::workspace;
use datagrams::DatagramProxy;
use environment::Environment;
use proxy::{Address, Proxy};
use scenario::{SCENARIOS, Scenario};
use server::{Servers, Socket};

/// How long connections may take to end after their client has.
const LINGER: Duration = Duration::from_secs(10);

/// How long a client may take.
const CLIENT_SECONDS: &str = "60";

#[derive(clap::Args)]
pub(crate) struct Record {
    /// Only scenarios whose names contain one of these
    names: Vec<String>,
    /// Print the names of the scenarios and do nothing
    #[arg(long)]
    list: bool,
    /// Play no scenario: relay connections to this address (host:port, or the path of a Unix socket) until the input
    /// ends
    #[arg(long, value_name = "ADDRESS", requires_all = ["listen", "into"])]
    to: Option<Address>,
    /// Where to wait for connections
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<Address>,
    /// The folder and the beginning of the files' names, such as /tmp/mine
    #[arg(long, value_name = "PREFIX")]
    into: Option<PathBuf>,
}

pub(crate) fn run(record: &Record) -> Result<()> {
    if let (Some(to), Some(listen), Some(into)) = (&record.to, &record.listen, &record.into) {
        return relay(listen, to, into);
    }
    let is_wanted = |scenario: &&Scenario| {
        record.names.is_empty() || record.names.iter().any(|name| scenario.name.contains(name.as_str()))
    };
    let scenarios: Vec<&Scenario> = SCENARIOS.iter().filter(is_wanted).collect();
    if scenarios.is_empty() {
        bail!("no scenario has such a name; see cargo xtask record --list");
    }
    if record.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(());
    }
    let environment = Environment::install()?;
    let mut servers = Servers::new()?;
    for scenario in scenarios {
        play(scenario, &environment, &mut servers).with_context(|| format!("record {}", scenario.name))?;
    }
    Ok(())
}

fn play(scenario: &Scenario, environment: &Environment, servers: &mut Servers) -> Result<()> {
    step(&format!("record {}", scenario.name));
    let server = servers.address(scenario.server, scenario.socket, environment)?;
    let listen = servers.relay_address(scenario.server, scenario.socket);
    let sessions = match scenario.socket {
        Socket::Udp => {
            let proxy = DatagramProxy::start(&server)?;
            run_clients(scenario, environment, proxy.address())?;
            proxy.finish()?
        }
        Socket::Tcp | Socket::Unix => {
            let proxy = Proxy::start(&listen, server)?;
            run_clients(scenario, environment, proxy.address())?;
            proxy.finish(LINGER)?
        }
    };
    if sessions.is_empty() {
        bail!("the client made no connection");
    }
    let prefix = workspace::root().join("agent/engine/fixtures").join(scenario.name);
    let client = scenario.speaker.signature(environment)?;
    let server = scenario.server.speaker().signature(environment)?;
    session::write_all(&prefix, &format!("# client {client}\n# server {server}\n"), &sessions)
}

fn run_clients(scenario: &Scenario, environment: &Environment, to: &Address) -> Result<()> {
    for command in (scenario.client)(environment, to) {
        let mut command = scenario::within(&["timeout", CLIENT_SECONDS], &command);
        let output = command.output().with_context(|| format!("start {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        }
    }
    Ok(())
}

/// Relays until the standard input ends.
fn relay(listen: &Address, to: &Address, into: &std::path::Path) -> Result<()> {
    let proxy = Proxy::start(listen, to.clone())?;
    step(&format!("relaying {} to {to}; end the input (Ctrl-D) to write the sessions", proxy.address()));
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).context("read the standard input")?;
    session::write_all(into, "", &proxy.finish(LINGER)?)
}
