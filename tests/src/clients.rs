//! Programs of `tests/apps/clients`, and those of the recordings, in an environment that has what they need.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::locate;

/// Returns a Python program of `tests/apps/clients`.
pub fn python(script: &str) -> Result<Command> {
    let mut command = Command::new(installed("python/bin/python")?);
    command.arg(app(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Returns a Node program of `tests/apps/clients`.
pub fn node(script: &str) -> Result<Command> {
    node_at(app(script))
}

/// Returns a module of the Python environment, run as a program: installed programs name the folder where they were.
pub fn python_module(name: &str) -> Result<Command> {
    let mut command = Command::new(installed("python/bin/python")?);
    command.args(["-m", name]).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Returns a Python program of the recordings.
pub fn recorded_python(script: &str) -> Result<Command> {
    let mut command = Command::new(installed("python/bin/python")?);
    command.arg(recorded("python").join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Returns a Node program of the recordings.
pub fn recorded_node(script: &str) -> Result<Command> {
    node_at(recorded("node").join(script))
}

/// Returns the Go program of the recordings in a role.
pub fn recorded_go(role: &str) -> Result<Command> {
    let mut command = Command::new(installed("golden")?);
    command.arg(role);
    Ok(command)
}

/// Returns the Go program of the recordings that asks Kafka, in a role.
pub fn recorded_go_kafka(role: &str) -> Result<Command> {
    let mut command = Command::new(installed("golden-kafka")?);
    command.arg(role);
    Ok(command)
}

/// Returns the folder of the recordings' programs in a language.
#[must_use]
pub fn recorded(language: &str) -> PathBuf {
    locate::root().join("agent/engine/fixtures/clients").join(language)
}

fn app(script: &str) -> PathBuf {
    locate::apps().join("clients").join(script)
}

fn node_at(script: PathBuf) -> Result<Command> {
    let mut command = Command::new(locate::program("node")?);
    command.arg(script).env("NODE_PATH", installed("node/node_modules")?);
    Ok(command)
}

fn installed(path: &str) -> Result<PathBuf> {
    let path = locate::testenv().join("clients").join(path);
    ensure!(
        path.exists(),
        "`{}` is not installed: `cargo xtask test` installs what the tests need",
        path.display()
    );
    Ok(path)
}
