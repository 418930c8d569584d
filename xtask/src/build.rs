//! `build`: the BPF objects and the library for JVMs, then the agent (which embeds them) and the bridge.

mod stack;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::Args;

use crate::{shell, toolchain, workspace};

/// The target for which the programs are compiled; little endian, like every machine that Remora supports.
const BPF_TARGET: &str = "bpfel-unknown-none";

#[derive(Args)]
pub(crate) struct Build {
    /// Build only what the agent embeds: the BPF objects and the library for JVMs
    #[arg(long)]
    pub(crate) bpf_only: bool,
}

/// What a build makes.
pub(crate) struct Built {
    pub(crate) agent: PathBuf,
    pub(crate) bridge: PathBuf,
}

/// Builds everything in release and returns where the two programs are.
pub(crate) fn run(build: &Build) -> Result<Built> {
    embedded()?;
    if !build.bpf_only {
        shell::run(
            "build agent and bridge (release)",
            "the compiler's message is above",
            shell::cargo("build")
                .args(["--release", "--package", "remora", "--package", "remora-bridge"])
                .args(["--target-dir".as_ref(), workspace::target().as_os_str()]),
        )?;
    }
    Ok(outputs())
}

/// Returns where a build puts the two programs.
pub(crate) fn outputs() -> Built {
    let folder = workspace::target().join("release");
    Built { agent: folder.join("remora"), bridge: folder.join("remora-bridge") }
}

/// Builds what the agent's build script looks for.
pub(crate) fn embedded() -> Result<()> {
    bpf_objects()?;
    jvm_part()
}

/// Builds the BPF objects and puts them where the agent's build script looks for them.
fn bpf_objects() -> Result<()> {
    one_object("build the BPF object", &[], &workspace::bpf_object())?;
    one_object(
        "build the BPF object that writes contexts too",
        &["--features", "propagation"],
        &workspace::bpf_propagation_object(),
    )
}

/// Builds the library that is attached inside JVMs: without a libc of some version, and without code for panics, which
/// only an optimised build leaves out.
fn jvm_part() -> Result<()> {
    let mut cargo = shell::cargo("rustc");
    cargo.args(["--quiet", "--package", "remora-jvm-part", "--lib", "--crate-type", "cdylib"]);
    cargo.args(["--profile", "attached", "--target-dir"]).arg(workspace::target());
    cargo.args(["--", "-Clink-arg=-nostdlib", "-Clink-arg=-Wl,-z,relro,-z,now"]);
    shell::run("build the library for JVMs", "the compiler's message is above", &mut cargo)
}

fn one_object(what: &str, features: &[&str], object: &Path) -> Result<()> {
    let hint = "the compiler's or bpf-linker's message is above";
    shell::run(what, hint, bpf_cargo("build")?.args(features))?;
    let built = bpf_target().join(BPF_TARGET).join("bpf").join("remora");
    stack::check(&built)?;
    // The linker made BTF of the rest of the debug information, which is five times as large as the programs.
    let stripped = built.with_extension("stripped");
    let mut strip = toolchain::objcopy()?;
    strip.arg("--strip-debug").args([&built, &stripped]);
    shell::run("leave out the debug information", "the toolchain is incomplete", &mut strip)?;
    replace_if_changed(&stripped, object)
}

/// Returns a cargo command on the BPF programs. Its own target folder keeps the flags of the two sides apart.
pub(crate) fn bpf_cargo(subcommand: &str) -> Result<Command> {
    let linker = toolchain::install()?;
    let mut command = shell::cargo(subcommand);
    command.args(["-Z", "build-std=core", "--target", BPF_TARGET, "--profile", "bpf"]);
    command.args(["--package", "remora-programs", "--target-dir"]).arg(bpf_target());
    command.env("RUSTC_BOOTSTRAP", "1").env("PATH", path_with(&linker)?);
    command.env("CARGO_ENCODED_RUSTFLAGS", rust_flags());
    Ok(command)
}

fn bpf_target() -> PathBuf {
    workspace::target().join("bpf")
}

/// BTF needs debug information; aya-ebpf reads the machine whose registers a context shows from the cfg.
fn rust_flags() -> String {
    let architecture = format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH);
    [architecture.as_str(), "-Cdebuginfo=2", "-Clink-arg=--btf"].join("\x1f")
}

fn path_with(first: &Path) -> Result<OsString> {
    let rest = env::var_os("PATH").unwrap_or_default();
    env::join_paths(std::iter::once(first.to_owned()).chain(env::split_paths(&rest)))
        .with_context(|| format!("{} cannot stand in PATH", first.display()))
}

/// Copies `from` to `to` unless they are equal, so that an unchanged object does not rebuild the agent.
fn replace_if_changed(from: &Path, to: &Path) -> Result<()> {
    let new = fs::read(from).with_context(|| format!("read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == new) {
        return Ok(());
    }
    fs::write(to, new).with_context(|| format!("write {}", to.display()))
}
