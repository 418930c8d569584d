//! MySQL and MariaDB with data of their own.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::process::geteuid;

use super::READY_WITHIN;
use crate::certificates::Certificates;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{locate, net, tools};

/// The database `shop`, its users and the table `orders (id, note)` with 1,000 rows; and the database `golden` with the
/// user of the recordings.
const CONTENTS: &str = "CREATE DATABASE shop;\n\
    CREATE USER shop@'%' IDENTIFIED BY 'shop';\n\
    CREATE USER native@'%' IDENTIFIED WITH mysql_native_password BY 'shop';\n\
    GRANT ALL ON shop.* TO shop@'%';\n\
    GRANT ALL ON shop.* TO native@'%';\n\
    CREATE DATABASE golden;\n\
    CREATE USER golden@'%' IDENTIFIED BY 'golden';\n\
    GRANT ALL ON *.* TO golden@'%';\n\
    CREATE TABLE shop.orders (id bigint PRIMARY KEY, note varchar(40));\n\
    INSERT INTO shop.orders WITH RECURSIVE numbers AS (SELECT 100000 n UNION ALL SELECT n + 1 FROM numbers WHERE n < 100999) SELECT n, CONCAT('note ', n) FROM numbers;\n";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// MySQL 8, which `cargo xtask test` installs.
    Mysql,
    /// The distribution's MariaDB.
    Mariadb,
}

/// A server with the database `shop`.
#[derive(Debug)]
pub struct Mysql {
    address: SocketAddr,
    running: Running,
    _scratch: Scratch,
}

impl Mysql {
    /// Starts a server on IPv4.
    pub fn start(flavour: Flavour) -> Result<Self> {
        Self::start_with(flavour, None)
    }

    /// Starts a server that encrypts for clients that ask for it.
    pub fn start_encrypting(flavour: Flavour, certificates: &Certificates) -> Result<Self> {
        Self::start_with(flavour, Some(certificates))
    }

    fn start_with(flavour: Flavour, certificates: Option<&Certificates>) -> Result<Self> {
        let scratch = Scratch::new("mysql")?;
        let account = account()?;
        if let Some((uid, gid)) = account {
            chown(scratch.path(), Some(uid), Some(gid))?;
        }
        let contents = match flavour {
            Flavour::Mysql => CONTENTS.to_owned(),
            // Its way to say how a user proves who it is.
            Flavour::Mariadb => CONTENTS.replace("WITH mysql_native_password BY", "BY"),
        };
        let init = scratch.write("init.sql", contents)?;
        initialize(flavour, scratch.path(), account)?;
        let address = net::free_address()?;
        let mut server = server(flavour, scratch.path(), account)?;
        server.args(["--bind-address=127.0.0.1", "--skip-name-resolve", "--local-infile=1"]);
        server.arg(format!("--port={}", address.port())).arg(option("init-file", &init));
        server.arg(option("socket", &scratch.path().join("mysql.sock")));
        if let Some(certificates) = certificates {
            let (certificate, key) = certificates.give_rsa_to(scratch.path(), account)?;
            server.arg(option("ssl-cert", &certificate)).arg(option("ssl-key", &key));
        }
        let mut running = Running::start("mysqld", &scratch, &mut server)?;
        running.wait_ready(READY_WITHIN, || Ok(tools::mariadb(address, "SELECT 1").is_ok()))?;
        Ok(Self { address, running, _scratch: scratch })
    }

    /// Returns its address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.running.id()
    }
}

fn initialize(flavour: Flavour, folder: &Path, account: Option<(u32, u32)>) -> Result<()> {
    let data = option("datadir", &folder.join("data"));
    let mut command = match flavour {
        Flavour::Mysql => {
            let mut command = server(flavour, folder, account)?;
            command.arg("--initialize-insecure");
            command
        }
        Flavour::Mariadb => {
            let mut command = as_account(Command::new(locate::program("mariadb-install-db")?), account);
            command.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
            command.arg(data);
            command
        }
    };
    tools::printed(command.current_dir(folder)).context("make a data folder").map(drop)
}

fn server(flavour: Flavour, folder: &Path, account: Option<(u32, u32)>) -> Result<Command> {
    let home = locate::testenv().join("mysql");
    let program = match flavour {
        Flavour::Mysql => home.join("bin/mysqld"),
        Flavour::Mariadb => locate::program("mariadbd")?,
    };
    let mut command = as_account(Command::new(program), account);
    command.arg("--no-defaults").arg(option("datadir", &folder.join("data"))).current_dir(folder);
    if flavour == Flavour::Mysql {
        command.arg(option("basedir", &home)).arg(option("lc-messages-dir", &home.join("share")));
        command.args(["--mysqlx=OFF", "--skip-log-bin"]);
    }
    Ok(command)
}

fn as_account(mut command: Command, account: Option<(u32, u32)>) -> Command {
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Returns the account that MariaDB's package makes where this process is root, as which neither server runs.
fn account() -> Result<Option<(u32, u32)>> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd")?;
    let line = passwd.lines().find(|line| line.starts_with("mysql:"));
    let mut fields = line.context("there is no user mysql: install MariaDB")?.split(':').skip(2);
    let mut number =
        || fields.next().and_then(|field| field.parse().ok()).context("/etc/passwd is broken for mysql");
    Ok(Some((number()?, number()?)))
}
