//! Running other programs, with progress and with errors that say what to do.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Prints that a step begins.
pub(crate) fn step(what: &str) {
    eprintln!("\x1b[1;32m{:>12}\x1b[0m {what}", "xtask");
}

/// Returns a command of the pinned toolchain's cargo, run at the root and building into the checkout's `target/`.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = program("cargo");
    // The variables that `cargo run` set for this very process would otherwise reach build scripts.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME", "CARGO_TARGET_DIR", "RUSTC_BOOTSTRAP"] {
        command.env_remove(name);
    }
    command.arg(subcommand);
    command
}

/// Returns a command that runs `program` at the root of the checkout.
pub(crate) fn program(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(workspace::root());
    command
}

/// Runs a command to its end with its output shown. `hint` says what to do when it fails.
pub(crate) fn run(what: &str, hint: &str, command: &mut Command) -> Result<()> {
    step(what);
    let status = command.status().with_context(|| format!("{what}: start {command:?}: {hint}"))?;
    if !status.success() {
        bail!("{what}: {command:?} ended with {status}: {hint}");
    }
    Ok(())
}

/// Runs a command to its end and returns what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("start {command:?}: is it installed?"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} printed what is not UTF-8"))
}
