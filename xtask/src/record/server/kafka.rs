//! Kafka, one node that is broker and controller, whose clients are told to connect to the relay.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Kind, free_port, program};
use crate::test::environment;

/// The version that is recorded.
pub(in crate::record) const VERSION: &str = environment::KAFKA;
/// The last series that still takes what clients of before 2017 send.
pub(super) const OLDER_VERSION: &str = "3.9.1";
/// Any: the cluster is made anew for each recording.
const CLUSTER_ID: &str = "Z29sZGVuLWNsdXN0ZXItMQ";

/// Returns the class path of a version that is installed.
pub(in crate::record) fn libraries(version: &str) -> OsString {
    environment::testenv().join("kafka").join(version).join("*").into()
}

/// Returns the command that starts the server with its data in `folder`. It waits for clients at `port`, and tells them
/// to come to `relay_port`.
pub(super) fn command(kind: Kind, folder: &Path, port: u16, relay_port: u16) -> Result<Command> {
    let version = if kind == Kind::KafkaOlder { OLDER_VERSION } else { VERSION };
    environment::kafka(version)?;
    fs::create_dir_all(folder)?;
    let configuration = folder.join("server.properties");
    fs::write(&configuration, properties(kind, folder, port, relay_port)?)?;
    let java = || {
        let mut java = program("java");
        java.args(["-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp"])
            .arg(libraries(version));
        java
    };
    let mut format = java();
    format.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&configuration);
    if !format.stdout(Stdio::null()).status().context("start java")?.success() {
        bail!("the storage of Kafka could not be formatted");
    }
    let mut command = java();
    command.arg("kafka.Kafka").arg(configuration);
    Ok(command)
}

fn properties(kind: Kind, folder: &Path, port: u16, relay_port: u16) -> Result<String> {
    let (internal, controller) = (free_port()?, free_port()?);
    let security = if kind == Kind::KafkaSasl { "SASL_PLAINTEXT" } else { "PLAINTEXT" };
    let log = folder.join("log");
    Ok(format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=INTERNAL\n\
         listeners=CLIENTS://127.0.0.1:{port},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=CLIENTS://127.0.0.1:{relay_port},INTERNAL://127.0.0.1:{internal}\n\
         listener.security.protocol.map=CLIENTS:{security},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN\n\
         listener.name.clients.plain.sasl.jaas.config=\
         org.apache.kafka.common.security.plain.PlainLoginModule required user_golden=\"golden\";\n\
         log.dirs={log}\n\
         offsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.num.partitions=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n",
        log = log.display(),
    ))
}
