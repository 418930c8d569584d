//! MySQL and MariaDB, each with a database and users of its own.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{own_as, program, unprivileged_as};
use crate::test::environment::maven;

/// The user that MariaDB's package makes: both servers refuse to run as root.
const ACCOUNT: &str = "mysql";
/// Each proves who it is in its own way: with the plugin of MySQL 8, and with that of the versions before and of MariaDB.
const USERS: &str = "CREATE DATABASE IF NOT EXISTS golden;\n\
    CREATE USER IF NOT EXISTS golden@'%' IDENTIFIED BY 'golden';\n\
    GRANT ALL ON *.* TO golden@'%';\n";
const NATIVE_USER: &str = "CREATE USER IF NOT EXISTS native@'%' IDENTIFIED WITH mysql_native_password BY 'golden';\n\
    GRANT ALL ON *.* TO native@'%';\n";

/// Returns the command that starts MySQL with its data in `folder`.
pub(super) fn mysql(folder: &Path, port: u16) -> Result<Command> {
    let home = maven::mysql()?;
    let init = prepare(folder, &format!("{USERS}{NATIVE_USER}"))?;
    let server = || {
        let mut command = unprivileged_as(ACCOUNT, Command::new(home.join("bin/mysqld")));
        command.arg("--no-defaults").arg(option("basedir", &home)).current_dir(folder);
        command.arg(option("datadir", &folder.join("data")));
        command.arg(option("lc-messages-dir", &home.join("share")));
        command
    };
    let mut initialize = server();
    initialize.arg("--initialize-insecure");
    made(&mut initialize)?;
    let mut command = server();
    // The next version's default keeps changes for replication, which takes long to start.
    command.args(["--mysqlx=OFF", "--skip-log-bin", "--local-infile=1"]);
    listen(&mut command, folder, &init, port);
    Ok(command)
}

/// Returns the command that starts MariaDB with its data in `folder`.
pub(super) fn mariadb(folder: &Path, port: u16) -> Result<Command> {
    let init = prepare(folder, USERS)?;
    let mut initialize = unprivileged_as(ACCOUNT, program("mariadb-install-db"));
    initialize.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
    initialize.arg(option("datadir", &folder.join("data"))).current_dir(folder);
    made(&mut initialize)?;
    let mut command = unprivileged_as(ACCOUNT, program("mariadbd"));
    command.args(["--no-defaults", "--local-infile=1"]).arg(option("datadir", &folder.join("data")));
    command.current_dir(folder);
    listen(&mut command, folder, &init, port);
    Ok(command)
}

fn prepare(folder: &Path, statements: &str) -> Result<std::path::PathBuf> {
    fs::create_dir_all(folder)?;
    let init = folder.join("init.sql");
    fs::write(&init, statements)?;
    own_as(ACCOUNT, folder)?;
    Ok(init)
}

fn listen(command: &mut Command, folder: &Path, init: &Path, port: u16) {
    command.args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"]);
    command.arg(format!("--port={port}")).arg(option("init-file", init));
    command.arg(option("socket", &folder.join("mysql.sock")));
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn made(initialize: &mut Command) -> Result<()> {
    initialize.stdout(Stdio::null()).stderr(Stdio::null());
    let status = initialize.status().with_context(|| format!("start {initialize:?}"))?;
    if !status.success() {
        bail!("{initialize:?} ended with {status}");
    }
    Ok(())
}
