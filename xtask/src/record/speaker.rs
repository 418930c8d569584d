//! Who speaks in a recording, and in which version.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::environment::{Environment, apps, clients, program};
use crate::test::environment::{ferretdb_version, maven, testenv};

/// A program or a library that makes what is recorded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker {
    name: &'static str,
    source: Source,
}

/// Who knows the version.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The program of the host with this name.
    Program(&'static str),
    /// The Python environment, of the distribution with this name.
    Python(&'static str),
    /// The Node environment, of the package with this name.
    Node(&'static str),
    /// The Go module in this folder of the clients, of the module with this path.
    Go(&'static str, &'static str),
    /// We do: it is installed in this version.
    Fixed(&'static str),
    /// The newest PostgreSQL of the Node environment.
    PostgresqlNewest,
    /// The Java libraries, of the artifact with this name.
    Java(&'static str),
    /// The Go module that builds FerretDB.
    FerretDb,
    /// The drivers of JDBC, of the artifact with this name.
    Jdbc(&'static str),
    /// MySQL's server, wherever it is installed.
    Mysql,
    /// The service on tonic, of the crate with this name.
    Tonic(&'static str),
    /// The clients of Google Pub/Sub in Go, Python and Node: the module, distribution or package with this name.
    PubSubGo(&'static str),
    PubSubPython(&'static str),
    PubSubNode(&'static str),
}

/// Google Pub/Sub's clients, and the fake server that comes with one of them.
pub(super) const PUBSUB_GO: Speaker =
    Speaker { name: "cloud.google.com/go/pubsub", source: Source::PubSubGo("cloud.google.com/go/pubsub/v2") };
pub(super) const PUBSUB_FAKE: Speaker =
    Speaker { name: "pstest", source: Source::PubSubGo("cloud.google.com/go/pubsub/v2") };
pub(super) const PUBSUB_PYTHON: Speaker =
    Speaker { name: "google-cloud-pubsub", source: Source::PubSubPython("google-cloud-pubsub") };
pub(super) const PUBSUB_NODE: Speaker =
    Speaker { name: "@google-cloud/pubsub", source: Source::PubSubNode("@google-cloud/pubsub") };
/// gRPC in Rust.
pub(super) const TONIC: Speaker = Speaker { name: "tonic", source: Source::Tonic("tonic") };

/// grpc-java with the Netty that comes with it.
pub(super) const GRPC_JAVA: Speaker = Speaker::java("grpc-java", "grpc-netty-shaded");

impl Speaker {
    /// Returns a program of the host, or what its version decides.
    pub(super) const fn program(name: &'static str, program: &'static str) -> Self {
        Self { name, source: Source::Program(program) }
    }

    /// Returns what an installed Python distribution makes.
    pub(super) const fn python(name: &'static str, distribution: &'static str) -> Self {
        Self { name, source: Source::Python(distribution) }
    }

    /// Returns what an installed Node package makes.
    pub(super) const fn node(name: &'static str, package: &'static str) -> Self {
        Self { name, source: Source::Node(package) }
    }

    /// Returns what a Go module makes.
    pub(super) const fn go(name: &'static str, module: &'static str) -> Self {
        Self { name, source: Source::Go("go", module) }
    }

    /// Returns what a Go module makes that only the clients of Kafka need.
    pub(super) const fn go_kafka(name: &'static str, module: &'static str) -> Self {
        Self { name, source: Source::Go("go-kafka", module) }
    }

    /// Returns what is installed in one version only.
    pub(super) const fn fixed(name: &'static str, version: &'static str) -> Self {
        Self { name, source: Source::Fixed(version) }
    }

    /// Returns what a Java library makes.
    pub(super) const fn java(name: &'static str, artifact: &'static str) -> Self {
        Self { name, source: Source::Java(artifact) }
    }

    /// Returns the FerretDB of the test environment.
    pub(super) const fn ferretdb(name: &'static str) -> Self {
        Self { name, source: Source::FerretDb }
    }

    /// Returns what a driver of JDBC makes.
    pub(super) const fn jdbc(name: &'static str, artifact: &'static str) -> Self {
        Self { name, source: Source::Jdbc(artifact) }
    }

    /// Returns the newest PostgreSQL.
    pub(super) const fn postgresql_newest() -> Self {
        Self { name: "PostgreSQL", source: Source::PostgresqlNewest }
    }

    /// Returns MySQL's server.
    pub(super) const fn mysql() -> Self {
        Self { name: "MySQL", source: Source::Mysql }
    }

    /// Returns its name and its version, which it is asked for, separated by a space.
    pub(super) fn signature(&self, environment: &Environment) -> Result<String> {
        let text =
            self.source.ask(environment).with_context(|| format!("ask for the version of {}", self.name))?;
        let version =
            version_in(&text).with_context(|| format!("find the version of {} in {text:?}", self.name))?;
        Ok(format!("{} {version}", self.name))
    }
}

impl Source {
    fn ask(self, environment: &Environment) -> Result<String> {
        let mut command = match self {
            Source::Program(name) => {
                let mut command = program(name);
                command.arg(match name {
                    "go" | "rabbitmqctl" => "version",
                    "nginx" | "dig" => "-v",
                    _ => "--version",
                });
                command
            }
            Source::PostgresqlNewest => {
                let mut command = Command::new(environment.postgresql_newest().join("postgres"));
                command.arg("--version");
                command
            }
            Source::Python(name) => python_version(environment.python_program("python"), name),
            Source::PubSubPython(name) => {
                python_version(Command::new(testenv().join("pubsub/python/bin/python")), name)
            }
            Source::Node(name) => node_version(&environment.node_modules(), name),
            Source::PubSubNode(name) => node_version(&testenv().join("pubsub/node/node_modules"), name),
            Source::Java(artifact) => return jar(&environment.java_libraries(), artifact),
            Source::Go(folder, module) => go_version(&clients().join(folder), module),
            Source::PubSubGo(module) => go_version(&apps().join("pubsub"), module),
            Source::Tonic(name) => return locked(&apps().join("tonic/Cargo.lock"), name),
            Source::Fixed(version) => return Ok(version.to_owned()),
            Source::FerretDb => return ferretdb_version(),
            Source::Jdbc(artifact) => {
                return maven::version(artifact).map(str::to_owned).context("no such artifact");
            }
            Source::Mysql => {
                let mut command = Command::new(maven::mysql()?.join("bin/mysqld"));
                command.args(["--no-defaults", "--version"]);
                command
            }
        };
        said(&mut command)
    }
}

fn python_version(mut python: Command, distribution: &str) -> Command {
    let question = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))";
    python.args(["-c", question, distribution]);
    python
}

fn node_version(modules: &Path, package: &str) -> Command {
    let mut command = program("node");
    let question = "console.log(require(process.argv[1]).version)";
    command.args(["-e", question]).arg(modules.join(package).join("package.json"));
    command
}

fn go_version(folder: &Path, module: &str) -> Command {
    let mut command = program("go");
    command.args(["list", "-m", "-f", "{{.Version}}", module]).current_dir(folder);
    command
}

/// Returns the line of a `Cargo.lock` with the version of a crate.
fn locked(lock: &Path, name: &str) -> Result<String> {
    let text = std::fs::read_to_string(lock).with_context(|| format!("read {}", lock.display()))?;
    let wanted = format!("name = \"{name}\"");
    let mut lines = text.lines().skip_while(|line| *line != wanted).skip(1);
    lines.next().map(str::to_owned).with_context(|| format!("find {name}"))
}

/// Returns the name of the file that holds an artifact, which ends in its version.
fn jar(folder: &Path, artifact: &str) -> Result<String> {
    let files = std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))?;
    let mut names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
    names.find(|name| name.starts_with(artifact)).with_context(|| format!("find {artifact}"))
}

/// Returns what a command says, on whichever stream.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{command:?} ended with {}: {stderr}", output.status);
    }
    Ok(format!("{}{stderr}", String::from_utf8_lossy(&output.stdout)))
}

/// Returns the first number with a point in a text: what comes first in it is a version.
fn version_in(text: &str) -> Option<&str> {
    text.split(|character: char| !character.is_ascii_digit() && character != '.')
        .map(|part| part.trim_matches('.'))
        .find(|part| part.contains('.'))
}
