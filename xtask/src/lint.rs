//! `lint`: formatting, clippy on both sides of the kernel border, and the documentation, with warnings denied.

use anyhow::Result;

use crate::{build, shell, workspace};

pub(crate) fn run() -> Result<()> {
    shell::run(
        "check the formatting",
        "run `cargo fmt --all`",
        shell::cargo("fmt").args(["--all", "--check"]),
    )?;
    build::embedded()?;
    let deny = ["--", "-D", "warnings"];
    for features in [&[][..], &["--features", "propagation"]] {
        let mut clippy = build::bpf_cargo("clippy")?;
        shell::run("clippy, the BPF programs", "the warnings are above", clippy.args(features).args(deny))?;
    }
    let target = workspace::target();
    let everything_else = ["--workspace", "--exclude", "remora-programs"];
    shell::run(
        "clippy, everything else",
        "the warnings are above",
        shell::cargo("clippy")
            .args(everything_else)
            .arg("--all-targets")
            .arg("--target-dir")
            .arg(&target)
            .args(deny),
    )?;
    // A workspace of its own, since cargo-fuzz builds it with instrumentation.
    shell::run(
        "clippy, the fuzz targets",
        "the warnings are above",
        shell::cargo("clippy")
            .args(["--locked", "--manifest-path", "agent/engine/fuzz/Cargo.toml", "--target-dir"])
            .arg(&target)
            .args(deny),
    )?;
    shell::run(
        "the documentation",
        "the warnings are above",
        shell::cargo("doc")
            .args(everything_else)
            .args(["--no-deps", "--document-private-items", "--target-dir"])
            .arg(&target)
            .env("RUSTDOCFLAGS", "-D warnings"),
    )
}
