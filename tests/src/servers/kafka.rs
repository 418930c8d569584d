//! Kafka: one node that is broker and controller.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// The version that `cargo xtask test` installs.
const VERSION: &str = "4.1.0";
/// Any: the cluster is made anew each time.
const CLUSTER_ID: &str = "dGVzdGVkLWNsdXN0ZXItMQ";

/// A Kafka broker with a cluster of its own.
#[derive(Debug)]
pub struct Kafka {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl Kafka {
    /// Starts a broker on IPv4.
    pub fn start() -> Result<Self> {
        Self::start_with(None)
    }

    /// Starts a broker that speaks TLS with clients.
    pub fn start_encrypted(certificates: &Certificates) -> Result<Self> {
        Self::start_with(Some(certificates))
    }

    fn start_with(certificates: Option<&Certificates>) -> Result<Self> {
        let scratch = Scratch::new("kafka")?;
        let (address, internal) = (net::free_address()?, net::free_address()?);
        let controller = net::free_address()?;
        let configuration = scratch.path().join("server.properties");
        let security =
            certificates.map_or_else(|| Ok(PLAINTEXT.to_owned()), |them| encrypted(them, &scratch))?;
        fs::write(&configuration, properties(address, internal, controller, &scratch) + &security)?;
        let mut format = Self::java()?;
        format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&configuration);
        tools::printed(&mut format)?;
        let mut command = Self::java()?;
        command.arg("kafka.Kafka").arg(&configuration);
        let mut running = Running::start("kafka", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(std::net::TcpStream::connect(address).is_ok()))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns the address of its clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    /// Returns a Java with Kafka's classes.
    pub fn java() -> Result<Command> {
        let mut java = Command::new(locate::program("java")?);
        java.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"]);
        java.arg(folder().join(VERSION).join("*"));
        Ok(java)
    }

    /// Returns the Python with Kafka's clients.
    #[must_use]
    pub fn python() -> Command {
        Command::new(folder().join("python/bin/python"))
    }
}

fn folder() -> PathBuf {
    locate::testenv().join("kafka")
}

const PLAINTEXT: &str =
    "listener.security.protocol.map=CLIENTS:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n";

/// Returns how clients are to speak TLS.
fn encrypted(certificates: &Certificates, scratch: &Scratch) -> Result<String> {
    let both = fs::read_to_string(certificates.key())? + &fs::read_to_string(certificates.certificate())?;
    let store = scratch.write("keystore.pem", both)?;
    Ok(format!(
        "listener.security.protocol.map=CLIENTS:SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         ssl.keystore.type=PEM\nssl.keystore.location={}\n",
        store.display()
    ))
}

fn properties(
    clients: SocketAddr,
    internal: SocketAddr,
    controller: SocketAddr,
    scratch: &Scratch,
) -> String {
    let log = scratch.path().join("log");
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=INTERNAL\n\
         listeners=CLIENTS://{clients},INTERNAL://{internal},CONTROLLER://{controller}\n\
         advertised.listeners=CLIENTS://{clients},INTERNAL://{internal}\n\
         log.dirs={log}\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         group.initial.rebalance.delay.ms=0\n",
        log = log.display(),
    )
}
