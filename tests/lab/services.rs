//! The servers that only some of the measured programs ask: started when the first of these is measured.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use remora_tests::net;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{FerretDb, Flavour, Kafka, Mysql};
use remora_tests::tools;

use crate::protocol::Protocol;
use crate::site::installed;

/// How long the service may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A gRPC service, MariaDB with a table of items, MongoDB's protocol and Kafka.
pub(crate) struct Services {
    grpc: Running,
    grpc_address: SocketAddr,
    mysql: Mysql,
    mongodb: FerretDb,
    kafka: Kafka,
    _scratch: Scratch,
}

impl Services {
    /// Starts them.
    pub(crate) fn start() -> Result<Self> {
        let scratch = Scratch::new("lab-services")?;
        let grpc_address = net::free_address()?;
        let mut command = Command::new(installed().join("go/lab-services"));
        command.arg("-grpc").arg(grpc_address.to_string());
        let mut grpc = Running::start("grpc", &scratch, &mut command)?;
        grpc.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(grpc_address).is_ok()))?;
        let mysql = Mysql::start(Flavour::Mariadb)?;
        let (mongodb, kafka) = (FerretDb::start()?, Kafka::start()?);
        let table = "CREATE TABLE items (id BIGINT PRIMARY KEY, name VARCHAR(80))";
        tools::mariadb(mysql.address(), table).context("make the table")?;
        Ok(Self { grpc, grpc_address, mysql, mongodb, kafka, _scratch: scratch })
    }

    /// Returns where calls go to, and what they speak.
    pub(crate) fn ports(&self) -> [(u64, Protocol); 4] {
        let of = |address: SocketAddr, protocol| (u64::from(address.port()), protocol);
        [
            of(self.grpc_address, Protocol::Grpc),
            of(self.mysql.address(), Protocol::Mysql),
            of(self.mongodb.address(), Protocol::Mongodb),
            of(self.kafka.address(), Protocol::Kafka),
        ]
    }

    /// Returns the process of the gRPC service.
    pub(crate) fn grpc_pid(&self) -> u64 {
        self.grpc.id().into()
    }

    /// Returns the variables that tell programs where they are.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let mysql = self.mysql.address();
        vec![
            ("GRPC_ADDRESS", self.grpc_address.to_string()),
            ("MYSQL_DSN", format!("native:shop@tcp({mysql})/shop")),
            ("MYSQL_URL", format!("mysql://native:shop@{mysql}/shop")),
            ("MONGODB_URL", format!("mongodb://{}/", self.mongodb.address())),
            ("KAFKA_ADDRESS", self.kafka.address().to_string()),
        ]
    }
}
