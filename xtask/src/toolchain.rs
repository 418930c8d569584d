//! `toolchain`: what `rust-toolchain.toml` pins, and a bpf-linker built against that toolchain's own LLVM.
//!
//! Nothing is installed globally but the toolchain itself, which rustup keeps. Another LLVM than the compiler's
//! own cannot read the bitcode it writes, hence a linker of our own for each version of the toolchain.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::shell;
use crate::workspace;

/// The versions of bpf-linker that work.
const BPF_LINKER: &str = "^0.13";

/// Installs what is missing and returns the folder that holds `bpf-linker`.
pub(crate) fn install() -> Result<PathBuf> {
    let sysroot = sysroot()?;
    install_components(&sysroot)?;
    let bin = workspace::tools().join("bin");
    let wanted = format!("bpf-linker {BPF_LINKER}\n{}", shell::output(shell::program("rustc").arg("-vV"))?);
    let stamp = workspace::tools().join("bpf-linker.stamp");
    let is_current =
        bin.join("bpf-linker").exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if !is_current {
        build_bpf_linker(&sysroot)?;
        fs::write(&stamp, wanted).with_context(|| format!("write {}", stamp.display()))?;
    }
    Ok(bin)
}

/// Returns the toolchain's own objcopy, which knows BPF.
pub(crate) fn objcopy() -> Result<Command> {
    let printed = shell::output(shell::program("rustc").args(["--print", "target-libdir"]))?;
    let folder = Path::new(printed.trim()).with_file_name("bin");
    let mut command = shell::program(folder.join("rust-objcopy"));
    command.env("LD_LIBRARY_PATH", sysroot()?.join("lib"));
    Ok(command)
}

fn sysroot() -> Result<PathBuf> {
    let printed = shell::output(shell::program("rustc").args(["--print", "sysroot"])).context(
        "the pinned Rust toolchain is not installed: run `rustup toolchain install` in the checkout",
    )?;
    Ok(PathBuf::from(printed.trim()))
}

/// A toolchain that was installed by hand may lack the components that the checkout names.
fn install_components(sysroot: &Path) -> Result<()> {
    let is_complete = sysroot.join("lib/rustlib/src/rust/library/core").exists()
        && ["cargo-clippy", "rustfmt"].iter().all(|name| sysroot.join("bin").join(name).exists());
    if is_complete {
        return Ok(());
    }
    shell::run(
        "install the toolchain's missing components",
        "rustup must be installed, see https://rustup.rs",
        shell::program("rustup").args(["toolchain", "install"]),
    )
}

fn build_bpf_linker(sysroot: &Path) -> Result<()> {
    let tools = workspace::tools();
    let prefix = tools.join("llvm");
    link_llvm(sysroot, &prefix)?;
    shell::run(
        "build bpf-linker into target/tools (about a minute, once for each toolchain)",
        "it needs a C compiler and access to crates.io",
        shell::cargo("install")
            .args(["bpf-linker", "--version", BPF_LINKER, "--locked", "--force", "--root"])
            .arg(&tools)
            .env("LLVM_PREFIX", &prefix)
            .env("RUSTFLAGS", format!("-C link-arg=-Wl,-rpath,{}", sysroot.join("lib").display())),
    )
}

/// Makes `PREFIX/lib/libLLVM.so` lead to the toolchain's own LLVM, whose file name carries its version.
fn link_llvm(sysroot: &Path, prefix: &Path) -> Result<()> {
    let libraries = sysroot.join("lib");
    let mut found = None;
    for entry in fs::read_dir(&libraries).with_context(|| format!("list {}", libraries.display()))? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("libLLVM.so.") {
            found = Some(entry.path());
        }
    }
    let Some(llvm) = found else {
        bail!("no libLLVM.so.* in {}: only toolchains that rustup installed carry one", libraries.display());
    };
    let link = prefix.join("lib/libLLVM.so");
    fs::create_dir_all(prefix.join("lib"))?;
    match fs::remove_file(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("remove {}", link.display()));
        }
        _ => {}
    }
    symlink(&llvm, &link).with_context(|| format!("link {} to {}", link.display(), llvm.display()))
}
