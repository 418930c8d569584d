//! PostgreSQL with a database cluster of its own.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::{Signal, geteuid};

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// A PostgreSQL server with the tables `orders (id, note)` and `items (id, name)`.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    running: Running,
    scratch: Scratch,
}

/// PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Starts a server on IPv4, IPv6 and a Unix socket.
    pub fn start() -> Result<Self> {
        Self::start_by(locate::program)
    }

    /// Starts PostgreSQL 17 with libraries of its own, as tests of programs in Java use it.
    pub fn start_embedded() -> Result<Self> {
        Self::start_by(|name| locate::tls(&format!("postgres17/bin/{name}")))
    }

    fn start_by(program: impl Fn(&str) -> Result<PathBuf>) -> Result<Self> {
        let scratch = Scratch::new("postgres")?;
        let account = account()?;
        let data = scratch.path().join("data");
        fs::create_dir(&data)?;
        fs::set_permissions(&data, Permissions::from_mode(0o700))?;
        if let Some(Account { uid, gid }) = account {
            chown(&data, Some(uid), Some(gid))?;
            chown(scratch.path(), Some(uid), Some(gid))?;
        }
        let mut initdb = server_command(&program("initdb")?, account, scratch.path())?;
        initdb.args([
            "--auth",
            "trust",
            "--username",
            "postgres",
            "--no-sync",
            "--no-locale",
            "--encoding",
            "UTF8",
        ]);
        tools::printed(initdb.arg("--pgdata").arg(&data)).context("make a database cluster")?;

        let address = net::free_address()?;
        let mut postgres = server_command(&program("postgres")?, account, scratch.path())?;
        postgres.arg("-D").arg(&data).arg("-k").arg(scratch.path()).args(["-p", &address.port().to_string()]);
        postgres.args([
            "-c",
            "listen_addresses=127.0.0.1,::1",
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ]);
        // Background work would only disturb figures.
        postgres.args(["-c", "autovacuum=off"]);
        let mut running = Running::start("postgres", &scratch, &mut postgres)?.stopping_by(Signal::INT);
        running.wait_ready(READY_WITHIN, || Ok(tools::psql(address, &["SELECT 1"]).is_ok()))?;
        let server = Self { address, running, scratch };
        server.fill()?;
        Ok(server)
    }

    /// Has it encrypt for clients that ask for it.
    pub fn encrypt(&mut self, certificates: &Certificates) -> Result<()> {
        let data = self.scratch.path().join("data");
        certificates.give_to(&data, account()?.map(|Account { uid, gid }| (uid, gid)))?;
        tools::psql(self.address, &["ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"])?;
        let address = self.address;
        self.running.wait_ready(READY_WITHIN, || Ok(Self::ask_encrypted(address, "SELECT 1").is_ok()))
    }

    /// Runs a statement over TLS.
    pub fn ask_encrypted(address: SocketAddr, statement: &str) -> Result<String> {
        let mut command = tools::psql_command(&address.ip().to_string(), address.port(), &[statement])?;
        tools::printed(command.env("PGSSLMODE", "require"))
    }

    /// Returns its IPv4 address. The same port serves on `::1`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the folder of its Unix socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Returns the URL that drivers take.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgresql://postgres@{}/postgres?sslmode=disable", self.address)
    }

    /// Returns the process id of the server's first process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }

    fn fill(&self) -> Result<()> {
        tools::psql(
            self.address,
            &[
                "CREATE TABLE orders (id bigint PRIMARY KEY, note text)",
                "CREATE TABLE items (id bigint PRIMARY KEY, name text)",
                "INSERT INTO orders SELECT n, 'note ' || n FROM generate_series(100000, 109999) n",
                "INSERT INTO items SELECT n, 'item ' || n FROM generate_series(100000, 109999) n",
            ],
        )
        .map(drop)
    }
}

fn server_command(program: &Path, account: Option<Account>, folder: &Path) -> Result<Command> {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// Returns the account `postgres` where this process is root, else none: then the server runs as this user.
fn account() -> Result<Option<Account>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with("postgres:"));
    let fields: Vec<_> = line.context("there is no user postgres: install PostgreSQL")?.split(':').collect();
    let [_, _, uid, gid, ..] = fields[..] else {
        anyhow::bail!("/etc/passwd has a broken line for postgres")
    };
    Ok(Some(Account { uid: uid.parse()?, gid: gid.parse()? }))
}
