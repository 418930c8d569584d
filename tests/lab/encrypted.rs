//! The servers that encrypted rows ask: PostgreSQL and Redis over TLS, and an HTTPS service.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use remora_tests::certificates::Certificates;
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Postgres, Redis};
use remora_tests::{locate, net};

use crate::protocol::Protocol;
use crate::site::app;

/// How long the service may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// They outlive the programs.
pub(crate) struct Encrypted {
    certificates: Certificates,
    postgres: Postgres,
    redis: Redis,
    downstream: Running,
    downstream_address: SocketAddr,
    _scratch: Scratch,
}

impl Encrypted {
    /// Starts them.
    pub(crate) fn start() -> Result<Self> {
        let certificates = Certificates::make()?;
        let mut postgres = Postgres::start()?;
        postgres.encrypt(&certificates)?;
        let redis = Redis::start_encrypted(&certificates)?;
        let scratch = Scratch::new("lab-encrypted")?;
        let downstream_address = net::free_address()?;
        let mut command = Command::new(locate::program("node")?);
        command.arg(app("downstream").join("downstream.js")).arg(downstream_address.port().to_string());
        command.arg(certificates.key()).arg(certificates.certificate());
        let mut downstream = Running::start("downstream", &scratch, &mut command)?;
        downstream.wait_ready(READY_WITHIN, || Ok(TcpStream::connect(downstream_address).is_ok()))?;
        Ok(Self { certificates, postgres, redis, downstream, downstream_address, _scratch: scratch })
    }

    /// Returns where calls go to, and what they speak.
    pub(crate) fn ports(&self) -> [(u64, Protocol); 3] {
        let of = |address: SocketAddr, protocol| (u64::from(address.port()), protocol);
        [
            of(self.downstream_address, Protocol::Http),
            of(self.postgres.address(), Protocol::Postgresql),
            of(self.redis.address(), Protocol::Redis),
        ]
    }

    /// Returns the process of the service.
    pub(crate) fn downstream_pid(&self) -> u64 {
        self.downstream.id().into()
    }

    /// Returns the address of the database.
    pub(crate) fn database(&self) -> SocketAddr {
        self.postgres.address()
    }

    /// Returns the address of the service.
    pub(crate) fn downstream(&self) -> SocketAddr {
        self.downstream_address
    }

    /// Returns whom programs have to trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificates.authority()
    }

    /// Returns the variables that tell programs where the servers are, what they encrypt with, and whom they trust: each
    /// runtime has a variable of its own for that.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let authority = text(self.authority());
        let database = self.postgres.address().port();
        let verify = format!("sslmode=verify-full&sslrootcert={authority}");
        vec![
            ("DATABASE_URL", format!("postgresql://postgres@localhost:{database}/postgres?{verify}")),
            ("REDIS_URL", format!("rediss://localhost:{}/0", self.redis.address().port())),
            ("DOWN_URL", format!("https://localhost:{}", self.downstream_address.port())),
            ("TLS_KEY", text(self.certificates.key())),
            ("TLS_CERTIFICATE", text(self.certificates.certificate())),
            ("SSL_CERT_FILE", authority.clone()),
            ("REQUESTS_CA_BUNDLE", authority.clone()),
            ("NODE_EXTRA_CA_CERTS", authority),
        ]
    }
}
