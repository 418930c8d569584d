//! Static programs for any architecture: Rust's musl targets, linked by the toolchain's own linker. The few C parts are
//! compiled by Zig's compiler, which brings the headers of every target along.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Architecture;
use crate::test::environment;
use crate::{shell, workspace};

/// Zig as a Python package: it needs no root, and is the same on every host.
const ZIG: &str = "ziglang==0.17.1";
const PROFILE: &str = "image";

/// Returns Rust's name of the target.
pub(super) fn target(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Amd64 => "x86_64-unknown-linux-musl",
        Architecture::Arm64 => "aarch64-unknown-linux-musl",
    }
}

/// Returns where a build puts a program.
pub(super) fn binary(architecture: Architecture, program: &str) -> PathBuf {
    workspace::target().join(target(architecture)).join(PROFILE).join(program)
}

/// Builds programs for an architecture.
pub(super) fn build(architecture: Architecture, programs: &[&str]) -> Result<()> {
    let target = target(architecture);
    shell::run(
        &format!("install the target {target}"),
        "rustup must be installed, see https://rustup.rs",
        shell::program("rustup").args(["target", "add", target]),
    )?;
    let tools = compilers(target)?;
    let mut cargo = shell::cargo("build");
    cargo.args(["--locked", "--profile", PROFILE, "--target", target, "--target-dir"]);
    cargo.arg(workspace::target());
    cargo.args(programs.iter().flat_map(|program| ["--package", program]));
    let (lower, upper) = (target.replace('-', "_"), target.replace('-', "_").to_uppercase());
    cargo.env(format!("CC_{lower}"), tools.join(compiler(target)));
    cargo.env(format!("AR_{lower}"), tools.join("ar"));
    cargo.env(format!("CARGO_TARGET_{upper}_LINKER"), "rust-lld");
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rust_flags()?);
    shell::run(&format!("build for {target}"), "the compiler's message is above", &mut cargo)
}

/// Panics name source files: they must not say where this checkout is.
fn rust_flags() -> Result<String> {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    let cargo_home = cargo_home.or_else(home).context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    let flags = [
        "-Clinker-flavor=ld.lld".to_owned(),
        remap(workspace::root(), "/remora"),
        remap(&cargo_home, "/cargo"),
    ];
    Ok(flags.join("\x1f"))
}

fn compiler(target: &str) -> String {
    format!("cc-{}", target.split('-').next().unwrap_or(target))
}

/// Writes the scripts by which build scripts call the C compiler, and returns their folder.
fn compilers(target: &str) -> Result<PathBuf> {
    let bin = environment::python_tool(&workspace::tools().join("zig"), ZIG)?;
    let zig = format!("'{}' -m ziglang", bin.join("python").display());
    let folder = workspace::tools().join("cross");
    fs::create_dir_all(&folder)?;
    let zig_target = target.replace("-unknown-", "-");
    // Zig has names of its own for targets, and checks at run time that nobody asked for.
    let compiler_script = format!(
        "#!/bin/sh\nfor argument do shift; case $argument in --target=*) ;; *) set -- \"$@\" \"$argument\";; esac; done\n\
         exec {zig} cc -target {zig_target} -fno-sanitize=all \"$@\"\n"
    );
    script(&folder.join(compiler(target)), &compiler_script)?;
    script(&folder.join("ar"), &format!("#!/bin/sh\nexec {zig} ar \"$@\"\n"))?;
    Ok(folder)
}

fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}
