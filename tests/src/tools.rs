//! Client programs that run to their end.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::locate;

/// How long a program may run: rather an error than a wait for what does not come.
const WITHIN: Duration = Duration::from_secs(300);

/// Runs `curl` and returns the response's body. HTTP errors are no error.
pub fn curl(arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(locate::program("curl")?);
    printed(command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "30"]).args(arguments))
}

/// Runs statements by `psql` over TCP and returns what it prints.
pub fn psql(server: SocketAddr, statements: &[&str]) -> Result<String> {
    printed(&mut psql_command(&server.ip().to_string(), server.port(), statements)?)
}

/// Runs statements by `psql` over the Unix socket in `folder` and returns what it prints.
pub fn psql_unix(folder: &Path, port: u16, statements: &[&str]) -> Result<String> {
    let folder = folder.to_str().context("the socket's folder is not UTF-8")?;
    printed(&mut psql_command(folder, port, statements)?)
}

/// Returns a `psql` that runs each of `statements` in a message of its own and goes on after errors.
pub fn psql_command(host: &str, port: u16, statements: &[&str]) -> Result<Command> {
    let mut command = Command::new(locate::program("psql")?);
    command.args([
        "--no-psqlrc",
        "--tuples-only",
        "--no-align",
        "--username",
        "postgres",
        "--dbname",
        "postgres",
    ]);
    command.args(["--host", host, "--port", &port.to_string()]);
    for statement in statements {
        command.args(["--command", statement]);
    }
    // Without these, psql tries encryption first, which Unix and trusted connections refuse.
    command.env("PGSSLMODE", "disable").env("PGGSSENCMODE", "disable");
    Ok(command)
}

/// Runs a statement by MariaDB's client over TCP and returns what it prints.
pub fn mariadb(server: SocketAddr, statement: &str) -> Result<String> {
    let mut command = Command::new(locate::program("mariadb")?);
    command.args([
        "--no-defaults",
        "--skip-ssl",
        "--batch",
        "--comments",
        "--skip-column-names",
        "--user=native",
        "--password=shop",
    ]);
    command.args(["--host", &server.ip().to_string(), "--port", &server.port().to_string()]);
    printed(command.args(["shop", "--execute", statement]))
}

/// Runs a program of `tests/apps/sql` in its own Python environment and returns what it prints.
pub fn sql_program(name: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(locate::testenv().join("python-sql/bin/python"));
    printed(command.arg(locate::apps().join("sql").join(name)).args(arguments))
}

/// Runs one Redis command by `redis-cli` and returns the answer.
pub fn redis_cli(server: SocketAddr, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(locate::program("redis-cli")?);
    let (host, port) = (server.ip().to_string(), server.port().to_string());
    printed(command.args(["-h", &host, "-p", &port]).args(arguments))
}

/// Runs a command to its end and returns what it printed; fails when the command does, or takes too long.
pub fn printed(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("start {command:?}"))?;
    let process = Pid::from_child(&child);
    let (ended, end) = channel::<()>();
    let watchdog = thread::spawn(move || {
        if end.recv_timeout(WITHIN) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(process, Signal::KILL);
        }
    });
    let output = child.wait_with_output().with_context(|| format!("wait for {command:?}"));
    drop(ended);
    let _ = watchdog.join();
    let Output { status, stdout, stderr } = output?;
    let stdout = String::from_utf8_lossy(&stdout).into_owned();
    if !status.success() {
        bail!("{command:?} ended with {status}: {stdout}{}", String::from_utf8_lossy(&stderr));
    }
    Ok(stdout)
}
