//! Where a measured program runs: its port, its folder and its neighbours.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use remora_tests::running::Running;
use remora_tests::scratch::Scratch;
use remora_tests::servers::{Postgres, Redis};
use remora_tests::{locate, net, tools, wait};

use crate::encrypted::Encrypted;
use crate::framework::{self, Framework};
use crate::judge::Neighbours;
use crate::load::Target;
use crate::protocol::Protocol;
use crate::services::Services;

/// How long the downstream server may take to listen.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long jobs may take after the last one was enqueued.
const DRAINED_WITHIN: Duration = Duration::from_secs(90);

/// The servers that every measured program asks. They outlive the programs.
pub(crate) struct Servers {
    postgres: Postgres,
    redis: Redis,
    /// For the queues of job systems, so that the other one's commands are only those of the measured calls.
    queue: Redis,
    downstream: Running,
    downstream_address: SocketAddr,
    services: OnceCell<Services>,
    encrypted: OnceCell<Encrypted>,
    _scratch: Scratch,
}

impl Servers {
    /// Starts them.
    pub(crate) fn start() -> Result<Self> {
        let postgres = Postgres::start()?;
        let (redis, queue) = (Redis::start()?, Redis::start()?);
        let scratch = Scratch::new("lab-downstream")?;
        let downstream_address = net::free_address()?;
        let lab = std::env::current_exe().context("find this program")?;
        let mut command = Command::new(lab);
        command.arg("downstream").arg(downstream_address.to_string());
        let mut downstream = Running::start("downstream", &scratch, &mut command)?;
        let is_listening = || Ok(std::net::TcpStream::connect(downstream_address).is_ok());
        downstream.wait_ready(READY_WITHIN, is_listening)?;
        Ok(Self {
            postgres,
            redis,
            queue,
            downstream,
            downstream_address,
            services: OnceCell::new(),
            encrypted: OnceCell::new(),
            _scratch: scratch,
        })
    }

    /// Returns the servers that not every program asks, started if they are not yet.
    pub(crate) fn services(&self) -> Result<&Services> {
        if self.services.get().is_none() {
            let services = Services::start()?;
            return Ok(self.services.get_or_init(|| services));
        }
        self.services.get().context("they were just started")
    }

    /// Returns the servers that encrypted rows ask, started if they are not yet.
    pub(crate) fn encrypted(&self) -> Result<&Encrypted> {
        if self.encrypted.get().is_none() {
            let encrypted = Encrypted::start()?;
            return Ok(self.encrypted.get_or_init(|| encrypted));
        }
        self.encrypted.get().context("they were just started")
    }

    /// Returns how to tell their spans.
    pub(crate) fn neighbours(&self) -> Neighbours {
        let port = |address: SocketAddr| u64::from(address.port());
        let mut ports = vec![
            (port(self.downstream_address), Protocol::Http),
            (port(self.postgres.address()), Protocol::Postgresql),
            (port(self.redis.address()), Protocol::Redis),
        ];
        let mut downstream = vec![self.downstream.id().into()];
        if let Some(services) = self.services.get() {
            ports.extend(services.ports());
            downstream.push(services.grpc_pid());
        }
        if let Some(encrypted) = self.encrypted.get() {
            ports.extend(encrypted.ports());
            downstream.push(encrypted.downstream_pid());
        }
        Neighbours { ports, downstream }
    }

    /// Returns how many GET commands Redis has executed: the last step of each job is one.
    pub(crate) fn redis_gets(&self) -> Result<u64> {
        let statistics = tools::redis_cli(self.redis.address(), &["INFO", "commandstats"])?;
        let calls = statistics.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
        let calls = calls.and_then(|line| line.split(',').next());
        calls.map_or(Ok(0), |calls| calls.parse().context("a broken count of calls"))
    }

    /// Waits until Redis has executed this many GET commands.
    pub(crate) fn wait_redis_gets(&self, gets: u64) -> Result<()> {
        wait::until("all jobs are done", DRAINED_WITHIN, || {
            crate::interrupt::check()?;
            Ok((self.redis_gets()? >= gets).then_some(()))
        })
    }
}

/// What a program that encrypts everything encrypts with, and whom it trusts: paths of files.
pub(crate) struct Keys<'a> {
    pub(crate) key: &'a str,
    pub(crate) certificate: &'a str,
    pub(crate) authority: &'a str,
}

/// What a program is told about where it runs.
pub(crate) struct Site {
    scratch: Scratch,
    target: Target,
    /// `postgresql://…`
    database_url: String,
    pub(crate) database: SocketAddr,
    /// `redis://…`
    redis_url: String,
    queue_url: String,
    pub(crate) downstream: SocketAddr,
    variables: Vec<(&'static str, String)>,
}

impl Site {
    /// Returns a new one: an empty folder and a free port; with the servers that not every program asks, if this one
    /// does.
    pub(crate) fn new(servers: &Servers, framework: &Framework) -> Result<Self> {
        let address = net::free_address()?;
        let mut site = Self {
            scratch: Scratch::new("lab")?,
            target: Target::plain(address),
            database_url: servers.postgres.url(),
            database: servers.postgres.address(),
            redis_url: servers.redis.url(),
            queue_url: servers.queue.url(),
            downstream: servers.downstream_address,
            variables: Vec::new(),
        };
        if framework.asks_services() {
            site.variables = servers.services()?.variables();
        }
        if framework::is_encrypted(framework.name) {
            let encrypted = servers.encrypted()?;
            site.target = Target::encrypted(address, &encrypted.authority())?;
            site.database = encrypted.database();
            site.downstream = encrypted.downstream();
            site.variables.extend(encrypted.variables());
        }
        Ok(site)
    }

    /// Returns where the program has to listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.target.address
    }

    /// Returns how the program is asked.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Returns one of the variables that not every program is told.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }

    /// Returns what the program encrypts with, if it does.
    pub(crate) fn keys(&self) -> Option<Keys<'_>> {
        Some(Keys {
            key: self.variable("TLS_KEY")?,
            certificate: self.variable("TLS_CERTIFICATE")?,
            authority: self.variable("SSL_CERT_FILE")?,
        })
    }

    /// Returns the URL of the cache.
    pub(crate) fn redis_url(&self) -> &str {
        self.variable("REDIS_URL").unwrap_or(&self.redis_url)
    }

    /// Returns its folder.
    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Returns a command that runs `program` in the site's folder and tells it its neighbours.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.scratch.path());
        command.env("PORT", self.address().port().to_string());
        command.env("DATABASE_URL", &self.database_url).env("REDIS_URL", &self.redis_url);
        command.env("QUEUE_URL", &self.queue_url);
        command.env("DOWN_URL", format!("http://{}", self.downstream));
        command.envs(self.variables.iter().cloned());
        command
    }
}

/// Returns the folder of the sources of a measured program.
pub(crate) fn app(name: &str) -> PathBuf {
    locate::apps().join("lab").join(name)
}

/// Returns the folder into which `cargo xtask lab` installs.
pub(crate) fn installed() -> PathBuf {
    locate::testenv().join("lab")
}

/// Returns a path as text, for command lines.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
