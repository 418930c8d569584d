//! Redis Cluster: three nodes, each with a third of the slots.

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::READY_WITHIN;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools, wait};

/// The nodes.
const NODES: usize = 3;
/// The slots that they share (Redis Cluster specification, "Key distribution model").
const SLOTS: usize = 16_384;

/// A cluster that keeps nothing.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    address: SocketAddr,
    /// Where it listens for other nodes: the usual port, 10,000 higher, may be beyond the last.
    bus: SocketAddr,
    _running: Running,
    _scratch: Scratch,
}

impl RedisCluster {
    /// Starts it, and returns when every node knows the others and that all slots are served.
    pub fn start() -> Result<Self> {
        let nodes = (0..NODES).map(|_| Node::start()).collect::<Result<Vec<_>>>()?;
        let first = nodes.first().context("there are nodes")?;
        for (at, node) in nodes.iter().enumerate() {
            let range = [SLOTS * at / NODES, SLOTS * (at + 1) / NODES - 1].map(|slot| slot.to_string());
            node.ask(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]])?;
            node.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()])?;
            let [port, bus] = [node.address, node.bus].map(|address| address.port().to_string());
            first.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        for node in &nodes {
            wait::until("the nodes are a cluster", READY_WITHIN, || {
                let known = node.ask(&["CLUSTER", "INFO"])?;
                let is_whole = known.contains("cluster_state:ok")
                    && known.contains(&format!("cluster_known_nodes:{NODES}"));
                Ok(is_whole.then_some(()))
            })?;
        }
        Ok(Self { nodes })
    }

    /// Returns the address of each node, in the order of their slots.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.nodes.iter().map(|node| node.address)
    }
}

impl Node {
    fn start() -> Result<Self> {
        let scratch = Scratch::new("redis-node")?;
        let (address, bus) = (net::free_address()?, net::free_address()?);
        let mut command = Command::new(locate::program("redis-server")?);
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--cluster-enabled", "yes", "--cluster-port", &bus.port().to_string()]);
        command.args(["--appendonly", "no", "--dir"]).arg(scratch.path());
        let mut running = Running::start("redis-server", &scratch, &mut command)?;
        running.wait_ready(READY_WITHIN, || Ok(tools::redis_cli(address, &["PING"])?.trim() == "PONG"))?;
        Ok(Self { address, bus, _running: running, _scratch: scratch })
    }

    fn ask(&self, command: &[&str]) -> Result<String> {
        tools::redis_cli(self.address, command)
    }
}
