//! Where installed programs are.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Returns the root of the checkout.
#[must_use]
pub fn root() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Returns the folder of the programs under `tests/apps`.
#[must_use]
pub fn apps() -> PathBuf {
    root().join("tests/apps")
}

/// Returns the folder into which `cargo xtask test` installs what no package of the host gives.
#[must_use]
pub fn testenv() -> PathBuf {
    root().join("target/testenv")
}

/// Returns the path of a program, looked up in the test environment, in `PATH` and in the folders of servers.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let fixed =
        [testenv().join("python/bin"), testenv().join("bin"), "/usr/sbin".into(), "/usr/local/go/bin".into()];
    fixed
        .into_iter()
        .chain(env::split_paths(&path))
        .chain(postgres_folders())
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| {
            format!("`{name}` is not installed: `cargo xtask test` installs what the tests need")
        })
}

/// Returns the path of a program of the environment with the clients of message brokers.
pub fn messages(name: &str) -> Result<PathBuf> {
    let path = testenv().join("messages/bin").join(name);
    path.is_file().then_some(path).with_context(|| {
        format!("`{name}` is not installed: `cargo xtask test` installs what the tests need")
    })
}

/// Returns the path of what tests of TLS have for themselves.
pub fn tls(name: &str) -> Result<PathBuf> {
    let path = testenv().join("tls").join(name);
    path.exists().then_some(path).with_context(|| {
        format!("`{name}` is not installed: `cargo xtask test` installs what the tests need")
    })
}

/// Returns the path of a JVM: the host's is of version 17.
pub fn java(version: u32) -> Result<PathBuf> {
    if version == 17 { program("java") } else { tls(&format!("java-{version}/java")) }
}

/// Debian keeps PostgreSQL's server programs out of `PATH`, one folder for each version; the newest comes first.
fn postgres_folders() -> Vec<PathBuf> {
    let Ok(versions) = std::fs::read_dir("/usr/lib/postgresql") else {
        return Vec::new();
    };
    let mut folders: Vec<_> = versions.flatten().map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders
}
