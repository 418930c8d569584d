//! RabbitMQ, with everything it writes in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{free_port, own_as, program, unprivileged_as};

/// The user that the package made.
const USER: &str = "rabbitmq";
/// Port of Erlang's name server, counted from the server's.
const EPMD_DISTANCE: u16 = 1;

/// Returns the command that starts it at this port.
pub(super) fn command(folder: &Path, port: u16) -> Result<Command> {
    fs::create_dir_all(folder)?;
    fs::write(
        folder.join("rabbitmq.conf"),
        format!("listeners.tcp.1 = 127.0.0.1:{port}\ncluster_name = golden\n"),
    )?;
    fs::write(folder.join("enabled_plugins"), "[].\n")?;
    own_as(USER, folder)?;
    let mut command = unprivileged_as(USER, Command::new(script()?));
    command.current_dir(folder).env("HOME", folder);
    command.env("RABBITMQ_NODENAME", format!("golden{port}@localhost"));
    command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"));
    command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"));
    command.env("RABBITMQ_LOGS", folder.join("server.log"));
    command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"));
    command.env("RABBITMQ_DIST_PORT", free_port()?.to_string());
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", epmd_port(port));
    Ok(command)
}

/// Ends the name server, which outlives the server that has started it.
pub(super) fn end_epmd(port: u16) {
    let _ = program("epmd").args(["-port", &epmd_port(port), "-kill"]).output();
}

fn epmd_port(port: u16) -> String {
    port.wrapping_add(EPMD_DISTANCE).to_string()
}

/// Returns the script behind the package's wrapper, which changes users.
fn script() -> Result<PathBuf> {
    let script = Path::new("/usr/lib/rabbitmq/bin/rabbitmq-server");
    script.canonicalize().context("rabbitmq-server is not installed")
}
